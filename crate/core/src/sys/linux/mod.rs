//! Linux: the system calls that neither `nix` nor an old C library has, and what only Linux has.
//!
//! Those calls are made by their numbers: the symbols `close_range`, `memfd_create`, `pidfd_*` and `statx` would need
//! a glibc newer than 2.17.

mod arriving;
mod children;
mod files;
mod flight;
mod fork;
mod listening;
mod locks;
pub mod maps;
mod notified;
mod outlive;
mod own;
mod pids;
pub(crate) mod privileges;
mod process;
pub(crate) mod procfs;
mod seen;
mod signals;
mod sockets;
mod stat;
mod usage;
mod wake;
mod watch;

pub use self::arriving::*;
pub use self::children::*;
pub use self::files::*;
pub use self::flight::*;
pub use self::fork::*;
pub use self::listening::*;
pub use self::locks::*;
pub use self::notified::*;
pub use self::outlive::*;
pub use self::own::*;
pub use self::pids::*;
pub use self::process::*;
pub use self::seen::*;
pub use self::signals::*;
pub use self::sockets::*;
pub use self::stat::*;
pub use self::usage::*;
pub use self::wake::*;
pub use self::watch::*;
