//! The locks on a pidfile. Running means locked.
//!
//! A start takes, in this order and before it forks:
//!
//! 1. open file description locks (fcntl_locking(2)) for writing on the bytes [`HELD`] to
//!    [`STARTING`]. They need write access, so that whoever can only read the file can neither
//!    take nor forge them, and they can be asked for (`F_OFD_GETLK`) without being taken: a
//!    question never disturbs a start. Asked for with `F_RDLCK`, locks for reading count for
//!    nothing.
//! 2. `flock(LOCK_EX)`, the lock that every tool knows.
//!
//! All belong to one open file description, which the daemon inherits through the forks and keeps
//! for its life. When the daemon is ready, [`STARTING`] is let go: letting go cannot be hindered
//! by a lock of another's, as taking a further one could. The bytes lie far behind the file's end.
//!
//! A supervisor has a further one, [`SUPERVISED`], on an open file description that no other process shares.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;

use super::errors::failed;
use crate::error::{Code, Error, Result};
use crate::signal_safe::repeat;
use crate::sys::{self, again};

/// Write-locked for the life of a daemon, from before its fork.
pub const HELD: libc::off_t = 0x4000_0000;

/// Write-locked, with [`HELD`] in one step, until a start has looked in its other places
/// ([`crate::instance::places`]).
pub const UNDECIDED: libc::off_t = 0x4000_0001;

/// Write-locked from before the fork until the daemon is ready.
pub const STARTING: libc::off_t = 0x4000_0002;

/// Write-locked by a supervisor on an open file description of its own ([`super::PidFile::supervise`]): the process that
/// the file names is the parent of the daemon. Without [`HELD`] it means nothing.
pub const SUPERVISED: libc::off_t = 0x4000_0003;

/// Write-locked for a moment by a process that removes a stale file, and that is no daemon.
pub const SWEEPING: libc::off_t = 0x4000_0004;

// The type of `l_type`, which the constants do not have on all systems.
#[allow(clippy::unnecessary_cast, reason = "the types differ between platforms")]
const NO_LOCK: libc::c_short = libc::F_UNLCK as libc::c_short;

#[allow(clippy::unnecessary_cast, reason = "the types differ between platforms")]
const READ_LOCK: libc::c_short = libc::F_RDLCK as libc::c_short;

#[allow(clippy::unnecessary_cast, reason = "the types differ between platforms")]
const WRITE_LOCK: libc::c_short = libc::F_WRLCK as libc::c_short;

/// Takes all locks of a start, or none: `false` where another's is in the way.
pub fn take_all(file: &File, path: &Path) -> Result<bool> {
    // In one step, so that nobody sees a part of it.
    let mut all = byte(HELD, WRITE_LOCK);
    all.l_len = STARTING - HELD + 1;
    let is_free = set(file, &all)? && flock(file, path)?;
    // The flock then covers these bytes as well, each of which has a meaning of its own.
    if is_free && sys::FLOCK_COVERS_BYTES {
        for at in [SUPERVISED, SWEEPING] {
            let _ = let_go(file, at);
        }
    }
    Ok(is_free)
}

/// The same in a child of fork, which tells no error. Async-signal-safe.
pub fn take_all_quietly(file: &File) -> bool {
    let mut all = byte(HELD, WRITE_LOCK);
    all.l_len = STARTING - HELD + 1;
    // SAFETY: a valid descriptor and constant flags.
    let flock = || unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    again(|| sys::ofd_set_lock(file, &all)).is_ok() && repeat(flock) == 0
}

fn flock(file: &File, path: &Path) -> Result<bool> {
    // By hand, not nix's `Flock`: its Drop unlocks for every process that shares the lock.
    let operation = libc::LOCK_EX | libc::LOCK_NB;
    // SAFETY: a valid descriptor and constant flags.
    let flock = || Errno::result(unsafe { libc::flock(file.as_raw_fd(), operation) });
    match again(flock) {
        Ok(_) => Ok(true),
        Err(Errno::EWOULDBLOCK) => Ok(false),
        Err(errno) => Err(failed(path, "flock", errno)),
    }
}

/// Takes the lock on one byte; `false` where another's is in the way.
pub fn take(file: &File, at: libc::off_t) -> Result<bool> {
    set(file, &byte(at, WRITE_LOCK))
}

/// Lets the lock on one byte go.
pub fn let_go(file: &File, at: libc::off_t) -> std::result::Result<(), Errno> {
    again(|| sys::ofd_set_lock(file, &byte(at, NO_LOCK)))
}

/// Whether another open file description has the lock on one byte.
pub fn is_taken(file: &File, at: libc::off_t) -> Result<bool> {
    foreign(file, at).map(|lock| lock.is_some())
}

/// Whether a start, or a daemon, holds the file that gives way to no other start. One question answers
/// that: between two, a start that gives way could let go of all.
pub fn is_decided(file: &File) -> Result<bool> {
    let is_undecided = |lock: libc::flock| lock.l_len == 0 || lock.l_start + lock.l_len > UNDECIDED;
    foreign(file, HELD).map(|lock| lock.is_some_and(|lock| !is_undecided(lock)))
}

fn byte(at: libc::off_t, kind: libc::c_short) -> libc::flock {
    // SAFETY: `struct flock` is plain integers, for which zero is a value; l_pid must be 0.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = at;
    lock.l_len = 1;
    lock
}

fn set(file: &File, lock: &libc::flock) -> Result<bool> {
    match again(|| sys::ofd_set_lock(file, lock)) {
        Ok(()) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(no_lock("Cannot lock the pidfile", "fcntl(F_OFD_SETLK)", errno)),
    }
}

/// The write lock of another open file description on one byte.
fn foreign(file: &File, at: libc::off_t) -> Result<Option<libc::flock>> {
    let mut lock = byte(at, READ_LOCK);
    again(|| sys::ofd_get_lock(file, &mut lock)).map_err(|errno| {
        no_lock("Cannot ask for the pidfile's lock", "fcntl(F_OFD_GETLK)", errno)
    })?;
    Ok((lock.l_type != NO_LOCK).then_some(lock))
}

fn no_lock(message: &str, call: &'static str, errno: Errno) -> Error {
    Error::os(Code::PidFile, message, call, errno as i32)
}
