//! What a process can listen on.

use std::net::IpAddr;

/// A socket that waits for others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Listener {
    /// It accepts TCP connections at an address and a port.
    Tcp(IpAddr, u16),
    /// It takes UDP datagrams from anybody.
    Udp(IpAddr, u16),
    /// A socket of the UNIX domain, with its path. One that is in no file system begins with `@`.
    Unix(Vec<u8>),
}
