//! Log files: opened so that nobody else has prepared where they lead.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat};

use crate::error::{Code, Error, Result};
use crate::sys::again;
use crate::walk::{Failure, Found, Last, Trusted, kind, walk};

/// Opens a log file to append to: mode 0640 where it is new, never through a symbolic link that another
/// user could change, and never a file that another user could have planted: with further links, or theirs
/// in a directory where all can write. And whether it was made.
pub fn open(path: &Path) -> Result<(OwnedFd, bool)> {
    let fail = |call, errno: Errno| {
        let hint = match errno {
            Errno::ELOOP => "It is a symbolic link, which is never followed: give the file itself",
            Errno::ENOENT => "Create its directory",
            _ => "Look at the file and its directory",
        };
        let message = format!("Cannot open the log file {}", path.display());
        Error::os(Code::StartFailed, message, call, errno as i32).at(path).hint(hint)
    };
    let refuse = |why: String| {
        let message = format!("Refusing the log file {}: {why}", path.display());
        Error::new(Code::StartFailed, message).at(path)
    };
    let (parent, name) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default());
    let dir = walk(parent, Trusted::caller(), Last::Followed).map_err(|failure| match failure {
        Failure::Os(call, errno) => fail(call, errno),
        Failure::Link(link) => refuse(link.why()).hint(&link.advice(Some(name))),
    })?;
    let (file, made) = open_in(&dir, name).map_err(|(call, errno)| fail(call, errno))?;
    let found = again(|| fstat(&file)).map_err(|e| fail("fstat", e))?;
    if let Some(stranger) = planter(&dir, &found) {
        let why =
            format!("it belongs to another user ({stranger}), in a directory where all can write");
        return Err(refuse(why));
    }
    let kind = kind(&found);
    if (kind == SFlag::S_IFREG && found.st_nlink == 1) || kind == SFlag::S_IFCHR {
        again(|| fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))).map_err(|e| fail("fcntl", e))?;
        return Ok((file, made));
    }
    Err(refuse("it must be a regular file with one link, or a character device".to_owned()))
}

/// The file, and whether it was made; or the call that failed.
fn open_in(
    dir: &Found,
    name: &OsStr,
) -> std::result::Result<(OwnedFd, bool), (&'static str, Errno)> {
    let flags = OFlag::O_WRONLY
        | OFlag::O_APPEND
        | OFlag::O_CLOEXEC
        | OFlag::O_NOFOLLOW
        | OFlag::O_NOCTTY
        | OFlag::O_NONBLOCK;
    let mode = Mode::from_bits_truncate(0o640);
    let create = flags | OFlag::O_CREAT | OFlag::O_EXCL;
    match again(|| openat(&dir.fd, name, create, mode)) {
        Ok(fd) => {
            again(|| fchmod(&fd, mode)).map_err(|errno| ("fchmod", errno))?;
            Ok((fd, true))
        }
        Err(Errno::EEXIST) => {
            let opened = again(|| openat(&dir.fd, name, flags, Mode::empty()));
            Ok((opened.map_err(|errno| ("open", errno))?, false))
        }
        Err(errno) => Err(("open", errno)),
    }
}

/// The owner of a file, if it may have been planted: as the kernel judges with fs.protected_regular
/// (proc_sys_fs(5)), which not every system has set, and which O_EXCL and no O_CREAT escape.
fn planter(dir: &Found, file: &FileStat) -> Option<u32> {
    let owner = file.st_uid;
    let is_shared = dir.stat.st_mode & 0o002 != 0 && dir.stat.st_uid != owner;
    (is_shared && owner != 0 && owner != nix::unistd::geteuid().as_raw()).then_some(owner)
}
