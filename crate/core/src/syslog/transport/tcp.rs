//! The way to a logger on another host. Names are resolved here, in the sender's thread.

use std::collections::VecDeque;
use std::io::Write;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, getsockopt, setsockopt, shutdown, sockopt};

use super::super::Remote;
use super::local::{Stream, send_datagrams, set_patience};

/// For a host to answer a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// A host that acknowledges nothing for so long (milliseconds) is gone.
const UNANSWERED: libc::c_uint = 20_000;
/// For a host to say that nobody listens to the port.
const REFUSAL: u16 = 20;
/// For the last bytes to be acknowledged by a host that closes the connection.
const LAST_BYTES: Duration = Duration::from_secs(1);

fn addresses(remote: &Remote) -> Result<Vec<SocketAddr>, Errno> {
    let found = (remote.host.as_str(), remote.port).to_socket_addrs();
    found.map(Iterator::collect).map_err(|error| errno_of(&error, Errno::EHOSTUNREACH))
}

fn errno_of(error: &std::io::Error, other: Errno) -> Errno {
    error.raw_os_error().map_or(other, Errno::from_raw)
}

/// A way for datagrams.
#[derive(Debug)]
pub struct Udp {
    socket: OwnedFd,
    /// Whether somebody listens is not known: one message goes alone, and its refusal is waited for.
    doubtful: bool,
}

impl Udp {
    /// Connects, so that the kernel tells of refusals (ICMP): of those that answer to the name, to
    /// the first one that can be reached.
    pub fn connect(remote: &Remote) -> Result<Self, Errno> {
        let mut failure = Errno::EHOSTUNREACH;
        for address in addresses(remote)? {
            let here: SocketAddr = match address {
                SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
                SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
            };
            let connected = UdpSocket::bind(here)
                .and_then(|socket| socket.connect(address).map(|()| OwnedFd::from(socket)));
            match connected {
                Ok(socket) => {
                    set_patience(&socket)?;
                    return Ok(Self { socket, doubtful: true });
                }
                Err(error) => failure = errno_of(&error, failure),
            }
        }
        Err(failure)
    }

    /// Sends messages in their order; returns how many went. An error means that the first did not
    /// go. One that is refused only after it went is lost: the protocol has no more.
    pub fn send(&mut self, messages: &[&[u8]]) -> Result<usize, Errno> {
        let messages = if self.doubtful { messages.get(..1).unwrap_or(&[]) } else { messages };
        let sent = send_datagrams(&self.socket, messages)?;
        if self.doubtful {
            self.await_refusal()?;
        }
        // The error that cut the call short is not told (sendmmsg(2)).
        self.doubtful = sent < messages.len();
        Ok(sent)
    }

    fn await_refusal(&self) -> Result<(), Errno> {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::empty())];
        let _ = poll(&mut fds, PollTimeout::from(REFUSAL));
        match getsockopt(&self.socket, sockopt::SocketError) {
            Ok(0) => Ok(()),
            Ok(errno) => Err(Errno::from_raw(errno)),
            Err(errno) => Err(errno),
        }
    }
}

/// A connection. What was written stays the sender's until the other host has acknowledged it
/// (tcp(7), SIOCOUTQ), so that a connection that breaks loses nothing on the way.
#[derive(Debug)]
pub struct Tcp {
    stream: Stream,
    /// Where each message that was written ends, in bytes written.
    ends: VecDeque<u64>,
    /// Our side is closed; its end counts as one byte that must be acknowledged.
    finished: bool,
}

impl Tcp {
    /// Connects to the first of those that answer to the name.
    pub fn connect(remote: &Remote) -> Result<Self, Errno> {
        let mut failure = Errno::EHOSTUNREACH;
        for address in addresses(remote)? {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => {
                    let socket = OwnedFd::from(stream);
                    set_patience(&socket)?;
                    setsockopt(&socket, sockopt::KeepAlive, &true)?;
                    crate::sys::set_user_timeout(&socket, UNANSWERED)?;
                    return Ok(Self {
                        stream: Stream::new(socket),
                        ends: VecDeque::new(),
                        finished: false,
                    });
                }
                Err(error) => failure = errno_of(&error, Errno::ETIMEDOUT),
            }
        }
        Err(failure)
    }

    /// Writes messages in their order; returns how many were written whole.
    pub fn send(&mut self, messages: &[&[u8]]) -> Result<usize, Errno> {
        if self.is_closed() {
            self.finish();
            return Err(Errno::EPIPE);
        }
        let mut end = self.stream.begin();
        let written = self.stream.send(messages, |bytes, message| {
            let _ = write!(bytes, "{} ", message.len());
            bytes.extend_from_slice(message);
        })?;
        let lengths = messages.iter().take(written).map(|m| framed_length(m.len()) as u64);
        self.ends.extend(lengths.map(|length| {
            end += length;
            end
        }));
        Ok(written)
    }

    /// How many of the messages that were written have since been acknowledged.
    pub fn delivered(&mut self) -> usize {
        let acknowledged = self.stream.written().saturating_sub(self.unacknowledged());
        let count = self.ends.iter().take_while(|end| **end <= acknowledged).count();
        self.ends.drain(..count);
        count
    }

    /// Whether the connection still stands.
    pub fn check(&mut self) -> Result<(), Errno> {
        if self.is_closed() {
            self.finish();
            return Err(Errno::EPIPE);
        }
        match getsockopt(&self.stream.socket, sockopt::SocketError) {
            Ok(0) => Ok(()),
            Ok(errno) => Err(Errno::from_raw(errno)),
            Err(errno) => Err(errno),
        }
    }

    fn unacknowledged(&self) -> u64 {
        let bytes = crate::sys::unacknowledged(&self.stream.socket);
        bytes.saturating_sub(u64::from(self.finished))
    }

    /// Whether the other side has closed: what is written then is lost. What it says is not ours to
    /// understand, and is thrown away.
    fn is_closed(&self) -> bool {
        let mut buffer = [0u8; 512];
        loop {
            // SAFETY: the buffer is ours and its length is given.
            let read = unsafe {
                let fd = self.stream.socket.as_raw_fd();
                libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT)
            };
            match read {
                0 => return true,
                1.. => {}
                _ if Errno::last() == Errno::EINTR => {}
                _ => return Errno::last() != Errno::EAGAIN,
            }
        }
    }

    /// The other side has closed, and may still read what is on its way.
    fn finish(&mut self) {
        if self.finished || shutdown(self.stream.socket.as_raw_fd(), Shutdown::Write).is_err() {
            return;
        }
        self.finished = true;
        let begun = Instant::now();
        while self.unacknowledged() > 0 && begun.elapsed() < LAST_BYTES {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn framed_length(length: usize) -> usize {
    length + 2 + length.checked_ilog10().unwrap_or(0) as usize
}

#[cfg(test)]
mod tests {
    use super::framed_length;

    #[test]
    fn a_frame_is_its_length_a_space_and_the_message() {
        for length in [0usize, 9, 10, 99, 100, 8192] {
            assert_eq!(framed_length(length), format!("{length} ").len() + length);
        }
    }
}
