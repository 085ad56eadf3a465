//! What may be called between fork and exec, and in a signal handler: only async-signal-safe calls
//! (signal-safety(7)), no allocation, no lock, no panic.

use std::os::fd::RawFd;

use libc::c_int;

use crate::sys;

/// Makes a system call again for as long as it is interrupted.
pub fn repeat(mut call: impl FnMut() -> c_int) -> c_int {
    loop {
        let result = call();
        if result >= 0 || errno() != libc::EINTR {
            return result;
        }
    }
}

/// Closes every descriptor but the sorted ones given. 0, or -1 with errno.
///
/// # Safety
///
/// Only in a child of fork: the descriptors have no owner there.
pub unsafe fn close_all_but(sorted: &[RawFd]) -> c_int {
    let mut first = 0;
    let mut failed = 0;
    for &fd in sorted {
        if fd > first && sys::close_range(first, (fd - 1) as libc::c_uint).is_err() {
            failed = -1;
            break;
        }
        first = fd + 1;
    }
    if failed == 0 && sys::close_range(first, libc::c_uint::MAX).is_ok() {
        return 0;
    }
    // Before Linux 5.9, or refused by a seccomp filter.
    // SAFETY: as ours.
    unsafe { sys::close_listed(sorted) }
}

/// CLOCK_MONOTONIC in milliseconds.
pub fn now_ms() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: clock_gettime is async-signal-safe and writes the timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    #[allow(clippy::unnecessary_cast, reason = "the types differ between platforms")]
    let millis = now.tv_sec as i64 * 1000 + now.tv_nsec as i64 / 1_000_000;
    millis
}

/// The errno of this thread.
pub fn errno() -> c_int {
    // SAFETY: the address of this thread's errno is always valid.
    unsafe { *sys::errno_location() }
}

/// Decimal digits without an allocation; returns their number, at most 10.
pub fn write_decimal(number: libc::pid_t, into: &mut [u8; 11]) -> usize {
    let mut reversed = [0u8; 10];
    let mut rest = number;
    let mut length = 0;
    while length == 0 || (rest > 0 && length < 10) {
        reversed[length] = b'0' + (rest % 10) as u8;
        rest /= 10;
        length += 1;
    }
    for (to, from) in into.iter_mut().zip(reversed[..length].iter().rev()) {
        *to = *from;
    }
    length
}
