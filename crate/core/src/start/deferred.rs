//! The signals that come while a start is prepared: they are put off, so that it either is not begun or
//! is somebody's to finish.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

/// What a user, a terminal or a manager sends, and what ends a process by default.
const SIGNALS: [i32; 7] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTERM,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
];

/// A bit for each signal that came.
static PUT_OFF: AtomicU64 = AtomicU64::new(0);

/// While there is this value, all signals are blocked in this thread; and those that could end the process
/// are put off, since another thread could take them. A handler of the program's is no reason not to: Node
/// ends by one of its own at SIGTERM and SIGINT, to put the terminal in order.
pub(super) struct Deferred {
    mask: SigSet,
    actions: [Cell<Option<libc::sigaction>>; SIGNALS.len()],
}

extern "C" fn put_off(signal: libc::c_int) {
    PUT_OFF.fetch_or(1 << signal, Ordering::SeqCst);
}

/// Puts back what was there, unless another thread has put something else there meanwhile: a start by a worker does not
/// hold up the main thread, which may listen to a signal, or begin a start of its own.
fn put_back(signal: libc::c_int, old: &libc::sigaction) {
    // SAFETY: zero is a value of the structure, which the call fills in; both actions were in place before.
    unsafe {
        let mut found: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, old, &mut found);
        if found.sa_sigaction != put_off as *const () as usize {
            libc::sigaction(signal, &found, std::ptr::null_mut());
        }
    }
}

impl Deferred {
    pub(super) fn begin() -> Self {
        let mut mask = SigSet::empty();
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut mask));
        let actions = [const { Cell::new(None) }; SIGNALS.len()];
        for (signal, action) in SIGNALS.into_iter().zip(&actions) {
            // SAFETY: `put_off` only touches an atomic; the old action is kept and put back.
            unsafe {
                let mut old: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, std::ptr::null(), &mut old);
                if old.sa_sigaction != libc::SIG_IGN {
                    let mut new: libc::sigaction = std::mem::zeroed();
                    new.sa_sigaction = put_off as *const () as usize;
                    new.sa_flags = libc::SA_RESTART;
                    libc::sigaction(signal, &new, std::ptr::null_mut());
                    action.set(Some(old));
                }
            }
        }
        Self { mask, actions }
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        for (signal, action) in SIGNALS.into_iter().zip(&self.actions) {
            if let Some(old) = action.take() {
                put_back(signal, &old);
            }
        }
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.mask), None);
        let late = PUT_OFF.swap(0, Ordering::SeqCst);
        for signal in SIGNALS.into_iter().filter(|signal| late & (1 << signal) != 0) {
            // SAFETY: sends this process a signal that it has been sent.
            unsafe { libc::kill(libc::getpid(), signal) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern "C" fn other(_: libc::c_int) {}

    fn handler(signal: libc::c_int) -> libc::sighandler_t {
        // SAFETY: zero is a value of the structure, which the call fills in.
        unsafe {
            let mut found: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &mut found);
            found.sa_sigaction
        }
    }

    #[test]
    fn what_another_thread_has_put_in_place_meanwhile_stays() {
        let first = Deferred::begin();
        let second = Deferred::begin();
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(libc::SIGUSR2, other as *const () as usize) };
        drop(first);
        drop(second);
        assert_eq!(handler(libc::SIGUSR2), other as *const () as usize);
        assert_eq!(handler(libc::SIGALRM), libc::SIG_DFL, "which nobody has changed");
    }
}
