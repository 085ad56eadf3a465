//! The way to a logger on another host, by datagrams (RFC 5426).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::connection::{Connection, noted_error, set_patience};
use super::resolve::first_reached;
use crate::sys::Flight;
use crate::syslog::config::Remote;

/// For a host to say that nobody listens to the port: milliseconds.
const REFUSAL: u16 = 20;

/// A way for datagrams.
#[derive(Debug)]
pub struct Udp {
    socket: OwnedFd,
    /// Whether somebody listens is not known: one message goes alone, and its refusal is waited for.
    doubtful: bool,
}

impl Udp {
    /// Connects, so that the kernel tells of refusals (ICMP).
    pub fn connect(remote: &Remote) -> Result<Self, Errno> {
        let socket = first_reached(remote, Errno::EHOSTUNREACH, |address| {
            let here: SocketAddr = match address {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let socket = UdpSocket::bind(here)?;
            socket.connect(address)?;
            Ok(OwnedFd::from(socket))
        })?;
        set_patience(&socket)?;
        Ok(Self { socket, doubtful: true })
    }

    fn await_refusal(&self) -> Result<(), Errno> {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::empty())];
        let _ = poll(&mut fds, PollTimeout::from(REFUSAL));
        noted_error(&self.socket)
    }
}

impl Connection for Udp {
    /// One that is refused only after it went is lost: the protocol has no more.
    fn send(&mut self, messages: &[&[u8]], flight: &mut Flight) -> Result<usize, Errno> {
        let messages = if self.doubtful { messages.get(..1).unwrap_or(&[]) } else { messages };
        let sent = flight.send(&self.socket, messages)?;
        if self.doubtful {
            self.await_refusal()?;
        }
        // The error that cut the call short is not told (sendmmsg(2)).
        self.doubtful = sent < messages.len();
        Ok(sent)
    }

    fn is_answered(&self) -> bool {
        false
    }
}
