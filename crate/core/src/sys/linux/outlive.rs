//! Linux: a child of fork that outlives its parent, and that nobody sees who waits for children.

use std::ffi::CStr;
use std::os::fd::AsFd;

use libc::{c_int, pid_t};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

/// Whether this system can make such a child.
pub const CAN_OUTLIVE: bool = true;

/// fork(2) of a child that tells of its end by no signal: libuv, or whoever else waits for children, does
/// not see it. No handlers of pthread_atfork(3) run. Returns 0 in the child.
///
/// # Safety
///
/// The child must keep to async-signal-safe calls, and not return from the function that calls this one.
pub unsafe fn fork_unseen() -> Result<pid_t, Errno> {
    // SAFETY: no flags and no stack: the child has a copy of everything.
    Errno::result(unsafe { libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) }).map(|pid| pid as pid_t)
}

/// waitpid(2) for such a child.
pub fn wait_for_unseen(child: pid_t) {
    let wait = || {
        // SAFETY: takes integers; no status is asked for.
        Errno::result(unsafe { libc::waitpid(child, std::ptr::null_mut(), libc::__WALL) })
    };
    let _ = crate::sys::again(wait);
}

/// Asks for a signal when the parent, or the thread of it that forked, ends (PR_SET_PDEATHSIG(2const)).
/// Async-signal-safe.
pub fn signal_when_orphaned(signal: c_int) {
    // SAFETY: takes integers only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal, 0, 0, 0) };
}

/// ppoll(2) for so many milliseconds, in which of all signals these alone get through and end it.
/// Whether a descriptor is ready. Async-signal-safe.
pub fn poll_or_signal(fds: &mut [libc::pollfd], millis: Option<i64>, signals: &[c_int]) -> bool {
    let time = millis.map(|millis| libc::timespec {
        tv_sec: (millis / 1000) as libc::time_t,
        tv_nsec: (millis % 1000 * 1_000_000) as libc::c_long,
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: valid pointers to locals, and as many descriptors as there are.
    unsafe {
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut mask);
        for &signal in signals {
            libc::sigdelset(&mut mask, signal);
        }
        libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, time, &mask) > 0
    }
}

/// The name of this thread, as ps(1) and top(1) show it. Async-signal-safe.
pub fn set_name(name: &CStr) {
    // SAFETY: the string ends with a NUL, and is copied.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Lets a pipe hold so many bytes, if the system allows it. It is refused to users with many pipes (pipe(7)).
pub fn grow_pipe(pipe: &impl AsFd, bytes: c_int) {
    let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(bytes));
}

/// Gives pages of shared memory back to the system. Read again, they are zeroes; of memory that is not
/// shared none are given back (madvise(2), MADV_REMOVE).
///
/// # Safety
///
/// Nothing in these pages may be needed any more.
pub unsafe fn remove_pages(start: usize, size: usize) {
    // SAFETY: the caller's part; the kernel refuses what is not mapped.
    unsafe { libc::madvise(start as *mut libc::c_void, size, libc::MADV_REMOVE) };
}
