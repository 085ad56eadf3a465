//! How a supervisor says that it is one.
//!
//! It shares the open file description of the locks with the daemon. So that the mark goes with the supervisor, and the
//! daemon keeps the rest, it is a lock on a description of its own.

use std::fs::File;

use nix::fcntl::OFlag;
use nix::sys::stat::fstat;

use super::checks::{Asker, check_file};
use super::directory::Directory;
use super::errors::{exchanged, failed, supervised};
use super::held::PidFile;
use super::locks::{SUPERVISED, take};
use super::whereabouts::is_same;
use crate::error::Result;
use crate::sys::again;

impl PidFile {
    /// Says to all who look, until this value is dropped or the process ends, that the process named in this file is the
    /// supervisor of the daemon. A file that is put back says it too. To be called before the file names the
    /// supervisor, so that nobody takes that for the daemon.
    pub fn supervise(&mut self) -> Result<()> {
        self.mark = Some(self.marked()?);
        Ok(())
    }

    /// Opens the file anew, and takes the lock.
    fn marked(&self) -> Result<File> {
        let path = self.place.path();
        let gone = || exchanged(&path);
        let dir = Directory::open(&self.place, Asker::Owner)?.ok_or_else(gone)?;
        let name = self.place.file_name();
        let mark = dir.open_existing(&name, OFlag::O_RDWR)?.ok_or_else(gone)?;
        let found = again(|| fstat(&mark)).map_err(|e| failed(&path, "fstat", e))?;
        if !is_same(&self.file, &found) {
            return Err(gone());
        }
        check_file(&path, &found, Asker::OfHeld, dir.owner())?;
        if take(&mark, SUPERVISED)? { Ok(mark) } else { Err(supervised(&path)) }
    }
}
