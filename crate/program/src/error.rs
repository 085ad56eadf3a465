//! What went wrong, in words and as an exit status.

use tsdaemonize_core::error::{Code, Error};

use crate::output;

// The exit statuses that the Linux Standard Base has for init scripts.
/// It is done; for `status`: it runs.
pub const DONE: u8 = 0;
/// It failed.
pub const FAILED: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// It does not run.
pub const NOT_RUNNING: u8 = 3;
/// The caller lacks the right to do so.
pub const NO_RIGHT: u8 = 4;
/// For `status`: whether it runs is not known.
pub const UNKNOWN: u8 = 4;
/// It does not run, and was to be sent a signal.
pub const NOT_RUNNING_TO_SIGNAL: u8 = 7;

/// Why a verb failed.
#[derive(Debug)]
pub struct Failure {
    /// What happened, to what, and what to do.
    pub message: String,
    /// The exit status.
    pub status: u8,
    /// Which failure of the core it is.
    pub code: Option<Code>,
}

impl Failure {
    /// One that has a status of its own.
    pub fn new(status: u8, message: impl Into<String>) -> Self {
        Self { message: message.into(), status, code: None }
    }

    /// Prints it on standard error; returns the exit status.
    pub fn tell(self) -> u8 {
        self.tell_of("tsdaemonize")
    }

    /// The same, of a daemon.
    pub fn tell_of(self, name: &str) -> u8 {
        output::tell(&format!("{name}: {}", self.message));
        self.status
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let lacks_right = error.code == Code::Privileges
            || matches!(error.errno, Some(libc::EACCES | libc::EPERM));
        let status = if lacks_right { NO_RIGHT } else { FAILED };
        Self { code: Some(error.code), ..Self::new(status, error.message) }
    }
}
