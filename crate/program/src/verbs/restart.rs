//! `restart`: the end of daemons, and their start in the same way. How that was is known of a foreign program by its
//! supervisor's plan, and of one that has the library by its state file; its environment is the caller's, as that of the
//! library's own `restart`. Where it is not known, nothing is stopped.
//!
//! Nothing comes from the daemon's own process: one that has dropped root can change what /proc shows of it, and root
//! would execute that.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, chdir, execve, fork};
use serde_json::{Value, json};
use tsdaemonize_core::error::{Error, reason};
use tsdaemonize_core::instance::places;
use tsdaemonize_core::pidfile::{State, state_path};
use tsdaemonize_core::process::lock_holder::Process;
use tsdaemonize_core::sys;

use super::stop::stop;
use crate::command_line::Call;
use crate::error::{DONE, FAILED, Failure};
use crate::launching::{self, Interrupts};
use crate::names::{self, Named};
use crate::output;
use crate::plan::{Ready, START_TIMEOUT, Start, is_own};
use crate::words::{not_running, stranger};

/// The descriptor of a supervisor's plan.
const PLAN: i32 = 5;

/// How a daemon is started again.
enum Again {
    /// By a command line of this executable.
    Called { arguments: Vec<OsString>, cwd: PathBuf, env: Vec<(OsString, OsString)> },
    /// By a script that takes the hand-over.
    HandedOver { start: Box<Start>, cwd: PathBuf, hello: Value },
}

/// Runs the verb.
pub fn run(call: &Call) -> Result<ExitCode, Failure> {
    names::each(call, |named| {
        let again = how(named)?;
        stop(named)?;
        again.start(&named.name)
    })
}

/// How the daemon that runs was started.
fn how(named: &Named) -> Result<Again, Failure> {
    let (state, info) = places::status(&named.places)?;
    let State::Running { .. } = state else {
        if matches!(state, State::Starting { .. }) {
            let message = format!("The daemon '{}' is starting. Nothing was stopped", named.name);
            return Err(Failure::new(FAILED, message));
        }
        let subject = format!("The daemon '{}'", named.name);
        let none = || not_running(&subject, named).join(". ");
        return Err(stranger(named).unwrap_or_else(|| Failure::new(FAILED, none())));
    };
    let unknown = |why: &str| {
        Failure::new(
            FAILED,
            format!(
                "The daemon '{}' cannot be started again in the same way: {why}. Nothing was stopped. Stop it, and \
                 start it as it was started",
                named.name
            ),
        )
    };
    let state: Value =
        info.state.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let mut places = named.places.clone();
    places.swap(0, places::current(&named.places));
    let plan = info.supervisor.map(plan).unwrap_or_default();
    let Some(place) = places.first().map(|candidate| &candidate.place) else {
        return Err(unknown("it has no pidfile"));
    };
    if !is_trusted(&place.path()) || plan.is_null() && !is_trusted(&state_path(place)) {
        return Err(unknown("it is another user's, as whom it must be started"));
    }
    if let Some(again) = called(&plan["again"]) {
        return Ok(again);
    }
    let said = |key: &str| if plan[key].is_null() { &state[key] } else { &plan[key] };
    let (Some(argv), Some(cwd)) = (texts(said("program")), said("cwd").as_str()) else {
        return Err(unknown("it was not written down how it was started"));
    };
    let env = std::env::vars_os().filter(|(name, _)| !is_own(name)).collect();
    let Some(file) = argv.first().map(PathBuf::from).filter(|path| path.is_absolute()) else {
        return Err(unknown("what runs it is not known"));
    };
    let mut hello = json!({
        "name": named.name,
        "place": launching::place(&places[0]),
        "isPartOfService": false,
        "startTimeout": launching::millis(START_TIMEOUT),
        "isShown": true,
        "earlier": [],
    });
    if state["options"].is_object() {
        hello["options"] = state["options"].clone();
    }
    let start = Start {
        name: named.name.clone(),
        is_named: false,
        places,
        pid_file_path: None,
        file,
        argv,
        env,
        user: None,
        group: None,
        cwd: None,
        umask: None,
        outputs: [None, None],
        start_timeout: START_TIMEOUT,
        stop_timeout: None,
        ready: Ready::HandOver,
    };
    Ok(Again::HandedOver { start: Box::new(start), cwd: cwd.into(), hello })
}

