//! `status`: whether daemons run, in words or as JSON.

use std::process::ExitCode;

use serde_json::{Value, json};
use tsdaemonize_core::error::{Code, Error};
use tsdaemonize_core::instance::Info;
use tsdaemonize_core::instance::places;
use tsdaemonize_core::pidfile::State;

use crate::command_line::Call;
use crate::error::{DONE, FAILED, Failure, NOT_RUNNING, UNKNOWN};
use crate::names::{self, Named};
use crate::output;
use crate::time::iso;
use crate::words::{not_running, stranger};

/// Runs the verb.
pub fn run(call: &Call) -> Result<ExitCode, Failure> {
    let is_one = call.operands.len() == 1;
    names::each(call, |named| {
        let (state, info) = places::status(&named.places).map_err(unknown)?;
        let status = match state {
            State::Running { .. } => DONE,
            State::Stopped { stale: true } => FAILED,
            State::Stopped { stale: false } | State::Starting { .. } => NOT_RUNNING,
        };
        if status == FAILED
            && let Some(failure) = stranger(named)
        {
            return Err(failure);
        }
        let lines = if call.has("json") {
            let name = if is_one { None } else { Some(named.name.as_str()) };
            vec![as_json(name, state, &info)]
        } else {
            in_words(named, state, &info)
        };
        output::print_lines(&lines)?;
        Ok(status)
    })
}

/// Where the lock is held by a process that is not recognised, it is none of ours; else nothing is known.
fn unknown(error: Error) -> Failure {
    let is_strangers = error.code == Code::StopFailed && error.pid.is_none();
    let status = if is_strangers { FAILED } else { UNKNOWN };
    Failure { status, ..Failure::from(error) }
}

/// The status as the library has it, in an object that has the name where there are several.
fn as_json(name: Option<&str>, state: State, info: &Info) -> String {
    let mut fields: Vec<(&str, Value)> =
        name.map(|name| ("name", json!(name))).into_iter().collect();
    match state {
        State::Running { pid } => fields.extend([
            ("state", json!("running")),
            ("pid", json!(pid.unwrap_or(0))),
            ("startedAt", json!(info.started_at.map(iso))),
            ("user", json!(info.user.as_deref().unwrap_or_default())),
            ("rss", json!(info.rss.map(|rss| rss as u64))),
        ]),
        State::Starting { .. } => fields.push(("state", json!("starting"))),
        State::Stopped { stale } => {
            fields.extend([("state", json!("stopped")), ("stalePidFile", json!(stale))]);
        }
    }
    // Its own map would sort them.
    let fields: Vec<String> =
        fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// The status as sentences.
fn in_words(named: &Named, state: State, info: &Info) -> Vec<String> {
    let name = &named.name;
    match state {
        State::Running { pid } => {
            let Info { started_at, user, rss, .. } = info;
            let mut known = vec![format!("{name} is running: pid {}", pid.unwrap_or(0))];
            known.extend(user.as_ref().map(|user| format!("user {user}")));
            known.extend(started_at.map(|time| format!("since {}", iso(time))));
            known.extend(rss.map(|rss| format!("{} MiB", tenths_of_mib(rss as u64))));
            let rest = if known.len() < 4 { "; /proc does not show the rest" } else { "" };
            vec![format!("{}{rest}", known.join(", "))]
        }
        State::Starting { .. } => vec![format!("{name} is starting")],
        State::Stopped { stale } => {
            let mut lines = not_running(name, named);
            if stale && let Some(itself) = lines.first_mut() {
                itself.push_str(", and left a pidfile: it was killed");
            }
            lines
        }
    }
}

/// MiB with one digit behind the point.
fn tenths_of_mib(bytes: u64) -> String {
    let tenths = (bytes * 10 + (1 << 19)) >> 20;
    format!("{}.{}", tenths / 10, tenths % 10)
}
