//! What can be said of the daemon at a place by anyone.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::errors::unrecognised;
use crate::accounts;
use crate::error::Result;
use crate::pidfile::patience::{KILLED, PAUSE, SETTLE};
use crate::pidfile::{self, Doubt, Keepers, Place, State, is_about};
use crate::process::lock_holder::{Locked, Process};
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
    /// The pid of its supervisor.
    pub supervisor: Option<i32>,
    /// It had a supervisor, which was killed.
    pub unsupervised: bool,
    /// What its state file says, if that is this daemon's; of a daemon that does not run, the last one's.
    pub state: Option<String>,
}

/// The state of the daemon at a place, and what is known of it, for anyone who asks. It runs if the file is locked and
/// says "ready". A pid that is certainly not the holder's is an error; a pid that cannot be checked is believed. Where a
/// supervisor holds the lock, the pid is that of its child.
pub fn status(place: &Place) -> Result<(State, Info)> {
    status_with(place, &mut Names::default())
}

/// The same for one of many.
pub fn status_with(place: &Place, names: &mut Names) -> Result<(State, Info)> {
    let begun = Instant::now();
    loop {
        let found = pidfile::look(place)?;
        let (pid, file) = match (found.state, found.file) {
            (State::Running { pid }, Some(file)) => (pid, file),
            (State::Stopped { .. }, _) => {
                let state = pidfile::read_state(place);
                return Ok((found.state, Info { state, ..Info::default() }));
            }
            _ => return Ok((found.state, Info::default())),
        };
        let (dying, doubt) = match pidfile::recognise(place, pid, found.supervised, file) {
            Ok(keepers) => match told(place, &keepers, file, names) {
                // What was read of a process that has ended meanwhile, or is about to, is not told.
                Ok(answer) => match &keepers.daemon {
                    Some(daemon) if daemon.has_ended() || may_end(daemon, begun) => {
                        (may_end(daemon, begun), Doubt::Gone(daemon.pid))
                    }
                    _ => return Ok(answer),
                },
                Err(doubt) => (false, doubt),
            },
            Err(doubt) => {
                let process = pid.and_then(Process::open);
                (process.is_some_and(|process| may_end(&process, begun)), doubt)
            }
        };
        // The daemon may be on its way out, or the file on its way back: look again.
        if !dying && begun.elapsed() >= SETTLE {
            return Err(unrecognised(place, doubt));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Whether a process is about to be gone, and so does not run; one that hangs on its way out does after a while.
fn may_end(process: &Process, begun: Instant) -> bool {
    process.is_dying() && begun.elapsed() < KILLED
}

fn told(
    place: &Place,
    keepers: &Keepers,
    file: Locked,
    names: &mut Names,
) -> std::result::Result<(State, Info), Doubt> {
    let Keepers { daemon, supervisor, unsupervised, unseen } = keepers;
    let supervisor = supervisor.as_ref().map(|process| process.pid);
    if daemon.is_none() && unseen.is_none() {
        return Err(supervisor.map_or(Doubt::NoPid, Doubt::Childless));
    }
    let pid = daemon.as_ref().map(|process| process.pid);
    let is_its = |text: &String| [pid, supervisor].iter().flatten().any(|&p| is_about(text, p));
    let info = Info {
        supervisor,
        unsupervised: *unsupervised,
        state: pidfile::read_state(place).filter(is_its),
        ..daemon.as_ref().map_or_else(Info::default, |daemon| info(daemon, file, names))
    };
    Ok((State::Running { pid }, info))
}

/// What the system shows of the holder of a file.
fn info(process: &Process, file: Locked, names: &mut Names) -> Info {
    let seen = process.seen().ok();
    let (user, rss) = seen.as_ref().map_or((None, None), Seen::user_and_rss);
    // The holder of a file that is not root's is the file's owner (see Seen::holds_flock).
    let user = user.or((file.owner != 0).then_some(file.owner));
    Info {
        started_at: seen.as_ref().and_then(Seen::started_at),
        user: user.map(|uid| names.of(uid)),
        rss,
        ..Info::default()
    }
}

/// The names of users, each of which is asked for once.
#[derive(Debug, Default)]
pub struct Names(HashMap<u32, String>);

impl Names {
    fn of(&mut self, uid: u32) -> String {
        self.0.entry(uid).or_insert_with(|| name_of_user(uid)).clone()
    }
}

/// A user's name; its number, where it has none that is text, or the database does not answer in time.
fn name_of_user(uid: u32) -> String {
    let (tell, told) = std::sync::mpsc::channel();
    let ask = move || drop(tell.send(accounts::user_by_uid(uid)));
    let found = thread::spawn("user", ask).ok().and_then(|_| told.recv_timeout(NAMED).ok());
    found.and_then(|found| found.ok().flatten()).map_or_else(|| uid.to_string(), |user| user.name)
}
