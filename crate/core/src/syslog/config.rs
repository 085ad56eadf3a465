//! What openlog(3) sets: how messages are made, and where they go.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::message::LONGEST;
use crate::sys;

/// The journal's socket.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// The longest text to the journal. The journal itself would allow more than the queue can hold.
pub(super) const LONGEST_TO_JOURNAL: usize = 4 << 20;
/// The end of a process waits no longer than this for a logger that was never reached.
const UNREACHABLE: Duration = Duration::from_millis(200);

/// Where messages go. What else depends on it is asked with the methods below, so that a further one
/// needs a variant here, a file in `transport/`, and a line in `transport::open`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// The local logger's socket; RFC 3164.
    Local(PathBuf),
    /// RFC 5424 in datagrams (RFC 5426).
    Udp(Remote),
    /// RFC 5424 with octet counting (RFC 6587).
    Tcp(Remote),
    /// The journal's native socket.
    Journal(PathBuf),
}

/// Another host's logger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The SD-ID of the fields (RFC 5424, 6.3.2).
    pub sd_id: String,
}

impl Transport {
    /// To the local logger: at this socket, or at its own.
    pub fn local(path: Option<PathBuf>) -> Self {
        Self::Local(path.unwrap_or_else(|| sys::LOCAL_LOGGER.into()))
    }

    /// To the journal: at this socket, or at its own.
    pub fn journal(path: Option<PathBuf>) -> Self {
        Self::Journal(path.unwrap_or_else(|| JOURNAL.into()))
    }

    /// The socket of a logger on this host.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Local(path) | Self::Journal(path) => Some(path),
            Self::Udp(_) | Self::Tcp(_) => None,
        }
    }

    /// The logger on another host.
    pub fn remote(&self) -> Option<&Remote> {
        match self {
            Self::Udp(remote) | Self::Tcp(remote) => Some(remote),
            Self::Local(_) | Self::Journal(_) => None,
        }
    }

    /// Whether messages go to the journal, in its own format.
    pub fn is_journal(&self) -> bool {
        matches!(self, Self::Journal(_))
    }

    /// The longest text of a message, in bytes.
    pub fn longest(&self) -> usize {
        if self.is_journal() { LONGEST_TO_JOURNAL } else { LONGEST }
    }
}

/// What openlog(3) sets.
#[derive(Debug, Clone)]
pub struct Config {
    /// Prepended to every message.
    pub ident: String,
    /// OR'd `LOG_*` options.
    pub options: i32,
    /// The facility of messages that name none.
    pub facility: i32,
    /// Where messages go.
    pub transport: Transport,
    /// The process is not a background one: without any logger, messages go to stderr.
    pub attached: bool,
}

impl Config {
    /// What counts before openlog(3).
    pub(crate) fn unopened() -> Self {
        Self {
            ident: String::new(),
            options: 0,
            facility: libc::LOG_USER,
            transport: Transport::local(None),
            attached: false,
        }
    }

    /// Whether an option is set.
    pub fn has(&self, option: i32) -> bool {
        self.options & option != 0
    }

    /// The ident as it is written.
    pub fn printable_ident(&self) -> impl Iterator<Item = char> {
        self.ident.chars().filter(|letter| !letter.is_control())
    }

    /// The process's id, if LOG_PID asks for it.
    pub fn pid(&self) -> Option<u32> {
        self.has(libc::LOG_PID).then(std::process::id)
    }

    /// Whether stderr or the console is to get messages that the logger does not get yet.
    pub fn is_shown(&self) -> bool {
        self.has(libc::LOG_PERROR | libc::LOG_CONS)
    }

    /// How long the end of a process waits for a logger that was never reached: not at all where there
    /// is none, unless stderr gets the messages in its place.
    pub fn patience(&self) -> Duration {
        let is_missing =
            self.transport.path().is_some_and(|path| matches!(path.try_exists(), Ok(false)));
        match (is_missing, self.attached) {
            (true, true) => Duration::MAX,
            (true, false) => Duration::ZERO,
            (false, _) => UNREACHABLE,
        }
    }
}
