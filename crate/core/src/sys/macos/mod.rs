//! macOS: what Linux does with pidfd, memfd, close_range, inotify and /proc is done here with kqueue(2), an unlinked
//! file, and libproc.
//!
//! CI builds it and checks its types; docs/platforms.md says what was run.

mod arriving;
mod children;
mod files;
mod flight;
mod fork;
mod kqueue;
mod libproc;
mod listening;
mod locks;
pub mod maps;
mod notified;
mod outlive;
mod own;
mod pids;
pub(crate) mod privileges;
mod process;
mod seen;
mod signals;
mod sockets;
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
pub use self::usage::*;
pub use self::wake::*;
pub use self::watch::*;
