//! `reload`: SIGHUP to daemons, unless they would end by it.

use std::process::ExitCode;

use tsdaemonize_core::instance::places;

use crate::command_line::Call;
use crate::error::Failure;
use crate::names;
use crate::words::sent;

/// Runs the verb.
pub fn run(call: &Call) -> Result<ExitCode, Failure> {
    names::each(call, |named| sent(named, places::reload(&named.places)?))
}
