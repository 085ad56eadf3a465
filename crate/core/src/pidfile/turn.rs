//! Those who replace a pidfile take turns, by a lock on a file that only they can open.
//!
//! A file that others can read can be locked by them. So the lock is not on the new pidfile, which a crash
//! could leave readable, but on a file of its own, whose mode is never other than 0600. What a crash leaves
//! is in nobody's way: the lock goes with the process, and a new pidfile that never got its name is removed
//! by the next one.

use std::fs::File;

use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod};

use super::directory::Directory;
use super::errors::failed;
use super::locks::{HELD, take, take_all};
use super::look::{State, state_of};
use super::place::Place;
use super::whereabouts::{Whereabouts, is_same};
use crate::error::Result;
use crate::sys::again;

/// The right to replace the pidfile, until it is dropped.
pub struct Turn<'a> {
    dir: &'a Directory,
    place: &'a Place,
    _lock: File,
}

/// The name of the file that is locked.
fn lock_name(place: &Place) -> String {
    format!(".{}.pid.lock", place.name)
}

/// The name of a new pidfile until it is locked.
fn new_name(place: &Place) -> String {
    format!(".{}.pid.new", place.name)
}

impl<'a> Turn<'a> {
    /// Takes the turn; `None` where somebody else has it.
    pub fn take(dir: &'a Directory, place: &'a Place) -> Result<Option<Self>> {
        let name = lock_name(place);
        let Some((lock, _)) = dir.open_or_create(&name, 0o600)? else { return Ok(None) };
        let fail = |call| move |errno| failed(&place.dir.join(lock_name(place)), call, errno);
        // Somebody may have made it readable: others cannot open it, to lock it, from here on.
        again(|| fchmod(&lock, Mode::from_bits_truncate(0o600))).map_err(fail("fchmod"))?;
        if !take(&lock, HELD)? {
            return Ok(None);
        }
        let is_in_place = dir.stat(&name).is_ok_and(|now| is_same(&lock, &now));
        // Not then_some(), whose value would be made, and dropped, in any case.
        Ok(if is_in_place { Some(Self { dir, place, _lock: lock }) } else { None })
    }

    /// Removes what a crash has left.
    pub fn clear_up(dir: &'a Directory, place: &'a Place) {
        if [lock_name(place), new_name(place)].iter().all(|name| dir.stat(name).is_err()) {
            return;
        }
        if let Ok(Some(turn)) = Self::take(dir, place) {
            let _ = turn.remove_new();
        }
    }

    fn remove_new(&self) -> Result<()> {
        let name = new_name(self.place);
        let fail = |errno| failed(&self.place.dir.join(&name), "unlink", errno);
        self.dir.remove(&name).map_err(fail)
    }

    /// Puts a new, locked pidfile in its place; `None` where somebody has interfered.
    pub fn put(self) -> Result<Option<File>> {
        let name = new_name(self.place);
        self.remove_new()?;
        // Others cannot open it before it is locked.
        let Some(new) = self.dir.create(&name, 0o600)? else { return Ok(None) };
        let put = self.publish(&new, &name);
        if !matches!(put, Ok(true)) {
            let _ = self.remove_new();
        }
        Ok(put?.then_some(new))
    }

    fn publish(&self, new: &File, name: &str) -> Result<bool> {
        let path = self.place.path();
        let fail = |call| {
            let path = &path;
            move |errno: Errno| failed(path, call, errno)
        };
        if !take_all(new, &path)? {
            return Ok(false);
        }
        again(|| fchmod(new, Mode::from_bits_truncate(0o644))).map_err(fail("fchmod"))?;
        match self.dir.rename(name, &self.place.file_name()) {
            Ok(()) => Ok(true),
            // The call was repeated, and the first one had done it.
            Err(Errno::ENOENT) if self.is_published(new) => Ok(true),
            Err(errno) => Err(fail("rename")(errno)),
        }
    }

    fn is_published(&self, new: &File) -> bool {
        matches!(Whereabouts::of(new, self.place, false), Whereabouts::InPlace(_))
    }
}

/// Puts a new, locked file in the place of `old`, whose locks cannot be had. `None` where
/// somebody was faster; `yields` says whether the file that now bears the name may be lost.
pub fn replace(
    dir: &Directory,
    place: &Place,
    old: &File,
    yields: impl Fn(&State) -> bool,
) -> Result<Option<File>> {
    let Some(turn) = Turn::take(dir, place)? else { return Ok(None) };
    // Look again before the old one goes.
    let is_same = dir.stat(&place.file_name()).is_ok_and(|now| is_same(old, &now));
    let yields = is_same && state_of(old)?.is_some_and(|state| yields(&state));
    if yields { turn.put() } else { Ok(None) }
}

impl Drop for Turn<'_> {
    /// Removes the file while it is locked, so that whoever waits for the lock sees that the name leads elsewhere.
    fn drop(&mut self) {
        let _ = self.dir.remove(&lock_name(self.place));
    }
}
