//! Which file it is.

use nix::sys::stat::FileStat;

/// Device and inode: which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    /// `st_dev`.
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
}

impl From<&FileStat> for FileId {
    #[allow(clippy::unnecessary_cast, reason = "the types differ between platforms")]
    fn from(stat: &FileStat) -> Self {
        Self { dev: stat.st_dev as u64, ino: stat.st_ino as u64 }
    }
}
