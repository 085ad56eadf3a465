//! What went wrong, in words and as an exit status.

use std::process::ExitCode;

use tsdaemonize_core::error::{Code, Error};

// The exit statuses that the Linux Standard Base has for init scripts.
/// It failed.
pub const FAILED: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// The caller lacks the right to do so.
pub const NO_RIGHT: u8 = 4;

/// Why a verb failed.
#[derive(Debug)]
pub struct Failure {
    /// What happened, to what, and what to do.
    pub message: String,
    /// The exit status.
    pub status: u8,
}

impl Failure {
    /// One that has a status of its own.
    pub fn new(status: u8, message: impl Into<String>) -> Self {
        Self { message: message.into(), status }
    }

    /// Prints it on standard error.
    pub fn tell(self) -> ExitCode {
        eprintln!("tsdaemonize: {}", self.message);
        ExitCode::from(self.status)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let lacks_right = error.code == Code::Privileges
            || matches!(error.errno, Some(libc::EACCES | libc::EPERM));
        Self::new(if lacks_right { NO_RIGHT } else { FAILED }, error.message)
    }
}
