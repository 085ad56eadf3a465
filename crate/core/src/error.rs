//! What can go wrong, in words for the person who has to mend it.
//!
//! Every failure carries the code that the JavaScript `DaemonError` gets, a message that says what
//! happened, to what, and what to do, and, where a system call failed, its name and `errno`.

use std::borrow::Cow;
use std::fmt;
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
    /// Occurs when a system call fails with this errno, and nobody has said yet what it was for.
    System(i32),
}

impl Code {
    /// The public name; that of an errno alone is its symbol, as in Node's own errors.
    pub fn name(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::AlreadyRunning => "ERR_DAEMON_ALREADY_RUNNING",
            Self::StartFailed => "ERR_DAEMON_START_FAILED",
            Self::StartTimeout => "ERR_DAEMON_START_TIMEOUT",
            Self::PidFile => "ERR_DAEMON_PIDFILE",
            Self::UnsafePidFile => "ERR_DAEMON_UNSAFE_PIDFILE",
            Self::Privileges => "ERR_DAEMON_PRIVILEGES",
            Self::StopFailed => "ERR_DAEMON_STOP_FAILED",
            Self::Unsupported => "ERR_DAEMON_UNSUPPORTED",
            Self::System(errno) => return Cow::Owned(symbol(errno)),
        })
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
    /// Whether something was changed that cannot be taken back, such as some ids of some threads, so that this
    /// process must end.
    pub partial: bool,
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
    // An abbreviation, such as I/O, keeps its capital letters.
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
        let message = message.into();
        Self { code, message, errno: None, syscall: None, path: None, pid: None, partial: false }
    }

    /// A system call that failed, told as Node's own errors tell it, without a word on what it was for.
    pub fn call(syscall: &'static str, errno: i32) -> Self {
        let message = format!("{}, {syscall}", reason(errno));
        Self::new(Code::System(errno), message).with(Some(syscall), errno)
    }

    /// A failed system call, and what it was for.
    pub fn os(code: Code, message: impl AsRef<str>, syscall: &'static str, errno: i32) -> Self {
        Self::call(syscall, errno).explained(code, message)
    }

    /// Says what a failed system call was for.
    pub fn explained(mut self, code: Code, what: impl AsRef<str>) -> Self {
        self.code = code;
        self.message = format!("{}: {}", what.as_ref(), self.message);
        self
    }

    /// Adds an errno, and the system call that gave it, if there was one, of which the message says nothing.
    pub fn with(mut self, syscall: Option<&'static str>, errno: i32) -> Self {
        self.syscall = syscall;
        self.errno = Some(errno);
        self
    }

    /// Adds the file concerned.
    pub fn at(mut self, path: &Path) -> Self {
        self.path = Some(path.display().to_string());
        self
    }

    /// Adds the process concerned.
    pub fn of(mut self, pid: Option<i32>) -> Self {
        self.pid = pid;
        self
    }

    /// Adds what to do.
    pub fn hint(mut self, hint: &str) -> Self {
        self.message.push_str(". ");
        self.message.push_str(hint);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Self {
        let errno = errno as i32;
        Self::new(Code::System(errno), reason(errno)).with(None, errno)
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

    #[test]
    fn an_errno_is_an_error_until_somebody_says_what_it_was_for() {
        let error = Error::from(Errno::EMFILE);
        assert_eq!((error.code.name().as_ref(), error.errno), ("EMFILE", Some(libc::EMFILE)));
        assert_eq!(error.to_string(), "EMFILE: too many open files");
        let error = Error::call("open", libc::EMFILE).explained(Code::PidFile, "Cannot open it");
        assert_eq!(error, Error::os(Code::PidFile, "Cannot open it", "open", libc::EMFILE));
        assert_eq!(error.to_string(), "Cannot open it: EMFILE: too many open files, open");
        assert_eq!(
            (error.code.name().as_ref(), error.syscall),
            ("ERR_DAEMON_PIDFILE", Some("open"))
        );
    }
}
