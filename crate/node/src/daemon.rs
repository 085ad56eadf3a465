//! This process as a daemon: the stages of its life, its signals and its end.

use napi::Env;
use napi::bindgen_prelude::Object;
use napi_derive::napi;

use tsdaemonize_core::daemon::{self, BLOCKED_LOOP, LIFE, Settings, signals};

use crate::error::thrown;
use crate::instance::{NativePlace, candidates};
use crate::millis;
use crate::promise::in_thread;

/// In the daemon: takes the hand-over. Returns what the launcher says, as JSON, or null.
#[napi(catch_unwind)]
pub fn take_over() -> Option<String> {
    LIFE.take_over()
}

/// From now on these signals wait until JavaScript listens to them.
#[napi(catch_unwind)]
pub fn hold_signals(held: Vec<String>) {
    signals::hold(&held.iter().map(|signal| signals::number(signal)).collect::<Vec<_>>());
}

/// For Deno: from now on this process ignores SIGUSR1.
#[napi(catch_unwind)]
pub fn ignore_sigusr1() {
    signals::ignore_sigusr1();
}

/// In the daemon: takes the locked pidfile, which is in the first place.
#[napi(catch_unwind)]
pub fn inherit_pidfile(env: &Env, places: Vec<NativePlace>) -> napi::Result<()> {
    LIFE.inherit_pidfile(&candidates(places)).map_err(|error| thrown(env, error))
}

/// Attached: opens and locks the pidfile in the first place.
#[napi(catch_unwind)]
pub fn acquire_pidfile(env: &Env, places: Vec<NativePlace>) -> napi::Result<()> {
    LIFE.acquire_pidfile(&candidates(places)).map_err(|error| thrown(env, error))
}

/// Attached: writes the state file beside the pidfile, if there is one.
#[napi(catch_unwind)]
pub fn write_state(env: &Env, state: String) -> napi::Result<()> {
    let written = LIFE.with_pidfile(|pidfile| pidfile.write_state(&state));
    written.unwrap_or(Ok(())).map_err(|error| thrown(env, error))
}

/// In the daemon: tells the launcher why there will be no daemon.
#[napi(catch_unwind)]
pub fn report_failure(report: String) {
    LIFE.report_failure(&report);
}

/// In the daemon: says "ready"; resolves with whether the launcher said "go" within `timeout` ms. If
/// not, the way out has begun, for at most `stop_timeout` ms. `supervise`: a supervisor is to stay beside it. `state` is
/// what its state file is to say, as JSON.
#[napi(catch_unwind, ts_return_type = "Promise<boolean>")]
pub fn ready(
    env: &Env,
    timeout: f64,
    stop_timeout: f64,
    supervise: Option<bool>,
    state: Option<String>,
) -> napi::Result<Object<'_>> {
    daemon::outlive_guardian();
    // The thread first: where there can be none, the launcher must be told so instead of "ready".
    in_thread(env, "ready", move || {
        Ok(daemon::ready(millis(timeout), millis(stop_timeout), supervise.unwrap_or(false), state))
    })
}

/// From now on the pidfile is put back when it is removed. Attached, it is marked as ready first.
#[napi(catch_unwind)]
pub fn watch_pidfile(attached: bool) {
    daemon::watch_pidfile(attached);
}

/// Starts the thread that ends a daemon whose event loop is blocked.
#[napi(catch_unwind)]
pub fn blocked_loop_start(
    env: &Env,
    name: String,
    blocked_timeout: f64,
    attached: bool,
    stderr: bool,
) -> napi::Result<()> {
    let settings = Settings { name, blocked: millis(blocked_timeout), attached, stderr };
    daemon::begin(settings).map_err(|error| thrown(env, error))
}

/// Puts that thread's signal handler in front of libuv's, and lets the signals through in this thread: those
/// that came during the boot, too.
#[napi(catch_unwind)]
pub fn blocked_loop_chain() {
    daemon::let_signals_in();
}

/// JavaScript has taken this signal.
#[napi(catch_unwind)]
pub fn blocked_loop_taken(signal: String) {
    BLOCKED_LOOP.taken(signals::number(&signal));
}

/// The way out has begun: because of this signal, if any, and for at most `limit` ms.
#[napi(catch_unwind)]
pub fn blocked_loop_leaving(signal: Option<String>, limit: f64) {
    BLOCKED_LOOP.leaving(signal.map_or(0, |signal| signals::number(&signal)), millis(limit));
}

/// What atexit(3) does in other runtimes: Bun ends without its handlers.
#[napi(catch_unwind)]
pub fn finish() {
    LIFE.finish();
}

/// Removes the pidfile and ends the process at once.
#[napi]
pub fn exit_now(status: i32) {
    LIFE.exit_now(status)
}

/// Logs how long the daemon ran, that it ends with this status, and why. The first call counts.
#[napi(catch_unwind)]
pub fn farewell(status: i32, why: String) {
    LIFE.say_farewell(status, &why);
}
