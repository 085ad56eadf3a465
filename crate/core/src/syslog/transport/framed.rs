//! Messages on a stream socket, on which one may go in parts.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::send;

use crate::sys::NO_SIGNAL;

/// A stream of messages.
#[derive(Debug)]
pub struct Framed {
    /// The socket.
    pub socket: OwnedFd,
    /// How many bytes of the first message were sent already.
    partial: usize,
    /// How many bytes were sent in all.
    written: u64,
}

impl Framed {
    /// A connection on which nothing was sent.
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, partial: 0, written: 0 }
    }

    /// How many bytes were sent in all.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// At which of the bytes sent the next message begins.
    pub fn begin(&self) -> u64 {
        self.written - self.partial as u64
    }

    /// Sends messages, each framed by `frame`; returns how many went whole. Of one that only went in
    /// part, the rest goes first next time.
    pub fn send(
        &mut self,
        messages: &[&[u8]],
        frame: impl Fn(&mut Vec<u8>, &[u8]),
    ) -> Result<usize, Errno> {
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(messages.len());
        for message in messages {
            frame(&mut bytes, message);
            ends.push(bytes.len());
        }
        let rest = bytes.get(self.partial..).unwrap_or(&[]);
        let sent = send(self.socket.as_raw_fd(), rest, NO_SIGNAL)?;
        self.written += sent as u64;
        let reached = self.partial + sent;
        let whole = ends.iter().take_while(|end| **end <= reached).count();
        let begun = whole.checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or(0);
        self.partial = reached - begun;
        Ok(whole)
    }
}
