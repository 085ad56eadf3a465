//! What each verb of the command line does, a file for each.

mod completions;
mod ensure;
pub mod help;
pub mod kill;
mod list;
mod logs;
pub mod manual;
mod reload;
mod restart;
mod run;
mod start;
mod status;
mod stop;

use std::process::ExitCode;

use crate::command_line::Call;
use crate::error::Failure;

/// Runs a verb of the table.
pub fn run(call: &Call) -> Result<ExitCode, Failure> {
    match call.verb.name {
        "start" => start::run(call),
        "run" => run::run(call),
        "ensure" => ensure::run(call),
        "stop" => stop::run(call),
        "restart" => restart::run(call),
        "reload" => reload::run(call),
        "kill" => kill::run(call),
        "status" => status::run(call),
        "list" => list::run(call),
        "logs" => logs::run(call),
        "completions" => completions::run(call),
        other => unreachable!("{other}"),
    }
}
