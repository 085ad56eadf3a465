//! The way to the local logger: its socket, datagrams or else a stream, as in syslog(3).

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{SockType, UnixAddr, connect};

use super::connection::{Connection, set_patience};
use super::framed::Framed;
use crate::sys::{self, Flight};

/// A connection.
#[derive(Debug)]
pub enum Local {
    /// A message is a datagram.
    Datagrams(OwnedFd),
    /// A message ends with a NUL.
    Stream(Framed),
}

impl Local {
    /// Connects; datagrams first.
    pub fn connect(path: &Path) -> Result<Self, Errno> {
        let (socket, kind) = connect_to(&UnixAddr::new(path)?, true)?;
        Ok(match kind {
            SockType::Stream => Self::Stream(Framed::new(socket)),
            _ => Self::Datagrams(socket),
        })
    }
}

impl Connection for Local {
    fn send(&mut self, messages: &[&[u8]], flight: &mut Flight) -> Result<usize, Errno> {
        match self {
            Self::Datagrams(socket) => flight.send(socket, messages),
            Self::Stream(stream) => stream.send(messages, |bytes, message| {
                bytes.extend_from_slice(message);
                bytes.push(0);
            }),
        }
    }
}

/// Connects to a logger, with datagrams or else a stream; says which. For `blocks` see [`connect_with`].
/// Async-signal-safe, without allocation.
pub fn connect_to(address: &UnixAddr, blocks: bool) -> Result<(OwnedFd, SockType), Errno> {
    let by = |kind| connect_with(address, kind, blocks).map(|socket| (socket, kind));
    match by(SockType::Datagram) {
        Err(Errno::EPROTOTYPE) => by(SockType::Stream),
        result => result,
    }
}

/// Connects a socket of the UNIX domain. If it `blocks`, its calls wait for the other side, though not for
/// long; else they never do.
pub fn connect_with(address: &UnixAddr, kind: SockType, blocks: bool) -> Result<OwnedFd, Errno> {
    let socket = sys::unix_socket(kind, !blocks)?;
    if blocks {
        // Before connect(2): with a full backlog a stream would wait there.
        set_patience(&socket)?;
    }
    sys::again(|| connect(socket.as_raw_fd(), address))?;
    Ok(socket)
}
