//! The native half of tsdaemonize: what a UNIX daemon needs from the system and Node does not have.
//!
//! The rooms follow the life of a daemon. A launcher takes the [`pidfile`], prepares everything and
//! forks ([`launch`]); the children make their few calls and exec a fresh Node ([`fork`]), which
//! takes the hand-over ([`takeover`]), drops its [`privileges`], and lives with a [`guard`] beside
//! its event loop and [`syslog`] behind it. Others see it through [`process`].
//!
//! This file alone knows napi. Every function here turns JavaScript values into the core's and
//! back, and nothing else; a panic becomes a JavaScript error.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use napi::Env;
use napi::bindgen_prelude::{Buffer, JsObjectValue, JsValue, Object, ToNapiValue, Unknown};
use napi_derive::napi;

use tsdaemonize_core::daemon::{at_exit, blocked_loop, farewell, held_signals};
use tsdaemonize_core::error::{self, Code, Error};
use tsdaemonize_core::instance::places::{self, Candidate};
use tsdaemonize_core::manager::notify;
use tsdaemonize_core::output::{log_file, standard, to_syslog};
use tsdaemonize_core::pidfile::{Place, State};
use tsdaemonize_core::process::{orphans, own};
use tsdaemonize_core::start::arguments::{self, Command};
use tsdaemonize_core::start::hand_over::{self as handing, Answer, HandOver};
use tsdaemonize_core::start::{self, Failure, Outcome, Plan};
use tsdaemonize_core::syslog::Transport;
use tsdaemonize_core::{privileges, sys, syslog, thread};

/// The hand-over, from the take-over at import until "go".
static HAND_OVER: Mutex<Option<HandOver>> = Mutex::new(None);

fn hand_over() -> std::sync::MutexGuard<'static, Option<HandOver>> {
    HAND_OVER.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Throws a core error as an `Error` with the properties of a `DaemonError`.
fn thrown(env: &Env, error: Error) -> napi::Error {
    let build = || -> napi::Result<napi::Error> {
        let mut object = env.create_error(napi::Error::from_reason(error.message.clone()))?;
        object.set_named_property("code", error.code.as_str())?;
        if let Some(errno) = error.errno {
            object.set_named_property("errno", -errno)?;
            object.set_named_property("errnoCode", error::symbol(errno))?;
        }
        if let Some(syscall) = error.syscall {
            object.set_named_property("syscall", syscall)?;
        }
        if let Some(path) = error.path {
            object.set_named_property("path", path)?;
        }
        if let Some(pid) = error.pid {
            object.set_named_property("pid", pid)?;
        }
        Ok(napi::Error::from(object.into_unknown(env)?))
    };
    build().unwrap_or_else(|error| error)
}

/// A thread for one piece of blocking work, not one of libuv's four: a start may take half a minute.
/// It is there before the work begins, so that nothing is begun that nobody could wait for.
struct Helper(std::sync::mpsc::Sender<Box<dyn FnOnce() + Send>>);

impl Helper {
    fn start(env: &Env, name: &str) -> napi::Result<Self> {
        let (give, given) = std::sync::mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let spawned = thread::spawn(name, move || given.into_iter().for_each(|work| work()));
        spawned.map(|()| Self(give)).map_err(|errno| {
            let what = "Cannot start a thread";
            let error = Error::os(Code::StartFailed, what, "pthread_create", errno as i32);
            thrown(env, error.hint("Too many processes and threads (`ulimit -u`)"))
        })
    }

    /// Hands the thread its work, with which it ends.
    fn run<T: ToNapiValue + Send + 'static>(
        self,
        env: &Env,
        work: impl FnOnce() -> error::Result<T> + Send + 'static,
    ) -> napi::Result<Object<'_>> {
        let (deferred, promise) = env.create_deferred()?;
        let _ = self.0.send(Box::new(move || {
            // A panic (std has one for a closedir(3) that fails) must not leave the promise pending.
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            let result = result.unwrap_or_else(|_| {
                Err(Error::new(Code::StartFailed, "A thread of the native module has panicked"))
            });
            deferred.resolve(move |env| result.map_err(|error| thrown(&env, error)));
        }));
        Ok(promise)
    }
}

