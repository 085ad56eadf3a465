//! The NAMEs of daemons on the command line, and where each of them may be.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use tsdaemonize_core::instance::places::{self, Candidate};
use tsdaemonize_core::pidfile::{LONGEST_NAME, Place, is_name};
use tsdaemonize_core::process::own;

use crate::command_line::Call;
use crate::error::{Failure, USAGE};

/// The option that names a directory of pidfiles.
pub const PID_FILE_PATH: &str = "pid-file-path";

/// A daemon that somebody has named.
#[derive(Debug)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// The places where it may be, the one of a start first.
    pub places: Vec<Candidate>,
}

impl Named {
    /// The places that the caller has for it in any environment.
    pub fn defaults(&self) -> Vec<Candidate> {
        places::defaults(&self.name, session())
    }
}

/// Whose daemon is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One that has the library.
    Library,
    /// Any other.
    Foreign,
}

/// Does something to each daemon that was named, if all names are names. What fails is told, and the others have their
/// turn. The exit status is the highest.
pub fn each(
    call: &Call,
    mut act: impl FnMut(&Named) -> Result<u8, Failure>,
) -> Result<ExitCode, Failure> {
    let named = call.operands.iter().map(|operand| named(call, operand));
    let mut highest = 0;
    for named in named.collect::<Result<Vec<_>, _>>()? {
        let status = act(&named).unwrap_or_else(|failure| failure.tell_of(&named.name));
        highest = highest.max(status);
    }
    Ok(ExitCode::from(highest))
}

/// The daemon that an operand names.
pub fn named(call: &Call, operand: &OsStr) -> Result<Named, Failure> {
    let Some(name) = operand.to_str().filter(|name| is_name(name)) else {
        return Err(no_name(call, operand));
    };
    let places = places_of(name, call.value(PID_FILE_PATH), Kind::Library)?;
    Ok(Named { name: name.to_owned(), places })
}

/// Where a daemon of this name may be, the place of a start first: in the directory that was given, else in the
/// service's own, else in those that the caller has in any environment.
pub fn places_of(name: &str, dir: Option<&OsStr>, kind: Kind) -> Result<Vec<Candidate>, Failure> {
    let in_dir = |dir: PathBuf, variable: Option<&str>| {
        let place = Place { dir, name: name.to_owned(), private: false };
        vec![Candidate { place, variable: variable.map(str::to_owned) }]
    };
    if let Some(dir) = dir {
        return directory(dir).map(|dir| in_dir(dir, None));
    }
    if let Some(dir) = variable(RUNTIME_DIRECTORY).and_then(first).filter(|_| owns_variables()) {
        return Ok(in_dir(dir, Some(RUNTIME_DIRECTORY)));
    }
    Ok(match kind {
        Kind::Library => places::defaults(name, session()),
        Kind::Foreign => places::of_foreign(name, session()),
    })
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The directory of the caller's session.
pub fn session() -> Option<PathBuf> {
    variable("XDG_RUNTIME_DIR").map(PathBuf::from)
}

const RUNTIME_DIRECTORY: &str = "RUNTIME_DIRECTORY";

/// The directory that `--pid-file-path` names, from the working directory on.
pub fn directory(given: &OsStr) -> Result<PathBuf, Failure> {
    let refused = |why| Failure::new(USAGE, format!("`--{PID_FILE_PATH}` {why}"));
    if given.is_empty() {
        return Err(refused("is empty: give a directory".to_owned()));
    }
    std::path::absolute(given).map_err(|error| {
        refused(format!(
            "is '{}', and the working directory is not known: {error}",
            given.display()
        ))
    })
}

/// For a unit with several directories systemd gives a list (systemd.exec(5)). The first is the service's own.
fn first(list: OsString) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let first = list.as_bytes().split(|byte| *byte == b':').next()?;
    Some(PathBuf::from(OsStr::from_bytes(first))).filter(|dir| dir.is_absolute())
}

/// Whether the variables about a service were set for this very process, or by hand; as `ownsVariables` in
/// ts/manager/detect.ts.
fn owns_variables() -> bool {
    let started = std::env::var("SYSTEMD_EXEC_PID").ok();
    if started.is_none() && std::env::var_os("INVOCATION_ID").is_none() {
        return true;
    }
    match started {
        Some(pid) => pid == std::process::id().to_string(),
        None => own::name_of_parent().as_deref() == Some("systemd") && own::leads_session(),
    }
}

/// Why an operand is no name, and what was meant.
fn no_name(call: &Call, operand: &OsStr) -> Failure {
    let shown = operand.to_string_lossy();
    let why = if operand.is_empty() {
        "it is empty".to_owned()
    } else if operand.to_str().is_none() {
        "it is not UTF-8".to_owned()
    } else if shown.chars().any(char::is_control) {
        "it has control characters".to_owned()
    } else if let Some(meant) = of_path(Path::new(operand)) {
        format!("it is a path. Did you mean `tsdaemonize {} {meant}`?", call.verb.name)
    } else if shown.len() > LONGEST_NAME && !shown.contains('/') {
        format!("it is longer than {LONGEST_NAME} bytes")
    } else {
        "it is a path. `tsdaemonize list` shows the names of those that run".to_owned()
    };
    Failure::new(USAGE, format!("'{}' is no daemon's name: {why}", shown.escape_debug()))
}

/// What somebody means who gives a path: a pidfile, or a program.
fn of_path(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (name, dir) = match file.strip_suffix(".pid") {
        Some(name) => (name, path.parent().filter(|dir| dir.is_absolute())),
        None => (file, None),
    };
    is_name(name).then(|| match dir {
        Some(dir) => format!("--{PID_FILE_PATH} {} {name}", dir.display()),
        None => name.to_owned(),
    })
}
