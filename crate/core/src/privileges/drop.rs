//! The drop itself, by rules that are the same on all systems.

use super::confinement::{ChangeRoot, Confinement};
use super::errors::refused;
use super::whom::{Dropped, Whom};
use crate::error::Result;
use crate::sys;

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
/// A process that may not change its ids, but has those of that user and group
/// already, keeps them. The proof is the same then, except that supplementary
/// groups beyond the user's are a warning: whoever started the process gave
/// them on purpose.
///
/// The root directory is changed by `change_root`, in which the caller tells whoever must know.
///
/// # Errors
/// Ids and capabilities have not changed unless [`partial`](crate::error::Error::partial) says so: then
/// the process must end. Limits, priorities and the root may have.
#[doc(alias("setuid", "setresuid", "setgid", "setresgid", "initgroups", "setgroups"))]
pub fn drop(
    whom: Option<&Whom>,
    confinement: &Confinement,
    change_root: ChangeRoot<'_>,
) -> Result<Dropped> {
    refuse_io_uring()?;
    sys::privileges::carry_out(whom, confinement, change_root)
}

/// A kernel thread polls the ring for libuv and does, with the ids that it had
/// in the beginning, what the process asks for: files would go on being opened
/// as root (CVE-2024-22017).
fn refuse_io_uring() -> Result<()> {
    match std::env::var_os("UV_USE_IO_URING") {
        Some(value) if value != "0" => Err(refused(
            "Cannot drop privileges while io_uring is enabled in libuv: it would go on opening \
             files as the old user. Start the daemon without UV_USE_IO_URING, or with \
             UV_USE_IO_URING=0.",
        )),
        _ => Ok(()),
    }
}
