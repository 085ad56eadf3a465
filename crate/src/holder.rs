//! Which process holds a lock: what the kernel shows beside its descriptors.

#[cfg(target_os = "linux")]
use std::fs;
#[cfg(target_os = "linux")]
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::FileStat;
#[cfg(target_os = "linux")]
use nix::sys::stat::stat;

/// Device and inode: which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// `st_dev`.
    pub dev: u64,
    /// `st_ino`.
    pub ino: u64,
}

#[cfg(target_os = "linux")]
impl Identity {
    /// Of an open file, by its link in /proc. Nobody is asked but the kernel: a stranger's descriptor
    /// may lead to a file system that never answers.
    fn of(path: &Path) -> Option<Self> {
        match crate::sys::statx_unsynced(path) {
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

/// A file that is locked: which one, and whose.
#[derive(Debug, Clone, Copy)]
pub struct Locked {
    /// Which file.
    pub identity: Identity,
    /// `st_uid`.
    pub owner: u32,
}

impl From<&FileStat> for Locked {
    fn from(stat: &FileStat) -> Self {
        Self { identity: Identity::from(stat), owner: stat.st_uid }
    }
}

/// Whether a process is the one that keeps this file locked: it has a descriptor that holds the flock,
/// and is not another user's than the file.
pub fn holds(pid: i32, file: Locked) -> std::result::Result<bool, Errno> {
    Ok(may_be_of(pid, file.owner)? && has_flock(pid, file.identity)?)
}

/// A locked descriptor can be given away: to a set-user-ID program, or to any process that takes one
/// (SCM_RIGHTS in unix(7)). What an ordinary user locks makes none but that user's processes a daemon;
/// root's daemons become other users.
#[cfg(target_os = "linux")]
fn may_be_of(pid: i32, owner: u32) -> std::result::Result<bool, Errno> {
    if owner == 0 {
        return Ok(true);
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(gone_or)?;
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let effective = uids.and_then(|uids| uids.split_ascii_whitespace().nth(1));
    Ok(effective.is_some_and(|uid| uid.parse() == Ok(owner)))
}

/// The same, asked of libproc.
#[cfg(not(target_os = "linux"))]
fn may_be_of(pid: i32, owner: u32) -> std::result::Result<bool, Errno> {
    let found = crate::sys::process(pid).ok_or(Errno::ESRCH)?;
    Ok(owner == 0 || found.0.pbi_uid == owner)
}

/// Of a process that is gone /proc says that there is no such file.
#[cfg(target_os = "linux")]
fn gone_or(error: std::io::Error) -> Errno {
    match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
        Errno::ENOENT => Errno::ESRCH,
        errno => errno,
    }
}

/// Whether a process is the one that holds the flock on this file, which is locked: it has the file open
/// for writing. That is more than anyone can do who may only read it. macOS does not say which
/// descriptor has the lock.
#[cfg(not(target_os = "linux"))]
fn has_flock(pid: i32, identity: Identity) -> std::result::Result<bool, Errno> {
    crate::sys::has_open_for_writing(pid, identity.dev, identity.ino)
}

/// Whether a process has a descriptor that holds the flock on this file. To have the file open is
/// not enough: anyone may read it. The kernel shows a lock only beside the descriptor that has it
/// (proc_pid_fdinfo(5)).
#[cfg(target_os = "linux")]
fn has_flock(pid: i32, identity: Identity) -> std::result::Result<bool, Errno> {
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).map_err(gone_or)? {
        let Ok(entry) = entry else { continue };
        let fd = entry.file_name();
        let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", fd.to_string_lossy()));
        let info = match info.map_err(gone_or) {
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
pub fn may_hold(pid: i32, file: Locked) -> bool {
    matches!(holds(pid, file), Ok(true) | Err(Errno::EACCES | Errno::EPERM))
}

/// `lock:\t1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF`
pub fn is_flock_for_writing(line: &str) -> bool {
    let Some(lock) = line.strip_prefix("lock:") else { return false };
    let mut words = lock.split_ascii_whitespace().skip(1);
    words.next() == Some("FLOCK") && words.nth(1) == Some("WRITE")
}
