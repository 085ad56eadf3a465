//! What this process is: its threads, its parent, its command line, and its orphans; and what takes its place.

use std::path::Path;

use napi::Env;
use napi_derive::napi;

use tsdaemonize_core::error::{Code, Error, Result};
use tsdaemonize_core::process::{orphans, own, replace};
use tsdaemonize_core::start::arguments::{self, Command};
use tsdaemonize_core::sys;

use crate::error::thrown;

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

/// A program takes the place of this process (execve(2)). The last of `argv` are this process's own arguments.
/// Returns only by an error.
#[napi(catch_unwind)]
pub fn execute(env: &Env, file: String, argv: Vec<String>) -> napi::Result<()> {
    replaced(file, argv).map_err(|error| thrown(env, error))
}

fn replaced(file: String, argv: Vec<String>) -> Result<()> {
    let path = file.clone();
    let command = Command { file, argv, own_arguments: true, env: Vec::new(), own_env: false };
    let program = command.into_bytes()?;
    let errno = replace::replace(&program.file, &program.argv) as i32;
    let what = format!("Cannot execute {path}");
    Err(Error::os(Code::Unsupported, what, "execve", errno).at(Path::new(&path)))
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
