//! The way to the journal's native socket. What is too large for a datagram goes in a sealed file.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, SockType, UnixAddr, sendmsg};

use super::connection::Connection;
use super::local::connect_with;
use crate::sys::{self, Flight};

/// A connection.
#[derive(Debug)]
pub struct Journal {
    socket: OwnedFd,
}

impl Journal {
    /// Connects.
    pub fn connect(path: &Path) -> Result<Self, Errno> {
        Ok(Self { socket: connect_with(&UnixAddr::new(path)?, SockType::Datagram, true)? })
    }

    /// The journal takes a file only if nobody can change it any more.
    fn send_file(&self, message: &[u8]) -> Result<usize, Errno> {
        let file = sys::sealed_file(c"syslog", message)?;
        let (fds, nothing) = ([file.as_raw_fd()], [IoSlice::new(&[])]);
        let control = [ControlMessage::ScmRights(&fds)];
        let socket = self.socket.as_raw_fd();
        sendmsg::<UnixAddr>(socket, &nothing, &control, sys::NO_SIGNAL, None)?;
        Ok(1)
    }
}

impl Connection for Journal {
    fn send(&mut self, messages: &[&[u8]], flight: &mut Flight) -> Result<usize, Errno> {
        match (flight.send(&self.socket, messages), messages.first()) {
            (Err(Errno::EMSGSIZE | Errno::ENOBUFS), Some(message)) => self.send_file(message),
            (result, _) => result,
        }
    }
}
