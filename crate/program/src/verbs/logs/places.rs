//! Where a daemon logs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tsdaemonize_core::error::reason;
use tsdaemonize_core::instance::places;
use tsdaemonize_core::pidfile::State;

use super::journal;
use super::lines::{Wanted, last_lines};
use super::moment::Clock;
use super::syslog_file::{Ident, candidates};
use super::tail;
use crate::error::{FAILED, Failure, NO_RIGHT};
use crate::names::Named;

/// A place where a daemon logs.
#[derive(Debug)]
pub enum Place {
    /// A log file of its own.
    File {
        /// Its path.
        path: PathBuf,
        /// The file; `None` where there is none yet.
        file: Option<fs::File>,
    },
    /// A file of the system logger's.
    Syslog(PathBuf, fs::File),
    /// The journal.
    Journal,
}

/// Where standard output or standard error leads.
#[derive(Debug, PartialEq, Eq)]
enum Output {
    File(PathBuf),
    Syslog,
    /// To /dev/null.
    Nowhere,
    /// To a terminal, a pipe: whoever reads it has it.
    Elsewhere,
    /// That may not be seen.
    Hidden,
    Unknown,
}

/// What is known of a daemon.
struct Daemon {
    /// Its pid, where it runs.
    pid: Option<i32>,
    /// What its state file says.
    state: Value,
}

/// Finds where a daemon logs. `follow`: what is not there yet may come.
pub fn find(named: &Named, follow: bool, clock: &mut Clock) -> Result<Vec<Place>, Failure> {
    let daemon = look(named)?;
    let outputs = [(1, "stdout"), (2, "stderr")].map(|(fd, key)| (fd, output(&daemon, fd, key)));
    let mut found = Vec::new();
    let mut paths: Vec<&Path> = Vec::new();
    for (fd, output) in &outputs {
        if let Output::File(path) = output
            && !paths.contains(&path.as_path())
        {
            paths.push(path);
            found.push(own_file(named, path, daemon.pid.map(|pid| (pid, *fd)), follow)?);
        }
    }
    if found.is_empty() && outputs.iter().all(|(_, output)| *output == Output::Unknown) {
        for path in default_files(&named.name).into_iter().filter(|path| path.exists()) {
            found.push(own_file(named, &path, None, follow)?);
        }
    }
    if found.is_empty() || outputs.iter().any(|(_, output)| *output == Output::Syslog) {
        match of_syslog(&named.name, follow, clock) {
            Ok(place) => found.extend(place),
            Err(failure) if found.is_empty() => return Err(failure),
            Err(_) => {}
        }
    }
    if found.is_empty() { Err(nowhere(named, &daemon, &outputs)) } else { Ok(found) }
}

fn look(named: &Named) -> Result<Daemon, Failure> {
    let (state, info) = places::status(&named.places)?;
    let pid = match state {
        State::Running { pid } | State::Starting { pid } => pid,
        State::Stopped { .. } => None,
    };
    let text = info.state.unwrap_or_default();
    Ok(Daemon { pid, state: serde_json::from_str(&text).unwrap_or(Value::Null) })
}

/// What the state file says of an output; where that says nothing, what /proc shows.
fn output(daemon: &Daemon, fd: i32, key: &str) -> Output {
    match daemon.state.get(key).and_then(Value::as_str) {
        Some("syslog") => return Output::Syslog,
        Some(path) if path.starts_with('/') => return Output::File(PathBuf::from(path)),
        _ => {}
    }
    let target = match daemon.pid.map(|_| fs::read_link(link_of(daemon, fd))) {
        Some(Ok(target)) => target,
        Some(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Output::Hidden;
        }
        _ => return Output::Unknown,
    };
    if target == Path::new("/dev/null") {
        return Output::Nowhere;
    }
    let shown = target.to_string_lossy();
    // What a service manager gives its services: the journal reads it.
    if shown.starts_with("socket:") && journal::is_here() {
        return Output::Syslog;
    }
    let path = PathBuf::from(shown.strip_suffix(" (deleted)").unwrap_or(&shown));
    let is_file = fs::metadata(&target).or_else(|_| fs::metadata(link_of(daemon, fd)));
    match is_file {
        Ok(stat) if stat.is_file() && shown.starts_with('/') => Output::File(path),
        _ => Output::Elsewhere,
    }
}

fn link_of(daemon: &Daemon, fd: i32) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{fd}", daemon.pid.unwrap_or(0)))
}

