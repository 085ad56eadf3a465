//! What is called between fork and exec.

use std::os::fd::RawFd;

use nix::errno::Errno;

use super::outlive::poll_or_signal;
use crate::sys::again;

/// Asks for SIGKILL when the parent, or the parent's thread that forked, ends (PR_SET_PDEATHSIG(2const)).
/// Async-signal-safe. Returns 0, or -1 with errno.
pub fn die_with_parent() -> libc::c_int {
    // SAFETY: takes integers only.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) }
}

/// Waits until there is something to read, `child` ends, the signal `also` comes (0: none), or so many milliseconds
/// have passed. Returns whether there is something to read; a descriptor of -1 never has. All signals must be blocked
/// in this process, and SIGCHLD and `also` must have handlers.
///
/// # Safety
///
/// Async-signal-safe; the descriptor must be open.
pub unsafe fn wait_for_word_or_end(
    fd: RawFd,
    _child: libc::pid_t,
    millis: i64,
    also: libc::c_int,
) -> bool {
    let mut fds = [libc::pollfd { fd, events: libc::POLLIN, revents: 0 }];
    poll_or_signal(&mut fds, Some(millis), &[libc::SIGCHLD, also])
}

/// close_range(2) over `first..=last`. Async-signal-safe.
pub fn close_range(first: RawFd, last: libc::c_uint) -> Result<(), Errno> {
    // SAFETY: takes integers only. What it closes is the caller's responsibility: it runs in a
    // child of fork, where no Rust value owns a descriptor any more.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// Closes every descriptor except the sorted ones given, by the list in /proc/self/fd, which it reads without
/// opendir(3), since that allocates. Returns 0, or -1 with errno.
///
/// # Safety
///
/// Only in a child of fork: the descriptors have no owner there. Async-signal-safe.
pub unsafe fn close_listed(sorted: &[RawFd]) -> libc::c_int {
    // SAFETY: async-signal-safe calls; the records that getdents64 wrote lie within `buffer`.
    unsafe {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        let open = || Errno::result(libc::open(c"/proc/self/fd".as_ptr(), flags));
        let Ok(dir) = again(open) else { return -1 };
        let mut buffer = [0u8; 4096];
        loop {
            let read = libc::syscall(libc::SYS_getdents64, dir, buffer.as_mut_ptr(), buffer.len());
            if read <= 0 {
                libc::close(dir);
                return if read == 0 { 0 } else { -1 };
            }
            let mut at = 0usize;
            while at + 19 < read as usize {
                let size = u16::from_ne_bytes([buffer[at + 16], buffer[at + 17]]) as usize;
                let mut fd: RawFd = 0;
                let mut next = at + 19;
                while next < buffer.len() && buffer[next].is_ascii_digit() {
                    fd = fd * 10 + RawFd::from(buffer[next] - b'0');
                    next += 1;
                }
                if next > at + 19 && fd != dir && !sorted.contains(&fd) {
                    libc::close(fd);
                }
                if size == 0 {
                    break;
                }
                at += size;
            }
        }
    }
}
