//! `stop`.

use std::process::ExitCode;

use crate::command_line::Call;
use crate::error::{FAILED, Failure};

/// Runs the verb.
pub fn run(call: &Call) -> Result<ExitCode, Failure> {
    Err(Failure::new(FAILED, format!("`{}` is not there yet", call.verb.name)))
}