/// Runs blocking work on a thread of its own.
fn in_thread<'env, T: ToNapiValue + Send + 'static>(
    env: &'env Env,
    name: &str,
    work: impl FnOnce() -> error::Result<T> + Send + 'static,
) -> napi::Result<Object<'env>> {
    Helper::start(env, name)?.run(env, work)
}

fn millis(ms: f64) -> Duration {
    Duration::from_secs_f64((ms / 1e3).clamp(0.0, 1e9))
}

/// Where a pidfile is kept.
#[napi(object)]
pub struct NativePlace {
    /// The directory.
    pub dir: String,
    /// The daemon's name.
    pub name: String,
    /// Our own directory in /tmp.
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

fn candidates(places: Vec<NativePlace>) -> Vec<Candidate> {
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
    /// Whose it is.
    pub user: String,
}

/// The daemons of a name that run where nobody has looked.
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

/// What to start.
#[napi(object)]
pub struct NativePlan {
    /// The program.
    pub file: String,
    /// Its arguments, its own name first.
    pub argv: Vec<String>,
    /// The last of them are the last ones of this process.
    pub own_arguments: bool,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// They are this process's.
    pub own_env: bool,
    /// Where it starts, as bytes; left out, where the launcher is.
    pub cwd: Option<Buffer>,
    /// Where a daemon of the name may be; the pidfile goes into the first. None: no pidfile.
    pub places: Vec<NativePlace>,
    /// Descriptors that stay open.
    pub keep_fds: Vec<i32>,
    /// Milliseconds.
    pub timeout: f64,
    /// JSON for the daemon.
    pub hello: String,
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
    /// Its exit status.
    pub exit_code: Option<i32>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// A system call that failed before the exec.
    pub syscall: Option<String>,
    /// Its errno, negative.
    pub errno: Option<i32>,
    /// Its symbol.
    pub errno_code: Option<String>,
    /// The two as Node's own errors tell them.
    pub reason: Option<String>,
    /// What it printed.
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
            syscall: failure.step.map(|(name, _)| name.to_owned()),
            errno: failure.step.map(|(_, errno)| -errno),
            errno_code: failure.step.map(|(_, errno)| error::symbol(errno)),
            reason: failure.step.map(|(_, errno)| error::reason(errno)),
            stdout: outcome.stdout.into(),
            stderr: outcome.stderr.into(),
        }
    }
}

impl From<NativePlan> for Plan {
    fn from(native: NativePlan) -> Self {
        let NativePlan { file, argv, own_arguments, env, own_env, .. } = native;
        Self {
            command: Command { file, argv, own_arguments, env, own_env },
            cwd: native.cwd.map(Vec::from),
            places: candidates(native.places),
            keep_fds: native.keep_fds,
            timeout: millis(native.timeout),
            hello: native.hello,
        }
    }
}

/// Forks the daemon; resolves when it is ready, or when it is known why there is none.
#[napi(catch_unwind, ts_return_type = "Promise<NativeOutcome>")]
pub fn launch(env: &Env, plan: NativePlan) -> napi::Result<Object<'_>> {
    let helper = Helper::start(env, "launch")?;
    let launch = start::launch(plan.into()).map_err(|error| thrown(env, error))?;
    helper.run(env, move || Ok(NativeOutcome::from(launch.wait())))
}

/// Gives up the start that was begun last; its `launch` resolves when nothing of it is left.
#[napi(catch_unwind)]
pub fn cancel_launch() {
    start::cancel_latest();
}

/// Whether this is the process's main thread, where alone it can become a daemon.
#[napi(catch_unwind)]
pub fn is_main_thread() -> bool {
    sys::is_main_thread()
}

/// The name of the process that started this one, cut at 15 bytes; empty where it cannot be seen.
#[napi(catch_unwind)]
pub fn parent_name() -> String {
    own::name_of_parent().unwrap_or_default()
}

