//! What each system does in its own way, under the same names: Linux, and macOS.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod macos;

#[cfg(target_os = "linux")]
pub use linux::*;
#[cfg(not(target_os = "linux"))]
pub use macos::*;
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

/// Makes a system call, again for as long as a signal interrupts it (EINTR in signal(7)). A file server
/// can give that error at any call on a file.
pub fn again<T>(
    mut call: impl FnMut() -> Result<T, nix::errno::Errno>,
) -> Result<T, nix::errno::Errno> {
    loop {
        match call() {
            Err(nix::errno::Errno::EINTR) => {}
            result => return result,
        }
    }
}
