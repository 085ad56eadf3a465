//! Children that use the memory of the process that forks them, so that no page is copied, however large that
//! process is. Each has a stack of its own, and shares errno with the thread that forks it, which meanwhile does
//! nothing that could set it.

use std::io::{PipeReader, Read};
use std::mem::MaybeUninit;

use libc::{c_int, c_void, pid_t};
use nix::errno::Errno;

use crate::thread;

/// The size of a stack, more than a child of [`fork_until_exec`] needs.
const SMALL: usize = 32 << 10;
/// The size of a stack for a child of [`fork_beside`], on which lies that of the other child. What is not touched
/// costs nothing.
const LARGE: usize = 256 << 10;

#[repr(C, align(16))]
struct Stack<const SIZE: usize>([MaybeUninit<u8>; SIZE]);

/// clone(2) with a stack, which grows downwards from its end.
unsafe fn clone_on<const SIZE: usize>(
    stack: *mut Stack<SIZE>,
    flags: c_int,
    run: extern "C" fn(*mut c_void) -> c_int,
    what: *mut c_void,
) -> pid_t {
    // SAFETY: the end is one past the stack's last byte; the rest is the caller's part.
    unsafe {
        let end = stack.add(1).cast();
        libc::clone(run, end, flags | libc::CLONE_VM | libc::SIGCHLD, what)
    }
}

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
    let mut stack = Stack([const { MaybeUninit::uninit() }; SMALL]);
    // SAFETY: the stack is there until this call returns, when the child has left it.
    unsafe { clone_on(&raw mut stack, libc::CLONE_VFORK, run, what) }
}

/// Forks a child that calls `run(&what)`, and goes on beside it. A thread of its own forks the child, and keeps
/// what that uses until `gone` reads end of file: the writing end must be open, and close-on-exec, wherever this
/// memory is used. Where clone(2) gives no such child, fork(2) gives one with a copy of the memory. Returns its
/// pid, or the call that failed and its errno.
///
/// # Safety
///
/// `run` must be async-signal-safe, and must not unwind; a signal handler that runs there must be its own. This
/// process sees what `run` writes.
pub unsafe fn fork_beside<T: Send + 'static>(
    what: T,
    mut gone: PipeReader,
    run: unsafe fn(&T) -> !,
) -> Result<pid_t, (&'static str, Errno)> {
    let (tell, told) = std::sync::mpsc::channel();
    let made = thread::spawn("guardian", move || {
        let mut fresh = Beside { what, run };
        let mut stack = Box::<Stack<LARGE>>::new_uninit();
        // SAFETY: stack and value are there until the child has left this memory. A child of fork is alone
        // with its copy. The rest is the caller's part.
        let child = unsafe {
            let shared = match leaves_the_thread_alone() {
                true => clone_on(stack.as_mut_ptr(), 0, run_beside::<T>, (&raw mut fresh).cast()),
                false => -1,
            };
            match shared {
                -1 => match libc::fork() {
                    0 => run(&fresh.what),
                    copied => copied,
                },
                _ => shared,
            }
        };
        let _ = tell.send(if child < 0 { Err(("fork", Errno::last())) } else { Ok(child) });
        if child > 0 && gone.read_to_end(&mut Vec::new()).is_err() {
            // Nothing tells when the child is gone, so nothing is freed.
            loop {
                std::thread::park();
            }
        }
    });
    made.map_err(|errno| ("pthread_create", errno))?;
    told.recv().unwrap_or(Err(("fork", Errno::EAGAIN)))
}

/// What is given to a child that goes on beside its parent.
struct Beside<T> {
    what: T,
    run: unsafe fn(&T) -> !,
}

extern "C" fn run_beside<T>(fresh: *mut c_void) -> c_int {
    // SAFETY: called by `fork_beside` alone, with a value that outlives the child.
    unsafe {
        let fresh = &*fresh.cast::<Beside<T>>();
        (fresh.run)(&fresh.what)
    }
}

/// Whether the C library does not mistake the thread that makes such a child for one that has ended. glibc before
/// 2.25 does, since it notes that the thread has no id: its stack could be given to another thread while it still
/// runs on it.
#[cfg(target_env = "gnu")]
fn leaves_the_thread_alone() -> bool {
    // SAFETY: a string that is there for ever.
    let version = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
    let minor = version.to_str().ok().and_then(|v| v.split('.').nth(1)?.parse::<u32>().ok());
    minor.is_some_and(|minor| minor >= 25)
}

#[cfg(not(target_env = "gnu"))]
fn leaves_the_thread_alone() -> bool {
    true
}
