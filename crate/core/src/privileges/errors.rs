//! Why privileges were not dropped.

use nix::errno::Errno;

use crate::error::{Code, Error};

/// What is asked for cannot be done, or must not be.
pub fn refused(message: impl Into<String>) -> Error {
    Error::new(Code::Privileges, message)
}

/// A system call has failed; `advice` says what to do.
pub fn failed(syscall: &'static str, errno: Errno, what: &str, advice: &str) -> Error {
    Error::os(Code::Privileges, what, syscall, errno as i32).hint(advice)
}

/// Adds that something was changed already, so that the process must end.
pub fn after_a_change(mut error: Error) -> Error {
    error.partial = true;
    error.message.push_str(" Some privileges may be left: this process must end.");
    error
}
