//! The way to a logger on another host, by a connection (RFC 6587).

use std::collections::VecDeque;
use std::io::Write;
use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, recv, setsockopt, shutdown, sockopt};

use super::connection::{Connection, noted_error, set_patience};
use super::framed::Framed;
use super::resolve::first_reached;
use crate::sys::{self, Flight};
use crate::syslog::config::Remote;

/// For a host to answer a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// A host that acknowledges nothing for so long (milliseconds) is gone.
const UNANSWERED: libc::c_uint = 20_000;
/// For the last bytes to be acknowledged by a host that closes the connection.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// A connection. What was written stays the sender's until the other host has acknowledged it
/// (tcp(7), SIOCOUTQ), so that a connection that breaks loses nothing on the way.
#[derive(Debug)]
pub struct Tcp {
    stream: Framed,
    /// Where each message that was written ends, in bytes written.
    ends: VecDeque<u64>,
    /// Our side is closed; its end counts as one byte that must be acknowledged.
    finished: bool,
}

impl Tcp {
    /// Connects.
    pub fn connect(remote: &Remote) -> Result<Self, Errno> {
        let stream = first_reached(remote, Errno::ETIMEDOUT, |address| {
            TcpStream::connect_timeout(&address, CONNECT)
        })?;
        let socket = OwnedFd::from(stream);
        set_patience(&socket)?;
        setsockopt(&socket, sockopt::KeepAlive, &true)?;
        sys::set_user_timeout(&socket, UNANSWERED)?;
        Ok(Self { stream: Framed::new(socket), ends: VecDeque::new(), finished: false })
    }

    fn unacknowledged(&self) -> u64 {
        let bytes = sys::unacknowledged(&self.stream.socket);
        bytes.saturating_sub(u64::from(self.finished))
    }

    /// Fails where the other side has closed: what is written then is lost. What it says is not ours to
    /// understand, and is thrown away.
    fn refuse_closed(&mut self) -> Result<(), Errno> {
        let mut buffer = [0u8; 512];
        loop {
            match recv(self.stream.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(1..) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Ok(0) | Err(_) => break,
            }
        }
        self.finish();
        Err(Errno::EPIPE)
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

impl Connection for Tcp {
    fn send(&mut self, messages: &[&[u8]], _: &mut Flight) -> Result<usize, Errno> {
        self.refuse_closed()?;
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

    fn delivered(&mut self, _: usize) -> usize {
        let acknowledged = self.stream.written().saturating_sub(self.unacknowledged());
        let count = self.ends.iter().take_while(|end| **end <= acknowledged).count();
        self.ends.drain(..count);
        count
    }

    fn check(&mut self) -> Result<(), Errno> {
        self.refuse_closed()?;
        noted_error(&self.stream.socket)
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
