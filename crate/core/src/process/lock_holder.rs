//! Which process holds a lock: what the kernel shows beside its descriptors. That a process cannot be
//! seen never means that it is not there, or that it does not hold the lock.

#[cfg(target_os = "linux")]
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
#[cfg(target_os = "linux")]
use std::path::Path;
#[cfg(target_os = "linux")]
use std::path::PathBuf;
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::stat::FileStat;
#[cfg(target_os = "linux")]
use nix::sys::stat::stat;

use crate::poll;
use crate::process::procfs::Unseen;
#[cfg(target_os = "linux")]
use crate::process::procfs::{self, errno_of};
use crate::sys::{self, FileId};

/// A file that is locked: which one, and whose.
#[derive(Debug, Clone, Copy)]
pub struct Locked {
    /// Which file.
    pub identity: FileId,
    /// `st_uid`.
    pub owner: u32,
}

impl From<&FileStat> for Locked {
    fn from(stat: &FileStat) -> Self {
        Self { identity: FileId::from(stat), owner: stat.st_uid }
    }
}

/// What is known of a process and a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// It holds the lock.
    Yes,
    /// It does not, as the kernel shows.
    No,
    /// It has ended, or is about to.
    Gone,
    /// It exists, and why no more is known.
    Unseen(Unseen),
}

/// A process, by the handle that stays on it; or, where there is no such handle, by its number.
#[derive(Debug)]
pub struct Process {
    /// Its number in our own pid namespace.
    pub pid: i32,
    handle: std::result::Result<OwnedFd, Errno>,
}

impl Process {
    /// `None`: there is no process of this number.
    pub fn open(pid: i32) -> Option<Self> {
        match sys::pidfd_open(pid) {
            Ok(handle) => Some(Self { pid, handle: Ok(handle) }),
            // A pid that names a thread is nobody's (Linux before 6.9 says EINVAL, later ENOENT).
            Err(Errno::ESRCH | Errno::EINVAL | Errno::ENOENT) => None,
            Err(errno) => exists(pid).then_some(Self { pid, handle: Err(errno) }),
        }
    }

    /// Its handle, or why there is none.
    pub fn handle(&self) -> std::result::Result<BorrowedFd<'_>, Unseen> {
        self.handle.as_ref().map(AsFd::as_fd).map_err(|&errno| Unseen::Failed("pidfd_open", errno))
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        match &self.handle {
            Ok(handle) => {
                let mut fds = [PollFd::new(handle.as_fd(), PollFlags::POLLIN)];
                nix::poll::poll(&mut fds, PollTimeout::ZERO).is_ok_and(|count| count > 0)
            }
            Err(_) => !exists(self.pid),
        }
    }

    /// Waits for its end; `false` when the time was up first, or it cannot be waited for.
    pub fn await_end(&self, deadline: Instant) -> bool {
        let Ok(handle) = &self.handle else { return false };
        poll::until(&mut [PollFd::new(handle.as_fd(), PollFlags::POLLIN)], deadline)
    }

    /// Waits for it, if it is a child of ours that has ended, and was not waited for.
    pub fn reap(&self) {
        use nix::sys::wait::{WaitPidFlag, waitpid};
        #[cfg(target_os = "linux")]
        if let Ok(handle) = &self.handle {
            use nix::sys::wait::{Id, waitid};
            let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
            // Before Linux 5.4 it does not take a handle.
            if waitid(Id::PIDFd(handle.as_fd()), flags) != Err(Errno::EINVAL) {
                return;
            }
        }
        let _ = waitpid(nix::unistd::Pid::from_raw(self.pid), Some(WaitPidFlag::WNOHANG));
    }

    /// Whether it is the one that keeps this file locked: it has a descriptor that holds the flock,
    /// and is not another user's than the file.
    pub fn holds(&self, file: Locked) -> Holding {
        match self.look(file) {
            Ok(true) => Holding::Yes,
            _ if self.has_ended() => Holding::Gone,
            Ok(false) => Holding::No,
            // A process that ends has no memory map any more, and with it no owner: its descriptors
            // are root's for a moment. Soon it has none.
            Err(_) if self.is_ending() => Holding::Gone,
            Err(unseen) => Holding::Unseen(unseen),
        }
    }
}

#[cfg(target_os = "linux")]
impl Process {
    /// Its directory in /proc.
    pub fn directory(&self) -> std::result::Result<PathBuf, Unseen> {
        match &self.handle {
            // One that has ended is found out by its handle.
            Ok(handle) => procfs::directory_of(self.pid, handle.as_fd())?.ok_or(Unseen::Foreign),
            Err(_) => procfs::directory(self.pid),
        }
    }

    fn look(&self, file: Locked) -> std::result::Result<bool, Unseen> {
        let dir = self.directory()?;
        let held =
            may_be_of(&dir, file.owner).and_then(|may| Ok(may && has_flock(&dir, file.identity)?));
        held.map_err(|errno| match errno {
            // Where /proc is mounted with `hidepid`, it has no such process, or refuses it with EPERM.
            Errno::ENOENT | Errno::ESRCH => Unseen::Failed("open", Errno::EPERM),
            errno => Unseen::Failed("open", errno),
        })
    }

    fn is_ending(&self) -> bool {
        let stat = self.directory().ok().and_then(|dir| crate::process::stat::Stat::read(&dir));
        stat.is_some_and(|stat| stat.is_ending)
    }

