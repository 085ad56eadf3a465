//! `stop`: the end of daemons.

use std::process::ExitCode;

use tsdaemonize_core::instance::places;

use crate::command_line::Call;
use crate::error::{DONE, Failure};
use crate::names::{self, Named};
use crate::output;
use crate::plan::{KILL_AFTER, STOP_TIMEOUT};
use crate::state::State;
use crate::waiting::Waiting;
use crate::words::{killed, not_running, stranger};

/// Runs the verb.
pub fn run(call: &Call) -> Result<ExitCode, Failure> {
    names::each(call, |named| {
        if !stop(named)? {
            let lines = not_running(&named.name, named);
            output::print_lines(&lines)?;
        }
        Ok(DONE)
    })
}

/// Ends a daemon; `false` where none ran. One that had to be killed may have lost something.
pub fn stop(named: &Named) -> Result<bool, Failure> {
    // What a stranger has left would be taken for stale.
    if let Some(failure) = stranger(named) {
        return Err(failure);
    }
    let said = State::parse(places::state(&named.places).as_deref());
    let patience = said.stop_timeout.unwrap_or(STOP_TIMEOUT) + KILL_AFTER;
    let waiting = Waiting::begin(&named.name, patience);
    let stopped = places::stop(&named.places, patience);
    drop(waiting);
    let Some(stopped) = stopped? else { return Ok(false) };
    if stopped.killed {
        output::tell(&format!(
            "{}: {}",
            named.name,
            killed(stopped.pid, patience, said.is_supervised)
        ));
    }
    Ok(true)
}
