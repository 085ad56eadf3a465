//! A start, from what was asked for to a running daemon, or to the reason why there is none.

use std::ffi::{CString, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Map, Value, json};
use tsdaemonize_core::error::{Code, Error, Result as CoreResult};
use tsdaemonize_core::instance::places::{self, Candidate};
use tsdaemonize_core::start::arguments::{Executable, c_string};
use tsdaemonize_core::start::{self, Launch, Look, Plan, Readiness, Supervision};
use tsdaemonize_core::sys::Signals;

use crate::error::{FAILED, Failure};
use crate::failed::{self, Printed, signal_name};
use crate::foreign;
use crate::plan::{Ready, Start};

/// Starts the daemon; returns its pid, and what it printed while it started. `is_shown`: somebody will see that.
pub fn launch(start: &Start, is_shown: bool) -> Result<(i32, Printed), Failure> {
    let mut interrupts = Interrupts::begin()?;
    let started = match start.ready {
        Ready::HandOver => hand_over(start, None, &hello(start, is_shown), &mut interrupts),
        _ => foreign::start(start, &mut interrupts),
    };
    if let (Err(failure), Some(signal)) = (&started, interrupts.by) {
        die_by(signal, failure, &start.name);
    }
    started
}

/// What a script is told that takes the hand-over, as `Hello` in ts/process/handover.ts.
fn hello(start: &Start, is_shown: bool) -> Value {
    let mut hello = json!({
        "place": null,
        "isPartOfService": false,
        "startTimeout": millis(start.start_timeout),
        "isShown": is_shown,
        "earlier": [],
        "options": options(start),
    });
    // Else the script's Daemon gives its own name and place.
    if start.is_named {
        hello["name"] = json!(start.name);
        hello["place"] = json!(start.places.first().map(place));
    }
    hello
}

/// Starts a script that takes the hand-over, in this directory, or in the caller's.
pub fn hand_over(
    start: &Start,
    from: Option<&Path>,
    hello: &Value,
    interrupts: &mut Interrupts,
) -> Result<(i32, Printed), Failure> {
    let cwd = from.map(|dir| c_string(dir.as_os_str().as_bytes().to_vec())).transpose()?;
    // The script gives a name of its own, and its pidfile a place.
    let nameless = hello["name"].is_null();
    let launched = begin(&start.places, || {
        Ok(Plan {
            executable: executable(start)?,
            cwd: cwd.clone(),
            places: if nameless { Vec::new() } else { start.places.clone() },
            keep_fds: Vec::new(),
            timeout: start.start_timeout,
            nameless,
            hello: hello.to_string(),
            state: Some(known(start, from, hello).to_string()),
            supervision: Some(supervision(start, from, hello)?),
        })
    })?;
    failed::outcome(start, launched.wait_for(interrupts), Printed::default())
}

/// What the launcher knows of the daemon, in its state file: a daemon that has dropped its privileges does not say what
/// a `restart` executes.
fn known(start: &Start, from: Option<&Path>, hello: &Value) -> Value {
    let cwd = from.map(Path::to_owned).or_else(|| std::env::current_dir().ok());
    let mut known = json!({
        "version": 1,
        "program": start.argv.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>(),
        "cwd": cwd.map(|dir| dir.to_string_lossy().into_owned()),
    });
    for key in ["name", "options"] {
        if !hello[key].is_null() {
            known[key] = hello[key].clone();
        }
    }
    known
}

/// What stays beside the Daemon of a script that asks for a supervisor, as `supervisionOf` in ts/launch/launch.ts.
fn supervision(start: &Start, from: Option<&Path>, hello: &Value) -> CoreResult<Supervision> {
    let place = start.places.first().map(|candidate| &candidate.place);
    let mut plan = known(start, from, hello);
    plan["package"] = json!(env!("CARGO_PKG_VERSION"));
    plan["kind"] = json!("library");
    plan["name"] = json!(start.name);
    plan["dir"] = json!(place.map(|place| place.dir.to_string_lossy()));
    plan["private"] = json!(place.is_some_and(|place| place.private));
    let executable =
        own_executable().map_err(|failure| Error::new(Code::Unsupported, failure.message))?;
    Ok(Supervision {
        executable,
        name: c_string(start.name.clone().into_bytes())?,
        plan: plan.to_string().into_bytes(),
        extra: Vec::new(),
        foreign: false,
    })
}

/// The path of this executable.
pub fn own_executable() -> Result<CString, Failure> {
    let path = std::env::current_exe()
        .map_err(|error| Failure::new(FAILED, format!("Cannot see where this file is: {error}")))?;
    Ok(c_string(path.into_os_string().into_vec())?)
}

