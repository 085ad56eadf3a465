//! Sockets, as far as their flags and options differ between systems.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, socket};

use super::files::set_flags;

/// The local logger's socket.
pub const LOCAL_LOGGER: &str = "/var/run/syslog";

/// A message to a socket whose other end is gone gives an error: Node ignores SIGPIPE.
pub const NO_SIGNAL: MsgFlags = MsgFlags::empty();

/// The flag of recvmsg(2) with which the descriptors that come are close-on-exec, which macOS does not have.
pub const CLOSED_ON_EXEC: libc::c_int = 0;

/// A socket of the UNIX domain, close-on-exec.
pub fn unix_socket(kind: SockType, nonblocking: bool) -> Result<OwnedFd, Errno> {
    let socket = socket(AddressFamily::Unix, kind, SockFlag::empty(), None)?;
    set_flags(&socket, nonblocking)?;
    Ok(socket)
}

/// The address of a socket that has a name in no file system, which macOS does not have.
pub fn abstract_address(_name: &str) -> Result<UnixAddr, Errno> {
    Err(Errno::EAFNOSUPPORT)
}

/// TCP_RXT_CONNDROPTIME of netinet/tcp.h: for how many seconds what was sent is sent again.
const RETRANSMIT_LIMIT: libc::c_int = 0x80;

/// Sets for how many milliseconds a host may acknowledge nothing.
pub fn set_user_timeout(socket: &OwnedFd, limit: libc::c_uint) -> Result<(), Errno> {
    let seconds = limit.div_ceil(1000) as libc::c_int;
    // SAFETY: the option takes an int, whose address and size are given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            RETRANSMIT_LIMIT,
            (&raw const seconds).cast(),
            size_of_val(&seconds) as libc::socklen_t,
        )
    };
    Errno::result(result).map(drop)
}

/// SO_NWRITE of sys/socket.h: how many bytes are in the send queue.
const SEND_QUEUE: libc::c_int = 0x1024;

/// How many bytes the other host has not acknowledged.
pub fn unacknowledged(socket: &OwnedFd) -> u64 {
    let mut bytes: libc::c_int = 0;
    let mut size = size_of_val(&bytes) as libc::socklen_t;
    // SAFETY: the option is an int, whose address and size are given.
    let result = unsafe {
        let (fd, to) = (socket.as_raw_fd(), (&raw mut bytes).cast());
        libc::getsockopt(fd, libc::SOL_SOCKET, SEND_QUEUE, to, &mut size)
    };
    if result == 0 { bytes.max(0) as u64 } else { 0 }
}