/// Whether this process leads its session.
#[napi(catch_unwind)]
pub fn leads_session() -> bool {
    nix::unistd::getsid(None) == Ok(nix::unistd::getpid())
}

/// The threads of this process without its main one.
#[napi(catch_unwind)]
pub fn other_threads() -> Vec<i32> {
    own::other_threads()
}

/// Of these threads, the ones that are not asleep.
#[napi(catch_unwind)]
pub fn awake_threads(mut among: Vec<i32>) -> Vec<i32> {
    among.retain(|&thread| own::is_awake(thread));
    among
}

/// In the daemon: takes the hand-over. What the launcher says, as JSON, or null.
#[napi(catch_unwind)]
pub fn take_over() -> Option<String> {
    let taken = handing::take()?;
    let hello = taken.hello.clone();
    *hand_over() = Some(taken);
    Some(hello)
}

/// Until JavaScript listens to these signals they wait.
#[napi(catch_unwind)]
pub fn hold_signals(signals: Vec<String>) {
    held_signals::hold(&signals.iter().map(|signal| number(signal)).collect::<Vec<_>>());
}

/// Whether a standard descriptor leads to a terminal that has hung up.
#[napi(catch_unwind)]
pub fn terminal_is_gone() -> bool {
    standard::terminal_is_gone()
}

/// In the daemon: the inherited pidfile is in the first place. Or, attached: opens and locks it there.
#[napi(catch_unwind)]
pub fn hold_pidfile(env: &Env, places: Vec<NativePlace>, inherited: bool) -> napi::Result<()> {
    let candidates = candidates(places);
    if inherited {
        if let (Some(hand_over), Some(own)) = (hand_over().as_mut(), candidates.first()) {
            let taken = hand_over.take_pidfile(own.place.clone());
            at_exit::set_pidfile(own.explain(taken).map_err(|error| thrown(env, error))?);
        }
        return Ok(());
    }
    let held = places::acquire(&candidates).and_then(|held| {
        let pid = nix::unistd::getpid().as_raw();
        let own = held.as_ref().zip(candidates.first());
        match own.map_or(Ok(()), |(pidfile, own)| own.explain(pidfile.write(pid))) {
            Ok(()) => Ok(held),
            Err(error) => {
                held.map(|pidfile| pidfile.remove());
                Err(error)
            }
        }
    });
    if let Some(pidfile) = held.map_err(|error| thrown(env, error))? {
        at_exit::set_pidfile(pidfile);
    }
    Ok(())
}

/// Waits for a process that still holds the pidfile and is being killed; resolves with whether another
/// start may do better.
#[napi(catch_unwind, ts_return_type = "Promise<boolean>")]
pub fn await_release(env: &Env, places: Vec<NativePlace>) -> napi::Result<Object<'_>> {
    in_thread(env, "release", move || places::await_release(&candidates(places)))
}

/// In the daemon: tells the launcher why there will be no daemon.
#[napi(catch_unwind)]
pub fn report_failure(report: String) {
    if let Some(hand_over) = hand_over().as_ref() {
        hand_over.fail(&report);
    }
}

/// In the daemon: says "ready"; resolves with whether the launcher said "go" within `timeout` ms. If
/// not, the way out has begun, for at most `stop_timeout` ms.
#[napi(catch_unwind, ts_return_type = "Promise<boolean>")]
pub fn ready(env: &Env, timeout: f64, stop_timeout: f64) -> napi::Result<Object<'_>> {
    handing::outlive_guardian();
    // The thread first: where there can be none, the launcher must be told so instead of "ready".
    in_thread(env, "ready", move || {
        // What goes wrong until "go" is still told to the launcher, by the other descriptor.
        let asked = hand_over().as_ref().and_then(HandOver::again);
        let asked = asked.filter(|hand_over| hand_over.ready().is_ok());
        let go = asked.is_some_and(|hand_over| hand_over.answer(millis(timeout)) == Answer::Go);
        drop(hand_over().take());
        if !go {
            at_exit::end_group();
            // Nobody else ends it now, should its event loop be blocked.
            blocked_loop::leaving(0, millis(stop_timeout));
        }
        Ok(go)
    })
}

