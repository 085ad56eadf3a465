//! The way to the local logger: its socket, datagrams or else a stream, as in syslog(3).
//!
//! The sockets block, but no longer than [`PATIENCE`]: only the sender's thread waits there, and a
//! logger that reads slowly is followed at its pace with one system call for many messages.

#[cfg(target_os = "linux")]
use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{SockType, UnixAddr, connect, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::sys;

/// So many messages go into one system call.
pub const TOGETHER: usize = 64;
/// A logger that is full is waited for so long at a time.
pub const PATIENCE: Duration = Duration::from_millis(50);

/// A connection.
#[derive(Debug)]
pub enum Local {
    /// A message is a datagram.
    Datagrams(OwnedFd),
    /// A message ends with a NUL.
    Stream(Stream),
}

impl Local {
    /// Connects; datagrams first.
    pub fn connect(path: &Path) -> Result<Self, Errno> {
        match unix_socket(path, SockType::Datagram) {
            Ok(socket) => Ok(Self::Datagrams(socket)),
            Err(Errno::EPROTOTYPE) => {
                unix_socket(path, SockType::Stream).map(|socket| Self::Stream(Stream::new(socket)))
            }
            Err(errno) => Err(errno),
        }
    }

    /// Sends messages in their order; returns how many went. An error means that the first did not
    /// go; EAGAIN, that the logger has no room.
    pub fn send(&mut self, messages: &[&[u8]]) -> Result<usize, Errno> {
        match self {
            Self::Datagrams(socket) => send_datagrams(socket, messages),
            Self::Stream(stream) => stream.send(messages, |bytes, message| {
                bytes.extend_from_slice(message);
                bytes.push(0);
            }),
        }
    }
}

/// A connected socket of the UNIX domain.
pub fn unix_socket(path: &Path, kind: SockType) -> Result<OwnedFd, Errno> {
    let address = UnixAddr::new(path)?;
    let socket = sys::unix_socket(kind, false)?;
    // Before connect(2): with a full backlog a stream would wait there.
    set_patience(&socket)?;
    sys::again(|| connect(socket.as_raw_fd(), &address))?;
    Ok(socket)
}

/// Sets how long a call on the socket may block.
pub fn set_patience(socket: &OwnedFd) -> Result<(), Errno> {
    let patience = TimeVal::milliseconds(PATIENCE.as_millis() as i64);
    setsockopt(socket, sockopt::SendTimeout, &patience)
}

/// Sends each message as a datagram: no more of them at a time than the logger takes.
#[cfg(not(target_os = "linux"))]
pub fn send_datagrams(socket: &OwnedFd, messages: &[&[u8]]) -> Result<usize, Errno> {
    let mut sent = 0;
    for message in messages.iter().take(TOGETHER) {
        match nix::sys::socket::send(socket.as_raw_fd(), message, sys::NO_SIGNAL) {
            Ok(_) => sent += 1,
            Err(errno) if sent == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(sent)
}

/// Sends each message as a datagram.
#[cfg(target_os = "linux")]
pub fn send_datagrams(socket: &OwnedFd, messages: &[&[u8]]) -> Result<usize, Errno> {
    let slices: Vec<[IoSlice<'_>; 1]> =
        messages.iter().take(TOGETHER).map(|message| [IoSlice::new(message)]).collect();
    let mut headers: Vec<libc::mmsghdr> = slices
        .iter()
        .map(|slice| {
            // SAFETY: all zero is a valid mmsghdr: no address, no control data.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            // IoSlice has the layout of iovec; the kernel only reads through it.
            header.msg_hdr.msg_iov = slice.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_iovlen = 1;
            header
        })
        .collect();
    let headers = crate::output::to_syslog::in_sight(&mut headers);
    // SAFETY: the headers point to `slices`, which outlive the call.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as libc::c_uint,
            libc::MSG_NOSIGNAL as _,
        )
    };
    if sent < 0 { Err(Errno::last()) } else { Ok(sent as usize) }
}

/// A stream, on which a message may go in parts.
#[derive(Debug)]
pub struct Stream {
    /// The socket.
    pub socket: OwnedFd,
    /// Of the first message, what was sent of it already.
    partial: usize,
    /// Bytes that were sent.
    written: u64,
}

impl Stream {
    /// A connection on which nothing was sent.
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, partial: 0, written: 0 }
    }

    /// Bytes that were sent.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Where, in the bytes sent, the next message begins.
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
        // SAFETY: the buffer is ours and its length is given.
        let sent = unsafe {
            let flags = libc::MSG_NOSIGNAL;
            libc::send(self.socket.as_raw_fd(), rest.as_ptr().cast(), rest.len(), flags)
        };
        if sent < 0 {
            return Err(Errno::last());
        }
        self.written += sent as u64;
        let reached = self.partial + sent as usize;
        let whole = ends.iter().take_while(|end| **end <= reached).count();
        let begun = whole.checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or(0);
        self.partial = reached - begun;
        Ok(whole)
    }
}
