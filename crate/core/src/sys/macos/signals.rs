//! The dispositions of signals.

/// sigaction(2) with SIG_DFL or SIG_IGN. Async-signal-safe.
pub fn set_disposition(signal: libc::c_int, to: libc::sighandler_t) {
    // SAFETY: zero is a value of the structure; signals that cannot be set are refused.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = to;
        libc::sigaction(signal, &action, std::ptr::null_mut());
    }
}
