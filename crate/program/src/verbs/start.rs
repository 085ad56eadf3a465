//! `start`: a program becomes a daemon, as a transaction.

use std::process::ExitCode;

use crate::command_line::Call;
use crate::error::Failure;
use crate::launching::launch;
use crate::plan::Start;

/// Runs the verb.
pub fn run(call: &Call) -> Result<ExitCode, Failure> {
    let start = Start::read(call)?;
    match launch(&start, true) {
        Ok((_, printed)) => {
            printed.show();
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => Ok(ExitCode::from(failure.tell_of(&start.name))),
    }
}
