//! What the process beside a program keeps of what it was started with: nothing that others wait on.

use std::fs::{File, read_dir};
use std::os::fd::AsRawFd;

use libc::c_int;

/// Lets go of standard input and output, and of every other descriptor that was inherited: a pipe ends when the program
/// closes its end. Standard error stays, for what there is to tell of the program.
pub fn let_go() {
    if let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        for standard in 0..=1 {
            // SAFETY: takes integers; no value of Rust owns these two.
            unsafe { libc::dup2(null.as_raw_fd(), standard) };
        }
    }
    for fd in inherited() {
        // SAFETY: takes an integer. Whatever this process has opened is closed on exec, so this is not its own.
        unsafe { libc::close(fd) };
    }
}

/// The descriptors above standard error that are not closed on exec.
fn inherited() -> Vec<c_int> {
    let listed = read_dir("/dev/fd").into_iter().flatten().flatten();
    let numbers = listed.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // SAFETY: asks for flags; a closed descriptor is an error.
    let is_inherited = |fd: &c_int| *fd > 2 && unsafe { libc::fcntl(*fd, libc::F_GETFD) } == 0;
    numbers.filter(is_inherited).collect()
}
