//! What the sender asks of every way to a logger.

use std::fmt::Debug;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::sys::Flight;

/// A call on a socket blocks no longer than this: only the sender's thread waits there, and a logger that
/// reads slowly is followed at its pace with one system call for many messages.
pub const PATIENCE: Duration = Duration::from_millis(50);

/// An open way to a logger.
pub trait Connection: Debug + Send {
    /// Sends messages in their order; returns how many went. An error means that the first did not go;
    /// EAGAIN, that the logger has no room. Datagrams go by `flight`.
    fn send(&mut self, messages: &[&[u8]], flight: &mut Flight) -> Result<usize, Errno>;

    /// How many of the messages that went have arrived since this was last asked, as far as one can know;
    /// so many are on their way.
    fn delivered(&mut self, on_the_way: usize) -> usize {
        on_the_way
    }

    /// Whether the connection still stands.
    fn check(&mut self) -> Result<(), Errno> {
        Ok(())
    }

    /// Whether somebody listens, since there is a connection.
    fn is_answered(&self) -> bool {
        true
    }
}

/// Sets how long a call on a socket may block.
pub fn set_patience(socket: &OwnedFd) -> Result<(), Errno> {
    let patience = TimeVal::milliseconds(PATIENCE.as_millis() as i64);
    setsockopt(socket, sockopt::SendTimeout, &patience)
}

/// The error that a socket has noted, if any (SO_ERROR in socket(7)).
pub fn noted_error(socket: &OwnedFd) -> Result<(), Errno> {
    match getsockopt(socket, sockopt::SocketError)? {
        0 => Ok(()),
        errno => Err(Errno::from_raw(errno)),
    }
}
