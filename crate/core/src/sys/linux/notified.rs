//! Datagrams of which the kernel says who has sent them, as sd_notify(3) sends them.

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockType, UnixAddr, UnixCredentials, bind, getsockname, recvmsg,
    setsockopt, sockopt,
};

use super::sockets::unix_socket;
use crate::sys::again;

/// The longest datagram; what is longer is cut.
const LONGEST: usize = 4096;

/// A socket for such datagrams.
#[derive(Debug)]
pub struct Notified(OwnedFd);

impl Notified {
    /// Makes one, under a name that the kernel chooses (unix(7), autobind).
    pub fn bind() -> Result<Self, Errno> {
        let socket = unix_socket(SockType::Datagram, true)?;
        setsockopt(&socket, sockopt::PassCred, &true)?;
        bind(socket.as_raw_fd(), &UnixAddr::new_unnamed())?;
        Ok(Self(socket))
    }

    /// Its name, as `NOTIFY_SOCKET` has it.
    pub fn address(&self) -> Result<String, Errno> {
        let address: UnixAddr = getsockname(self.0.as_raw_fd())?;
        let name = address.as_abstract().and_then(|name| std::str::from_utf8(name).ok());
        name.map(|name| format!("@{name}")).ok_or(Errno::EINVAL)
    }

    /// To be polled: there is something to read when a datagram has come.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// The next datagram, and the pid of its sender.
    pub fn next(&self) -> Option<(i32, Vec<u8>)> {
        let mut bytes = vec![0; LONGEST];
        let mut control = nix::cmsg_space!(UnixCredentials);
        let received = again(|| {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
            let mut parts = [IoSliceMut::new(&mut bytes)];
            let received =
                recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
            let sender = received.cmsgs()?.find_map(|message| match message {
                ControlMessageOwned::ScmCredentials(credentials) => Some(credentials.pid()),
                _ => None,
            });
            Ok((received.bytes, sender))
        });
        let (length, sender) = received.ok()?;
        bytes.truncate(length);
        Some((sender.unwrap_or(0), bytes))
    }
}
