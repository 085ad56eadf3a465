//! The directory of a pidfile: found without being led astray, judged, and held open, so that what is done to
//! its files is done there, wherever the path leads meanwhile.

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::checks::{Asker, euid};
use super::errors::{
    failed, linked_directory, movable_directory, not_private, open_directory, unreachable,
    unsafe_directory, unsafe_file,
};
use super::place::Place;
use crate::error::Result;
use crate::sys::{self, again};
use crate::walk::{Failure, Found, Last, Trusted, Unsteady, kind, walk};

/// An open directory of pidfiles.
#[derive(Debug)]
pub struct Directory {
    found: Found,
    /// The path as it was asked for.
    path: PathBuf,
}

impl Directory {
    /// Finds and judges the directory. `None` tells an asker who only looks that there is none.
    pub fn open(place: &Place, asker: Asker) -> Result<Option<Self>> {
        let dir = match Self::reach(place) {
            Ok(dir) => dir,
            Err(Failure::Os(_, Errno::ENOENT | Errno::ENOTDIR)) if asker == Asker::Anyone => {
                return Ok(None);
            }
            Err(failure) => return Err(unreachable(place, failure)),
        };
        dir.judge(place, asker)?;
        Ok(Some(dir))
    }

    /// Finds and judges the directory for a start, and makes it where it is one of our own.
    pub fn for_start(place: &Place) -> Result<Self> {
        if let Some(mode) = mode_of_own(place) {
            make(&place.dir, mode)?;
        }
        let dir = Self::open(place, Asker::Owner)?;
        dir.ok_or_else(|| unreachable(place, Failure::Os("open", Errno::ENOENT)))
    }

    /// Finds the directory, whatever its mode is now.
    pub fn reach(place: &Place) -> std::result::Result<Self, Failure> {
        let last = if place.private { Last::AsItIs } else { Last::Followed };
        let found = walk(&place.dir, Trusted::caller(), last)?;
        Ok(Self { found, path: place.dir.clone() })
    }

    fn judge(&self, place: &Place, asker: Asker) -> Result<()> {
        let FileStat { st_uid: owner, st_mode: mode, .. } = self.found.stat;
        if place.private {
            check_private(&self.path, &self.found.stat)?;
        }
        if kind(&self.found.stat) != SFlag::S_IFDIR {
            return Err(unsafe_directory(&self.path, "it is not a directory"));
        }
        if owner != 0 && owner != euid() && asker == Asker::Owner {
            let why = format!("the directory belongs to another user ({owner})");
            return Err(unsafe_directory(&self.path, &why));
        }
        if mode & 0o022 != 0 {
            return Err(open_directory(&self.path));
        }
        // For an asker who only looks, the directory's owner is no stranger on the way to it.
        let stranger = |unsteady: &&Unsteady| {
            asker == Asker::Owner || unsteady.owner.is_none_or(|other| other != owner)
        };
        match self.found.unsteady.as_ref().filter(stranger) {
            Some(unsteady) => Err(movable_directory(&self.path, unsteady)),
            None => Ok(()),
        }
    }

    /// The directory's owner.
    pub fn owner(&self) -> u32 {
        self.found.stat.st_uid
    }

    /// Looks at the file that bears a name here.
    pub fn stat(&self, name: &str) -> std::result::Result<FileStat, Errno> {
        again(|| fstatat(&self.found.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW))
    }

