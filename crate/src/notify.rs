//! Telling the service manager (sd_notify(3)): one datagram to the socket that `NOTIFY_SOCKET`
//! names. Never blocks.

use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sendto, socket};

/// Sends `state`, lines of `NAME=value`, to `address`: a path, or `@` and an abstract name.
pub fn notify(address: &str, state: &str) -> Result<(), Errno> {
    let to = match address.strip_prefix('@') {
        #[cfg(target_os = "linux")]
        Some(name) => UnixAddr::new_abstract(name.as_bytes())?,
        _ if address.starts_with('/') => UnixAddr::new(address)?,
        _ => return Err(Errno::EAFNOSUPPORT),
    };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    sendto(socket.as_raw_fd(), state.as_bytes(), &to, flags).map(drop)
}

/// CLOCK_MONOTONIC in microseconds, which `RELOADING=1` goes with. To the microsecond: what seems to
/// be older than its question is no answer to systemd (sd_notify(3), `MONOTONIC_USEC=`).
pub fn monotonic_usec() -> i64 {
    use nix::time::{ClockId, clock_gettime};
    // There is always this clock.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| now.tv_sec() * 1_000_000 + now.tv_nsec() / 1000)
}
