//! Queues of events: kqueue(2).

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

use super::files::set_flags;

pub(super) fn new_queue() -> Result<OwnedFd, Errno> {
    // SAFETY: takes nothing; the result is a new descriptor or -1.
    let queue = Errno::result(unsafe { libc::kqueue() })?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    let queue = unsafe { OwnedFd::from_raw_fd(queue) };
    set_flags(&queue, false)?;
    Ok(queue)
}

/// Adds one event to a queue. Returns 0, or -1 with errno.
///
/// # Safety
///
/// The queue must be open. Async-signal-safe.
pub(super) unsafe fn change(queue: RawFd, ident: usize, filter: i16, what: u32) -> libc::c_int {
    let flags = libc::EV_ADD | libc::EV_CLEAR;
    let (fflags, udata) = (what, std::ptr::null_mut());
    let event = libc::kevent { ident, filter, flags, fflags, data: 0, udata };
    // SAFETY: a valid pointer to a local; no events are asked for.
    unsafe { libc::kevent(queue, &event, 1, std::ptr::null_mut(), 0, std::ptr::null()) }
}
