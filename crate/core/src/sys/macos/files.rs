//! Files: those without a name, the owner of one, the locks of open file descriptions, and symbolic links.

use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, FdFlag, OFlag, fcntl, readlinkat};
use nix::mount::MntFlags;
use nix::sys::stat::{FileStat, fstatat};
use nix::sys::statfs::statfs;

use crate::sys::{FileId, again};

/// The errno of execve(2) for a program whose interpreter cannot run.
pub const BAD_INTERPRETER: i32 = libc::EBADARCH;

/// Whether a file lies where nothing may be executed.
pub fn is_noexec(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.flags().contains(MntFlags::MNT_NOEXEC))
}

/// Makes a file without a name, close-on-exec, for what the daemon prints.
pub fn memfd(_name: &CStr) -> Result<OwnedFd, Errno> {
    let template = std::env::temp_dir().join("tsdaemonize.XXXXXX");
    let (file, path) = nix::unistd::mkstemp(&template)?;
    nix::unistd::unlink(&path)?;
    set_flags(&file, false)?;
    Ok(file)
}

/// No file can be sealed, and a message that needs one is too long.
pub fn sealed_file(_name: &CStr, _bytes: &[u8]) -> Result<OwnedFd, Errno> {
    Err(Errno::EMSGSIZE)
}

pub(super) fn set_flags(file: &OwnedFd, nonblocking: bool) -> Result<(), Errno> {
    fcntl(file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    if nonblocking {
        fcntl(file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    }
    Ok(())
}

/// Which file this is, and its owner.
pub fn owner_of(path: &Path) -> Result<(FileId, u32), Errno> {
    nix::sys::stat::stat(path).map(|found| (FileId::from(&found), found.st_uid))
}

/// Whether flock(2) takes every byte of a file in the list of the locks of fcntl(2), too: there is one list.
pub const FLOCK_COVERS_BYTES: bool = true;

/// Takes or lets go of a lock: fcntl(2) with F_OFD_SETLK.
pub fn ofd_set_lock(file: &File, lock: &libc::flock) -> Result<(), Errno> {
    // SAFETY: the lock is valid for the call, which only reads it.
    Errno::result(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, lock) }).map(drop)
}

/// Asks who is in the way of a lock: fcntl(2) with F_OFD_GETLK.
pub fn ofd_get_lock(file: &File, lock: &mut libc::flock) -> Result<(), Errno> {
    // SAFETY: the lock is valid for the call, which writes it.
    Errno::result(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, lock) }).map(drop)
}

/// Makes `to` a duplicate of `from`, and then close-on-exec: macOS has no call for both.
pub fn replace(from: RawFd, to: RawFd) -> Result<(), Errno> {
    // SAFETY: takes integers; the caller owns both descriptors.
    unsafe {
        again(|| Errno::result(libc::dup2(from, to)))?;
        Errno::result(libc::fcntl(to, libc::F_SETFD, libc::FD_CLOEXEC)).map(drop)
    }
}

/// The flag that opens a directory only to be named in further calls.
pub const TO_NAME: OFlag = OFlag::from_bits_retain(libc::O_SEARCH);

/// The owner of a symbolic link and its target, both of one and the same link.
pub fn read_link(dir: &OwnedFd, name: &OsStr) -> Result<(FileStat, OsString), Errno> {
    let stat = || again(|| fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW));
    loop {
        let before = stat()?;
        let target = again(|| readlinkat(dir, name))?;
        let after = stat()?;
        if (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino) {
            return Ok((after, target));
        }
    }
}

/// Whether a directory is one of proc(5), which macOS does not have.
pub fn is_proc(_dir: &OwnedFd) -> bool {
    false
}
