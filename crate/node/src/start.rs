//! The launcher's side of a start.

use napi::Env;
use napi::bindgen_prelude::{Buffer, Object};
use napi_derive::napi;

use tsdaemonize_core::error::{self, Error};
use tsdaemonize_core::start::arguments::{Command, c_string};
use tsdaemonize_core::start::{self, Failure, Outcome, Plan, Supervision};

use crate::error::thrown;
use crate::instance::{NativePlace, candidates};
use crate::millis;
use crate::promise::Helper;

/// What to start.
#[napi(object)]
pub struct NativePlan {
    /// The program.
    pub file: String,
    /// Its arguments, its own name first.
    pub argv: Vec<String>,
    /// The last of `argv` are the arguments of this process.
    pub own_arguments: bool,
    /// Its environment: `NAME=value`.
    pub env: Vec<String>,
    /// `env` is the environment of this process.
    pub own_env: bool,
    /// The directory to start in, as bytes; the launcher's, where it is left out.
    pub cwd: Option<Buffer>,
    /// Where a daemon of the name may be; the pidfile goes into the first. None: no pidfile.
    pub places: Vec<NativePlace>,
    /// Descriptors that stay open.
    pub keep_fds: Vec<i32>,
    /// How many milliseconds it may take until it is ready.
    pub timeout: f64,
    /// What the daemon is to know, as JSON.
    pub hello: String,
    /// What the state file says beside what the daemon says itself, and rather than that: an object of JSON.
    pub state: Option<String>,
    /// What stays beside the daemon, where it asks for that.
    pub supervision: Option<NativeSupervision>,
}

/// What is to stay beside a daemon.
#[napi(object)]
pub struct NativeSupervision {
    /// The path of the executable `tsdaemonize`, as bytes.
    pub executable: Buffer,
    /// The daemon's name.
    pub name: String,
    /// What it is to know, as JSON in one line.
    pub plan: String,
}

impl TryFrom<NativeSupervision> for Supervision {
    type Error = Error;

    fn try_from(native: NativeSupervision) -> error::Result<Self> {
        Ok(Self {
            executable: c_string(native.executable.into())?,
            name: c_string(native.name.into_bytes())?,
            plan: native.plan.into_bytes(),
            extra: Vec::new(),
            foreign: false,
        })
    }
}

/// What became of a start.
#[napi(object, object_from_js = false)]
pub struct NativeOutcome {
    /// The daemon's pid; the rest tells why there is none.
    pub pid: Option<i32>,
    /// The daemon's own error, serialised.
    pub report: Option<String>,
    /// `startTimeout` passed.
    pub timed_out: bool,
    /// `cancelLaunch` gave it up.
    pub cancelled: bool,
    /// Another daemon took its place.
    pub supplanted: bool,
    /// The pid of the supervisor that stays beside it.
    pub supervisor: Option<i32>,
    /// It asked for a supervisor, and there is none: an errno, or 0 where the plan has none.
    pub unsupervised: Option<i32>,
    /// That errno in the words of Node's own errors.
    pub unsupervised_reason: Option<String>,
    /// The exit status of the daemon in the making.
    pub exit_code: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// A system call that failed before the exec.
    pub syscall: Option<String>,
    /// The errno of that call, negative.
    pub errno: Option<i32>,
    /// The symbol of that errno.
    pub errno_code: Option<String>,
    /// That errno in the words of Node's own errors.
    pub reason: Option<String>,
    /// What it printed to standard output.
    pub stdout: Buffer,
    /// What it printed to standard error.
    pub stderr: Buffer,
}

impl From<Outcome> for NativeOutcome {
    fn from(outcome: Outcome) -> Self {
        let (pid, failure) = match outcome.result {
            Ok(pid) => (Some(pid), Failure::default()),
            Err(failure) => (None, failure),
        };
        Self {
            pid,
            exit_code: failure.exit_code(),
            signal: failure.signal(),
            report: failure.report,
            timed_out: failure.timed_out,
            cancelled: failure.cancelled,
            supplanted: failure.supplanted,
            supervisor: outcome.supervisor,
            unsupervised: failure.unsupervised,
            unsupervised_reason: failure
                .unsupervised
                .filter(|&errno| errno != 0)
                .map(error::reason),
            syscall: failure.step.map(|(name, _)| name.to_owned()),
            errno: failure.step.map(|(_, errno)| -errno),
            errno_code: failure.step.map(|(_, errno)| error::symbol(errno)),
            reason: failure.step.map(|(_, errno)| error::reason(errno)),
            stdout: outcome.stdout.into(),
            stderr: outcome.stderr.into(),
        }
    }
}

impl TryFrom<NativePlan> for Plan {
    type Error = Error;

    fn try_from(native: NativePlan) -> error::Result<Self> {
        let NativePlan { file, argv, own_arguments, env, own_env, .. } = native;
        Ok(Self {
            executable: Command { file, argv, own_arguments, env, own_env }.into_bytes()?,
            cwd: native.cwd.map(|cwd| c_string(cwd.into())).transpose()?,
            places: candidates(native.places),
            keep_fds: native.keep_fds,
            timeout: millis(native.timeout),
            nameless: false,
            hello: native.hello,
            state: native.state,
            supervision: native.supervision.map(Supervision::try_from).transpose()?,
        })
    }
}

/// Forks the daemon; resolves when it is ready, or when it is known why there is none.
#[napi(catch_unwind, ts_return_type = "Promise<NativeOutcome>")]
pub fn launch(env: &Env, plan: NativePlan) -> napi::Result<Object<'_>> {
    let helper = Helper::start(env, "launch")?;
    let launch = Plan::try_from(plan).and_then(start::launch);
    let launch = launch.map_err(|error| thrown(env, error))?;
    helper.run(env, move || Ok(NativeOutcome::from(launch.wait())))
}

/// Gives up the start that was begun last; its `launch` resolves when nothing of it is left.
#[napi(catch_unwind)]
pub fn cancel_launch() {
    start::cancel_latest();
}
