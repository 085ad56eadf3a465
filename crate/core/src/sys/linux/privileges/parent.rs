//! The guardian of a start, whose end is the daemon's end too, until the daemon is ready.

use nix::unistd::{Pid, getppid};

/// The parent whose end is this process's as well: the guardian of a start. The
/// kernel forgets that when ids change (PR_SET_PDEATHSIG(2const)).
pub struct Parent {
    signal: libc::c_int,
    pid: Pid,
}

impl Parent {
    /// Asks who the parent is, and which signal its end sends.
    pub fn meet() -> Self {
        let mut signal = 0;
        // SAFETY: PR_GET_PDEATHSIG writes an int.
        unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal) };
        Self { signal, pid: getppid() }
    }

    /// Asks for that signal again.
    pub fn keep_in_touch(&self) {
        // SAFETY: these take numbers alone.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, self.signal as libc::c_ulong, 0, 0, 0);
            // The parent has ended meanwhile.
            if self.signal != 0 && getppid() != self.pid {
                libc::kill(libc::getpid(), self.signal);
            }
        }
    }
}
