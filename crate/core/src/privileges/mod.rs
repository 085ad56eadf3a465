//! Dropping privileges: who to become ([`drop`] says by which rules), becoming
//! it, what goes with it, and the proof that there is no way back.
//!
//! The order is that of every careful daemon: all that must be looked up or
//! opened comes first, while nothing has changed yet; then what only root can
//! do; then the supplementary groups, the group ids, the user ids, since each
//! step takes away the right to the one before; then the capabilities that are
//! left, no_new_privs, and Landlock, under which nothing could be proven any
//! more. The calls for ids are the C library's, which act on every thread
//! (nptl(7)); for what the C library does not do so, [`all_threads`] does. All is
//! then read back from the kernel, thread by thread: a call that returned 0 is
//! no proof.

#[cfg(target_os = "linux")]
mod all_threads;
#[cfg(target_os = "linux")]
mod capabilities;
#[cfg(target_os = "linux")]
mod chroot;
mod confinement;
#[cfg(target_os = "linux")]
mod io_uring;
#[cfg(target_os = "linux")]
mod landlock;
#[cfg(target_os = "linux")]
mod limits;
#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(target_os = "linux")]
mod sequence;
mod target;
#[cfg(target_os = "linux")]
mod threads;

use std::fmt;
use std::os::fd::{BorrowedFd, RawFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid};

pub use self::confinement::{Capability, Confinement, Landlock, Limit, UNLIMITED};
#[cfg(not(target_os = "linux"))]
use self::other::carry_out;
#[cfg(target_os = "linux")]
use self::sequence::carry_out;
use self::target::Target;
use crate::accounts::LookupError;

/// Whom to become.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whom {
    /// A user's name or number.
    pub user: Option<String>,
    /// A group's name or number.
    pub group: Option<String>,
    /// The daemon's name, which stands in for either.
    pub daemon_name: String,
    /// Open files that become theirs, where ids change: log files that this process has made, and that they
    /// are to open anew.
    pub files: Vec<RawFd>,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Whom the process is now; `None` where it did not have to become anyone.
    pub identity: Option<Identity>,
    /// What the daemon's owner should know (LOG_WARNING), a sentence each.
    pub warnings: Vec<String>,
}

/// Whom the process is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's name; the number, where it has no entry.
    pub user: String,
    /// The user id: real, effective, saved and file system.
    pub uid: u32,
    /// The group's name; the number, where it has no entry.
    pub group: String,
    /// The group id: real, effective, saved and file system.
    pub gid: u32,
    /// The supplementary groups, sorted, each once. With a user that has an
    /// entry, `gid` is among them, as with initgroups(3).
    pub groups: Vec<u32>,
    /// The user's home directory; `None` for a number without an entry. For
    /// `HOME`: where there is none, `/`.
    pub home: Option<PathBuf>,
    /// The user's shell; `None` for a number without an entry. For `SHELL`,
    /// which, as `USER` and `LOGNAME`, is to be unset where there is none.
    pub shell: Option<PathBuf>,
}

/// Why privileges were not dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What happened, to what, and what to do about it.
    pub message: String,
    /// The error number (positive), where a system call failed.
    pub errno: Option<i32>,
    /// The call that failed.
    pub syscall: Option<&'static str>,
    /// The file concerned.
    pub path: Option<String>,
    /// Ids or capabilities were changed, so that the process is neither who it
    /// was nor who it should be, or it kept what it should have lost. It must end.
    pub partial: bool,
}

