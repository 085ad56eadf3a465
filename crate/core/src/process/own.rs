//! What this process can see of itself: its threads, the name of its parent, its session, and its descriptors.

use std::os::fd::{BorrowedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::sys::again;

pub use crate::sys::{has_rights_of_its_file, is_awake, name_of_parent, other_threads};

/// Whether this process leads its session.
pub fn leads_session() -> bool {
    nix::unistd::getsid(None) == Ok(nix::unistd::getpid())
}

/// Whether a descriptor of this number is open.
pub fn is_open(fd: RawFd) -> bool {
    // SAFETY: F_GETFD on any number is an error at worst.
    again(|| Errno::result(unsafe { libc::fcntl(fd, libc::F_GETFD) })).is_ok()
}

/// No program that this process executes gets the descriptor.
pub fn close_on_exec(fd: BorrowedFd<'_>) {
    let _ = again(|| fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)));
}
