//! What this process is: its threads, its parent, its command line, and its orphans.

use napi_derive::napi;

use tsdaemonize_core::process::{orphans, own};
use tsdaemonize_core::start::arguments;
use tsdaemonize_core::sys;

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
    own::leads_session()
}

/// The threads of this process without its main one.
#[napi(catch_unwind)]
pub fn other_threads() -> Vec<i32> {
    own::other_threads()
}

/// Those of these threads that are not asleep.
#[napi(catch_unwind)]
pub fn awake_threads(mut among: Vec<i32>) -> Vec<i32> {
    among.retain(|&thread| own::is_awake(thread));
    among
}

/// For Deno, which hides its own flags: the command line of this process.
#[napi(catch_unwind)]
pub fn command_line() -> Vec<String> {
    arguments::command_line().iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect()
}

/// Notes which children of this process, PID 1, have ended and were not waited for.
#[napi(catch_unwind)]
pub fn suspect_orphans() {
    orphans::suspect_orphans();
}

/// Waits for those of them that are still there. Returns whether there are others by now.
#[napi(catch_unwind)]
pub fn reap_suspects() -> bool {
    orphans::reap_suspects()
}
