//! `kill`: any signal to daemons.

use std::process::ExitCode;
use std::str::FromStr;

use nix::sys::signal::Signal;
use tsdaemonize_core::instance::places;

use crate::command_line::Call;
use crate::error::{Failure, USAGE};
use crate::names;
use crate::nearest::nearest;
use crate::words::sent;

/// The highest number of a signal, signal(7).
const HIGHEST: i32 = 64;

/// Runs the verb.
pub fn run(call: &Call) -> Result<ExitCode, Failure> {
    let Some(given) = call.value("signal") else {
        let message =
            "`kill` takes `--signal SIGNAL`. To end a daemon in order, use `tsdaemonize stop`";
        return Err(Failure::new(USAGE, message));
    };
    let number =
        given.to_str().and_then(number).ok_or_else(|| unknown(&given.to_string_lossy()))?;
    names::each(call, |named| sent(named, places::kill(&named.places, number)?))
}

/// The number of a signal, by its name or by its number.
pub fn number(given: &str) -> Option<i32> {
    if given.starts_with(|c: char| c.is_ascii_digit()) {
        return given.parse().ok().filter(|number| (1..=HIGHEST).contains(number));
    }
    let name = given.to_ascii_uppercase();
    let name = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
    Signal::from_str(&name).ok().map(|signal| signal as i32)
}

fn unknown(given: &str) -> Failure {
    let names: Vec<&str> =
        Signal::iterator().map(|signal| &signal.as_str()["SIG".len()..]).collect();
    let bare = given.to_ascii_uppercase();
    let bare = bare.strip_prefix("SIG").unwrap_or(&bare);
    let hint = nearest(bare, names).map(|name| format!(": did you mean '{name}'?"));
    let hint = hint.unwrap_or_else(|| ". `kill -l` lists them".to_owned());
    Failure::new(USAGE, format!("unknown signal '{given}'{hint}"))
}