/// Attached: the pidfile says "ready". From here on, attached or not, it is put back when removed.
#[napi(catch_unwind)]
pub fn keep_pidfile(attached: bool) {
    if attached {
        at_exit::with_pidfile(|pidfile| pidfile.ready().ok());
    }
    blocked_loop::keep_pidfile();
}

/// Starts the guard's thread.
#[napi(catch_unwind)]
pub fn guard_start(
    env: &Env,
    name: String,
    blocked_timeout: f64,
    attached: bool,
    stderr: bool,
) -> napi::Result<()> {
    standard::survive_file_size_limit();
    farewell::begin();
    blocked_loop::start(&name, millis(blocked_timeout), attached, stderr).map_err(|error| {
        let errno = error.raw_os_error().unwrap_or(0);
        let error = Error::os(Code::StartFailed, "Cannot start the guard", "pthread_create", errno);
        thrown(env, error)
    })
}

/// Puts the guard's handler in front of libuv's, and lets the signals through in this thread: those
/// that came during the boot, too.
#[napi(catch_unwind)]
pub fn guard_chain() {
    blocked_loop::chain();
    blocked_loop::unblock_signals();
    held_signals::send_again();
}

/// For Deno, which hides its own flags: the command line of this process.
#[napi(catch_unwind)]
pub fn command_line() -> Vec<String> {
    arguments::command_line().iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
}

/// For Deno: SIGUSR1 does nothing any more.
#[napi(catch_unwind)]
pub fn ignore_sigusr1() {
    blocked_loop::ignore_sigusr1();
}

/// JavaScript has taken this signal.
#[napi(catch_unwind)]
pub fn guard_taken(signal: String) {
    blocked_loop::taken(number(&signal));
}

/// The way out has begun: because of this signal, if any, and for at most `limit` ms.
#[napi(catch_unwind)]
pub fn guard_leaving(signal: Option<String>, limit: f64) {
    blocked_loop::leaving(signal.map_or(0, |signal| number(&signal)), millis(limit));
}

/// A signal's number; 0 for what is none.
fn number(signal: &str) -> i32 {
    signal.parse::<nix::sys::signal::Signal>().map_or(0, |signal| signal as i32)
}

/// What atexit(3) does in other runtimes: Bun ends without its handlers.
#[napi(catch_unwind)]
pub fn finish() {
    at_exit::finish();
}

/// Removes the pidfile and ends the process at once.
#[napi]
pub fn exit_now(status: i32) {
    let _ = std::panic::catch_unwind(|| {
        if farewell::has_begun() {
            farewell::say(status, "exitNow()");
            syslog::flush_last(HURRIED);
        }
    });
    at_exit::exit_now(status)
}

/// For the last line of one that does not wait.
const HURRIED: Duration = Duration::from_millis(100);

/// Logs how long the daemon ran, that it ends with this status, and why. The first call counts.
#[napi(catch_unwind)]
pub fn farewell(status: i32, why: String) {
    farewell::say(status, &why);
}

/// An open log file.
#[napi(object)]
pub struct NativeLog {
    /// A descriptor that is the caller's.
    pub fd: i32,
    /// It was not there before.
    pub made: bool,
}

/// Opens a log file, or /dev/null.
#[napi(catch_unwind)]
pub fn open_log(env: &Env, path: Option<String>) -> napi::Result<NativeLog> {
    use std::os::fd::IntoRawFd;
    let opened = match path {
        Some(path) => log_file::open(path.as_ref()),
        None => standard::null().map(|null| (null, false)),
    };
    let (fd, made) = opened.map_err(|error| thrown(env, error))?;
    Ok(NativeLog { fd: fd.into_raw_fd(), made })
}

