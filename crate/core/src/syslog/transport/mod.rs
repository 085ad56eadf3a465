//! The ways to a logger. Each is a file with a [`Connection`], and a line in [`open`].

mod connection;
mod framed;
mod journal;
pub mod local;
mod resolve;
mod tcp;
mod udp;

use nix::errno::Errno;

pub use self::connection::{Connection, PATIENCE};
use super::config::Transport;

/// Connects to a logger.
pub fn open(transport: &Transport) -> Result<Box<dyn Connection>, Errno> {
    Ok(match transport {
        Transport::Local(path) => Box::new(local::Local::connect(path)?),
        Transport::Udp(remote) => Box::new(udp::Udp::connect(remote)?),
        Transport::Tcp(remote) => Box::new(tcp::Tcp::connect(remote)?),
        Transport::Journal(path) => Box::new(journal::Journal::connect(path)?),
    })
}
