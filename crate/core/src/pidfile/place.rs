//! Where a daemon's pidfile is.

use std::path::PathBuf;

/// Where a daemon's pidfile is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The directory.
    pub dir: PathBuf,
    /// The daemon's name.
    pub name: String,
    /// Whether the directory is this user's own in /tmp: a start makes it, with mode 0700.
    pub private: bool,
}

impl Place {
    /// `<dir>/<name>.pid`.
    pub fn path(&self) -> PathBuf {
        self.dir.join(self.file_name())
    }

    /// `<name>.pid`.
    pub fn file_name(&self) -> String {
        format!("{}.pid", self.name)
    }
}

/// How often a step is tried again when the file at a place changes under it, a millisecond apart.
pub const TRIES: u32 = 500;
