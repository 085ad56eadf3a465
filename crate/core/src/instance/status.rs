//! What can be said of the daemon at a place by anyone.

#[cfg(target_os = "linux")]
use std::fs;
use std::time::{Duration, Instant};

use super::errors::unrecognised;
use super::find::Doubt;
use super::{KILLED, PAUSE, SETTLE};
use crate::error::Result;
use crate::pidfile::{self, Place, State};
use crate::process::lock_holder::{Holding, Locked, Process};
#[cfg(target_os = "linux")]
use crate::process::procfs;
#[cfg(target_os = "linux")]
use crate::process::stat::Stat;
#[cfg(not(target_os = "linux"))]
use crate::sys;
use crate::{accounts, thread};

/// For the user database to give a name.
const NAMED: Duration = Duration::from_secs(2);

/// What is known of a daemon; `None` is what cannot be seen.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Info {
    /// Milliseconds since the epoch.
    pub started_at: Option<f64>,
    /// The effective user's name, or its number.
    pub user: Option<String>,
    /// Resident memory in bytes.
    pub rss: Option<f64>,
}

/// What can be said of the daemon at a place, by anyone. Running means locked and ready; a pid that
/// is demonstrably not the holder's is an error, one that cannot be checked is believed.
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
                    // Not of one that has ended meanwhile, or is about to.
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
        // One that was killed is about to be gone: no more than one that cannot be found it runs.
        let is_dying =
            process.is_some_and(|process| process.is_dying()) && begun.elapsed() < KILLED;
        // On its way out, or back into place: look again.
        if !is_dying && begun.elapsed() >= SETTLE {
            return Err(unrecognised(place, doubt));
        }
        std::thread::sleep(PAUSE);
    }
}

/// What libproc tells of the holder of a file.
#[cfg(not(target_os = "linux"))]
fn info(process: &Process, _file: Locked) -> Info {
    let Some((process, task)) = sys::process(process.pid) else { return Info::default() };
    Info {
        started_at: Some(
            process.pbi_start_tvsec as f64 * 1e3 + (process.pbi_start_tvusec / 1000) as f64,
        ),
        user: Some(name_of_user(process.pbi_uid)),
        rss: (task.pti_resident_size > 0).then_some(task.pti_resident_size as f64),
    }
}

/// What /proc tells of the holder of a file.
#[cfg(target_os = "linux")]
fn info(process: &Process, file: Locked) -> Info {
    let dir = process.directory().ok();
    let stat = dir.as_deref().and_then(Stat::read);
    let status = dir.and_then(|dir| fs::read(dir.join("status")).ok()).unwrap_or_default();
    let word = |name, at| procfs::field(&status, name).and_then(|mut words| words.nth(at));
    let uid: Option<u32> = word("Uid", 1).and_then(procfs::number);
    let rss: Option<f64> = word("VmRSS", 0).and_then(procfs::number);
    Info {
        started_at: stat.and_then(|stat| stat.started_at()),
        // Of a file that is not root's the holder is its owner's (see holder.rs).
        user: uid.or((file.owner != 0).then_some(file.owner)).map(name_of_user),
        rss: rss.map(|kib| kib * 1024.0),
    }
}

/// A user's name; its number, where it has none that is text, or the database does not answer in time.
fn name_of_user(uid: u32) -> String {
    let (tell, told) = std::sync::mpsc::channel();
    let ask = move || drop(tell.send(accounts::user_by_uid(uid)));
    let found = thread::spawn("user", ask).ok().and_then(|_| told.recv_timeout(NAMED).ok());
    found.and_then(|found| found.ok().flatten()).map_or_else(|| uid.to_string(), |user| user.name)
}