/// Begins a start; once more, where a process that is being killed still held the pidfile, when it has let go.
pub fn begin(
    places: &[Candidate],
    mut plan: impl FnMut() -> CoreResult<Plan>,
) -> Result<Launch, Failure> {
    match plan().and_then(start::launch) {
        Err(error) if error.code == Code::AlreadyRunning && places::await_release(places)? => {
            Ok(plan().and_then(start::launch)?)
        }
        launched => Ok(launched?),
    }
}

/// What execve(2) is given.
fn executable(start: &Start) -> CoreResult<Executable> {
    Ok(Executable {
        file: c_string(start.file.clone().into_os_string().into_vec())?,
        argv: c_strings(start.argv.clone())?,
        env: c_strings(variables(&start.env))?,
    })
}

/// Strings as execve(2) takes them.
pub fn c_strings(strings: Vec<OsString>) -> CoreResult<Vec<CString>> {
    strings.into_iter().map(|text| c_string(text.into_vec())).collect()
}

/// Variables as execve(2) takes them.
pub fn variables(env: &[(OsString, OsString)]) -> Vec<OsString> {
    let joined = |(name, value): &(OsString, OsString)| {
        let mut text = name.clone();
        text.push("=");
        text.push(value);
        text
    };
    env.iter().map(joined).collect()
}

/// The options of the command line, which go before the script's own.
pub fn options(start: &Start) -> Value {
    let mut given = Map::new();
    let mut set = |option: &str, value: Option<Value>| {
        if let Some(value) = value {
            given.insert(option.to_owned(), value);
        }
    };
    let path = |path: &PathBuf| json!(path.to_string_lossy());
    set("name", start.is_named.then(|| json!(start.name)));
    set("pidFilePath", start.pid_file_path.as_ref().map(path));
    set("user", start.user.as_ref().map(|user| json!(user)));
    set("group", start.group.as_ref().map(|group| json!(group)));
    set("cwd", start.cwd.as_ref().map(path));
    set("umask", start.umask.map(|mask| json!(mask)));
    let [stdout, stderr] = &start.outputs;
    set("stdout", stdout.as_ref().map(|output| json!(output.shown())));
    set("stderr", stderr.as_ref().map(|output| json!(output.shown())));
    set("startTimeout", Some(json!(millis(start.start_timeout))));
    set("stopTimeout", start.stop_timeout.map(|time| json!(millis(time))));
    given.into()
}

/// A place as the native module has it.
pub fn place(Candidate { place, variable }: &Candidate) -> Value {
    let mut found = json!({
        "dir": place.dir.to_string_lossy(),
        "name": place.name,
        "private": place.private,
    });
    if let Some(variable) = variable {
        found["variable"] = json!(variable);
    }
    found
}

/// A duration as it stands in JSON.
pub fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The signals that come while a start is under way: they give it up.
#[derive(Debug)]
pub struct Interrupts {
    signals: Signals,
    by: Option<i32>,
}

impl Interrupts {
    /// From now on they wait here.
    pub fn begin() -> Result<Self, Failure> {
        Ok(Self { signals: Signals::block_all().map_err(Error::from)?, by: None })
    }

    /// To be polled.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.signals.descriptor()
    }

    /// Whether the start is given up, and why.
    pub fn look(&mut self) -> Look {
        while let Some(arrived) = self.signals.next() {
            match arrived.signal {
                libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT => {
                    self.by = Some(arrived.signal);
                    let signal = signal_name(arrived.signal);
                    return Look::Failed(format!(
                        "was not ready when {signal} interrupted its start, and was ended"
                    ));
                }
                // As without us; the guardian counts the time all the same.
                // SAFETY: stops this very process.
                libc::SIGTSTP => drop(unsafe { libc::raise(libc::SIGSTOP) }),
                _ => {}
            }
        }
        Look::NotYet
    }
}

impl Drop for Interrupts {
    /// Whatever comes now does what it would have done before.
    fn drop(&mut self) {
        let _ = self.signals.mask_before().set();
    }
}

impl Readiness for Interrupts {
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.descriptor()]
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn look(&mut self) -> Look {
        Self::look(self)
    }
}

/// Ends this process by the signal that has given up the start, so that a shell sees what happened.
fn die_by(signal: i32, failure: &Failure, name: &str) {
    crate::output::tell(&format!("{name}: {}", failure.message));
    // SAFETY: sets a default, and sends this process a signal that was sent to it.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
    let _ = tsdaemonize_core::sys::Mask::NONE.set();
    std::process::exit(i32::from(FAILED));
}
