//! A child with a copy of the memory of the process that forks it.

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
