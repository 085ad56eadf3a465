//! What is called between fork and exec.

use std::os::fd::RawFd;

use nix::errno::Errno;

use super::kqueue::change;

/// Does nothing, since macOS has no such call: until the daemon's own code runs, only the guardian ends a start;
/// [`keep_dying_with_parent`](super::keep_dying_with_parent) does it from then on.
pub fn die_with_parent() -> libc::c_int {
    0
}

/// Waits until there is something to read, `child` ends, the signal `also` comes (0: none), or so many milliseconds
/// have passed. Returns whether there is something to read; a descriptor of -1 never has, and it looks again after ten
/// milliseconds then. All signals must be blocked in this process, and `also` must have a handler.
///
/// # Safety
///
/// The descriptor must be open. kqueue(2) and kevent(2) are system calls and nothing else, and so can be
/// made where signal-safety matters.
pub unsafe fn wait_for_word_or_end(
    fd: RawFd,
    child: libc::pid_t,
    millis: i64,
    also: libc::c_int,
) -> bool {
    // SAFETY: valid pointers to locals.
    unsafe {
        let queue = libc::kqueue();
        if queue < 0 || change(queue, fd as usize, libc::EVFILT_READ, 0) != 0 {
            libc::close(queue);
            let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            return libc::poll(&mut poll, 1, millis.min(10) as libc::c_int) > 0;
        }
        // A child that has ended already cannot be watched, and is not waited for: the caller looks at it next.
        let is_over = change(queue, child as usize, libc::EVFILT_PROC, libc::NOTE_EXIT) != 0;
        if also != 0 {
            change(queue, also as usize, libc::EVFILT_SIGNAL, 0);
        }
        let is_over = let_in(also) || is_over;
        let millis = if is_over { 0 } else { millis };
        let time = libc::timespec {
            tv_sec: (millis / 1000) as libc::time_t,
            tv_nsec: ((millis % 1000) * 1_000_000) as libc::c_long,
        };
        let mut events: [libc::kevent; 3] = std::mem::zeroed();
        let count = libc::kevent(queue, std::ptr::null(), 0, events.as_mut_ptr(), 3, &time);
        libc::close(queue);
        let_in(also);
        let got = usize::try_from(count).unwrap_or(0);
        events.iter().take(got).any(|event| event.filter == libc::EVFILT_READ)
    }
}

/// Lets a blocked signal that is pending reach its handler; whether there was one.
unsafe fn let_in(signal: libc::c_int) -> bool {
    // SAFETY: valid pointers to locals; async-signal-safe calls.
    unsafe {
        let mut pending: libc::sigset_t = std::mem::zeroed();
        libc::sigpending(&mut pending);
        let came = signal != 0 && libc::sigismember(&pending, signal) == 1;
        if came {
            let mut only: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut only);
            libc::sigaddset(&mut only, signal);
            libc::sigprocmask(libc::SIG_UNBLOCK, &only, std::ptr::null_mut());
            libc::sigprocmask(libc::SIG_BLOCK, &only, std::ptr::null_mut());
        }
        came
    }
}

/// Fails, since macOS has no such call: [`close_listed`] does it.
pub fn close_range(_first: RawFd, _last: libc::c_uint) -> Result<(), Errno> {
    Err(Errno::ENOSYS)
}

/// How many descriptors are asked for at a time: as many as the stack of a child of fork has room for.
const LISTED: usize = 1024;

/// Closes every descriptor except the sorted ones given, by the list of proc_pidinfo (sys/proc_info.h), which is a
/// system call and nothing else. Returns 0, or -1 with errno.
///
/// # Safety
///
/// Only in a child of fork: the descriptors have no owner there. Async-signal-safe.
pub unsafe fn close_listed(sorted: &[RawFd]) -> libc::c_int {
    // SAFETY: plain integers, for which zero is a value; the call writes no more than it is told.
    unsafe {
        let mut list: [libc::proc_fdinfo; LISTED] = std::mem::zeroed();
        loop {
            let size = std::mem::size_of_val(&list) as libc::c_int;
            let (me, what) = (libc::getpid(), libc::PROC_PIDLISTFDS);
            let got = libc::proc_pidinfo(me, what, 0, list.as_mut_ptr().cast(), size);
            if got <= 0 {
                return -1;
            }
            let count = got as usize / std::mem::size_of::<libc::proc_fdinfo>();
            let mut closed = 0;
            for entry in list.iter().take(count) {
                if !sorted.contains(&entry.proc_fd) && libc::close(entry.proc_fd) == 0 {
                    closed += 1;
                }
            }
            // A full list may lack some; where nothing was closed, nothing more will be.
            if count < LISTED || closed == 0 {
                return 0;
            }
        }
    }
}
