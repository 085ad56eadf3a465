//! macOS: every child tells of its end by SIGCHLD, and none is told of the end of its parent. So there is no child
//! that could outlive this process unseen; who wants one asks [`CAN_OUTLIVE`] first.

use std::ffi::CStr;
use std::os::fd::AsFd;

use libc::{c_int, pid_t};
use nix::errno::Errno;

/// Whether this system can make such a child.
pub const CAN_OUTLIVE: bool = false;

/// Refused.
///
/// # Safety
///
/// As on Linux; here nothing is done.
pub unsafe fn fork_unseen() -> Result<pid_t, Errno> {
    Err(Errno::ENOTSUP)
}

/// There is no such child.
pub fn wait_for_unseen(_child: pid_t) {}

/// There is no such child.
pub fn signal_when_orphaned(_signal: c_int) {}

/// There is no such child.
pub fn poll_or_signal(_fds: &mut [libc::pollfd], _millis: Option<i64>, _signals: &[c_int]) -> bool {
    false
}

/// There is no such child.
pub fn set_name(_name: &CStr) {}

/// A pipe grows by itself.
pub fn grow_pipe(_pipe: &impl AsFd, _bytes: c_int) {}

/// The pages stay.
///
/// # Safety
///
/// As on Linux; here nothing is done.
pub unsafe fn remove_pages(_start: usize, _size: usize) {}