/// Makes `fd` the process's descriptor `number`; `fd` is closed.
#[napi(catch_unwind)]
pub fn redirect(env: &Env, fd: i32, number: i32) -> napi::Result<()> {
    use std::os::fd::{FromRawFd, OwnedFd};
    // SAFETY: given by `open_log`, and not used by the caller afterwards.
    let from = unsafe { OwnedFd::from_raw_fd(fd) };
    standard::redirect(from.as_fd(), number).map_err(|error| {
        let errno = error.raw_os_error().unwrap_or(0);
        thrown(env, Error::os(Code::StartFailed, "Cannot redirect the output", "dup2", errno))
    })
}

/// What this process prints shall become syslog messages: what there must be for it.
#[napi(catch_unwind)]
pub fn streams_start(env: &Env, name: String) -> napi::Result<()> {
    to_syslog::start(&name).map_err(|(call, errno)| {
        if errno == libc::ENOTSUP {
            let message =
                "What a daemon prints can become syslog messages on Linux only: name a file";
            return thrown(env, Error::new(Code::Unsupported, message));
        }
        let what = "Cannot send what the daemon prints to syslog";
        let error = Error::os(Code::StartFailed, what, call, errno);
        thrown(env, error.hint("Too many processes, descriptors or pipes (`ulimit -u -n`)"))
    })
}

/// From here on what is written to this descriptor, 1 or 2, becomes syslog messages.
#[napi(catch_unwind)]
pub fn streams_redirect(env: &Env, number: i32) -> napi::Result<()> {
    to_syslog::redirect(number).map_err(|error| {
        let errno = error.raw_os_error().unwrap_or(0);
        thrown(env, Error::os(Code::StartFailed, "Cannot redirect the output", "dup2", errno))
    })
}

/// Writes what is behind a place in these bytes to this descriptor, 1 or 2, that becomes syslog messages:
/// all of it. How much that is.
#[napi(catch_unwind)]
pub fn streams_write(env: &Env, number: i32, bytes: &[u8], from: u32) -> napi::Result<u32> {
    let rest = bytes.get(from as usize..).unwrap_or(&[]);
    to_syslog::write(number, rest).map_err(|error| {
        let errno = error.raw_os_error().unwrap_or(0);
        thrown(
            env,
            Error::os(Code::StartFailed, "Cannot write what the daemon prints", "write", errno),
        )
    })?;
    Ok(rest.len() as u32)
}

/// What is known of a daemon.
#[napi(object)]
pub struct NativeStatus {
    /// `stopped`, `starting` or `running`.
    pub state: String,
    /// A pidfile with content was left.
    pub stale: bool,
    /// The pid.
    pub pid: Option<i32>,
    /// Milliseconds since the epoch; this and the next are left out where they cannot be seen.
    pub started_at: Option<f64>,
    /// The effective user.
    pub user: Option<String>,
    /// Bytes.
    pub rss: Option<f64>,
}

/// Looks at the pidfiles and at the process that holds one.
#[napi(catch_unwind, ts_return_type = "Promise<NativeStatus>")]
pub fn status(env: &Env, places: Vec<NativePlace>) -> napi::Result<Object<'_>> {
    in_thread(env, "status", move || {
        let (state, info) = places::status(&candidates(places))?;
        let (name, stale, pid) = match state {
            State::Stopped { stale } => ("stopped", stale, None),
            State::Starting { pid } => ("starting", false, pid),
            State::Running { pid } => ("running", false, pid),
        };
        Ok(NativeStatus {
            state: name.into(),
            stale,
            pid,
            started_at: info.started_at,
            user: info.user,
            rss: info.rss,
        })
    })
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

/// Whom to become.
#[napi(object)]
pub struct NativeWhom {
    /// The user's name or number.
    pub user: Option<String>,
    /// The group's name or number.
    pub group: Option<String>,
    /// The daemon's name.
    pub daemon_name: String,
    /// Descriptors of files that become theirs.
    pub files: Vec<i32>,
}

/// One capability.
#[napi(object)]
pub struct NativeCapability {
    /// `CAP_CHOWN` or another.
    pub name: String,
    /// Its number.
    pub bit: u32,
}

