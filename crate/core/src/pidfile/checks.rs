//! Which pidfiles are believed: their kind, their owner, their mode and their links.

use std::path::Path;

use nix::sys::stat::{FileStat, SFlag};

use super::errors::unsafe_file;
use crate::error::Result;
use crate::walk::kind;

/// On whose behalf a file is judged, which decides how strictly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// A start asks: file and directory must be root's or the caller's own.
    Owner,
    /// `status`, `stop` or `kill` asks: file and directory may be another user's, if both are the same user's.
    Anyone,
    /// As [`Self::Anyone`], where somebody holds the file, or held it: it may have got further links since.
    OfHeld,
}

/// Refuses a file that another user could have forged.
pub fn check_file(path: &Path, found: &FileStat, asker: Asker, dir_owner: u32) -> Result<()> {
    if kind(found) != SFlag::S_IFREG {
        return Err(unsafe_file(path, "it is not a regular file"));
    }
    let owner = found.st_uid;
    let by_directory = asker != Asker::Owner && dir_owner == owner;
    // Another user could give a daemon's file a name in a directory of their own, and have that daemon
    // stopped instead of theirs. A further name elsewhere, such as a backup's, changes nothing.
    let is_named_by_owner = by_directory || dir_owner == 0 || dir_owner == euid();
    if found.st_nlink > 1 && (asker != Asker::OfHeld || !is_named_by_owner) {
        return Err(unsafe_file(path, "it has more than one link"));
    }
    if owner != 0 && owner != euid() && !by_directory {
        return Err(unsafe_file(path, &format!("it belongs to another user ({owner})")));
    }
    if found.st_mode & 0o022 != 0 {
        return Err(unsafe_file(path, "others than its owner can write to it"));
    }
    Ok(())
}

/// The effective user.
pub fn euid() -> u32 {
    nix::unistd::geteuid().as_raw()
}
