//! Processes: a handle that stays on one, a signal through it, and what this process is.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::kqueue::{change, new_queue};
use crate::thread;

/// Opens a handle on a process: a kqueue(2) that can be read when the process ends, as a pidfd can.
pub fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    let queue = new_queue()?;
    let filter = libc::EVFILT_PROC;
    // SAFETY: the queue is open.
    match unsafe { change(queue.as_raw_fd(), pid as usize, filter, libc::NOTE_EXIT) } {
        0 => Ok(queue),
        _ => Err(Errno::last()),
    }
}

/// Sends a signal by kill(2), if the process that the queue is for has not ended. macOS sends none through a handle:
/// the process may end between the look and the call, and the signal could reach another one only if the
/// parent has waited for it, and all other pids were given away since.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, pid: i32, signal: i32) -> Result<(), Errno> {
    let mut poll = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: a valid pointer to a local; then integers.
    let result = unsafe {
        if libc::poll(&mut poll, 1, 0) != 0 {
            return Err(Errno::ESRCH);
        }
        libc::kill(pid, signal)
    };
    Errno::result(result).map(drop)
}

/// Waits for a process, if it is a child of ours that has ended and was not waited for.
pub fn reap(pid: i32, _handle: Option<BorrowedFd<'_>>) {
    let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
}

/// The effective user.
pub fn effective_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Whether a user id is root's.
pub fn is_root(uid: u32) -> bool {
    uid == 0
}

/// Whether the calling thread is the one that the process began with.
pub fn is_main_thread() -> bool {
    // SAFETY: takes nothing and returns an integer.
    unsafe { libc::pthread_main_np() == 1 }
}

/// The environment, environ(7): an array that ends with a null pointer, or null.
pub fn environment() -> *mut *mut libc::c_char {
    // SAFETY: the address of the C library's own variable, which is read, not written.
    unsafe { *libc::_NSGetEnviron() }
}

/// The address of this thread's errno. Async-signal-safe.
pub fn errno_location() -> *mut libc::c_int {
    // SAFETY: it is always valid.
    unsafe { libc::__error() }
}

/// Whether the daemon is ready, so that the guardian's end does not concern it.
static OUTLIVES: AtomicBool = AtomicBool::new(false);

/// Takes back [`keep_dying_with_parent`].
pub fn outlive_parent() {
    OUTLIVES.store(true, Ordering::SeqCst);
}

/// Starts a thread that kills this process when its parent ends before [`outlive_parent`].
pub fn keep_dying_with_parent() {
    let parent = nix::unistd::getppid().as_raw();
    let watch = move || {
        if let Ok(end) = pidfd_open(parent) {
            let mut poll = libc::pollfd { fd: end.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: a valid pointer to a local.
            while unsafe { libc::poll(&mut poll, 1, -1) } < 0 {}
        }
        if !OUTLIVES.load(Ordering::SeqCst) {
            // SAFETY: takes integers; it is this very process.
            unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        }
    };
    let _ = thread::spawn("parent", watch);
}

/// Sends a signal; macOS has none with a value.
pub fn queue(pid: libc::pid_t, signal: i32, _value: usize) -> Result<(), Errno> {
    // SAFETY: takes integers only.
    Errno::result(unsafe { libc::kill(pid, signal) }).map(drop)
}
