//! What can go wrong, in words for the person who has to mend it.
//!
//! Every failure carries the code that the JavaScript `DaemonError` gets, a message that says what
//! happened, to what, and what to do, and, where a system call failed, its name and `errno`.

use std::path::Path;

use nix::errno::Errno;

/// The `code` of a `DaemonError`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// Occurs when another process holds the pidfile's lock.
    AlreadyRunning,
    /// Occurs when the daemon could not be brought up.
    StartFailed,
    /// Occurs when the daemon was not ready within `startTimeout`.
    StartTimeout,
    /// Occurs when the pidfile cannot be opened, locked or written.
    PidFile,
    /// Occurs when the pidfile or its directory could be another user's work.
    UnsafePidFile,
    /// Occurs when privileges cannot be dropped as asked.
    Privileges,
    /// Occurs when a daemon cannot be stopped, or is not certain to be ours.
    StopFailed,
    /// Occurs when this system cannot do what is needed.
    Unsupported,
}

impl Code {
    /// The public name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AlreadyRunning => "ERR_DAEMON_ALREADY_RUNNING",
            Self::StartFailed => "ERR_DAEMON_START_FAILED",
            Self::StartTimeout => "ERR_DAEMON_START_TIMEOUT",
            Self::PidFile => "ERR_DAEMON_PIDFILE",
            Self::UnsafePidFile => "ERR_DAEMON_UNSAFE_PIDFILE",
            Self::Privileges => "ERR_DAEMON_PRIVILEGES",
            Self::StopFailed => "ERR_DAEMON_STOP_FAILED",
            Self::Unsupported => "ERR_DAEMON_UNSUPPORTED",
        }
    }
}

/// A failure, with all that a `DaemonError` tells about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The public code.
    pub code: Code,
    /// What happened, to what, and what to do.
    pub message: String,
    /// The positive `errno` of the system call that failed.
    pub errno: Option<i32>,
    /// The name of that system call.
    pub syscall: Option<&'static str>,
    /// The file concerned.
    pub path: Option<String>,
    /// The process concerned.
    pub pid: Option<i32>,
}

/// The symbol of an errno: `EMFILE`.
pub fn symbol(errno: i32) -> String {
    match Errno::from_raw(errno) {
        Errno::UnknownErrno => format!("errno {errno}"),
        known => format!("{known:?}"),
    }
}

/// An errno as Node's own errors tell it: `EMFILE: too many open files`.
pub fn reason(errno: i32) -> String {
    let words = Errno::from_raw(errno).desc();
    let mut letters = words.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    // Not of an abbreviation, such as I/O.
    let is_word = letters.as_str().starts_with(|letter: char| letter.is_ascii_lowercase());
    let rest = if is_word { letters.as_str() } else { words };
    format!(
        "{}: {}{rest}",
        symbol(errno),
        first.filter(|_| is_word).map_or_else(String::new, String::from)
    )
}

/// The result of what may fail with an [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure without a system call.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), errno: None, syscall: None, path: None, pid: None }
    }

    /// A failed system call: `message` goes before its errno and its name, which stand as in Node's own errors.
    pub fn os(code: Code, message: impl AsRef<str>, syscall: &'static str, errno: i32) -> Self {
        let why = reason(errno);
        let mut error = Self::new(code, format!("{}: {why}, {syscall}", message.as_ref()));
        error.errno = Some(errno);
        error.syscall = Some(syscall);
        error
    }

    /// Names the file concerned.
    pub fn at(mut self, path: &Path) -> Self {
        self.path = Some(path.display().to_string());
        self
    }

    /// Names the process concerned.
    pub fn of(mut self, pid: Option<i32>) -> Self {
        self.pid = pid;
        self
    }

    /// Says what to do.
    pub fn hint(mut self, hint: &str) -> Self {
        self.message.push_str(". ");
        self.message.push_str(hint);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_is_told_as_node_tells_it() {
        assert_eq!(reason(libc::EMFILE), "EMFILE: too many open files");
        assert_eq!(reason(libc::EIO), "EIO: I/O error");
        assert_eq!(reason(libc::EWOULDBLOCK), reason(libc::EAGAIN));
        assert!(reason(524).starts_with("errno 524: "), "{}", reason(524));
    }
}
