//! Linux: many datagrams in one system call, sendmmsg(2).

use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;

/// Datagrams on their way in one system call. The kernel notes in each what it has taken, as soon as it has:
/// so whoever can read this memory knows it even if the caller is dead before the call returns. Zeroes are
/// one in which there is nothing.
#[repr(transparent)]
pub struct Flight([libc::mmsghdr; Flight::TOGETHER]);

impl Flight {
    /// So many datagrams go into one system call.
    pub const TOGETHER: usize = 64;

    /// Nothing yet.
    pub fn new() -> Self {
        // SAFETY: all zero is a valid mmsghdr: no address, no data, no control data.
        Self(unsafe { std::mem::zeroed() })
    }

    /// Forgets what the kernel has taken.
    pub fn clear(&mut self) {
        self.0.iter_mut().for_each(|header| header.msg_len = 0);
    }

    /// Sends each message as a datagram, as far as they go into one call; returns how many went. An error
    /// means that the first did not go.
    pub fn send(&mut self, socket: &OwnedFd, messages: &[&[u8]]) -> Result<usize, Errno> {
        let mut slices = [IoSlice::new(&[]); Self::TOGETHER];
        let mut count = 0;
        for ((slice, header), message) in slices.iter_mut().zip(&mut self.0).zip(messages) {
            *slice = IoSlice::new(message);
            // IoSlice has the layout of iovec; the kernel only reads through it.
            header.msg_hdr.msg_iov = std::ptr::from_mut(slice).cast();
            header.msg_hdr.msg_iovlen = 1;
            header.msg_len = 0;
            count += 1;
        }
        // SAFETY: `count` headers are in the array; each points to one of `slices`, which outlive the call.
        let sent = unsafe {
            let flags = libc::MSG_NOSIGNAL as _;
            libc::sendmmsg(socket.as_raw_fd(), self.0.as_mut_ptr(), count, flags)
        };
        Errno::result(sent).map(|sent| sent as usize)
    }

    /// How many messages the kernel has taken. For those that are not empty.
    pub fn taken(&self) -> usize {
        self.0.iter().take_while(|header| header.msg_len > 0).count()
    }
}

impl Default for Flight {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Flight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Flight").field(&self.taken()).finish()
    }
}
