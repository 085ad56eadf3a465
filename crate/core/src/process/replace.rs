//! Another program in the place of this process.

use std::ffi::{CStr, CString};

use nix::errno::Errno;
use nix::sys::signal::SigSet;

use crate::sys;

/// What Node and Bun ignore for themselves. What is ignored stays so over an execve(2), and a program counts on
/// neither; what has a handler is at its default afterwards.
const IGNORED: [i32; 2] = [libc::SIGPIPE, libc::SIGXFSZ];

/// execve(2) with the environment of this process: the program takes its place, with its pid. Returns only where
/// that failed. In the main thread, which alone changes the environment.
pub fn replace(file: &CStr, argv: &[CString]) -> Errno {
    let end = [std::ptr::null()];
    let argv: Vec<_> = argv.iter().map(|argument| argument.as_ptr()).chain(end).collect();
    keep_open();
    for signal in IGNORED {
        sys::set_disposition(signal, libc::SIG_DFL);
    }
    // Node leaves SIGUSR1 blocked when it was told never to open its debugger.
    let _ = SigSet::empty().thread_set_mask();
    // SAFETY: a string and two arrays of strings that end with a null pointer, none of which changes meanwhile.
    let execve = || unsafe {
        let env = sys::environment().cast::<*const libc::c_char>();
        Errno::result(libc::execve(file.as_ptr(), argv.as_ptr(), env))
    };
    sys::again(execve).err().unwrap_or(Errno::UnknownErrno)
}

/// Node has marked what it was started with as close-on-exec. Which of its descriptors these were cannot be seen, but
/// for the standard ones, and those of socket activation (sd_listen_fds(3)).
fn keep_open() {
    let number = |name| std::env::var(name).ok()?.parse::<i32>().ok();
    let is_for_this = number("LISTEN_PID") == Some(nix::unistd::getpid().as_raw());
    let sockets = number("LISTEN_FDS").filter(|_| is_for_this).unwrap_or(0);
    // SAFETY: changes a flag; on a number that is not open it fails.
    let keep = |fd| sys::again(|| Errno::result(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) }));
    for fd in 0..=2 {
        let _ = keep(fd);
    }
    for fd in (3..).take(usize::try_from(sockets).unwrap_or(0)) {
        if keep(fd).is_err() {
            break;
        }
    }
}
