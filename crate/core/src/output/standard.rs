//! The standard descriptors: where they lead, and terminals that have hung up.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use crate::error::{Code, Error, Result};
use crate::sys;

/// Makes `fd` the process's descriptor `number` (1 or 2).
pub fn redirect(fd: BorrowedFd<'_>, number: RawFd) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;
    loop {
        // SAFETY: replaces a standard descriptor, which no Rust value owns.
        if unsafe { libc::dup2(fd.as_raw_fd(), number) } >= 0 {
            return Ok(());
        }
        let error = std::io::Error::last_os_error();
        // EBUSY: a race with an open(2) in another thread (dup2(2)).
        if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) {
            return Err(error);
        }
    }
}

/// The standard descriptors that lead to a terminal that has hung up: it answers with EIO alone.
fn gone_terminals() -> impl Iterator<Item = RawFd> {
    (0..=2).filter(|fd| {
        // SAFETY: tcgetattr(3) writes the structure, for which zero is a value.
        unsafe {
            let mut settings: libc::termios = std::mem::zeroed();
            libc::tcgetattr(*fd, &mut settings) != 0
                && nix::errno::Errno::last() == nix::errno::Errno::EIO
        }
    })
}

/// Whether standard input, output or error is a terminal that has hung up.
pub fn terminal_is_gone() -> bool {
    gone_terminals().next().is_some()
}

/// At the end of the process: Node 20 aborts where it cannot reset a terminal that has hung up.
pub fn let_go_of_terminal() {
    for fd in gone_terminals() {
        if let Ok(null) = null() {
            let _ = redirect(null.as_fd(), fd);
        }
    }
}

/// Lets a write beyond RLIMIT_FSIZE fail, as on a full disk. Node ignores SIGXFSZ itself; Bun and Deno
/// would end by it.
pub fn survive_file_size_limit() {
    // SAFETY: sigaction with valid pointers; a handler of the program's own stays.
    unsafe {
        let mut current: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGXFSZ, std::ptr::null(), &mut current);
        if current.sa_sigaction == libc::SIG_DFL {
            sys::set_disposition(libc::SIGXFSZ, libc::SIG_IGN);
        }
    }
}

/// /dev/null, for what is not logged. Never made where it is missing.
pub fn null() -> Result<OwnedFd> {
    let opened = File::options().read(true).write(true).open("/dev/null");
    opened.map(OwnedFd::from).map_err(|error| {
        let errno = error.raw_os_error().unwrap_or(0);
        Error::os(Code::StartFailed, "Cannot open /dev/null", "open", errno)
            .at("/dev/null".as_ref())
    })
}
