//! Who keeps a pidfile locked: the daemon alone, a supervisor and the daemon that is its child, or a daemon whose
//! supervisor was killed.

use super::place::Place;
use super::state_file::child_of;
use crate::process::lock_holder::{Holding, Locked, Process};
use crate::sys::Unseen;

/// Why those who keep a pidfile locked are not recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// The file names no process.
    NoPid,
    /// There is no process of this number, or it is about to end.
    Gone(i32),
    /// This process does not hold the lock.
    NotIt(i32),
    /// This process is a supervisor, and has no daemon.
    Childless(i32),
    /// This process cannot be seen.
    Unseen(i32, Unseen),
}

/// Who keeps a pidfile locked.
#[derive(Debug)]
pub struct Keepers {
    /// The daemon; `None` where its supervisor has none at the moment, or it cannot be seen.
    pub daemon: Option<Process>,
    /// Its supervisor.
    pub supervisor: Option<Process>,
    /// The daemon had a supervisor that was killed.
    pub unsupervised: bool,
    /// Why it cannot be seen whether they hold the lock: then the pidfile is believed, which is enough to speak of them,
    /// not to signal them.
    pub unseen: Option<Unseen>,
}

impl Keepers {
    /// The daemon's pid; its supervisor's, where no daemon is found.
    pub fn pid(&self) -> Option<i32> {
        self.daemon.as_ref().or(self.supervisor.as_ref()).map(|process| process.pid)
    }
}

/// Finds out who keeps a file locked that names `pid`. `supervised`: it is marked as a supervisor's.
pub fn recognise(
    place: &Place,
    pid: Option<i32>,
    supervised: bool,
    file: Locked,
) -> Result<Keepers, Doubt> {
    let pid = pid.ok_or(Doubt::NoPid)?;
    let (process, unseen) = match holder(pid, file) {
        Ok(found) => found,
        Err(doubt) => {
            // The lock is the daemon's, too, and the mark went with the supervisor.
            let left = child_of(place, pid).filter(|_| !supervised).ok_or(doubt)?;
            let (daemon, unseen) = holder(left, file).map_err(|_| doubt)?;
            return Ok(Keepers {
                daemon: Some(daemon),
                supervisor: None,
                unsupervised: true,
                unseen,
            });
        }
    };
    if !supervised {
        let daemon = Some(process);
        return Ok(Keepers { daemon, supervisor: None, unsupervised: false, unseen });
    }
    let (daemon, hidden) = match process.child() {
        Ok(child) => (child, None),
        Err(unseen) => (None, Some(unseen)),
    };
    let unseen = unseen.or(hidden);
    Ok(Keepers { daemon, supervisor: Some(process), unsupervised: false, unseen })
}

/// The process of this number, if it holds the lock, or if that cannot be seen.
fn holder(pid: i32, file: Locked) -> Result<(Process, Option<Unseen>), Doubt> {
    let process = Process::open(pid).ok_or(Doubt::Gone(pid))?;
    match process.holds(file) {
        Holding::Yes => Ok((process, None)),
        Holding::No => Err(Doubt::NotIt(pid)),
        Holding::Gone => Err(Doubt::Gone(pid)),
        Holding::Unseen(unseen) => Ok((process, Some(unseen))),
    }
}
