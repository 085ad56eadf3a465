//! What signals do in this process, without the C library.

use nix::errno::Errno;

/// `struct sigaction` as the kernel has it on 64-bit machines. The C library does not let its own signals be
/// touched, and its structure is another one.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Action {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: u64,
}

impl Action {
    const DEFAULT: Self = Self { handler: libc::SIG_DFL, flags: 0, restorer: 0, mask: 0 };

    /// rt_sigaction(2): puts `new` in place, if given, and returns what was there. Async-signal-safe.
    pub fn exchange(signal: libc::c_int, new: Option<&Self>) -> Result<Self, Errno> {
        let mut old = Self::DEFAULT;
        let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: rt_sigaction(2) reads `new`, if given, and writes `old`; both
        // are the kernel's structure, whose set of signals has 8 bytes.
        let result =
            unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, new, &raw mut old, 8_usize) };
        Errno::result(result).map(|_| old)
    }
}

/// Sets SIG_DFL or SIG_IGN for a signal. Async-signal-safe. The C library's sigaction takes a lock for SIGABRT,
/// and in a child of fork(2) one that another thread held stays locked for ever.
pub fn set_disposition(signal: libc::c_int, to: libc::sighandler_t) {
    // SIGKILL, SIGSTOP and numbers of no signal are refused.
    let _ = Action::exchange(signal, Some(&Action { handler: to, ..Action::DEFAULT }));
}
