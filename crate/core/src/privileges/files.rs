//! Files that become the new user's.

use std::os::fd::{BorrowedFd, RawFd};

use nix::unistd::{Gid, Uid};

use super::target::Target;
use super::whom::Whom;
use crate::error::reason;
use crate::sys::again;

/// Gives the files to the target. A file that cannot be given is a warning: it is open, and can be used for now.
pub fn give_files(whom: &Whom, target: &Target) -> Vec<String> {
    let (uid, gid) = (Uid::from_raw(target.uid), Gid::from_raw(target.group.gid));
    let give = |&fd: &RawFd| {
        // SAFETY: the caller's open descriptor, for the length of the call.
        let file = unsafe { BorrowedFd::borrow_raw(fd) };
        let fchown = || nix::unistd::fchown(file, Some(uid), Some(gid));
        let errno = again(fchown).err()?;
        Some(format!(
            "Cannot give a log file that was made to {target}: {}, fchown. It cannot be opened anew: give \
             it to that user by hand.",
            reason(errno as i32)
        ))
    };
    whom.files.iter().filter_map(give).collect()
}