    /// Opens the file that bears a name here; `None` where there is none. What is no regular file is refused before
    /// it is opened, since to open a device or a FIFO can have effects.
    pub fn open_existing(&self, name: &str, access: OFlag) -> Result<Option<File>> {
        let path = self.path.join(name);
        match self.stat(name) {
            Ok(found) if kind(&found) != SFlag::S_IFREG => {
                return Err(unsafe_file(&path, "it is not a regular file"));
            }
            Ok(_) => {}
            Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(failed(&path, "lstat", errno)),
        }
        match self.open_with(name, access, Mode::empty()) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::ENOENT) => Ok(None),
            Err(Errno::ELOOP | Errno::EISDIR | Errno::ENXIO) => {
                Err(unsafe_file(&path, "it is not a regular file"))
            }
            Err(errno) => Err(failed(&path, "open", errno)),
        }
    }

    /// Makes a file; `None` where somebody else has made one of this name.
    pub fn create(&self, name: &str, mode: libc::mode_t) -> Result<Option<File>> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL;
        match self.open_with(name, flags, Mode::from_bits_truncate(mode)) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::EEXIST) => Ok(None),
            Err(errno) => Err(failed(&self.path.join(name), "open", errno)),
        }
    }

    fn open_with(&self, name: &str, flags: OFlag, mode: Mode) -> std::result::Result<File, Errno> {
        let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        again(|| openat(&self.found.fd, name, flags, mode)).map(File::from)
    }

    /// Opens or makes a file, and says whether it was made; `None` where it came or went in between: try again.
    pub fn open_or_create(&self, name: &str, mode: libc::mode_t) -> Result<Option<(File, bool)>> {
        if let Some(file) = self.open_existing(name, OFlag::O_RDWR)? {
            return Ok(Some((file, false)));
        }
        Ok(self.create(name, mode)?.map(|file| (file, true)))
    }

    /// Removes a file. That there is none is no error: a call that was repeated may have removed it.
    pub fn remove(&self, name: &str) -> std::result::Result<(), Errno> {
        match again(|| unlinkat(&self.found.fd, name, UnlinkatFlags::NoRemoveDir)) {
            Err(Errno::ENOENT) => Ok(()),
            result => result,
        }
    }

    /// Renames a file: rename(2).
    pub fn rename(&self, from: &str, to: &str) -> std::result::Result<(), Errno> {
        again(|| renameat(&self.found.fd, from, &self.found.fd, to))
    }
}

/// The mode with which a start makes the directory, where it is this user's own in /tmp or root's for foreign programs.
fn mode_of_own(place: &Place) -> Option<Mode> {
    let is_of_foreign = place.dir.as_os_str() == sys::OF_FOREIGN;
    let mode = if place.private { 0o700 } else { 0o755 };
    (place.private || is_of_foreign).then_some(Mode::from_bits_truncate(mode))
}

/// Makes a directory, with this mode whatever the umask is, unless there is one.
fn make(dir: &Path, mode: Mode) -> Result<()> {
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else { return Ok(()) };
    let parent = match walk(parent, Trusted::caller(), Last::Followed) {
        Ok(parent) => parent.fd,
        Err(Failure::Os(_, errno)) => return Err(failed(dir, "mkdir", errno)),
        Err(Failure::Link(link)) => return Err(linked_directory(dir, &link)),
    };
    match again(|| mkdirat(&parent, name, mode)) {
        Ok(()) => {}
        Err(Errno::EEXIST) => return Ok(()),
        Err(errno) => return Err(failed(dir, "mkdir", errno)),
    }
    // Opened as it is, so that nobody can have another one's mode changed.
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    match again(|| openat(&parent, name, flags, Mode::empty())) {
        Ok(made) => again(|| fchmod(&made, mode)).map_err(|errno| failed(dir, "fchmod", errno)),
        // Somebody has removed it again, or it is theirs: the next look at it says so.
        Err(_) => Ok(()),
    }
}

/// Refuses a directory in /tmp that another user may have made under this name. Every asker is told, so that nobody
/// takes another user's daemon for their own.
fn check_private(dir: &Path, found: &FileStat) -> Result<()> {
    let is_dir = kind(found) == SFlag::S_IFDIR;
    if !is_dir || found.st_uid != euid() || found.st_mode & 0o077 != 0 {
        return Err(not_private(dir));
    }
    Ok(())
}
