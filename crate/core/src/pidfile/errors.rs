//! What a person is told where a pidfile or its directory cannot be used.

use std::path::Path;

use nix::errno::Errno;

use super::place::Place;
use crate::error::{Code, Error};
use crate::walk::{Failure, Link, Unsteady};

/// A system call on the pidfile has failed.
pub fn failed(path: &Path, syscall: &'static str, errno: Errno) -> Error {
    failed_at(format!("Cannot keep the pidfile {}", path.display()), path, syscall, errno)
}

/// A system call on the state file has failed.
pub fn state_failed(path: &Path, syscall: &'static str, errno: Errno) -> Error {
    failed_at(format!("Cannot write the state file {}", path.display()), path, syscall, errno)
}

fn failed_at(message: String, path: &Path, syscall: &'static str, errno: Errno) -> Error {
    let hint = match errno {
        Errno::EACCES | Errno::EPERM => {
            "Run it as a user who may write there, or name another directory with `pidFilePath`"
        }
        Errno::ENOENT | Errno::EROFS => {
            "Name a directory that exists and is writable with `pidFilePath`"
        }
        Errno::ENOSPC | Errno::EDQUOT => "Free some space there",
        _ => "Look at the file and its directory",
    };
    Error::os(Code::PidFile, message, syscall, errno as i32).at(path).hint(hint)
}

/// Another user could have forged the file.
pub fn unsafe_file(path: &Path, why: &str) -> Error {
    let message = format!(
        "Refusing the pidfile {}: {why}, so another user could forge it. Remove it, or name a directory \
         that only its owner can write to with `pidFilePath`",
        path.display()
    );
    Error::new(Code::UnsafePidFile, message).at(path)
}

/// The path of the pidfile leads elsewhere, or nowhere, after chroot(2).
pub fn another_root(path: &Path) -> Error {
    Error::new(Code::PidFile, "the daemon has another root directory").at(path)
}

/// The pidfile is not the one that this process holds any more.
pub fn exchanged(path: &Path) -> Error {
    let message = format!(
        "The pidfile {} was removed or exchanged. Let nobody else write there",
        path.display()
    );
    Error::new(Code::PidFile, message).at(path)
}

/// The daemon has a supervisor.
pub fn supervised(path: &Path) -> Error {
    let message = format!(
        "The daemon of the pidfile {} has a supervisor already. `lslocks` names it",
        path.display()
    );
    Error::new(Code::AlreadyRunning, message).at(path)
}

/// The errno of a call that std has made.
pub fn errno_of(error: &std::io::Error) -> Errno {
    // Where a write has written nothing, std knows no number.
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::ENOSPC))
}

/// Another user may have made the directory in /tmp.
pub fn not_private(dir: &Path) -> Error {
    unsafe_directory(dir, "it is not a directory of this user's own with mode 0700")
}

/// The directory cannot be opened.
pub fn unreachable(place: &Place, failure: Failure) -> Error {
    let dir = &place.dir;
    match failure {
        Failure::Link(link) => linked_directory(dir, &link),
        Failure::Os(_, Errno::ELOOP) if place.private => not_private(dir),
        Failure::Os(_, errno) => {
            let message = format!("Cannot keep a pidfile in the directory {}", dir.display());
            let error = Error::os(Code::PidFile, message, "stat", errno as i32).at(dir);
            error.hint("Create it, or name another with `pidFilePath`")
        }
    }
}

/// Others than its owner can write to the directory. A container's `/run` may be like that: its engine mounts it
/// as it mounts `/tmp`.
pub fn open_directory(dir: &Path) -> Error {
    let message = format!(
        "Refusing the pidfile's directory {}: others than its owner can write to the directory, so another user could \
         forge the pidfile. Take that right from them (`chmod go-w`; for a container's tmpfs `mode=755`), or \
         name a directory that only its owner can write to with `pidFilePath`",
        dir.display()
    );
    Error::new(Code::UnsafePidFile, message).at(dir)
}

/// The directory is not safe. Nobody is told to remove it: somebody may need what lies there.
pub fn unsafe_directory(dir: &Path, why: &str) -> Error {
    let message = format!(
        "Refusing the pidfile's directory {}: {why}, so another user could forge the pidfile. \
         Name another with `pidFilePath`",
        dir.display()
    );
    Error::new(Code::UnsafePidFile, message).at(dir)
}

/// Another user could put a directory in its place in which no daemon seems to run.
pub fn movable_directory(dir: &Path, unsteady: &Unsteady) -> Error {
    let message = format!(
        "Refusing the pidfile's directory {}: {}, so another user could put another directory in its place. \
         Take that right from them (`chown`, `chmod go-w`), or name another with `pidFilePath`",
        dir.display(),
        unsteady.why()
    );
    Error::new(Code::UnsafePidFile, message).at(dir)
}

/// Another user could point the link elsewhere that leads to the directory.
pub fn linked_directory(dir: &Path, link: &Link) -> Error {
    let message = format!("Refusing the pidfile's directory {}: {}", dir.display(), link.why());
    Error::new(Code::UnsafePidFile, message).at(dir).hint(&link.advice(None))
}
