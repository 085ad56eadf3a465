//! A child that uses the memory of the process that forks it until it executes a program, so that no page is copied.
//! It has a stack of its own, and shares errno with its parent, which meanwhile stands still.

use std::mem::MaybeUninit;

use libc::{c_int, c_void, pid_t};

/// The size of its stack, more than it needs. What is not touched costs nothing.
const SIZE: usize = 32 << 10;

#[repr(C, align(16))]
struct Stack([MaybeUninit<u8>; SIZE]);

/// Forks a child that calls `run(what)`. As with vfork(2), this process stands still until the child executes
/// a program or ends. Returns the child's pid, or -1 with errno.
///
/// # Safety
///
/// Async-signal-safe. `run` must not return, nor let a signal handler run, nor unwind. This process sees what `run`
/// writes.
pub unsafe fn fork_until_exec(
    run: extern "C" fn(*mut c_void) -> c_int,
    what: *mut c_void,
) -> pid_t {
    let mut stack = Stack([const { MaybeUninit::uninit() }; SIZE]);
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack grows downwards from its end, which is one past its last byte, and is there until this
    // call returns, when the child has left it. The rest is the caller's part.
    unsafe { libc::clone(run, (&raw mut stack).add(1).cast(), flags, what) }
}
