//! What is told to the service manager (sd_notify(3)): one datagram to the socket that `NOTIFY_SOCKET` names. It never
//! blocks.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, SockType, UnixAddr, connect, send, sendto};

use crate::error::Result;
use crate::sys::{self, again};

/// The socket to the manager, where it was connected beforehand.
static CONNECTED: OnceLock<OwnedFd> = OnceLock::new();

/// Sends `state`, lines of `NAME=value`, to `address`: a path, or `@` and an abstract name.
pub fn notify(address: &str, state: &str) -> Result<()> {
    let flags = sys::NO_SIGNAL | MsgFlags::MSG_DONTWAIT;
    let send = |socket: &OwnedFd| again(|| send(socket.as_raw_fd(), state.as_bytes(), flags));
    match CONNECTED.get().map(send) {
        Some(Ok(_)) => Ok(()),
        // The manager has made its socket anew.
        Some(Err(Errno::ECONNREFUSED)) | None => {
            let (socket, to) = (new_socket()?, to(address)?);
            again(|| sendto(socket.as_raw_fd(), state.as_bytes(), &to, flags))?;
            Ok(())
        }
        Some(Err(errno)) => Err(errno.into()),
    }
}

/// Connects now: the path may be out of reach later (chroot(2)).
pub fn stay_in_touch(address: &str) -> Result<()> {
    let socket = new_socket()?;
    let to = to(address)?;
    again(|| connect(socket.as_raw_fd(), &to))?;
    let _ = CONNECTED.set(socket);
    Ok(())
}

fn new_socket() -> std::result::Result<OwnedFd, Errno> {
    sys::unix_socket(SockType::Datagram, true)
}

fn to(address: &str) -> std::result::Result<UnixAddr, Errno> {
    match address.strip_prefix('@') {
        Some(name) => sys::abstract_address(name),
        _ if address.starts_with('/') => UnixAddr::new(address),
        _ => Err(Errno::EAFNOSUPPORT),
    }
}

/// CLOCK_MONOTONIC in microseconds, which is told with `RELOADING=1`. It must be exact: systemd ignores an answer that
/// seems to be older than its question (sd_notify(3), `MONOTONIC_USEC=`).
pub fn monotonic_usec() -> i64 {
    use nix::time::{ClockId, clock_gettime};
    // There is always this clock.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000)
}