impl Error {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), errno: None, syscall: None, path: None, partial: false }
    }

    fn of_call(syscall: &'static str, errno: i32, what: &str, advice: &str) -> Self {
        let reason = crate::error::reason(errno);
        Self {
            errno: Some(errno),
            syscall: Some(syscall),
            ..Self::new(format!("{what}: {reason}, {syscall}. {advice}"))
        }
    }

    /// From here on there is no way to go on.
    fn after_a_change(mut self) -> Self {
        self.partial = true;
        self.message.push_str(" Some privileges may be left: this process must end.");
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<LookupError> for Error {
    fn from(error: LookupError) -> Self {
        Self::of_call(
            error.syscall,
            error.errno,
            "Cannot look up whom to drop privileges to",
            "Check the user database (nsswitch.conf, LDAP, sssd), or give user and group as numbers.",
        )
    }
}

/// Makes every thread of this process run as another user and group, and takes
/// from every thread what else was asked for, for good. Without `whom`, ids
/// stay.
///
/// - The user: `user`, else the one with the daemon's name, else `daemon`.
/// - The group: `group`, else the one with the daemon's name, else `daemon`.
///   Where none is given: the primary group of that user, if it has an entry.
/// - A decimal number is an id, and needs no entry. Without one it brings no
///   supplementary groups, and no primary group; with one it is as good as the
///   name.
/// - That a user or group that was given does not exist, and another one is
///   used, is among [`Dropped::warnings`]; and so is that a group alone was given.
/// - What was not asked for is never root: a daemon that happens to be called
///   `root` becomes `daemon`.
///
/// Who has not got the right to do so, but is that user and group already,
/// changes no ids; the proof is the same then, but for supplementary groups
/// beyond the user's, which whoever started the process gave on purpose, and
/// which are a warning.
///
/// # Errors
/// Ids and capabilities have not changed unless [`Error::partial`] says so: then
/// the process must end. Limits, priorities and the root may have.
#[doc(alias("setuid", "setresuid", "setgid", "setresgid", "initgroups", "setgroups"))]
pub fn drop(whom: Option<&Whom>, confinement: &Confinement) -> Result<Dropped, Error> {
    refuse_io_uring()?;
    carry_out(whom, confinement)
}

/// Gives the target its files. One that cannot be given is a warning: it is open, and will do for now.
fn give_files(whom: &Whom, target: &Target) -> Vec<String> {
    let (uid, gid) = (Uid::from_raw(target.uid), Gid::from_raw(target.group.gid));
    let give = |&fd: &RawFd| {
        // SAFETY: the caller's open descriptor, for the length of the call.
        let file = unsafe { BorrowedFd::borrow_raw(fd) };
        let fchown = || nix::unistd::fchown(file, Some(uid), Some(gid));
        let errno = crate::sys::again(fchown).err()?;
        Some(format!(
            "Cannot give a log file that was made to {target}: {}, fchown. It cannot be opened anew: give \
             it to that user by hand.",
            crate::error::reason(errno as i32)
        ))
    };
    whom.files.iter().filter_map(give).collect()
}

/// A kernel thread polls the ring for libuv and does, with the ids that it had
/// in the beginning, what the process asks for: files would go on being opened
/// as root (CVE-2024-22017).
fn refuse_io_uring() -> Result<(), Error> {
    match std::env::var_os("UV_USE_IO_URING") {
        Some(value) if value != "0" => Err(Error::new(
            "Cannot drop privileges while io_uring is enabled in libuv: it would go on opening \
             files as the old user. Start the daemon without UV_USE_IO_URING, or with \
             UV_USE_IO_URING=0.",
        )),
        _ => Ok(()),
    }
}

/// Tries to get root back. Each of these must fail, unless the very right to it
/// was to be kept.
fn try_to_regain(target: &Target, may_set_uid: bool, may_set_gid: bool) -> Result<(), Error> {
    // Whoever asked for uid 0 or gid 0 has it.
    if target.uid == 0 {
        return Ok(());
    }
    if !may_set_uid {
        // SAFETY: takes numbers alone.
        #[cfg(target_os = "linux")]
        refused("setresuid", unsafe { libc::setresuid(u32::MAX, 0, u32::MAX) })?;
        // SAFETY: takes a number alone.
        refused("setuid", unsafe { libc::setuid(0) })?;
        // SAFETY: takes a number alone.
        refused("seteuid", unsafe { libc::seteuid(0) })?;
    }
    if target.group.gid == 0 || may_set_gid {
        return Ok(());
    }
    // SAFETY: takes a number alone.
    refused("setgid", unsafe { libc::setgid(0) })?;
    // SAFETY: takes a number alone.
    refused("setegid", unsafe { libc::setegid(0) })
}

/// Whether an attempt to set an id to 0 failed as it must.
fn refused(syscall: &'static str, result: libc::c_int) -> Result<(), Error> {
    match Errno::result(result) {
        // EINVAL: there is no id 0 in this user namespace.
        Err(Errno::EPERM | Errno::EINVAL) => Ok(()),
        Err(error) => Err(Error::of_call(
            syscall,
            error as i32,
            "Cannot prove that root's privileges are gone",
            "EPERM was to be expected: look for a seccomp filter or a security module.",
        )),
        Ok(_) => Err(Error {
            syscall: Some(syscall),
            ..Error::new(format!("Privileges were dropped, but {syscall} brought root's back."))
        }),
    }
}