/// A log file of the daemon's own. One that was removed, or renamed, can still be read where the daemon has it open.
fn own_file(
    named: &Named,
    path: &Path,
    open_in: Option<(i32, i32)>,
    follow: bool,
) -> Result<Place, Failure> {
    let name = &named.name;
    let shown = path.display();
    match tail::open(path) {
        Ok(file) => Ok(Place::File { path: path.to_owned(), file: Some(file) }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let link = open_in.map(|(pid, fd)| PathBuf::from(format!("/proc/{pid}/fd/{fd}")));
            let file = link.and_then(|link| tail::open(&link).ok());
            if file.is_none() && !follow {
                let message = format!(
                    "The log file {shown} of '{name}' is not there. `tsdaemonize logs -f {name}` waits for it"
                );
                return Err(Failure::new(FAILED, message));
            }
            Ok(Place::File { path: path.to_owned(), file })
        }
        Err(error) => Err(unreadable(name, path, &error)),
    }
}

fn unreadable(name: &str, path: &Path, error: &io::Error) -> Failure {
    let what = format!("Cannot read the log file {} of '{name}'", path.display());
    match error.raw_os_error() {
        Some(errno @ (libc::EACCES | libc::EPERM)) => Failure::new(
            NO_RIGHT,
            format!(
                "{what}: {}. Run it as root, or as a user who may read it (`ls -l {}`)",
                reason(errno),
                path.display()
            ),
        ),
        Some(errno) => Failure::new(FAILED, format!("{what}: {}", reason(errno))),
        None => Failure::new(FAILED, format!("{what}: {error}")),
    }
}

/// Where the output of foreign programs goes without a logger.
fn default_files(name: &str) -> Vec<PathBuf> {
    let file = format!("{name}.log");
    if nix::unistd::geteuid().is_root() {
        return vec![Path::new("/var/log").join(file)];
    }
    let variable =
        |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = variable("XDG_STATE_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".local/state")))
        .filter(|dir| dir.is_absolute());
    state.map(|dir| dir.join("tsdaemonize").join(file)).into_iter().collect()
}

/// Where its messages to syslog are: in the journal, or in the first of the logger's files that has one.
fn of_syslog(name: &str, follow: bool, clock: &mut Clock) -> Result<Option<Place>, Failure> {
    if journal::is_here() {
        return Ok(Some(Place::Journal));
    }
    let wanted = Wanted { ident: Some(Ident(name.to_owned())), time: false };
    let mut hidden = None;
    let mut first = None;
    for path in candidates() {
        let file = match tail::open(&path) {
            Ok(file) => file,
            Err(error) => {
                if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EPERM)) {
                    hidden.get_or_insert((path, error));
                }
                continue;
            }
        };
        let size = file.metadata().map_or(0, |stat| stat.len());
        if last_lines(&file, size, 1, &wanted, clock).is_ok_and(|(_, found)| found > 0) {
            return Ok(Some(Place::Syslog(path, file)));
        }
        first = first.or(Some((path, file)));
    }
    match (first, hidden) {
        (Some((path, file)), _) if follow => Ok(Some(Place::Syslog(path, file))),
        (_, Some((path, error))) => Err(unreadable(name, &path, &error)),
        _ => Ok(None),
    }
}

/// Why there is nothing to show, and what to do.
fn nowhere(named: &Named, daemon: &Daemon, outputs: &[(i32, Output)]) -> Failure {
    let name = &named.name;
    let leads = |to: &Output| outputs.iter().any(|(_, output)| output == to);
    let log = format!(
        "Give it a log file (`stdout: '/var/log/{name}.log'`, or `--stdout` with `tsdaemonize start`), or `syslog` \
         for the system's logger"
    );
    let message = if daemon.pid.is_none() && daemon.state.is_null() {
        format!(
            "No daemon '{name}' runs here, and no log of one was found. `tsdaemonize list --all` shows the names; \
             `--pid-file-path` looks in another directory"
        )
    } else if leads(&Output::Elsewhere) {
        format!(
            "What '{name}' prints goes to a terminal or to another process, which has it. {log}"
        )
    } else if leads(&Output::Syslog) {
        format!(
            "'{name}' logs to syslog, and nothing of it was found in the journal or in /var/log. The logger may \
             write elsewhere, or none may run"
        )
    } else if leads(&Output::Nowhere) {
        format!(
            "'{name}' logs nowhere: what it prints goes to /dev/null, and syslog has nothing of it. {log}"
        )
    } else if leads(&Output::Hidden) {
        format!(
            "It may not be seen where '{name}' logs, and syslog has nothing of it. Run it as root, or as the user as \
             whom the daemon runs"
        )
    } else {
        format!("It is not known where '{name}' has logged, and syslog has nothing of it. {log}")
    };
    let status = if leads(&Output::Hidden) { NO_RIGHT } else { FAILED };
    Failure::new(status, message)
}
