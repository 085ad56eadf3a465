//! Processes: a handle that stays on one, a signal through it, and what this process is.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::Pid;

use super::children::die_with_parent;
use super::files::owned;

/// Opens a handle on a process, which stays on it when the pid is reused: pidfd_open(2).
pub fn pidfd_open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: takes two integers; the result is a new descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    owned(fd)
}

/// Sends a signal through a handle: pidfd_send_signal(2). The pid is not needed on Linux.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, _pid: i32, signal: i32) -> Result<(), Errno> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null `info` asks for what kill(2) sends.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) };
    Errno::result(result).map(drop)
}

/// Sends a signal with a value: sigqueue(3).
pub fn queue(pid: libc::pid_t, signal: i32, value: usize) -> Result<(), Errno> {
    let value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(value) };
    // SAFETY: takes integers, and a value that nobody looks behind.
    Errno::result(unsafe { libc::sigqueue(pid, signal, value) }).map(drop)
}

/// Waits for a process, if it is a child of ours that has ended and was not waited for. Where there is a handle, the
/// child is named by that, so that it cannot be another.
pub fn reap(pid: i32, handle: Option<BorrowedFd<'_>>) {
    if let Some(handle) = handle {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
        // Before Linux 5.4 it does not take a handle.
        if waitid(Id::PIDFd(handle), flags) != Err(Errno::EINVAL) {
            return;
        }
    }
    let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
}

/// The effective user. The kernel is asked, since under fakeroot(1) the C library says 0.
pub fn effective_uid() -> u32 {
    let mut ids: [libc::uid_t; 3] = [0; 3];
    let [real, effective, saved] = &mut ids;
    // SAFETY: three pointers to ids, which the call fills in; it cannot fail.
    unsafe {
        libc::syscall(libc::SYS_getresuid, &raw mut *real, &raw mut *effective, &raw mut *saved)
    };
    ids[1]
}

/// Whether a user id is root's. Where root has no id in this user namespace, root's files are shown with the overflow
/// id, as those of all users without an id there (user_namespaces(7)).
pub fn is_root(uid: u32) -> bool {
    const OVERFLOW: u32 = 65534;
    let shows_root = |map: String| {
        !map.lines().any(|line| {
            let mut range = line.split_ascii_whitespace().map(|n| n.parse().unwrap_or(0));
            let (inside, outside, length) = (range.next(), range.next(), range.next());
            let inside: u32 = inside.unwrap_or(0);
            let overflow = inside..=inside.saturating_add(length.unwrap_or(0));
            outside == Some(0) || overflow.contains(&OVERFLOW)
        })
    };
    uid == 0
        || uid == OVERFLOW && std::fs::read_to_string("/proc/self/uid_map").is_ok_and(shows_root)
}

/// Whether the calling thread is the one that the process began with: its id is the pid.
pub fn is_main_thread() -> bool {
    nix::unistd::gettid() == nix::unistd::getpid()
}

/// The environment, environ(7): an array that ends with a null pointer, or null.
pub fn environment() -> *mut *mut libc::c_char {
    unsafe extern "C" {
        static environ: *mut *mut libc::c_char;
    }
    // SAFETY: the C library's own variable; read, not written.
    unsafe { environ }
}

/// The address of this thread's errno. Async-signal-safe.
pub fn errno_location() -> *mut libc::c_int {
    // SAFETY: it is always valid.
    unsafe { libc::__errno_location() }
}

/// Asks again for what [`die_with_parent`] asked for, which the kernel forgets at the exec of a program with file
/// capabilities, and where a security module changes ids there. Only in the main thread: a thread's request is its
/// own.
pub fn keep_dying_with_parent() {
    die_with_parent();
}

/// Takes that request back. Only in the main thread, which has made it.
pub fn outlive_parent() {
    // SAFETY: takes integers only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0, 0, 0, 0) };
}
