//! The executable `tsdaemonize`: any program as a daemon, and the supervisor that stays beside one.
//!
//! The second front of the core. It is one thread.

mod command_line;
mod durations;
mod env_file;
mod error;
mod failed;
mod foreign;
mod launching;
mod names;
mod nearest;
mod output;
mod plan;
mod report;
mod scripts;
mod state;
mod supervisor;
mod time;
mod verbs;
mod waiting;
mod words;

use std::process::ExitCode;

use tsdaemonize_core::process::own;

use command_line::Wanted;
use error::{Failure, NO_RIGHT, USAGE};

fn main() -> ExitCode {
    match checked() {
        Ok(status) => status,
        Err(failure) => ExitCode::from(failure.tell()),
    }
}

fn checked() -> Result<ExitCode, Failure> {
    if own::has_rights_of_its_file() {
        return Err(Failure::new(
            NO_RIGHT,
            "This file gives whoever runs it more rights than they have (set-user-ID, set-group-ID, capabilities), \
             and would run any program with them. Take them away: `chmod ug-s FILE`, `setcap -r FILE`",
        ));
    }
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(first) if first == foreign::exec_stage::STAGE => {
            return Ok(foreign::exec_stage::run(arguments));
        }
        Some(first) if first == supervisor::SUPERVISOR => return Ok(supervisor::run(arguments)),
        _ => {}
    }
    let done = |()| ExitCode::SUCCESS;
    match command_line::read(std::env::args_os().skip(1))? {
        Wanted::Run(call) => verbs::run(&call),
        Wanted::Nothing => {
            output::tell(&format!(
                "tsdaemonize: no command\n\n{}",
                verbs::help::help(None).trim_end()
            ));
            Ok(ExitCode::from(USAGE))
        }
        Wanted::Help(verb) => output::print(&verbs::help::help(verb)).map(done),
        Wanted::Version => {
            output::print(concat!("tsdaemonize ", env!("CARGO_PKG_VERSION"), "\n")).map(done)
        }
        Wanted::Manual => output::print(&verbs::manual::page()).map(done),
        Wanted::Where => {
            let path = launching::own_executable()?;
            let line = [path.as_bytes(), b"\n"].concat();
            output::print_bytes(&line).map(done)
        }
    }
}
