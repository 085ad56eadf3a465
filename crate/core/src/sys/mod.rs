//! What each system does in its own way, under the same names: Linux, and macOS. Nowhere else is it asked
//! which one is compiled.
//!
//! A function returns the `Errno` of its failure. Those that are called between fork and exec (`children`, and
//! the forks themselves) fail as the calls of the C library beside them do: -1, with errno.

mod again;
mod file_id;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod macos;
mod unseen;

pub use self::again::{again, errno_of};
pub use self::file_id::FileId;
#[cfg(target_os = "linux")]
pub use self::linux::*;
#[cfg(not(target_os = "linux"))]
pub use self::macos::*;
pub use self::unseen::Unseen;
