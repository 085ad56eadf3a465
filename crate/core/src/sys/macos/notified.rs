//! Datagrams of which the kernel says who has sent them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

/// A socket for such datagrams.
#[derive(Debug)]
pub struct Notified(OwnedFd);

impl Notified {
    /// Fails, since macOS does not say who has sent a datagram.
    pub fn bind() -> Result<Self, Errno> {
        Err(Errno::ENOTSUP)
    }

    /// Its name.
    pub fn address(&self) -> Result<String, Errno> {
        Err(Errno::ENOTSUP)
    }

    /// To be polled.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The next datagram, and the pid of its sender.
    pub fn next(&self) -> Option<(i32, Vec<u8>)> {
        None
    }
}