    /// Whether it has ended, has begun to end, or SIGKILL is on its way to it: that signal stays pending for
    /// the process until it is gone (proc_pid_status(5)).
    pub fn is_dying(&self) -> bool {
        let status = self.directory().ok().and_then(|dir| fs::read(dir.join("status")).ok());
        let is_pending = |name| {
            let set = status.as_deref().and_then(|status| procfs::field(status, name)?.next());
            let set = set.and_then(|set| std::str::from_utf8(set).ok());
            let set = set.and_then(|set| u64::from_str_radix(set, 16).ok());
            set.is_some_and(|set| set & (1 << (libc::SIGKILL - 1)) != 0)
        };
        self.has_ended() || self.is_ending() || is_pending("SigPnd") || is_pending("ShdPnd")
    }
}

#[cfg(not(target_os = "linux"))]
impl Process {
    fn look(&self, file: Locked) -> std::result::Result<bool, Unseen> {
        let held = may_be_of(self.pid, file.owner)
            .and_then(|may| Ok(may && has_flock(self.pid, file.identity)?));
        held.map_err(|errno| Unseen::Failed("proc_pidinfo", errno))
    }

    fn is_ending(&self) -> bool {
        crate::process::stat::Stat::read(self.pid).is_none_or(|stat| stat.is_ending)
    }

    /// Whether it has ended or has begun to end. macOS does not tell of a signal that is on its way.
    pub fn is_dying(&self) -> bool {
        self.has_ended() || self.is_ending()
    }
}

/// Whether the kernel knows a process of this number here.
fn exists(pid: i32) -> bool {
    let found = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None);
    matches!(found, Ok(()) | Err(Errno::EPERM))
}

/// A locked descriptor can be given away: to a set-user-ID program, or to any process that takes one
/// (SCM_RIGHTS in unix(7)). What an ordinary user locks makes none but that user's processes a daemon;
/// root's daemons become other users.
#[cfg(target_os = "linux")]
fn may_be_of(dir: &Path, owner: u32) -> std::result::Result<bool, Errno> {
    if owner == 0 {
        return Ok(true);
    }
    let status = fs::read(dir.join("status")).map_err(errno_of)?;
    let effective = procfs::field(&status, "Uid").and_then(|mut uids| uids.nth(1));
    Ok(effective.and_then(procfs::number) == Some(owner))
}

/// The same, asked of libproc.
#[cfg(not(target_os = "linux"))]
fn may_be_of(pid: i32, owner: u32) -> std::result::Result<bool, Errno> {
    let found = crate::sys::process(pid).ok_or(Errno::ESRCH)?;
    Ok(owner == 0 || found.0.pbi_uid == owner)
}

/// Whether a process is the one that holds the flock on this file, which is locked: it has the file open
/// for writing. That is more than anyone can do who may only read it. macOS does not say which
/// descriptor has the lock.
#[cfg(not(target_os = "linux"))]
fn has_flock(pid: i32, identity: FileId) -> std::result::Result<bool, Errno> {
    crate::sys::has_open_for_writing(pid, identity.dev, identity.ino)
}

/// Whether a process has a descriptor that holds the flock on this file. To have the file open is
/// not enough: anyone may read it. The kernel shows a lock only beside the descriptor that has it
/// (proc_pid_fdinfo(5)).
/// Which file an open one is, by its link in /proc. Nobody is asked but the kernel: a stranger's descriptor
/// may lead to a file system that never answers.
#[cfg(target_os = "linux")]
fn file_behind(path: &Path) -> std::result::Result<FileId, Errno> {
    match sys::statx_unsynced(path) {
        // An old kernel has no such call; an old container's seccomp filter refuses it.
        Err(Errno::ENOSYS | Errno::EPERM) => stat(path).map(|found| FileId::from(&found)),
        found => found.map(|(dev, ino)| FileId { dev, ino }),
    }
}

#[cfg(target_os = "linux")]
fn has_flock(dir: &Path, identity: FileId) -> std::result::Result<bool, Errno> {
    for entry in crate::sys::again(|| fs::read_dir(dir.join("fd")).map_err(errno_of))? {
        let entry = entry.map_err(errno_of)?;
        let info = match fs::read(dir.join("fdinfo").join(entry.file_name())).map_err(errno_of) {
            Err(Errno::ENOENT) => continue, // Closed meanwhile; or the process is gone, as all will say.
            info => info?,
        };
        if !info.split(|byte| *byte == b'\n').any(is_flock_for_writing) {
            continue;
        }
        match file_behind(&entry.path()) {
            Ok(found) if found == identity => return Ok(true),
            Err(errno @ (Errno::EACCES | Errno::EPERM)) => return Err(errno),
            // Another file; closed meanwhile; or on a file system that does not answer, as ours does.
            _ => {}
        }
    }
    Ok(false)
}

/// Whether a process holds the lock, as far as can be seen: enough to speak of it, not to signal it.
pub fn may_hold(pid: i32, file: Locked) -> bool {
    let holding = Process::open(pid).map(|process| process.holds(file));
    matches!(holding, Some(Holding::Yes | Holding::Unseen(_)))
}

/// `lock:\t1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF`
pub fn is_flock_for_writing(line: &[u8]) -> bool {
    let Some(lock) = line.strip_prefix(b"lock:") else { return false };
    let mut words = crate::process::procfs::words(lock).skip(1);
    words.next() == Some(b"FLOCK") && words.nth(1) == Some(b"WRITE")
}
