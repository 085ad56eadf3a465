//! Who holds a pidfile that cannot be locked: a daemon, a start, or a process that is about to be gone.
//!
//! A process that was killed keeps its locks for a while: its memory goes first, and the more there is, the longer that
//! takes. Its descriptors cannot be seen then, so the kernel is asked whether the process is ending.

use std::time::Instant;

use super::keepers::{Keepers, recognise};
use super::look::{Look, State, look};
use super::patience::{KILLED, PAUSE, SETTLE};
use super::place::Place;
use crate::error::{Code, Error, Result};
use crate::process::lock_holder::{Locked, Process, may_hold};

/// Who holds a pidfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A daemon that runs, with its pid.
    Daemon(i32),
    /// The same, whose supervisor was killed.
    Unsupervised(i32),
    /// A start, with the pid of the daemon in the making as soon as there is one.
    Starting(Option<i32>),
    /// A process that ends, or was killed, and has not let go yet.
    Dying(i32),
    /// The pid in the file is not the holder's.
    Unknown,
}

impl Holder {
    /// Finds out who holds a file that is held. `supervised`: it is marked as a supervisor's.
    pub fn of(place: &Place, state: State, supervised: bool, file: Locked) -> Self {
        let (State::Starting { pid } | State::Running { pid }) = state else {
            return Self::Unknown;
        };
        // A start may have the lock and not yet have emptied the file: then the pid is that of the holder before.
        if let Some(pid) = pid.filter(|&pid| is_dying(pid)) {
            return Self::Dying(pid);
        }
        if matches!(state, State::Starting { .. }) {
            return Self::Starting(pid.filter(|&pid| may_hold(pid, file)));
        }
        let keepers = recognise(place, pid, supervised, file).ok();
        let daemon = keepers.as_ref().and_then(Keepers::pid);
        daemon.map_or(Self::Unknown, |pid| match &keepers {
            Some(Keepers { unsupervised: true, .. }) => Self::Unsupervised(pid),
            _ => Self::Daemon(pid),
        })
    }
}

/// Whether a process has begun to end, or SIGKILL is on its way to it.
fn is_dying(pid: i32) -> bool {
    Process::open(pid).is_some_and(|process| process.is_dying())
}

/// Waits for a holder that is dying or not found. Returns whether another look at the file is worth while: it is not
/// where a daemon or a start holds it that has been seen already, nor where the time was up. Blocks.
pub fn await_release(place: &Place) -> Result<bool> {
    let begun = Instant::now();
    let mut waited = false;
    loop {
        let found = look(place)?;
        let (State::Starting { .. } | State::Running { .. }, Some(file)) =
            (found.state, found.file)
        else {
            return Ok(true);
        };
        let limit = match Holder::of(place, found.state, found.supervised, file) {
            Holder::Dying(_) => KILLED,
            // A start without a pid may not go on: soon it has one, or is gone.
            Holder::Unknown | Holder::Starting(None) => SETTLE,
            Holder::Daemon(_) | Holder::Unsupervised(_) | Holder::Starting(Some(_)) => {
                return Ok(waited);
            }
        };
        if begun.elapsed() >= limit {
            return Ok(false);
        }
        waited = true;
        std::thread::sleep(PAUSE);
    }
}

/// What a start is told when somebody holds the file.
pub fn busy(place: &Place, holder: Holder) -> Error {
    let name = &place.name;
    let (message, pid) = match holder {
        Holder::Daemon(pid) => {
            (format!("The daemon '{name}' is already running, with pid {pid}"), Some(pid))
        }
        Holder::Unsupervised(pid) => {
            let message = format!(
                "The daemon '{name}' is already running, with pid {pid}, and without its supervisor, which was killed"
            );
            (message, Some(pid))
        }
        Holder::Starting(pid) => (format!("The daemon '{name}' is already starting"), pid),
        Holder::Dying(pid) => {
            let message = format!(
                "The daemon '{name}' was killed and has not ended: pid {pid} still holds the pidfile. \
                 Look at /proc/{pid}/stack and at its file systems, or try again later"
            );
            (message, Some(pid))
        }
        Holder::Unknown => {
            let message = format!(
                "The daemon '{name}' is already running: its pidfile is locked, and its pid is not \
                 that of the process that holds it. Find that with `lslocks`"
            );
            (message, None)
        }
    };
    Error::new(Code::AlreadyRunning, message).at(&place.path()).of(pid)
}

/// The error that names the holder of a file that a start may not open, or must not touch: that a daemon runs says
/// more than that the file cannot be opened.
pub fn in_the_way(place: &Place) -> Option<Error> {
    let look = look(place).ok()?;
    let is_held = !matches!(look.state, State::Stopped { .. });
    is_held.then(|| busy_at(place, &look))
}

/// What a start is told when somebody holds the file in another place.
pub fn busy_at(place: &Place, look: &Look) -> Error {
    let holder = |file| Holder::of(place, look.state, look.supervised, file);
    busy(place, look.file.map_or(Holder::Unknown, holder))
}
