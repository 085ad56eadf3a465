//! What each verb of the command line does, a file for each.

use std::process::ExitCode;

use crate::command_line::{Call, VERBS, Verb};
use crate::error::{FAILED, Failure};

/// Runs a verb of the table.
pub fn run(call: &Call) -> Result<ExitCode, Failure> {
    Err(Failure::new(FAILED, format!("`{}` is not there yet", call.verb.name)))
}

/// The help of a verb, or of all.
pub fn help(_verb: Option<&Verb>) -> String {
    VERBS.iter().map(|verb| format!("  {:<13}{}\n", verb.name, verb.does)).collect()
}
