//! The executable `tsdaemonize`: it tells its version.

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let version = concat!("tsdaemonize ", env!("CARGO_PKG_VERSION"), "\n");
    match std::io::stdout().write_all(version.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