/// A supervisor's plan. It is read by who may: root and the same user. One that runs as anybody else, be it by a
/// program that is set-user-ID, is no supervisor whose words count: a daemon that has dropped root may pose as one.
fn plan(supervisor: i32) -> Value {
    let trusted = [0, sys::effective_uid()];
    let seen = Process::open(supervisor).and_then(|process| process.seen().ok());
    if !seen.is_some_and(|seen| seen.runs_as_one_of(&trusted)) {
        return Value::Null;
    }
    let plan = fs::read(format!("/proc/{supervisor}/fd/{PLAN}")).unwrap_or_default();
    let line = plan.split(|byte| *byte == b'\n').next().unwrap_or_default();
    serde_json::from_slice(line).unwrap_or_default()
}

/// What a plan says of the call that has started a foreign program.
fn called(again: &Value) -> Option<Again> {
    let env = bytes(&again["env"])?;
    Some(Again::Called {
        arguments: bytes(&again["arguments"])?.into_iter().map(OsString::from_vec).collect(),
        cwd: OsString::from_vec(latin(again["cwd"].as_str()?)?).into(),
        env: variables(env.iter().map(Vec::as_slice)),
    })
}

/// Strings in which each character is a byte.
fn bytes(value: &Value) -> Option<Vec<Vec<u8>>> {
    value.as_array()?.iter().map(|text| latin(text.as_str()?)).collect()
}

fn latin(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

fn texts(value: &Value) -> Option<Vec<OsString>> {
    let texts = value.as_array()?.iter().map(|text| text.as_str().map(OsString::from));
    texts.collect::<Option<Vec<_>>>().filter(|texts| !texts.is_empty())
}

fn variables<'a>(entries: impl Iterator<Item = &'a [u8]>) -> Vec<(OsString, OsString)> {
    let variable = |entry: &[u8]| {
        let end = entry.iter().position(|byte| *byte == b'=')?;
        let name = OsStr::from_bytes(entry.get(..end)?).to_owned();
        Some((name, OsStr::from_bytes(entry.get(end + 1..)?).to_owned()))
    };
    entries.filter_map(variable).filter(|(name, _)| !is_own(name)).collect()
}

/// Whether a file that says what to execute is root's or the caller's own.
fn is_trusted(path: &Path) -> bool {
    let own = [0, sys::effective_uid()];
    fs::symlink_metadata(path).is_ok_and(|file| own.contains(&file.uid()))
}

impl Again {
    fn start(self, name: &str) -> Result<u8, Failure> {
        match self {
            Self::Called { arguments, cwd, env } => by_call(name, arguments, &cwd, env),
            Self::HandedOver { start, cwd, hello } => {
                let mut interrupts = Interrupts::begin()?;
                let (_, printed) =
                    launching::hand_over(&start, Some(&cwd), &hello, &mut interrupts)?;
                printed.show();
                Ok(DONE)
            }
        }
    }
}

/// Calls this executable as it was called, in that directory and environment; returns its exit status.
fn by_call(
    name: &str,
    mut arguments: Vec<OsString>,
    cwd: &Path,
    env: Vec<(OsString, OsString)>,
) -> Result<u8, Failure> {
    // The name may have come from elsewhere. Of several the last one counts, and this one is the first.
    arguments.splice(1..1, ["--name".into(), name.into()]);
    let failed = |error: Error| {
        let why = &error.message;
        let message =
            format!("The daemon '{name}' was stopped, and cannot be started again: {why}");
        Failure { message, ..Failure::from(error) }
    };
    let argv = std::iter::once("tsdaemonize".into()).chain(arguments).collect();
    let argv = launching::c_strings(argv).map_err(failed)?;
    let env = launching::c_strings(launching::variables(&env)).map_err(failed)?;
    let file = launching::own_executable()?;
    // SAFETY: this process has one thread.
    match unsafe { fork() }.map_err(|errno| failed(Error::call("fork", errno as i32)))? {
        ForkResult::Child => {
            let Err(errno) = chdir(cwd).and_then(|()| execve(&file, &argv, &env));
            let (cwd, why) = (cwd.display(), reason(errno as i32));
            output::tell(&format!("{name}: Cannot be started again in '{cwd}': {why}"));
            // SAFETY: ends this copy of the process, in which nothing is left to do.
            unsafe { libc::_exit(i32::from(FAILED)) }
        }
        ForkResult::Parent { child } => match sys::again(|| waitpid(child, None)) {
            Ok(WaitStatus::Exited(_, status)) => Ok(u8::try_from(status).unwrap_or(FAILED)),
            _ => Ok(FAILED),
        },
    }
}
