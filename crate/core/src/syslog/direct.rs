//! Messages to a logger on this host without a queue and without a thread, for a process that has one thread. Nothing
//! here allocates, and only async-signal-safe calls are made, except where it is said.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::SystemTime;

use ::syslog::Severity;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, SockType, UnixAddr, send};

use super::config::Config;
use super::delivery::Destination;
use super::format::{journal, rfc3164};
use super::message::{Fields, LONGEST, Record, cut, second};
use super::transport::local::connect_to;
use crate::signal_safe::now_ms;
use crate::sys;
use crate::zone::{self, Zone};

/// The time between two tries to go on in the middle of a message, in milliseconds.
pub const RETRY: u16 = 20;
/// A message that the logger finds too long is cut in halves, while it is longer than this.
const SHORTEST_CUT: usize = 512;

/// The way to a logger on this host, and one message.
#[derive(Debug)]
pub struct Direct {
    destination: Destination,
    zone: Zone,
    /// The connection, and whether it is of datagrams or a stream.
    logger: Option<(OwnedFd, SockType)>,
    /// The message, and a NUL behind it.
    message: [u8; LONGEST + 1024],
    length: usize,
}

impl Direct {
    /// To a destination, in local time of this zone.
    pub fn new(destination: Destination, zone: Zone) -> Self {
        Self { destination, zone, logger: None, message: [0; LONGEST + 1024], length: 0 }
    }

    /// To the local logger, from a process that has no other. `None`: its socket has no name. Allocates.
    pub fn to_local_logger(ident: &str) -> Option<Self> {
        let config =
            Config { ident: ident.to_owned(), facility: libc::LOG_DAEMON, ..Config::unopened() };
        Some(Self::new(Destination::new(&config)?, Zone::fixed(0)))
    }

    /// Looks what local time is now. For the main thread; not async-signal-safe.
    pub fn look_at_zone(&mut self, now: SystemTime) {
        zone::look(second(now));
        self.zone = zone::here();
    }

    /// Writes the message as the logger takes it.
    pub fn compose(&mut self, severity: Severity, time: SystemTime, text: &[u8]) {
        let record = Record { facility: 0, time, text, fields: Fields::default() };
        let Destination { is_journal, header, .. } = &mut self.destination;
        let most = self.message.len() - 1;
        let mut rest = self.message.get_mut(..most).unwrap_or(&mut []);
        // What does not fit is left out.
        let _ = if *is_journal {
            journal::write(&mut rest, header, severity, &record)
        } else {
            header.stamp.set(second(time), || self.zone);
            rfc3164::write(&mut rest, header, severity, &record)
        };
        let length = most - rest.len();
        self.set_length(length);
    }

    fn set_length(&mut self, length: usize) {
        self.length = length;
        if let Some(end) = self.message.get_mut(length) {
            *end = 0;
        }
    }

    /// Cuts the message, which the logger finds too long (EMSGSIZE). `false`: it is short already.
    pub fn shorten(&mut self) -> bool {
        if self.length <= SHORTEST_CUT {
            return false;
        }
        let message = self.message.get(..self.length).unwrap_or(&[]);
        let length = cut(message, self.length / 2).len();
        self.set_length(length);
        true
    }

    /// Sends the message, if that can be done at once: EAGAIN says that the logger has no room. In the middle of a
    /// stream's message it waits, until `give_up` by [`now_ms`].
    pub fn try_to_send(&mut self, give_up: i64) -> Result<(), Errno> {
        if self.logger.is_none() {
            self.logger = Some(connect_to(&self.destination.address, false)?);
        }
        let Some((socket, kind)) = &self.logger else { return Err(Errno::ENOTCONN) };
        // A stream's messages end with a NUL.
        let length = self.length + usize::from(*kind == SockType::Stream);
        let whole = self.message.get(..length).unwrap_or(&[]);
        let mut rest = whole;
        while !rest.is_empty() {
            match send(socket.as_raw_fd(), rest, MsgFlags::MSG_DONTWAIT | sys::NO_SIGNAL) {
                Ok(count) => rest = rest.get(count..).unwrap_or(&[]),
                // In the middle of a stream's message: only the rest of it makes sense there.
                Err(Errno::EAGAIN | Errno::EINTR) if rest.len() < whole.len() => {
                    if now_ms() >= give_up {
                        return Err(Errno::ETIMEDOUT);
                    }
                    self.wait_for_room();
                }
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Gives the connection up: the next message has a new one.
    pub fn disconnect(&mut self) {
        self.logger = None;
    }

    /// The connection, if there is one.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.logger.as_ref().map(|(socket, _)| socket.as_fd())
    }

    /// Waits until the logger has room, but no longer than [`RETRY`]; without a connection, for that long.
    pub fn wait_for_room(&self) {
        let mut fds = [self.descriptor().map(|fd| PollFd::new(fd, PollFlags::POLLOUT))];
        let fds = match &mut fds {
            [Some(fd)] => std::slice::from_mut(fd),
            _ => &mut [],
        };
        let _ = poll(fds, PollTimeout::from(RETRY));
    }
}

/// Whether somebody listens at the local logger's socket.
pub fn has_logger() -> bool {
    let address = UnixAddr::new(Path::new(sys::LOCAL_LOGGER));
    address.and_then(|address| connect_to(&address, false)).is_ok()
}
