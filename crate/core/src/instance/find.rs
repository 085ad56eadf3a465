//! The daemon at a place, recognised without doubt, so that a signal cannot hit a stranger.
//!
//! A signal goes through a pidfd, which is opened first; then the process is checked: it must have
//! a descriptor that holds this very lock. The pidfd stays on the process that was checked, however
//! soon its pid is reused.

use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::errors::{Doubt, unrecognised};
use crate::error::Result;
use crate::pidfile::patience::{PAUSE, SETTLE};
use crate::pidfile::{self, Place, State};
use crate::process::lock_holder::{Holding, Locked, Process};
use crate::sys::{self, Reaction};

/// How long a start may take from the lock to the fork, when it is asked to end.
const FORK: Duration = Duration::from_secs(10);
/// How long to look again before an error says that a process cannot be seen: the file may name the process that had
/// the lock before.
const DOUBT: Duration = Duration::from_millis(50);

/// A running daemon that was recognised.
#[derive(Debug)]
pub struct Daemon {
    /// Its pid.
    pub pid: i32,
    process: Process,
}

impl Daemon {
    /// Finds the daemon at a place; `None` where none runs. `starting` says whether a daemon that is not ready counts
    /// as well.
    pub fn find(place: &Place, starting: bool) -> Result<Option<Self>> {
        let begun = Instant::now();
        loop {
            let found = pidfile::look(place)?;
            let (pid, file) = match (found.state, found.file) {
                (State::Stopped { .. }, _) | (_, None) => return Ok(None),
                (State::Starting { .. }, _) if !starting => return Ok(None),
                (State::Starting { pid } | State::Running { pid }, Some(file)) => (pid, file),
            };
            // Once the handle is open and its process holds the lock, whatever happens from here on
            // happens to that process.
            let doubt = match recognise(pid, file) {
                Ok(process) => match process.handle() {
                    Ok(_) => return Ok(Some(Self { pid: process.pid, process })),
                    Err(unseen) => Doubt::Unseen(process.pid, unseen),
                },
                Err(doubt) => doubt,
            };
            // A start without a pid has the lock and is about to fork: its pid follows.
            let forking = pid.is_none() && matches!(found.state, State::Starting { .. });
            let patience = match doubt {
                Doubt::Unseen(..) => DOUBT,
                _ if forking => FORK,
                _ => SETTLE,
            };
            if begun.elapsed() >= patience {
                return Err(unrecognised(place, doubt));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Sends a signal to this process or to nobody.
    pub fn signal(&self, signal: i32) -> std::result::Result<(), Errno> {
        let handle = self.process.handle().map_err(|_| Errno::ESRCH)?;
        match sys::pidfd_send_signal(handle, self.pid, signal) {
            Err(Errno::ESRCH) => Ok(()),
            sent => sent,
        }
    }

    /// What a signal would do to it; `None` where that cannot be seen.
    pub fn reaction(&self, signal: i32) -> Option<Reaction> {
        self.process.seen().ok()?.reaction(signal)
    }

    /// Waits for its end; `false` when the time was up first.
    pub fn wait(&self, timeout: Duration) -> bool {
        self.process.await_end(Instant::now() + timeout)
    }
}

/// The process that a locked file names, if it holds the lock as far as the kernel shows it.
fn recognise(pid: Option<i32>, file: Locked) -> std::result::Result<Process, Doubt> {
    let pid = pid.ok_or(Doubt::NoPid)?;
    let process = Process::open(pid).ok_or(Doubt::Gone(pid))?;
    match process.holds(file) {
        Holding::Yes => Ok(process),
        Holding::No => Err(Doubt::NotIt(pid)),
        Holding::Gone => Err(Doubt::Gone(pid)),
        Holding::Unseen(unseen) => Err(Doubt::Unseen(pid, unseen)),
    }
}
