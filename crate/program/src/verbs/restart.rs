//! `restart`: the end of daemons, and their start in the same way.

use std::process::ExitCode;

use crate::command_line::Call;
use crate::error::{FAILED, Failure};
use crate::names;
use crate::words::stranger;

/// Runs the verb.
pub fn run(call: &Call) -> Result<ExitCode, Failure> {
    names::each(call, |named| {
        Err(stranger(named).unwrap_or_else(|| {
            Failure::new(FAILED, format!("`{}` is not there yet", call.verb.name))
        }))
    })
}