/// One limit of setrlimit(2); what is left out stays as it is.
#[napi(object)]
pub struct NativeLimit {
    /// `nofile` or another.
    pub name: String,
    /// A number, or Infinity.
    pub soft: Option<f64>,
    /// A number, or Infinity.
    pub hard: Option<f64>,
}

/// What stays within reach; a list that is left out restricts nothing.
#[napi(object)]
pub struct NativeLandlock {
    /// Paths.
    pub read: Option<Vec<String>>,
    /// Paths.
    pub write: Option<Vec<String>>,
    /// Paths.
    pub execute: Option<Vec<String>>,
    /// TCP ports.
    pub bind: Option<Vec<u16>>,
    /// TCP ports.
    pub connect: Option<Vec<u16>>,
    /// What the kernel lacks is a warning.
    pub best_effort: bool,
}

/// What is given up beside the ids.
#[napi(object)]
pub struct NativeConfinement {
    /// The new root directory.
    pub chroot: Option<String>,
    /// What is kept.
    pub capabilities: Option<Vec<NativeCapability>>,
    /// Left out: once privileges were dropped.
    pub no_new_privileges: Option<bool>,
    /// Limits.
    pub limits: Option<Vec<NativeLimit>>,
    /// The nice value.
    pub nice: Option<i32>,
    /// For the out-of-memory killer.
    pub oom_score_adjust: Option<i32>,
    /// What stays within reach.
    pub landlock: Option<NativeLandlock>,
}

impl From<NativeConfinement> for privileges::Confinement {
    fn from(native: NativeConfinement) -> Self {
        // A number of JavaScript's above the largest u64, Infinity that is, becomes that one.
        let limit = |l: NativeLimit| privileges::Limit {
            name: l.name,
            soft: l.soft.map(|n| n as u64),
            hard: l.hard.map(|n| n as u64),
        };
        let capability = |c: NativeCapability| privileges::Capability { name: c.name, bit: c.bit };
        let paths = |paths: Option<Vec<String>>| {
            paths.map(|paths| paths.into_iter().map(PathBuf::from).collect())
        };
        Self {
            chroot: native.chroot.map(PathBuf::from),
            capabilities: native.capabilities.map(|c| c.into_iter().map(capability).collect()),
            no_new_privileges: native.no_new_privileges,
            limits: native.limits.into_iter().flatten().map(limit).collect(),
            nice: native.nice,
            oom_score_adjust: native.oom_score_adjust,
            landlock: native.landlock.map(|landlock| privileges::Landlock {
                read: paths(landlock.read),
                write: paths(landlock.write),
                execute: paths(landlock.execute),
                bind: landlock.bind,
                connect: landlock.connect,
                best_effort: landlock.best_effort,
            }),
        }
    }
}

/// Who the process is after its privileges were dropped.
#[napi(object)]
pub struct NativeIdentity {
    /// The user's name, or its number.
    pub user: String,
    /// The user's id.
    pub uid: u32,
    /// The group's name, or its number.
    pub group: String,
    /// The group's id.
    pub gid: u32,
    /// The supplementary groups' ids.
    pub groups: Vec<u32>,
    /// The home directory.
    pub home: Option<String>,
    /// The login shell.
    pub shell: Option<String>,
}

/// What was done.
#[napi(object)]
pub struct NativeDropped {
    /// Who the process is now, where it had to become someone.
    pub identity: Option<NativeIdentity>,
    /// What was done differently from what was asked.
    pub warnings: Vec<String>,
}

