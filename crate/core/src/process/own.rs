//! What this process can see of itself: its threads, the name of its parent, and its session.

pub use crate::sys::{has_rights_of_its_file, is_awake, name_of_parent, other_threads};

/// Whether this process leads its session.
pub fn leads_session() -> bool {
    nix::unistd::getsid(None) == Ok(nix::unistd::getpid())
}
