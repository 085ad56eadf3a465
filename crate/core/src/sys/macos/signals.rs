//! What signals do in this process.

/// Sets SIG_DFL or SIG_IGN for a signal: sigaction(2). Async-signal-safe.
pub fn set_disposition(signal: libc::c_int, to: libc::sighandler_t) {
    // SAFETY: zero is a value of the structure; signals that cannot be set are refused.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = to;
        libc::sigaction(signal, &action, std::ptr::null_mut());
    }
}