/// Becomes the user and the group, gives up all else that was asked for, on every thread, and proves
/// it.
#[napi(catch_unwind)]
pub fn drop_privileges(
    env: &Env,
    whom: Option<NativeWhom>,
    confinement: NativeConfinement,
) -> napi::Result<NativeDropped> {
    let whom = whom.map(|whom| privileges::Whom {
        user: whom.user,
        group: whom.group,
        daemon_name: whom.daemon_name,
        files: whom.files,
    });
    to_syslog::retire();
    let dropped = privileges::drop(whom.as_ref(), &confinement.into());
    let revived = to_syslog::revive();
    let dropped = dropped.map_err(|e| {
        let mut error = Error::new(Code::Privileges, e.message);
        error.errno = e.errno;
        error.syscall = e.syscall;
        error.path = e.path;
        thrown(env, error)
    })?;
    revived.map_err(|errno| {
        let message = "Privileges were dropped, but the process that sends the daemon's last words \
                       cannot be started now";
        let error = Error::os(Code::Privileges, message, "clone", errno)
            .hint("Raise the limit `nproc`, or print to a file instead of 'syslog'");
        thrown(env, error)
    })?;
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let identity = |identity: privileges::Identity| NativeIdentity {
        user: identity.user,
        uid: identity.uid,
        group: identity.group,
        gid: identity.gid,
        groups: identity.groups,
        home: identity.home.map(text),
        shell: identity.shell.map(text),
    };
    Ok(NativeDropped { identity: dropped.identity.map(identity), warnings: dropped.warnings })
}

/// Where messages go.
#[napi(object)]
pub struct NativeTransport {
    /// `local`, `udp`, `tcp` or `journal`.
    pub kind: String,
    /// The socket of a local one.
    pub path: Option<String>,
    /// The host of a remote one.
    pub host: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// The SD-ID of fields.
    pub sd_id: Option<String>,
}

impl From<NativeTransport> for Transport {
    fn from(given: NativeTransport) -> Self {
        let path = |path: &str| PathBuf::from(given.path.as_deref().unwrap_or(path));
        let remote = || syslog::Remote {
            host: given.host.clone().unwrap_or_default(),
            port: given.port.unwrap_or(0),
            sd_id: given.sd_id.clone().unwrap_or_default(),
        };
        match given.kind.as_str() {
            "udp" => Self::Udp(remote()),
            "tcp" => Self::Tcp(remote()),
            "journal" => Self::Journal(path(syslog::journal::SOCKET)),
            _ => Self::Local(path(syslog::LOCAL_LOGGER)),
        }
    }
}

/// openlog(3), with the way to the logger, and whether stderr stands in where there is none.
#[napi(catch_unwind)]
pub fn syslog_open(
    ident: String,
    options: i32,
    facility: i32,
    transport: Option<NativeTransport>,
    attached: bool,
) {
    let transport = transport.map_or_else(Transport::default_here, Transport::from);
    at_exit::prepare();
    syslog::open(syslog::Config { ident, options, facility, transport, attached });
    to_syslog::set_destination();
}

/// Whether it was opened, in this thread or in another.
#[napi(catch_unwind)]
pub fn syslog_is_open() -> bool {
    syslog::is_open()
}

/// closelog(3).
#[napi(catch_unwind)]
pub fn syslog_close() {
    syslog::close();
}

/// setlogmask(3).
#[napi(catch_unwind)]
pub fn syslog_set_mask(mask: i32) -> i32 {
    let before = syslog::set_mask(mask);
    to_syslog::note_mask(syslog::set_mask(0));
    before
}

