//! Which process holds a lock: what the kernel shows beside its descriptors.

use std::fs;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, stat};

use crate::sys;

/// Device and inode: which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// `st_dev`.
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
}

impl Identity {
    /// Of an open file, by its link in /proc. Nobody is asked but the kernel: a stranger's descriptor
    /// may lead to a file system that never answers.
    fn of(path: &Path) -> Option<Self> {
        match sys::statx_unsynced(path) {
            Err(Errno::ENOSYS) => stat(path).ok().map(|found| Self::from(&found)),
            found => found.ok().map(|(dev, ino)| Self { dev, ino }),
        }
    }
}

impl From<&FileStat> for Identity {
    #[allow(clippy::unnecessary_cast, reason = "the types differ between platforms")]
    fn from(stat: &FileStat) -> Self {
        Self { dev: stat.st_dev as u64, ino: stat.st_ino as u64 }
    }
}

/// Whether a process has a descriptor that holds the flock on this file. To have the file open is
/// not enough: anyone may read it. The kernel shows a lock only beside the descriptor that has it
/// (proc_pid_fdinfo(5)).
pub fn holds(pid: i32, identity: Identity) -> std::result::Result<bool, Errno> {
    let errno = |e: std::io::Error| match Errno::from_raw(e.raw_os_error().unwrap_or(0)) {
        Errno::ENOENT => Errno::ESRCH,
        errno => errno,
    };
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).map_err(errno)? {
        let Ok(entry) = entry else { continue };
        let fd = entry.file_name();
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", fd.to_string_lossy()));
        let info = match info.map_err(errno) {
            Err(Errno::ESRCH) => continue, // Closed meanwhile; or the process is gone, as all will say.
            info => info?,
        };
        if info.lines().any(is_flock_for_writing) && Identity::of(&entry.path()) == Some(identity) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a process holds the lock, as far as can be seen: enough to speak of it, not to signal it.
pub fn may_hold(pid: i32, identity: Identity) -> bool {
    matches!(holds(pid, identity), Ok(true) | Err(Errno::EACCES | Errno::EPERM))
}

/// `lock:\t1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF`
pub fn is_flock_for_writing(line: &str) -> bool {
    let Some(lock) = line.strip_prefix("lock:") else { return false };
    let mut words = lock.split_ascii_whitespace().skip(1);
    words.next() == Some("FLOCK") && words.nth(1) == Some("WRITE")
}
