//! Files: those without a name, the owner of one, the locks of open file descriptions, and symbolic links.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat};
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::sys::{FileId, again, errno_of};

/// The errno of execve(2) for a program whose interpreter cannot run.
pub const BAD_INTERPRETER: i32 = libc::ELIBBAD;

/// Whether a file lies where nothing may be executed.
pub fn is_noexec(path: &Path) -> bool {
    statvfs(path).is_ok_and(|found| found.flags().contains(FsFlags::ST_NOEXEC))
}

/// Makes a file without a name for what the daemon prints: memfd_create(2), close-on-exec.
pub fn memfd(name: &CStr) -> Result<OwnedFd, Errno> {
    memfd_with(name, libc::MFD_CLOEXEC)
}

/// A file without a name that nobody can change any more (fcntl(2), F_ADD_SEALS), with these bytes in it.
pub fn sealed_file(name: &CStr, bytes: &[u8]) -> Result<OwnedFd, Errno> {
    let mut file = File::from(memfd_with(name, libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING)?);
    file.write_all(bytes).map_err(|error| errno_of(&error))?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::all()))?;
    Ok(file.into())
}

fn memfd_with(name: &CStr, flags: libc::c_uint) -> Result<OwnedFd, Errno> {
    // SAFETY: `name` is a NUL-terminated string that outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), flags) };
    owned(fd)
}

pub(super) fn owned(fd: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = Errno::result(fd)?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Which file this is, as the kernel knows it without asking a file server (statx(2)).
pub(super) fn statx_unsynced(path: &Path) -> Result<FileId, Errno> {
    statx(path, libc::AT_STATX_DONT_SYNC, libc::STATX_INO).map(|(file, _)| file)
}

/// Which file this is, and its owner. The kernel is asked, since under fakeroot(1) the C library says that all
/// files are root's.
pub fn owner_of(path: &Path) -> Result<(FileId, u32), Errno> {
    match statx(path, 0, libc::STATX_INO | libc::STATX_UID) {
        // Linux before 4.11 has no such call, and an old container's seccomp profile refuses it.
        Err(Errno::ENOSYS | Errno::EPERM) => {
            nix::sys::stat::stat(path).map(|found| (FileId::from(&found), found.st_uid))
        }
        found => found,
    }
}

fn statx(path: &Path, flags: libc::c_int, mask: libc::c_uint) -> Result<(FileId, u32), Errno> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the path is NUL-terminated; zero is a value of `struct statx`, which the call fills in.
    let (result, found) = unsafe {
        let mut found: libc::statx = std::mem::zeroed();
        let (path, at) = (path.as_ptr(), libc::AT_FDCWD);
        (libc::syscall(libc::SYS_statx, at, path, flags, mask, &raw mut found), found)
    };
    Errno::result(result)?;
    let dev = nix::sys::stat::makedev(found.stx_dev_major.into(), found.stx_dev_minor.into());
    Ok((FileId { dev, ino: found.stx_ino }, found.stx_uid))
}

/// Whether flock(2) takes every byte of a file in the list of the locks of fcntl(2), too.
pub const FLOCK_COVERS_BYTES: bool = false;

/// Takes or lets go of a lock: fcntl(2) with F_OFD_SETLK.
pub fn ofd_set_lock(file: &File, lock: &libc::flock) -> Result<(), Errno> {
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_OFD_SETLK(lock)).map(drop)
}

/// Asks who is in the way of a lock: fcntl(2) with F_OFD_GETLK.
pub fn ofd_get_lock(file: &File, lock: &mut libc::flock) -> Result<(), Errno> {
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_OFD_GETLK(lock)).map(drop)
}

/// Makes `to` a close-on-exec duplicate of `from`, in one step: dup3(2).
pub fn replace(from: RawFd, to: RawFd) -> Result<(), Errno> {
    again(|| {
        loop {
            // SAFETY: takes integers; the caller owns both descriptors.
            match Errno::result(unsafe { libc::dup3(from, to, libc::O_CLOEXEC) }) {
                // A race with an open(2) in another thread (dup(2)).
                Err(Errno::EBUSY) => {}
                result => return result.map(drop),
            }
        }
    })
}

/// The flag that opens a file only to be named in further calls.
pub const TO_NAME: OFlag = OFlag::O_PATH;

/// The owner of a symbolic link and its target, both of one and the same link.
pub fn read_link(dir: &OwnedFd, name: &OsStr) -> Result<(FileStat, OsString), Errno> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let link = again(|| openat(dir, name, flags, Mode::empty()))?;
    let stat = again(|| fstat(&link))?;
    Ok((stat, again(|| readlinkat(&link, ""))?))
}

/// Whether a directory is one of proc(5).
pub fn is_proc(dir: &OwnedFd) -> bool {
    // SAFETY: zero is a value of the structure, which the call fills in.
    unsafe {
        let mut found: libc::statfs = std::mem::zeroed();
        let kind = libc::PROC_SUPER_MAGIC;
        libc::fstatfs(dir.as_raw_fd(), &mut found) == 0 && found.f_type == kind as _
    }
}
