//! The executable `tsdaemonize`: any program as a daemon, and the supervisor that stays beside one.
//!
//! The second front of the core. It is one thread.

#![allow(dead_code, reason = "the verbs follow")]

mod command_line;
mod error;
mod foreign;
mod verbs;

use std::io::Write;
use std::process::ExitCode;

use command_line::Wanted;
use error::{FAILED, Failure};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == foreign::exec_stage::STAGE) {
        return foreign::exec_stage::run(arguments);
    }
    match command_line::read(std::env::args_os().skip(1)) {
        Ok(Wanted::Run(call)) => verbs::run(&call),
        Ok(Wanted::Help(verb)) => print(&verbs::help(verb)),
        Ok(Wanted::Version) => print(concat!("tsdaemonize ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Wanted::Where) => Err(Failure::new(FAILED, "--where is not there yet")),
        Err(failure) => Err(failure),
    }
    .unwrap_or_else(Failure::tell)
}

/// Writes to standard output. A reader that is gone is no failure.
fn print(text: &str) -> Result<ExitCode, Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(FAILED, format!("Cannot write to standard output: {error}")))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}
