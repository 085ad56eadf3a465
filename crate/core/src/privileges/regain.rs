//! The proof that there is no way back to root.

use nix::errno::Errno;

use super::errors::{failed, refused};
use super::target::Target;
use crate::error::{Error, Result};

/// Tries to get root back. Each attempt must fail, unless the right to it was to be kept.
pub fn try_to_regain(target: &Target, may_set_uid: bool, may_set_gid: bool) -> Result<()> {
    // Whoever asked for uid 0 or gid 0 has it.
    if target.uid == 0 {
        return Ok(());
    }
    if !may_set_uid {
        // SAFETY: takes a number alone.
        is_refused("setuid", unsafe { libc::setuid(0) })?;
        // SAFETY: takes a number alone.
        is_refused("seteuid", unsafe { libc::seteuid(0) })?;
    }
    if target.group.gid == 0 || may_set_gid {
        return Ok(());
    }
    // SAFETY: takes a number alone.
    is_refused("setgid", unsafe { libc::setgid(0) })?;
    // SAFETY: takes a number alone.
    is_refused("setegid", unsafe { libc::setegid(0) })
}

/// Whether an attempt to set an id to 0 failed as it must.
pub fn is_refused(syscall: &'static str, result: libc::c_int) -> Result<()> {
    match Errno::result(result) {
        // EINVAL: there is no id 0 in this user namespace.
        Err(Errno::EPERM | Errno::EINVAL) => Ok(()),
        Err(errno) => Err(failed(
            syscall,
            errno,
            "Cannot prove that root's privileges are gone",
            "EPERM was to be expected: look for a seccomp filter or a security module.",
        )),
        Ok(_) => {
            let message = format!("Privileges were dropped, but {syscall} brought root's back.");
            Err(Error { syscall: Some(syscall), ..refused(message) })
        }
    }
}
