//! Sockets, as far as their flags and options differ between systems.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, socket};

/// The local logger's socket.
pub const LOCAL_LOGGER: &str = "/dev/log";

/// A message to a socket whose other end is gone gives an error, and no SIGPIPE.
pub const NO_SIGNAL: MsgFlags = MsgFlags::MSG_NOSIGNAL;

/// The flag of recvmsg(2) with which the descriptors that come are close-on-exec.
pub const CLOSED_ON_EXEC: libc::c_int = libc::MSG_CMSG_CLOEXEC;

/// A socket of the UNIX domain, close-on-exec.
pub fn unix_socket(kind: SockType, nonblocking: bool) -> Result<OwnedFd, Errno> {
    let more = if nonblocking { SockFlag::SOCK_NONBLOCK } else { SockFlag::empty() };
    socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC | more, None)
}

/// The address of a socket that has a name in no file system (unix(7)).
pub fn abstract_address(name: &str) -> Result<UnixAddr, Errno> {
    UnixAddr::new_abstract(name.as_bytes())
}

/// Sets for how many milliseconds a host may acknowledge nothing: TCP_USER_TIMEOUT (tcp(7)).
pub fn set_user_timeout(socket: &OwnedFd, limit: libc::c_uint) -> Result<(), Errno> {
    // SAFETY: the option takes an unsigned int, whose address and size are given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_USER_TIMEOUT,
            (&raw const limit).cast(),
            size_of_val(&limit) as libc::socklen_t,
        )
    };
    Errno::result(result).map(drop)
}

/// How many bytes the other host has not acknowledged.
pub fn unacknowledged(socket: &OwnedFd) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which TIOCOUTQ is on Linux, writes an int.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &mut bytes) };
    if result == 0 { bytes.max(0) as u64 } else { 0 }
}
