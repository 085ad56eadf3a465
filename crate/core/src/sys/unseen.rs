//! Why a process is not seen.

use nix::errno::Errno;

/// Why a process that exists cannot be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unseen {
    /// A call failed.
    Failed(&'static str, Errno),
    /// /proc is that of another pid namespace, and does not have the process.
    Foreign,
    /// /proc is not mounted.
    Missing,
}
