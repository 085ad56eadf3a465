//! How a daemon puts its pidfile back when somebody has removed it.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::fstat;

use super::directory::Directory;
use super::errors::{another_root, failed};
use super::held::PidFile;
use super::look::{State, state_of};
use super::place::{Place, TRIES};
use super::turn::{Turn, replace};
use crate::error::Result;
use crate::process::lock_holder::{Locked, may_hold};
use crate::sys::{self, again};

impl PidFile {
    /// Puts the file back that somebody has removed while this daemon runs: a new file, locked and with our pid, under
    /// the same descriptor number. Where this user's own directory in /tmp is gone as well, it is made again, as
    /// by a start. A start that is under way there loses; a daemon that is ready there does not, and `Ok(false)`
    /// says so.
    pub fn put_back(&mut self, pid: i32) -> Result<bool> {
        let path = self.place.path();
        if self.out_of_reach {
            return Err(another_root(&path));
        }
        for _ in 0..TRIES {
            if !self.is_gone() {
                return Ok(true);
            }
            match Self::put_anew(&self.place) {
                Ok(Some(Some(file))) => {
                    let mut new = Self::of(file, &self.place);
                    new.decide()?;
                    new.write(pid)?;
                    if self.mark.is_some() {
                        new.supervise()?;
                    }
                    new.ready()?;
                    self.adopt(new)?;
                    return Ok(true);
                }
                Ok(Some(None)) => return Ok(false),
                Ok(None) => {}
                // `rm -r` is still at work there.
                Err(error) if self.place.private && error.errno == Some(libc::ENOENT) => {}
                Err(error) => return Err(error),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(false)
    }

    /// Tries once. `None` means that it must try again; `Some(None)` that another daemon runs there.
    fn put_anew(place: &Place) -> Result<Option<Option<File>>> {
        let dir = Directory::for_start(place)?;
        if let Some(other) = dir.open_existing(&place.file_name(), OFlag::O_RDONLY)? {
            if let Some(State::Running { pid }) = state_of(&other)? {
                // A start looks the same between two of its locks, and the pid is not its own then.
                let found = again(|| fstat(&other));
                let found = found.map_err(|e| failed(&place.path(), "fstat", e))?;
                let runs = pid.is_some_and(|p| may_hold(p, Locked::from(&found)));
                return Ok(runs.then_some(None));
            }
            let new = replace(&dir, place, &other, |s| !matches!(s, State::Running { .. }))?;
            return Ok(new.map(Some));
        }
        let Some(turn) = Turn::take(&dir, place)? else { return Ok(None) };
        if dir.stat(&place.file_name()) != Err(Errno::ENOENT) {
            return Ok(None);
        }
        Ok(turn.put()?.map(Some))
    }

    /// Takes the new file under the old descriptor's number; the old description is let go.
    fn adopt(&mut self, new: Self) -> Result<()> {
        self.mark = new.mark;
        // In one step, so that the number is never free.
        sys::replace(new.file.as_raw_fd(), self.file.as_raw_fd())
            .map_err(|errno| failed(&self.place.path(), "dup3", errno))
    }
}
