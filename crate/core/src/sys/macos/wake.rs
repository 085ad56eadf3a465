//! How one thread wakes another that polls.

use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;

use crate::sys::errno_of;

/// Wakes a thread that polls, by a pair of sockets.
#[derive(Debug)]
pub struct Wake(UnixStream, UnixStream);

impl Wake {
    /// Makes one.
    pub fn new() -> Result<Self, Errno> {
        let pair = || {
            let (reader, writer) = UnixStream::pair()?;
            reader.set_nonblocking(true)?;
            writer.set_nonblocking(true)?;
            Ok(Self(reader, writer))
        };
        pair().map_err(|error| errno_of(&error))
    }

    /// The descriptor to poll, and the number of the one to which a signal handler writes 8 bytes.
    pub fn descriptors(&self) -> (BorrowedFd<'_>, RawFd) {
        (self.0.as_fd(), self.1.as_raw_fd())
    }

    /// Wakes it.
    pub fn wake(&self) {
        let _ = (&self.1).write(&[1]);
    }

    /// Takes the wake-up away, so that the next poll waits again.
    pub fn clear(&self) {
        let mut bytes = [0u8; 256];
        while matches!((&self.0).read(&mut bytes), Ok(256)) {}
    }
}
