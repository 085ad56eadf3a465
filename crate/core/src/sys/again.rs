//! Calls that a signal interrupts, and the number of an error that std gives.

use std::io;

use nix::errno::Errno;

/// Makes a system call, again for as long as a signal interrupts it (EINTR in signal(7)). A file server
/// can give that error at any call on a file.
pub fn again<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// The errno of a call that std has made; EIO for an error of std's own, such as the end of a file.
pub fn errno_of(error: &io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
