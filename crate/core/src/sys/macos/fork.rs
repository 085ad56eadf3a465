//! Children with a copy of the memory of the process that forks them.

use nix::errno::Errno;

/// Forks a child that calls `run(what)`. Returns its pid, or -1 with errno.
///
/// # Safety
///
/// Async-signal-safe. `run` must not return.
pub unsafe fn fork_until_exec(
    run: extern "C" fn(*mut libc::c_void) -> libc::c_int,
    what: *mut libc::c_void,
) -> libc::pid_t {
    // SAFETY: the caller's part.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::_exit(run(what));
        }
        child
    }
}

/// Forks a child that calls `run(&what)`, and goes on beside it. Returns its pid, or the call that failed and its
/// errno. The child has a copy of the memory, so that nothing has to wait until it is `gone`.
///
/// # Safety
///
/// `run` must be async-signal-safe.
pub unsafe fn fork_beside<T: Send + 'static>(
    what: T,
    _gone: std::io::PipeReader,
    run: unsafe fn(&T) -> !,
) -> Result<libc::pid_t, (&'static str, Errno)> {
    // SAFETY: the caller's part.
    match unsafe { libc::fork() } {
        -1 => Err(("fork", Errno::last())),
        // SAFETY: a fresh child of fork.
        0 => unsafe { run(&what) },
        child => Ok(child),
    }
}
