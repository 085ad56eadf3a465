//! macOS: many datagrams, one after the other, as there is no call for all of them.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::send;

/// Datagrams on their way, and how many of them the kernel has taken. Zeroes are one in which there is nothing.
#[derive(Debug, Default)]
pub struct Flight(usize);

impl Flight {
    /// So many datagrams go at a time.
    pub const TOGETHER: usize = 64;

    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets what the kernel has taken.
    pub fn clear(&mut self) {
        self.0 = 0;
    }

    /// Sends each message as a datagram, no more of them at a time than the logger takes; returns how many
    /// went. An error means that the first did not go.
    pub fn send(&mut self, socket: &OwnedFd, messages: &[&[u8]]) -> Result<usize, Errno> {
        self.clear();
        for message in messages.iter().take(Self::TOGETHER) {
            match send(socket.as_raw_fd(), message, super::NO_SIGNAL) {
                Ok(_) => self.0 += 1,
                Err(errno) if self.0 == 0 => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(self.0)
    }

    /// How many messages the kernel has taken.
    pub fn taken(&self) -> usize {
        self.0
    }
}
