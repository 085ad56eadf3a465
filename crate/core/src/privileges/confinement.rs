//! What a careful daemon gives up besides its ids.

use std::path::PathBuf;

use crate::error::Result;

/// All that is given up besides the ids. By default nothing is asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Confinement {
    /// The directory that becomes the root.
    pub chroot: Option<PathBuf>,
    /// The capabilities that are kept; all others are gone, from the bounding
    /// set too. `None`: none is kept, unless the process stays root, and the
    /// bounding set stays.
    pub capabilities: Option<Vec<Capability>>,
    /// Whether no execve(2) gives privileges any more. `None`: yes, once privileges
    /// were dropped.
    pub no_new_privileges: Option<bool>,
    /// The limits to set with setrlimit(2).
    pub limits: Vec<Limit>,
    /// The nice value.
    pub nice: Option<i32>,
    /// How likely the out-of-memory killer is to choose this process.
    pub oom_score_adjust: Option<i32>,
    /// The files and ports that stay within reach.
    pub landlock: Option<Landlock>,
}

/// One capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Its name, as `CAP_CHOWN`.
    pub name: String,
    /// Its number.
    pub bit: u32,
}

/// One limit of setrlimit(2).
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// Its name in lower case, without `RLIMIT_`.
    pub name: String,
    /// What the process may use; `None` leaves that as it is.
    pub soft: Option<u64>,
    /// How far it may raise that; `None` leaves that as it is.
    pub hard: Option<u64>,
}

/// No limit (RLIM_INFINITY).
pub const UNLIMITED: u64 = u64::MAX;

/// What stays within reach. `None` means that this kind of access is not restricted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Landlock {
    /// Files and directories that can be read, with all beneath them.
    pub read: Option<Vec<PathBuf>>,
    /// Files and directories that can be written, and where files can be made and removed.
    pub write: Option<Vec<PathBuf>>,
    /// Files and directories that can be executed.
    pub execute: Option<Vec<PathBuf>>,
    /// TCP ports that can be bound.
    pub bind: Option<Vec<u16>>,
    /// TCP ports that can be connected to.
    pub connect: Option<Vec<u16>>,
    /// Whether what the kernel lacks is a warning, and not an error.
    pub best_effort: bool,
}

/// Changes the root directory by calling what it is given, with all that must happen around that.
pub type ChangeRoot<'a> = &'a dyn Fn(&dyn Fn() -> Result<()>) -> Result<()>;
