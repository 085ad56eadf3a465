//! How a thread that polls learns that a file has changed.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::kqueue::{change, new_queue};
use crate::sys::again;

/// Tells by EVFILT_VNODE of kqueue(2) when a file is removed, renamed, written to or changed in its attributes.
#[derive(Debug)]
pub struct Watch {
    queue: OwnedFd,
    file: Option<OwnedFd>,
}

impl Watch {
    /// Makes one that watches nothing yet; `None` where the system gives no more.
    pub fn new() -> Option<Self> {
        Some(Self { queue: new_queue().ok()?, file: None })
    }

    /// The descriptor to poll.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    /// Whether it watches a file.
    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Takes away what it told, so that the next poll waits again.
    pub fn clear(&self) {
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: valid pointers to locals.
        unsafe {
            let mut event: libc::kevent = std::mem::zeroed();
            let queue = self.queue.as_raw_fd();
            while libc::kevent(queue, std::ptr::null(), 0, &mut event, 1, &now) > 0 {}
        }
    }

    /// Watches this file, and no longer the one before, which leaves the queue when it is closed. It opens the file by
    /// the path: a second descriptor of the one that is open would keep its lock.
    pub fn set_file(&mut self, _file: BorrowedFd<'_>, path: &Path) {
        self.set(path, OFlag::O_NOFOLLOW);
    }

    /// Watches a directory for what gets a name in it, and the file before no more.
    pub fn set_directory(&mut self, path: &Path) {
        self.set(path, OFlag::O_DIRECTORY);
    }

    fn set(&mut self, path: &Path, more: OFlag) {
        let flags = OFlag::from_bits_retain(libc::O_EVTONLY) | OFlag::O_CLOEXEC | more;
        self.file = again(|| open(path, flags, Mode::empty())).ok();
        let what = libc::NOTE_DELETE | libc::NOTE_RENAME | libc::NOTE_ATTRIB | libc::NOTE_WRITE;
        let watched = self.file.as_ref().is_some_and(|file| {
            let (queue, file) = (self.queue.as_raw_fd(), file.as_raw_fd());
            // SAFETY: both are open.
            unsafe { change(queue, file as usize, libc::EVFILT_VNODE, what) == 0 }
        });
        if !watched {
            self.file = None;
        }
    }
}
