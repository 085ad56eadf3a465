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
use crate::state;
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
    let said = state::State::parse(info.state.as_deref());
    let mut fields: Vec<(&str, String)> = Vec::new();
    let mut add = |key, value: Value| fields.push((key, value.to_string()));
    if let Some(name) = name {
        add("name", json!(name));
    }
    match state {
        State::Running { pid } => {
            add("state", json!("running"));
            add("pid", json!(pid.or(said.pid).unwrap_or(0)));
            add("startedAt", json!(info.started_at.map(iso)));
            add("user", json!(info.user.as_deref().unwrap_or_default()));
            add("rss", json!(info.rss.map(|rss| rss as u64)));
            if info.unsupervised {
                add("supervisor", Value::Null);
                add("unsupervised", json!(true));
            } else if let Some(pid) = info.supervisor {
                let exit = said.last_exit.map_or("null".to_owned(), |exit| exit.as_json());
                let restarts = said.restarts;
                let supervisor =
                    format!(r#"{{"pid":{pid},"restarts":{restarts},"lastExit":{exit}}}"#);
                fields.push(("supervisor", supervisor));
            }
        }
        State::Starting { .. } => add("state", json!("starting")),
        State::Stopped { stale } => {
            add("state", json!("stopped"));
            add("stalePidFile", json!(stale));
            fields.extend(said.last_exit.map(|exit| ("lastExit", exit.as_json())));
        }
    }
    // A map of serde_json would sort them.
    let fields: Vec<String> =
        fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// The status as sentences.
fn in_words(named: &Named, state: State, info: &Info) -> Vec<String> {
    let name = &named.name;
    let said = state::State::parse(info.state.as_deref());
    let ended = said.last_exit.map(|exit| format!("It ended at {}: {}", exit.at, exit.reason));
    match state {
        State::Running { pid } => {
            let Info { started_at, user, rss, supervisor, .. } = info;
            let pid = pid.or(said.pid).unwrap_or(0);
            let mut known = vec![format!("{name} is running: pid {pid}")];
            known.extend(user.as_ref().map(|user| format!("user {user}")));
            known.extend(started_at.map(|time| format!("since {}", iso(time))));
            known.extend(rss.map(|rss| format!("{} MiB", tenths_of_mib(rss as u64))));
            let rest = if known.len() < 4 { "; /proc does not show the rest" } else { "" };
            known.extend(supervisor.map(|pid| supervised(pid, said.restarts)));
            if info.unsupervised {
                known.push("without its supervisor, which was killed".to_owned());
            }
            let ended = ended.filter(|_| supervisor.is_some());
            std::iter::once(format!("{}{rest}", known.join(", "))).chain(ended).collect()
        }
        State::Starting { .. } => vec![format!("{name} is starting")],
        State::Stopped { stale } => {
            let mut lines = not_running(name, named);
            let left = if stale { ", and left a pidfile: it was killed" } else { "" };
            lines[0].push_str(left);
            lines.splice(1..1, ended);
            lines
        }
    }
}

fn supervised(pid: i32, restarts: i32) -> String {
    match restarts {
        0 => format!("supervisor {pid}"),
        1 => format!("supervisor {pid}, started again once"),
        _ => format!("supervisor {pid}, started again {restarts} times"),
    }
}

/// MiB with one digit behind the point.
fn tenths_of_mib(bytes: u64) -> String {
    let tenths = (bytes * 10 + (1 << 19)) >> 20;
    format!("{}.{}", tenths / 10, tenths % 10)
}
