//! How one thread wakes another that polls.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Wakes a thread that polls, by eventfd(2).
#[derive(Debug)]
pub struct Wake(EventFd);

impl Wake {
    /// Makes one.
    pub fn new() -> Result<Self, Errno> {
        Ok(Self(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?))
    }

    /// The descriptor to poll, and the number of the one to which a signal handler writes 8 bytes.
    pub fn descriptors(&self) -> (BorrowedFd<'_>, RawFd) {
        (self.0.as_fd(), self.0.as_fd().as_raw_fd())
    }

    /// Wakes it.
    pub fn wake(&self) {
        let _ = self.0.write(1);
    }

    /// Takes the wake-up away, so that the next poll waits again.
    pub fn clear(&self) {
        let _ = self.0.read();
    }
}
