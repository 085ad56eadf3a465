//! Where this process prints to: log files, and syslog.

use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};

use napi::Env;
use napi_derive::napi;

use tsdaemonize_core::daemon;
use tsdaemonize_core::error::{Code, Error};
use tsdaemonize_core::output::{self, log_file, standard};

use crate::error::thrown;

/// Whether a standard descriptor leads to a terminal that has hung up.
#[napi(catch_unwind)]
pub fn terminal_is_gone() -> bool {
    standard::terminal_is_gone()
}

/// An open log file.
#[napi(object)]
pub struct NativeLog {
    /// Its descriptor, which the caller owns.
    pub fd: i32,
    /// The file is new.
    pub made: bool,
}

/// Opens a log file, or /dev/null.
#[napi(catch_unwind)]
pub fn open_log(env: &Env, path: Option<String>) -> napi::Result<NativeLog> {
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
    // SAFETY: given by `open_log`, and not used by the caller afterwards.
    let from = unsafe { OwnedFd::from_raw_fd(fd) };
    let redirected = standard::redirect(from.as_fd(), number);
    redirected.map_err(|error| failed(env, "Cannot redirect the output", "dup2", &error))
}

/// Prepares for what this process prints to become syslog messages.
#[napi(catch_unwind)]
pub fn output_start(env: &Env, name: String) -> napi::Result<()> {
    daemon::print_to_syslog(&name).map_err(|error| thrown(env, error))
}

/// From now on what is written to this descriptor, 1 or 2, becomes syslog messages.
#[napi(catch_unwind)]
pub fn output_redirect(env: &Env, number: i32) -> napi::Result<()> {
    let redirected = output::redirect(number);
    redirected.map_err(|error| failed(env, "Cannot redirect the output", "dup2", &error))
}

/// Writes all of these bytes, from the index `from` on, to descriptor 1 or 2, where it becomes syslog
/// messages. Returns how many bytes that were.
#[napi(catch_unwind)]
pub fn output_write(env: &Env, number: i32, bytes: &[u8], from: u32) -> napi::Result<u32> {
    let rest = bytes.get(from as usize..).unwrap_or(&[]);
    let written = output::write(number, rest);
    written.map_err(|error| failed(env, "Cannot write what the daemon prints", "write", &error))?;
    Ok(rest.len() as u32)
}

fn failed(env: &Env, what: &str, call: &'static str, error: &std::io::Error) -> napi::Error {
    let errno = error.raw_os_error().unwrap_or(0);
    thrown(env, Error::os(Code::StartFailed, what, call, errno))
}
