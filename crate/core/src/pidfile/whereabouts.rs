//! Where the name of a pidfile leads.

use std::fs::File;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, fstat};

use super::directory::Directory;
use super::errors::{another_root, failed, unreachable};
use super::place::Place;
use crate::error::{Error, Result};
use crate::sys::{FileId, again};
use crate::walk::Failure;

/// Where the name of an open pidfile leads.
#[derive(Debug)]
pub enum Whereabouts {
    /// It leads to this file, in this directory.
    InPlace(Box<Directory>),
    /// It leads to no file, or to another one.
    Gone,
    /// That cannot be seen, for this reason.
    Unseen(Error),
}

impl Whereabouts {
    /// Looks where the name leads. What cannot be seen is not gone. `out_of_reach`: the process has another
    /// root directory than the path is for.
    pub fn of(file: &File, place: &Place, out_of_reach: bool) -> Self {
        let path = place.path();
        let unseen = |call, errno| Self::Unseen(failed(&path, call, errno));
        match again(|| fstat(file)) {
            Ok(mine) if mine.st_nlink == 0 => return Self::Gone,
            Ok(_) => {}
            Err(errno) => return unseen("fstat", errno),
        }
        if out_of_reach {
            return Self::Unseen(another_root(&path));
        }
        let dir = match Directory::reach(place) {
            Ok(dir) => dir,
            Err(Failure::Os(_, Errno::ENOENT | Errno::ENOTDIR)) => return Self::Gone,
            Err(failure) => return Self::Unseen(unreachable(place, failure)),
        };
        match dir.stat(&place.file_name()) {
            Ok(now) if is_same(file, &now) => Self::InPlace(Box::new(dir)),
            Ok(_) | Err(Errno::ENOENT | Errno::ENOTDIR) => Self::Gone,
            Err(errno) => unseen("fstatat", errno),
        }
    }

    /// Whether the name leads to this very file; an error where that cannot be seen.
    pub fn in_place(self) -> Result<bool> {
        match self {
            Self::InPlace(_) => Ok(true),
            Self::Gone => Ok(false),
            Self::Unseen(error) => Err(error),
        }
    }
}

/// Whether an open file is the one that was looked at.
pub fn is_same(file: &File, other: &FileStat) -> bool {
    again(|| fstat(file)).is_ok_and(|mine| FileId::from(&mine) == FileId::from(other))
}
