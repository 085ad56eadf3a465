//! How a start takes the pidfile.

use std::time::Duration;

use nix::sys::stat::fstat;

use super::checks::{Asker, check_file};
use super::directory::Directory;
use super::errors::failed;
use super::held::PidFile;
use super::holder::{Holder, busy, in_the_way};
use super::locks::{SUPERVISED, is_taken, take_all};
use super::look::{State, state_of};
use super::place::{Place, TRIES};
use super::state_file::remove_state;
use super::turn::{Turn, replace};
use super::whereabouts::{Whereabouts, is_same};
use crate::error::Result;
use crate::process::lock_holder::Locked;
use crate::sys::again;

/// The result of one try to lock the file.
enum Tried {
    /// The file is locked and in place.
    Locked(PidFile),
    /// Somebody changed the file meanwhile: try again.
    Changing,
    /// Someone who may write the file holds it: a daemon, or a start.
    Held(Holder),
}

impl PidFile {
    /// Opens, checks and locks the pidfile, and empties it. Tries again while the file is being replaced. Fails with
    /// `Code::AlreadyRunning` where a daemon or a start holds it.
    pub fn acquire(place: &Place) -> Result<Self> {
        let mut seen = None;
        for _ in 0..TRIES {
            let dir = Directory::for_start(place)?;
            let tried = Self::try_acquire(place, &dir);
            match tried.map_err(|error| in_the_way(place).unwrap_or(error))? {
                Tried::Locked(pidfile) => {
                    Turn::clear_up(&dir, place);
                    // That of an earlier daemon says nothing of this one.
                    remove_state(&dir, place);
                    return match pidfile.clear() {
                        Ok(()) => Ok(pidfile),
                        Err(error) => {
                            pidfile.remove();
                            Err(error)
                        }
                    };
                }
                // Nobody is told of a holder that was seen once only.
                Tried::Held(holder) if seen == Some(holder) => return Err(busy(place, holder)),
                Tried::Held(holder) => seen = Some(holder),
                Tried::Changing => seen = None,
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(busy(place, seen.unwrap_or(Holder::Starting(None))))
    }

    fn try_acquire(place: &Place, dir: &Directory) -> Result<Tried> {
        let Some((file, made)) = dir.open_or_create(&place.file_name(), 0o644)? else {
            return Ok(Tried::Changing);
        };
        let candidate = Self::of(file, place);
        let tried = candidate.try_lock(dir);
        if made && !matches!(tried, Ok(Some(Ok(_)))) {
            candidate.unmake();
        }
        Ok(match tried? {
            Some(Ok(true)) => match Whereabouts::of(&candidate.file, place, false).in_place() {
                Ok(true) => Tried::Locked(candidate),
                Ok(false) => Tried::Changing,
                Err(error) => {
                    if made {
                        candidate.remove_from(dir);
                    }
                    return Err(error);
                }
            },
            // Only the locks of a reader are in the way, and no daemon's: the file is replaced.
            Some(Ok(false)) => {
                let yields = |state: &State| matches!(state, State::Stopped { .. });
                let new = replace(dir, place, &candidate.file, yields)?;
                new.map_or(Tried::Changing, |file| Tried::Locked(Self::of(file, place)))
            }
            Some(Err(holder)) => Tried::Held(holder),
            None => Tried::Changing,
        })
    }

    /// Takes all locks, or says who holds them. `false` means that readers do; `None` that it is changing hands.
    fn try_lock(&self, dir: &Directory) -> Result<Option<std::result::Result<bool, Holder>>> {
        let path = self.place.path();
        let found = again(|| fstat(&self.file)).map_err(|e| failed(&path, "fstat", e))?;
        if found.st_nlink == 0 {
            return Ok(None);
        }
        check_file(&path, &found, Asker::Owner, dir.owner())?;
        if take_all(&self.file, &path)? {
            return Ok(Some(Ok(true)));
        }
        Ok(match state_of(&self.file)? {
            // A stale file is being removed, which takes a moment.
            None => None,
            Some(State::Stopped { .. }) => Some(Ok(false)),
            Some(state) => {
                let supervised = is_taken(&self.file, SUPERVISED)?;
                Some(Err(Holder::of(&self.place, state, supervised, Locked::from(&found))))
            }
        })
    }

    /// Removes the file that this start has made in vain, unless another one has locked it meanwhile.
    fn unmake(&self) {
        if matches!(state_of(&self.file), Ok(Some(State::Stopped { .. }))) {
            self.remove();
        }
    }

    /// Removes the file, if that is what bears its name in this directory.
    fn remove_from(&self, dir: &Directory) {
        let name = self.place.file_name();
        if dir.stat(&name).is_ok_and(|now| is_same(&self.file, &now)) {
            let _ = dir.remove(&name);
        }
    }
}
