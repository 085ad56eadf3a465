//! Signals that come before the daemon listens to them: while its Node boots and its script runs to
//! `start()`.
//!
//! By default they would end the process, and with it the start. So a handler notes them, and they are
//! sent again when JavaScript listens.

use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::{SigSet, Signal};

/// A signal's number by its name; 0 for what is none.
pub fn number(name: &str) -> i32 {
    name.parse::<Signal>().map_or(0, |signal| signal as i32)
}

/// A bit for each signal that came.
static CAME: AtomicU64 = AtomicU64::new(0);

/// From now on these signals are noted, until a listener takes the handler's place. Not ignored: that would be
/// inherited by the program's children.
pub fn hold(signals: &[i32]) {
    for signal in signals {
        // SAFETY: sigaction with valid pointers, zero being a valid value; the handler only touches an
        // atomic.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = note as *const () as usize;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(*signal, &action, std::ptr::null_mut());
        }
    }
}

extern "C" fn note(signal: i32) {
    CAME.fetch_or(1 << (signal & 63), Ordering::SeqCst);
}

/// Sends what came to this process again, each once, as the kernel does with blocked ones (signal(7)).
pub(super) fn send_again() {
    let came = CAME.swap(0, Ordering::SeqCst);
    for signal in (1..64).filter(|signal| came & (1 << signal) != 0) {
        // SAFETY: a signal to this very process, which has a handler for it.
        unsafe { libc::kill(libc::getpid(), signal) };
    }
}

/// Lets signals in, in this, the main, thread. Node leaves SIGUSR1 blocked when it was told never to open
/// its debugger.
pub(super) fn unblock() {
    let _ = SigSet::empty().thread_set_mask();
}

/// Has this process ignore SIGUSR1. Deno opens its debugger's port at it, whoever else listens, and has
/// no way to close that.
pub fn ignore_sigusr1() {
    // SAFETY: SIG_IGN is a valid disposition; no handler of ours is concerned.
    unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) };
}
