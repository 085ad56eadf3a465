//! Whom to become, and who the process is now.

use std::os::fd::RawFd;
use std::path::PathBuf;

/// Whom to become.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whom {
    /// A user's name or number.
    pub user: Option<String>,
    /// A group's name or number.
    pub group: Option<String>,
    /// The daemon's name, which stands in for either.
    pub daemon_name: String,
    /// Open files that are given to them, where ids change: log files that this process has made, and that it must
    /// be able to open anew.
    pub files: Vec<RawFd>,
}

/// What a drop has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Who the process is now; `None` where it did not have to become anyone.
    pub identity: Option<Identity>,
    /// What the daemon's owner should know (LOG_WARNING), a sentence each.
    pub warnings: Vec<String>,
}

/// Who the process is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's name; the number, where it has no entry.
    pub user: String,
    /// The user id: real, effective, saved and file system.
    pub uid: u32,
    /// The group's name; the number, where it has no entry.
    pub group: String,
    /// The group id: real, effective, saved and file system.
    pub gid: u32,
    /// The supplementary groups, sorted, each once. With a user that has an
    /// entry, `gid` is among them, as after initgroups(3).
    pub groups: Vec<u32>,
    /// The user's home directory, for `HOME`, which is `/` where there is none;
    /// `None` for a number without an entry.
    pub home: Option<PathBuf>,
    /// The user's shell, for `SHELL`, which, like `USER` and `LOGNAME`, is unset
    /// where there is none; `None` for a number without an entry.
    pub shell: Option<PathBuf>,
}
