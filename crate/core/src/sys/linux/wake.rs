//! How one thread wakes another that polls.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Wakes a thread that polls; eventfd(2).
#[derive(Debug)]
pub struct Wake(EventFd);

impl Wake {
    /// A new one.
    pub fn new() -> Result<Self, Errno> {
        Ok(Self(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?))
    }

    /// To poll; and, its number, to write 8 bytes to in a signal handler.
    pub fn descriptors(&self) -> (BorrowedFd<'_>, RawFd) {
        (self.0.as_fd(), self.0.as_fd().as_raw_fd())
    }

    /// Wakes it.
    pub fn wake(&self) {
        let _ = self.0.write(1);
    }

    /// It has woken.
    pub fn clear(&self) {
        let _ = self.0.read();
    }
}
