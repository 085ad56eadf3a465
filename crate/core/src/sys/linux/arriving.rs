//! All signals of a process as something to poll: signalfd(2).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::files::owned;
use crate::sys::{Arrived, again};

/// `sigset_t` as the kernel has it, a bit for each of 64 signals. That of the C library leaves out the signals that
/// it uses itself.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Mask(u64);

impl Mask {
    /// No signal is blocked.
    pub const NONE: Self = Self(0);
    /// All are.
    pub const ALL: Self = Self(u64::MAX);

    /// The same without one signal.
    pub fn without(self, signal: i32) -> Self {
        Self(self.0 & !(1 << (signal - 1)))
    }

    /// Makes it this thread's, and returns the one before: rt_sigprocmask(2).
    pub fn set(self) -> Result<Self, Errno> {
        let mut before = Self::NONE;
        let (new, old) = (std::ptr::from_ref(&self), std::ptr::from_mut(&mut before));
        // SAFETY: both are the kernel's set of signals, of 8 bytes.
        let result = unsafe {
            libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, new, old, size_of::<Self>())
        };
        Errno::result(result).map(|_| before)
    }
}

/// Signals that are blocked, and read one by one.
#[derive(Debug)]
pub struct Signals {
    descriptor: OwnedFd,
    before: Mask,
}

/// `si_code` of a signal that a terminal sends (sigaction(2)).
const SI_KERNEL: i32 = 0x80;

impl Signals {
    /// Blocks all signals. For a process of one thread.
    pub fn block_all() -> Result<Self, Errno> {
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        let (all, size) = (std::ptr::from_ref(&Mask::ALL), size_of::<Mask>());
        // SAFETY: the kernel's set of signals and its size; the result is a new descriptor or -1.
        let fd = unsafe { libc::syscall(libc::SYS_signalfd4, -1, all, size, flags) };
        let descriptor = owned(fd)?;
        Ok(Self { descriptor, before: Mask::ALL.set()? })
    }

    /// To be polled: there is something to read when a signal is pending.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// What was blocked before.
    pub fn mask_before(&self) -> Mask {
        self.before
    }

    /// The next signal, if one is pending. What this process brings about itself, such as SIGPIPE, is none.
    pub fn next(&self) -> Option<Arrived> {
        let own = std::process::id();
        loop {
            let info = self.read()?;
            if info.ssi_code > 0 || info.ssi_pid != own {
                return Some(Arrived {
                    signal: info.ssi_signo as i32,
                    by_terminal: info.ssi_code == SI_KERNEL,
                    value: (info.ssi_code == libc::SI_QUEUE).then_some(info.ssi_ptr as usize),
                });
            }
        }
    }

    fn read(&self) -> Option<libc::signalfd_siginfo> {
        // SAFETY: plain integers, for which zero is a value.
        let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let (to, size) = (std::ptr::from_mut(&mut info).cast(), size_of_val(&info));
        // SAFETY: the kernel writes one structure, for which there is room.
        let read = || Errno::result(unsafe { libc::read(self.descriptor.as_raw_fd(), to, size) });
        (again(read) == Ok(size as isize)).then_some(info)
    }
}
