//! The daemon at a place, recognised without doubt, so that a signal cannot hit a stranger.
//!
//! A signal goes through a pidfd, which is opened first; then the process is checked: it must have
//! a descriptor that holds this very lock, or be the child of a supervisor that has. The pidfd stays on the process that
//! was checked, however soon its pid is reused.

use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::errors::unrecognised;
use crate::error::Result;
use crate::pidfile::patience::{KILLED, PAUSE, SETTLE};
use crate::pidfile::{self, Doubt, Keepers, Place, State};
use crate::process::lock_holder::Process;
use crate::process::session;
use crate::sys::{self, Reaction};

/// How long a start may take from the lock to the fork, when it is asked to end.
const FORK: Duration = Duration::from_secs(10);
/// How long to look again before an error says that a process cannot be seen: the file may name the process that had
/// the lock before.
const DOUBT: Duration = Duration::from_millis(50);

/// Which daemons count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// One that is ready.
    Ready,
    /// One that is starting as well, and a supervisor that has no daemon at the moment.
    Any,
}

/// A running daemon that was recognised.
#[derive(Debug)]
pub struct Daemon {
    /// Its pid; in a supervisor without a daemon the supervisor's.
    pub pid: i32,
    /// The pid in the file.
    pub named: i32,
    process: Process,
    supervisor: Option<Process>,
}

impl Daemon {
    /// Finds the daemon at a place; `None` where none runs.
    pub fn find(place: &Place, wanted: Wanted) -> Result<Option<Self>> {
        let begun = Instant::now();
        loop {
            let found = pidfile::look(place)?;
            let (pid, file) = match (found.state, found.file) {
                (State::Stopped { .. }, _) | (_, None) => return Ok(None),
                (State::Starting { .. }, _) if wanted == Wanted::Ready => return Ok(None),
                (State::Starting { pid } | State::Running { pid }, Some(file)) => (pid, file),
            };
            let is_starting = matches!(found.state, State::Starting { .. });
            // Whoever the file names ends a start.
            let keepers = pidfile::recognise(place, pid, found.supervised && !is_starting, file);
            let doubt = match keepers.and_then(|keepers| Self::of(keepers, pid, wanted)) {
                Ok(daemon) => return Ok(Some(daemon)),
                Err(doubt) => doubt,
            };
            let patience = match doubt {
                Doubt::Unseen(..) => DOUBT,
                // A start without a pid has the lock and is about to fork: its pid follows.
                Doubt::NoPid if is_starting => FORK,
                _ => SETTLE,
            };
            if begun.elapsed() >= patience {
                return Err(unrecognised(place, doubt));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Takes those who keep the file locked, if there is a handle on each of them: whatever happens from here on
    /// happens to those processes.
    fn of(
        keepers: Keepers,
        named: Option<i32>,
        wanted: Wanted,
    ) -> std::result::Result<Self, Doubt> {
        let Keepers { daemon, supervisor, unseen, .. } = keepers;
        let (process, supervisor) = match (daemon, supervisor) {
            (Some(daemon), supervisor) => (daemon, supervisor),
            (None, Some(supervisor)) if wanted == Wanted::Any => (supervisor, None),
            (None, Some(supervisor)) => return Err(Doubt::Childless(supervisor.pid)),
            (None, None) => return Err(Doubt::NoPid),
        };
        let pid = process.pid;
        for keeper in std::iter::once(&process).chain(&supervisor) {
            keeper.handle().map_err(|unseen| Doubt::Unseen(keeper.pid, unseen))?;
        }
        match unseen {
            Some(unseen) => Err(Doubt::Unseen(pid, unseen)),
            None => Ok(Self { pid, named: named.unwrap_or(pid), process, supervisor }),
        }
    }

    /// Sends a signal to this process or to nobody.
    pub fn signal(&self, signal: i32) -> std::result::Result<(), Errno> {
        send(&self.process, signal)
    }

    /// Asks it to end: by SIGTERM to its supervisor, where it has one.
    pub fn ask_to_end(&self) -> std::result::Result<(), Errno> {
        send(self.supervisor.as_ref().unwrap_or(&self.process), libc::SIGTERM)
    }

    /// Ends it by SIGKILL. A supervisor may then still clean up; one that does not is killed, with what is left of the
    /// daemon's session.
    pub fn kill(&self) -> std::result::Result<(), Errno> {
        self.signal(libc::SIGKILL)?;
        let Some(supervisor) = &self.supervisor else { return Ok(()) };
        self.process.await_end(Instant::now() + KILLED);
        if supervisor.await_end(Instant::now() + SETTLE) {
            return Ok(());
        }
        // It leads the session, and has not ended, so that the session's number is its own.
        session::kill_session(supervisor.pid, SETTLE);
        send(supervisor, libc::SIGKILL)
    }

    /// What a signal would do to it; `None` where that cannot be seen.
    pub fn reaction(&self, signal: i32) -> Option<Reaction> {
        self.process.seen().ok()?.reaction(signal)
    }

    /// Waits for its end, and that of its supervisor; `false` when the time was up first.
    pub fn wait(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let has_ended = |process: &Process| process.await_end(deadline);
        self.supervisor.as_ref().is_none_or(has_ended) && has_ended(&self.process)
    }

    /// Whether a supervisor stands between it and whoever asks it to end.
    pub fn is_supervised(&self) -> bool {
        self.supervisor.is_some()
    }
}

fn send(process: &Process, signal: i32) -> std::result::Result<(), Errno> {
    let handle = process.handle().map_err(|_| Errno::ESRCH)?;
    match sys::pidfd_send_signal(handle, process.pid, signal) {
        Err(Errno::ESRCH) => Ok(()),
        sent => sent,
    }
}
