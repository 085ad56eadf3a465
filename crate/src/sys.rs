//! The system calls that neither `nix` nor an old C library has.
//!
//! All by raw number: the symbols `close_range`, `memfd_create`, `pidfd_*` and `statx` would need a glibc
//! newer than 2.17. Each returns the errno of its failure.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

/// pidfd_open(2): a handle on a process that stays on it when the pid is reused.
pub fn pidfd_open(pid: i32) -> Result<OwnedFd, i32> {
    // SAFETY: takes two integers; the result is a new descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    owned(fd)
}

/// pidfd_send_signal(2).
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), i32> {
    let none = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null `info` asks for what kill(2) sends.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, none, 0) };
    if result == 0 { Ok(()) } else { Err(Errno::last_raw()) }
}

/// memfd_create(2), close-on-exec: a file without a name, for what the daemon prints.
pub fn memfd(name: &std::ffi::CStr) -> Result<OwnedFd, i32> {
    memfd_with(name, libc::MFD_CLOEXEC)
}

/// The same, for a file that is sealed before it is given away (fcntl(2), F_ADD_SEALS).
pub fn sealable_memfd(name: &std::ffi::CStr) -> Result<OwnedFd, i32> {
    memfd_with(name, libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING)
}

fn memfd_with(name: &std::ffi::CStr, flags: libc::c_uint) -> Result<OwnedFd, i32> {
    // SAFETY: `name` is a NUL-terminated string that outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), flags) };
    owned(fd)
}

/// close_range(2) over `first..=last`. Async-signal-safe.
pub fn close_range(first: RawFd, last: libc::c_uint) -> Result<(), i32> {
    // SAFETY: takes integers only. What it closes is the caller's responsibility: it runs in a
    // child of fork, where no Rust value owns a descriptor any more.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 { Ok(()) } else { Err(Errno::last_raw()) }
}

/// statx(2): device and inode of a file, as the kernel knows them without asking a file server.
pub fn statx_unsynced(path: &Path) -> Result<(u64, u64), Errno> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    let flags = libc::AT_STATX_DONT_SYNC;
    // SAFETY: the path is NUL-terminated; zero is a value of `struct statx`, which the call fills in.
    let (result, found) = unsafe {
        let mut found: libc::statx = std::mem::zeroed();
        let (path, mask) = (path.as_ptr(), libc::STATX_INO);
        let at = libc::AT_FDCWD;
        (libc::syscall(libc::SYS_statx, at, path, flags, mask, &raw mut found), found)
    };
    Errno::result(result)?;
    let dev = nix::sys::stat::makedev(found.stx_dev_major.into(), found.stx_dev_minor.into());
    Ok((dev, found.stx_ino))
}

/// Whether the calling thread is the one that the process began with: its id is the pid.
pub fn is_main_thread() -> bool {
    nix::unistd::gettid() == nix::unistd::getpid()
}

fn owned(fd: libc::c_long) -> Result<OwnedFd, i32> {
    if fd < 0 {
        return Err(Errno::last_raw());
    }
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}
