//! The way to the local logger: its socket, datagrams or else a stream, as in syslog(3).

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

/// So many messages go into one system call.
pub const TOGETHER: usize = 64;

/// A connection.
#[derive(Debug)]
pub struct Local {
    socket: OwnedFd,
    stream: bool,
    /// Of a stream's first message, what was sent of it already.
    partial: usize,
}

impl Local {
    /// Connects; datagrams first.
    pub fn connect(path: &Path) -> Result<Self, Errno> {
        let address = UnixAddr::new(path)?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        for (kind, stream) in [(SockType::Datagram, false), (SockType::Stream, true)] {
            let socket = socket(AddressFamily::Unix, kind, flags, None)?;
            match connect(socket.as_raw_fd(), &address) {
                Ok(()) => return Ok(Self { socket, stream, partial: 0 }),
                Err(Errno::EPROTOTYPE) if !stream => {}
                Err(errno) => return Err(errno),
            }
        }
        Err(Errno::EPROTOTYPE)
    }

    /// Sends messages in their order, without blocking; returns how many went. An error means that
    /// the first did not go.
    pub fn send(&mut self, messages: &[&[u8]]) -> Result<usize, Errno> {
        if self.stream { self.send_stream(messages) } else { self.send_datagrams(messages) }
    }

    fn send_datagrams(&self, messages: &[&[u8]]) -> Result<usize, Errno> {
        let slices: Vec<[IoSlice<'_>; 1]> = messages.iter().map(|m| [IoSlice::new(m)]).collect();
        let mut headers: Vec<libc::mmsghdr> = slices
            .iter()
            .take(TOGETHER)
            .map(|slice| {
                // SAFETY: all zero is a valid mmsghdr: no address, no control data.
                let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
                // IoSlice has the layout of iovec; the kernel only reads through it.
                header.msg_hdr.msg_iov = slice.as_ptr().cast_mut().cast();
                header.msg_hdr.msg_iovlen = 1;
                header
            })
            .collect();
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the headers point to `slices`, which outlive the call.
        let sent = unsafe {
            libc::sendmmsg(
                self.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                flags as _,
            )
        };
        if sent < 0 { Err(Errno::last()) } else { Ok(sent as usize) }
    }

    /// Every message ends with a NUL. Of one that only went in part, the rest goes first next time.
    fn send_stream(&mut self, messages: &[&[u8]]) -> Result<usize, Errno> {
        let mut bytes = Vec::new();
        for message in messages {
            bytes.extend_from_slice(message);
            bytes.push(0);
        }
        let from = self.partial.min(bytes.len());
        let rest = bytes.get(from..).unwrap_or(&[]);
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the buffer is ours and its length is given.
        let sent =
            unsafe { libc::send(self.socket.as_raw_fd(), rest.as_ptr().cast(), rest.len(), flags) };
        if sent < 0 {
            return Err(Errno::last());
        }
        let mut left = from + sent as usize;
        let mut whole = 0;
        for message in messages {
            if left < message.len() + 1 {
                break;
            }
            left -= message.len() + 1;
            whole += 1;
        }
        self.partial = left;
        Ok(whole)
    }

    /// Waits until the logger has room again, or the time is up.
    pub fn await_room(&self, timeout: Duration) {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLOUT)];
        let millis = u16::try_from(timeout.as_millis()).unwrap_or(u16::MAX);
        let _ = poll(&mut fds, PollTimeout::from(millis));
    }
}
