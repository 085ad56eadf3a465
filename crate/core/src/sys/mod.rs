//! What Linux and macOS do each in their own way, under the same names. Only this room asks which system is
//! compiled.
//!
//! A function fails with an `Errno`. Those that run between fork and exec (`children`, and `fork_until_exec`) fail as
//! the calls of the C library beside them do: they return -1 and leave the reason in errno.

mod again;
mod arrived;
mod file_id;
#[cfg(target_os = "linux")]
mod linux;
mod listener;
#[cfg(not(target_os = "linux"))]
mod macos;
mod reaction;
mod unseen;

pub use self::again::{again, errno_of};
pub use self::arrived::Arrived;
pub use self::file_id::FileId;
#[cfg(target_os = "linux")]
pub use self::linux::*;
pub use self::listener::Listener;
#[cfg(not(target_os = "linux"))]
pub use self::macos::*;
pub use self::reaction::Reaction;
pub use self::unseen::Unseen;