thread_local! {
    /// A message on its way from JavaScript to the queue.
    static MESSAGE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// syslog(3): into the queue.
#[napi(catch_unwind)]
pub fn syslog_log(priority: i32, #[napi(ts_arg_type = "string")] message: Unknown<'_>) {
    if syslog::is_let_through(priority) {
        with_text(message, syslog::longest(), |text| syslog::log(priority, text));
    }
}

/// The same with fields: a name, its value, a name, its value.
#[napi(catch_unwind)]
pub fn syslog_log_fields(
    priority: i32,
    #[napi(ts_arg_type = "string")] message: Unknown<'_>,
    fields: Vec<String>,
) {
    let pairs = fields.as_chunks::<2>().0.iter();
    let pairs = pairs.map(|[name, value]| (name.as_str(), value.as_str()));
    with_text(message, syslog::longest(), |text| syslog::log_fields(priority, text, pairs));
}

/// Calls with a JavaScript string as UTF-8, at most `longest` bytes of it. `String` would allocate
/// for every message; and the queue's lock is not held meanwhile: V8 may collect garbage here.
fn with_text(value: Unknown<'_>, longest: usize, f: impl FnOnce(&[u8])) {
    MESSAGE.with_borrow_mut(|buffer| {
        let mut room = longest.min(syslog::format::LONGEST);
        loop {
            // And a NUL; and where the next character does not fit, up to 3 bytes stay unused.
            buffer.clear();
            buffer.reserve(room + 1);
            let mut length = 0;
            let given = value.value();
            // SAFETY: the environment and the value are of the call that we are in; the buffer has room for the
            // `room + 1` bytes that may be written, and `length` of them were.
            unsafe {
                let at = buffer.as_mut_ptr().cast();
                napi::sys::napi_get_value_string_utf8(
                    given.env,
                    given.value,
                    at,
                    room + 1,
                    &mut length,
                );
                buffer.set_len(length.min(room));
            }
            if length + 4 <= room || room >= longest {
                break;
            }
            room = longest.min(room.saturating_mul(16));
        }
        f(buffer);
        buffer.clear();
        buffer.shrink_to(64 << 10);
    });
}

/// Resolves with whether all was sent within `timeout` ms; at the end of a process it hardly waits
/// for a logger that was never reached.
#[napi(catch_unwind, ts_return_type = "Promise<boolean>")]
pub fn syslog_flush(env: &Env, timeout: f64, last: bool) -> napi::Result<Object<'_>> {
    let flush = if last { at_exit::flush } else { syslog::flush };
    in_thread(env, "flush", move || Ok(flush(millis(timeout))))
}

/// Whether `syslogFlush` at the end of a process has nothing to wait for.
#[napi(catch_unwind)]
pub fn syslog_is_settled() -> bool {
    syslog::is_settled()
}

/// The socket of the local logger, where messages go there and nobody listens.
#[napi(catch_unwind)]
pub fn syslog_missing() -> Option<String> {
    syslog::missing().map(|path| path.display().to_string())
}

/// Whether what is written to stderr goes where messages go: to the journal.
#[napi(catch_unwind)]
pub fn syslog_reaches_stderr() -> bool {
    syslog::reaches_stderr()
}

/// What the queue is doing.
#[napi(object)]
pub struct NativeSyslogStats {
    /// The logger was reached when it was last tried.
    pub connected: bool,
    /// Messages that wait.
    pub queued: f64,
    /// Bytes of their text.
    pub queued_bytes: f64,
    /// Messages that were handed to the logger.
    pub sent: f64,
    /// Messages that the full queue did not take.
    pub dropped: f64,
}

/// What is sent, waits, and was dropped.
#[napi(catch_unwind)]
pub fn syslog_stats() -> NativeSyslogStats {
    let stats = syslog::stats();
    NativeSyslogStats {
        connected: stats.connected,
        queued: stats.queued as f64,
        queued_bytes: stats.queued_bytes as f64,
        sent: stats.sent as f64,
        dropped: stats.dropped as f64,
    }
}

/// Tells the service manager; returns why that failed, if it did.
#[napi(catch_unwind)]
pub fn notify(address: String, state: String) -> Option<String> {
    notify::notify(&address, &state).err().map(|errno| error::reason(errno as i32))
}

/// Keeps the way to the service manager open, for what is told after the root directory has become
/// another; returns why that failed, if it did.
#[napi(catch_unwind)]
pub fn notify_stay_in_touch(address: String) -> Option<String> {
    notify::stay_in_touch(&address).err().map(|errno| error::reason(errno as i32))
}

/// CLOCK_MONOTONIC in microseconds.
#[napi(catch_unwind)]
pub fn monotonic_usec() -> i64 {
    notify::monotonic_usec()
}

/// Notes which children of this process, PID 1, have ended and were not waited for.
#[napi(catch_unwind)]
pub fn suspect_orphans() {
    orphans::suspect_orphans();
}

/// Waits for those that are still there; whether there are others by now.
#[napi(catch_unwind)]
pub fn reap_suspects() -> bool {
    orphans::reap_suspects()
}
