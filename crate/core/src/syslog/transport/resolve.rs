//! Another host's addresses. Names are resolved here, in the sender's thread.

use std::io::Result;
use std::net::{SocketAddr, ToSocketAddrs};

use nix::errno::Errno;

use crate::syslog::config::Remote;

/// Connects to the first of the addresses that can be reached. Fails with the last error, or, where that has no
/// errno, with `other`.
pub fn first_reached<T>(
    remote: &Remote,
    other: Errno,
    connect: impl Fn(SocketAddr) -> Result<T>,
) -> std::result::Result<T, Errno> {
    let found = (remote.host.as_str(), remote.port).to_socket_addrs();
    let mut failure = Errno::EHOSTUNREACH;
    for address in found.map_err(|error| errno_of(&error, Errno::EHOSTUNREACH))? {
        match connect(address) {
            Ok(connected) => return Ok(connected),
            Err(error) => failure = errno_of(&error, other),
        }
    }
    Err(failure)
}

fn errno_of(error: &std::io::Error, other: Errno) -> Errno {
    error.raw_os_error().map_or(other, Errno::from_raw)
}
