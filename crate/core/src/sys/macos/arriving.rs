//! All signals of a process as something to poll: kqueue(2), sigpending(2) and sigwait(2).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::kqueue::{change, new_queue};
use crate::sys::Arrived;

/// A set of signals.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Mask(libc::sigset_t);

impl Mask {
    /// No signal is blocked.
    pub const NONE: Self = Self(0);
    /// All are.
    pub const ALL: Self = Self(libc::sigset_t::MAX);

    /// The same without one signal.
    pub fn without(self, signal: i32) -> Self {
        Self(self.0 & !(1 << (signal - 1)))
    }

    /// Makes it this thread's, and returns the one before: pthread_sigmask(3).
    pub fn set(self) -> Result<Self, Errno> {
        let mut before = 0;
        // SAFETY: two pointers to sets of signals.
        match unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, &mut before) } {
            0 => Ok(Self(before)),
            errno => Err(Errno::from_raw(errno)),
        }
    }
}

/// Signals that are blocked, and read one by one.
#[derive(Debug)]
pub struct Signals {
    queue: OwnedFd,
    before: Mask,
}

/// The last signal of macOS.
const LAST: i32 = 31;

impl Signals {
    /// Blocks all signals. For a process of one thread.
    pub fn block_all() -> Result<Self, Errno> {
        let queue = new_queue()?;
        for signal in 1..=LAST {
            // SAFETY: the queue is open.
            unsafe { change(queue.as_raw_fd(), signal as usize, libc::EVFILT_SIGNAL, 0) };
        }
        Ok(Self { queue, before: Mask::ALL.set()? })
    }

    /// To be polled: there is something to read when a signal is pending.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }

    /// What was blocked before.
    pub fn mask_before(&self) -> Mask {
        self.before
    }

    /// The next signal, if one is pending.
    pub fn next(&self) -> Option<Arrived> {
        self.forget_events();
        let mut pending = 0;
        // SAFETY: a pointer to a set of signals, which the call fills in.
        unsafe { libc::sigpending(&mut pending) };
        let signal = (1..=LAST).find(|signal| pending & (1 << (signal - 1)) != 0)?;
        let (only, mut taken) = (1 << (signal - 1), 0);
        // SAFETY: two pointers to locals; the signal is pending, so the call does not wait.
        unsafe { libc::sigwait(&only, &mut taken) };
        let by_terminal = of_terminals(signal) && is_in_foreground();
        Some(Arrived { signal, by_terminal, value: None })
    }

    fn forget_events(&self) {
        // SAFETY: zero is a value of each field.
        let mut events: [libc::kevent; LAST as usize] = unsafe { std::mem::zeroed() };
        let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: room for as many events as are asked for.
        unsafe {
            let (queue, none) = (self.queue.as_raw_fd(), std::ptr::null());
            libc::kevent(queue, none, 0, events.as_mut_ptr(), LAST, &now)
        };
    }
}

fn of_terminals(signal: i32) -> bool {
    let sent = [libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    sent.contains(&signal) || signal == libc::SIGWINCH || signal == libc::SIGINFO
}

/// Nobody says who has sent a signal. In the terminal's foreground group it was the terminal.
fn is_in_foreground() -> bool {
    let Ok(terminal) = std::fs::File::open("/dev/tty") else { return false };
    // SAFETY: takes an integer, the number of an open descriptor.
    let foreground = unsafe { libc::tcgetpgrp(terminal.as_raw_fd()) };
    foreground == nix::unistd::getpgrp().as_raw()
}
