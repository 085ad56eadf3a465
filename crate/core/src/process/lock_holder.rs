//! Which process holds a lock: what the kernel shows beside its descriptors. That a process cannot be
//! seen never means that it is not there, or that it does not hold the lock.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::stat::FileStat;

use crate::poll;
use crate::sys::{self, FileId, Seen, Unseen};

/// A file that is locked: which one, and whose.
#[derive(Debug, Clone, Copy)]
pub struct Locked {
    /// Which file it is.
    pub identity: FileId,
    /// Its owner, `st_uid`.
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
    /// It does not hold the lock, as the kernel shows.
    No,
    /// It has ended, or is about to.
    Gone,
    /// It exists, and for this reason no more is known.
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
    /// Opens a handle on a process; `None` where there is no process of this number.
    pub fn open(pid: i32) -> Option<Self> {
        match sys::pidfd_open(pid) {
            Ok(handle) => Some(Self { pid, handle: Ok(handle) }),
            // A number that names a thread is no process's (Linux before 6.9 says EINVAL, later ENOENT).
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
        sys::reap(self.pid, self.handle.as_ref().ok().map(AsFd::as_fd));
    }

    /// One of its children, by a handle that stays on it: the oldest that has not ended.
    pub fn child(&self) -> std::result::Result<Option<Self>, Unseen> {
        let parent = self.seen()?;
        for pid in parent.children() {
            let Some(child) = Self::open(pid) else { continue };
            // Looked at when the handle is open. While this process runs, its number is nobody else's.
            let is_ours = |seen: Seen| seen.is_child_of(&parent) && !seen.is_ending();
            if child.seen().is_ok_and(is_ours) && !self.has_ended() {
                return Ok(Some(child));
            }
        }
        Ok(None)
    }

    /// What the system shows of it.
    pub fn seen(&self) -> std::result::Result<Seen, Unseen> {
        Seen::of(self.pid, self.handle.as_ref().ok().map(AsFd::as_fd))
    }

    /// Whether it has ended, has begun to end, or SIGKILL is on its way to it.
    pub fn is_dying(&self) -> bool {
        let is_dying = |seen: Seen| seen.is_ending() || seen.is_being_killed();
        self.has_ended() || self.seen().is_ok_and(is_dying)
    }

    /// Whether it is the one that keeps this file locked: it has a descriptor that holds the flock,
    /// and is the same user's as the file, if that is not root's.
    pub fn holds(&self, file: Locked) -> Holding {
        match self.seen().and_then(|seen| seen.holds_flock(file.identity, file.owner)) {
            Ok(true) => Holding::Yes,
            _ if self.has_ended() => Holding::Gone,
            Ok(false) => Holding::No,
            // A process that is ending has no memory map any more, and thus no owner: for a moment its
            // descriptors are root's, and soon it has none.
            Err(_) if self.seen().is_ok_and(|seen| seen.is_ending()) => Holding::Gone,
            Err(unseen) => Holding::Unseen(unseen),
        }
    }
}

/// Whether the kernel knows a process of this number here.
fn exists(pid: i32) -> bool {
    let found = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None);
    matches!(found, Ok(()) | Err(Errno::EPERM))
}

/// Whether a process holds the lock, as far as can be seen: enough to speak of it, not to signal it.
pub fn may_hold(pid: i32, file: Locked) -> bool {
    let holding = Process::open(pid).map(|process| process.holds(file));
    matches!(holding, Some(Holding::Yes | Holding::Unseen(_)))
}
