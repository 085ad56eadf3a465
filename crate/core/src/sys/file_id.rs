//! Which file an open one is.

use nix::sys::stat::FileStat;

/// Device and inode say which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    /// The device, `st_dev`.
    pub dev: u64,
    /// The inode, `st_ino`.
    pub ino: u64,
}

impl From<&FileStat> for FileId {
    #[allow(clippy::unnecessary_cast, reason = "the types differ between platforms")]
    fn from(stat: &FileStat) -> Self {
        Self { dev: stat.st_dev as u64, ino: stat.st_ino as u64 }
    }
}
