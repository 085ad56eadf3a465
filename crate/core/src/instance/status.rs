//! What can be said of the daemon at a place by anyone.

use std::time::{Duration, Instant};

use super::errors::{Doubt, unrecognised};
use crate::accounts;
use crate::error::Result;
use crate::pidfile::patience::{KILLED, PAUSE, SETTLE};
use crate::pidfile::{self, Place, State};
use crate::process::lock_holder::{Holding, Locked, Process};
use crate::sys::Seen;
use crate::thread;

/// How long the user database may take to give a name.
const NAMED: Duration = Duration::from_secs(2);

/// What is known of a daemon; `None` is what cannot be seen.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Info {
    /// When it began, in milliseconds since the epoch.
    pub started_at: Option<f64>,
    /// The effective user's name, or its number.
    pub user: Option<String>,
    /// Resident memory in bytes.
    pub rss: Option<f64>,
}

/// The state of the daemon at a place, and what is known of it, for anyone who asks. It runs if the file is locked and
/// says "ready". A pid that is certainly not the holder's is an error; a pid that cannot be checked is believed.
pub fn status(place: &Place) -> Result<(State, Info)> {
    let begun = Instant::now();
    loop {
        let found = pidfile::look(place)?;
        let (State::Running { pid }, Some(file)) = (found.state, found.file) else {
            return Ok((found.state, Info::default()));
        };
        let process = pid.and_then(Process::open);
        let doubt = match (pid, &process) {
            (None, _) => Doubt::NoPid,
            (Some(pid), None) => Doubt::Gone(pid),
            (Some(pid), Some(process)) => match process.holds(file) {
                Holding::Yes | Holding::Unseen(_) => {
                    let info = info(process, file);
                    // What was read of a process that has ended meanwhile, or is about to, is not told.
                    let is_dying = process.is_dying() && begun.elapsed() < KILLED;
                    if !is_dying && !process.has_ended() {
                        return Ok((found.state, info));
                    }
                    Doubt::Gone(pid)
                }
                Holding::No => Doubt::NotIt(pid),
                Holding::Gone => Doubt::Gone(pid),
            },
        };
        // A daemon that was killed is about to be gone, and does not run.
        let is_dying =
            process.is_some_and(|process| process.is_dying()) && begun.elapsed() < KILLED;
        // The daemon may be on its way out, or the file on its way back: look again.
        if !is_dying && begun.elapsed() >= SETTLE {
            return Err(unrecognised(place, doubt));
        }
        std::thread::sleep(PAUSE);
    }
}

/// What the system shows of the holder of a file.
fn info(process: &Process, file: Locked) -> Info {
    let seen = process.seen().ok();
    let user = seen.as_ref().and_then(Seen::user);
    Info {
        started_at: seen.as_ref().and_then(Seen::started_at),
        // The holder of a file that is not root's is the file's owner (see Seen::holds_flock).
        user: user.or((file.owner != 0).then_some(file.owner)).map(name_of_user),
        rss: seen.as_ref().and_then(Seen::rss),
    }
}

/// A user's name; its number, where it has none that is text, or the database does not answer in time.
fn name_of_user(uid: u32) -> String {
    let (tell, told) = std::sync::mpsc::channel();
    let ask = move || drop(tell.send(accounts::user_by_uid(uid)));
    let found = thread::spawn("user", ask).ok().and_then(|_| told.recv_timeout(NAMED).ok());
    found.and_then(|found| found.ok().flatten()).map_or_else(|| uid.to_string(), |user| user.name)
}
