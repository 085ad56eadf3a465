//! Other processes' daemons: where they are, what is known of them, and signals to them.

use std::path::PathBuf;

use napi::Env;
use napi::bindgen_prelude::Object;
use napi_derive::napi;

use tsdaemonize_core::instance::Info;
use tsdaemonize_core::instance::places::{self, Candidate};
use tsdaemonize_core::pidfile::{Place, State};

use crate::millis;
use crate::promise::in_thread;

/// Where a pidfile is kept.
#[napi(object)]
pub struct NativePlace {
    /// The directory.
    pub dir: String,
    /// The daemon's name.
    pub name: String,
    /// The directory is our own in /tmp.
    pub private: bool,
    /// The variable that names the directory.
    pub variable: Option<String>,
}

impl From<NativePlace> for Candidate {
    fn from(native: NativePlace) -> Self {
        let NativePlace { dir, name, private, variable } = native;
        Self { place: Place { dir: PathBuf::from(dir), name, private }, variable }
    }
}

impl From<Candidate> for NativePlace {
    fn from(Candidate { place, variable }: Candidate) -> Self {
        let dir = place.dir.to_string_lossy().into_owned();
        Self { dir, name: place.name, private: place.private, variable }
    }
}

/// The places as the core has them.
pub fn candidates(places: Vec<NativePlace>) -> Vec<Candidate> {
    places.into_iter().map(Candidate::from).collect()
}

/// The caller's places for a daemon of this name where nobody has named one, the one of a start first.
/// `session` is `$XDG_RUNTIME_DIR`.
#[napi(catch_unwind)]
pub fn default_places(name: String, session: Option<String>) -> Vec<NativePlace> {
    let found = places::defaults(&name, session.map(PathBuf::from));
    found.into_iter().map(NativePlace::from).collect()
}

/// Which of the places has the daemon at this moment; 0 where none has it.
#[napi(catch_unwind)]
pub fn current_place(places: Vec<NativePlace>) -> u32 {
    u32::try_from(places::current(&candidates(places))).unwrap_or(0)
}

/// A daemon of the same name that is another one.
#[napi(object)]
pub struct NativeNamesake {
    /// Its pidfile.
    pub path: String,
    /// Its pid.
    pub pid: i32,
    /// The name of the user as whom it runs.
    pub user: String,
}

/// The daemons of this name that run in other places than those that were looked at.
#[napi(catch_unwind, ts_return_type = "Promise<NativeNamesake[]>")]
pub fn elsewhere(
    env: &Env,
    name: String,
    looked: Vec<NativePlace>,
    defaults: Vec<NativePlace>,
) -> napi::Result<Object<'_>> {
    in_thread(env, "elsewhere", move || {
        let found = places::elsewhere(&name, &candidates(looked), &candidates(defaults));
        let found = found.into_iter().map(|namesake| NativeNamesake {
            path: namesake.path.to_string_lossy().into_owned(),
            pid: namesake.pid,
            user: namesake.user,
        });
        Ok(found.collect::<Vec<_>>())
    })
}

/// Waits for a process that still holds the pidfile and is being killed; resolves with whether another
/// start may do better.
#[napi(catch_unwind, ts_return_type = "Promise<boolean>")]
pub fn await_release(env: &Env, places: Vec<NativePlace>) -> napi::Result<Object<'_>> {
    in_thread(env, "release", move || places::await_release(&candidates(places)))
}

/// What is known of a daemon; what cannot be seen is left out. `stale`: a pidfile with content was left.
/// `startedAt` is in milliseconds since the epoch, `user` the effective user, `rss` in bytes, `supervisor` a pid, and
/// `stateFile` what the state file says.
#[napi(discriminant = "state", discriminant_case = "lowercase", object_from_js = false)]
#[allow(missing_docs, reason = "napi writes a field's comment behind the field before")]
pub enum NativeStatus {
    Stopped {
        stale: bool,
        state_file: Option<String>,
    },
    Starting {
        pid: Option<i32>,
    },
    Running {
        pid: Option<i32>,
        started_at: Option<f64>,
        user: Option<String>,
        rss: Option<f64>,
        supervisor: Option<i32>,
        unsupervised: bool,
        state_file: Option<String>,
    },
}

impl From<(State, Info)> for NativeStatus {
    fn from((state, info): (State, Info)) -> Self {
        match state {
            State::Stopped { stale } => Self::Stopped { stale, state_file: info.state },
            State::Starting { pid } => Self::Starting { pid },
            State::Running { pid } => {
                let Info { started_at, user, rss, supervisor, unsupervised, state: state_file } =
                    info;
                Self::Running { pid, started_at, user, rss, supervisor, unsupervised, state_file }
            }
        }
    }
}

/// Looks at the pidfiles and at the process that holds one.
#[napi(catch_unwind, ts_return_type = "Promise<NativeStatus>")]
pub fn status(env: &Env, places: Vec<NativePlace>) -> napi::Result<Object<'_>> {
    in_thread(env, "status", move || places::status(&candidates(places)).map(NativeStatus::from))
}

/// What the state file says of the daemon that holds a pidfile.
#[napi(catch_unwind)]
pub fn state_file(places: Vec<NativePlace>) -> Option<String> {
    places::state(&candidates(places))
}

/// How a daemon was stopped.
#[napi(object)]
pub struct NativeStopped {
    /// Its pid.
    pub pid: i32,
    /// It had to be killed.
    pub killed: bool,
}

/// SIGTERM, after `patience` ms SIGKILL; resolves when the process has ended, with null where none
/// was running.
#[napi(catch_unwind, ts_return_type = "Promise<NativeStopped | null>")]
pub fn stop(env: &Env, places: Vec<NativePlace>, patience: f64) -> napi::Result<Object<'_>> {
    in_thread(env, "stop", move || {
        let stopped = places::stop(&candidates(places), millis(patience))?;
        Ok(stopped.map(|s| NativeStopped { pid: s.pid, killed: s.killed }))
    })
}

/// Sends a signal to the daemon that runs; resolves with whether one does.
#[napi(catch_unwind, ts_return_type = "Promise<boolean>")]
pub fn kill(env: &Env, places: Vec<NativePlace>, signal: i32) -> napi::Result<Object<'_>> {
    in_thread(env, "kill", move || places::kill(&candidates(places), signal))
}
