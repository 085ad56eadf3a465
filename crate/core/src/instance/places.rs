//! All the places where a daemon of one name may be kept: an environment says where a start goes, and
//! never which daemon is meant.
//!
//! A user's session has `$XDG_RUNTIME_DIR`, and cron has not, but the daemon that both start is the same. So a start
//! locks the file in its own place, looks in the others, and gives way to whoever is there; `status`, `stop` and
//! `kill` look in all. When several starts meet, each in a place of its own, the one whose place comes first
//! by name goes on: it waits until the others, which give way to it, have let go. A start that has looked says so in
//! its pidfile ([`PidFile::decide`]); from then on others give way to it.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use crate::accounts;
use crate::error::{Code, Result};
use crate::instance::{self, Info, Stopped};
use crate::pidfile::{self, Look, PidFile, Place, State, is_about};
use crate::process::lock_holder::Process;
use crate::sys::{self, FileId};

/// How long another start may take to look around: it does nothing else meanwhile.
const LOOKING: Duration = Duration::from_secs(10);
/// How long to wait between two looks at another start.
const PAUSE: Duration = Duration::from_millis(1);
/// How often a start makes its directory anew, which a start that gives way removes.
const TRIES: u32 = 500;

/// Where root's pidfiles are.
const SYSTEM: &str = "/var/run";
/// Where systemd-logind keeps a directory for each user.
pub(super) const SESSIONS: &str = "/run/user";
/// Where a user without such a directory has one for each daemon.
pub(super) const TEMPORARY: &str = "/tmp";

/// A place where a daemon may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The place.
    pub place: Place,
    /// The environment variable that names its directory.
    pub variable: Option<String>,
}

impl Candidate {
    fn new(dir: impl Into<PathBuf>, name: &str) -> Self {
        let place = Place { dir: dir.into(), name: name.to_owned(), private: false };
        Self { place, variable: None }
    }

    /// Adds to an error about the place which variable has named it.
    pub fn explain<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|error| match &self.variable {
            Some(name) if matches!(error.code, Code::PidFile | Code::UnsafePidFile) => {
                error.hint(&format!("The variable {name} names this directory"))
            }
            _ => error,
        })
    }
}

/// The caller's places where nobody has named one, the one of a start first. `session` is
/// `$XDG_RUNTIME_DIR`.
pub fn defaults(name: &str, session: Option<PathBuf>) -> Vec<Candidate> {
    let uid = sys::effective_uid();
    if uid == 0 {
        return of_root(name);
    }
    let mut found = Vec::new();
    let login = PathBuf::from(format!("{SESSIONS}/{uid}"));
    let logins = sys::owner_of(&login);
    let session = session.filter(|dir| dir.is_absolute());
    let variable = session.is_some().then(|| "XDG_RUNTIME_DIR".to_owned());
    let sessions = session.as_ref().and_then(|dir| sys::owner_of(dir).ok());
    let is_theirs = |owner: Option<(FileId, u32)>| owner.is_some_and(|(_, owner)| owner == uid);
    let are_one = sessions.is_some() && sessions == logins.ok();
    if let Some(dir) = session.filter(|_| is_theirs(sessions) && !are_one) {
        found.push(Candidate { variable: variable.clone(), ..Candidate::new(dir, name) });
    }
    if is_theirs(logins.ok()) {
        found.push(Candidate {
            variable: variable.filter(|_| are_one),
            ..Candidate::new(login.clone(), name)
        });
    }
    let mut temporary = Candidate::new(format!("{TEMPORARY}/{name}-{uid}"), name);
    temporary.place.private = true;
    found.push(temporary);
    // A login may make it at any moment.
    if logins == Err(Errno::ENOENT) {
        found.push(Candidate::new(login, name));
    }
    found
}

/// The same for a program that knows nothing of this package: root's are not where the program itself may have a
/// pidfile.
pub fn of_foreign(name: &str, session: Option<PathBuf>) -> Vec<Candidate> {
    let mut found = defaults(name, session);
    if let Some(at) = found.iter().position(|c| c.place.dir.as_os_str() == sys::OF_FOREIGN) {
        found.swap(0, at);
    }
    found
}

fn of_root(name: &str) -> Vec<Candidate> {
    [SYSTEM, sys::OF_FOREIGN].map(|dir| Candidate::new(dir, name)).into()
}

/// Locks the pidfile in the first place, unless a daemon runs, or starts, in one of them.
pub fn acquire(candidates: &[Candidate]) -> Result<Option<PidFile>> {
    let Some((own, others)) = candidates.split_first() else { return Ok(None) };
    let pidfile = own.explain(acquire_own(&own.place))?;
    let settled = give_way(&pidfile, others).and_then(|()| own.explain(pidfile.decide()));
    if let Err(error) = settled {
        pidfile.remove();
        if own.place.private {
            // A directory that is not empty stays.
            let _ = fs::remove_dir(&own.place.dir);
        }
        return Err(error);
    }
    Ok(Some(pidfile))
}

fn acquire_own(place: &Place) -> Result<PidFile> {
    for _ in 0..TRIES {
        match PidFile::acquire(place) {
            Err(error) if place.private && error.errno == Some(libc::ENOENT) => {}
            acquired => return acquired,
        }
    }
    PidFile::acquire(place)
}

/// Looks in the other places; fails where somebody there goes on.
fn give_way(own: &PidFile, others: &[Candidate]) -> Result<()> {
    let deadline = Instant::now() + LOOKING;
    for other in others {
        while let Some(look) = other.explain(look(other))? {
            if matches!(look.state, State::Stopped { .. }) || look.file.is_none_or(|f| own.is_of(f))
            {
                break;
            }
            let waits = !look.decided && own.place().dir < other.place.dir;
            if !waits || Instant::now() >= deadline {
                return Err(pidfile::busy_at(&other.place, &look));
            }
            std::thread::sleep(PAUSE);
        }
    }
    Ok(())
}

/// Looks in one place. `None` means that it is not safe, so that no start of this user's has made what lies there.
fn look(candidate: &Candidate) -> Result<Option<Look>> {
    match pidfile::look(&candidate.place) {
        Err(error) if error.code == Code::UnsafePidFile => Ok(None),
        look => look.map(Some),
    }
}

/// How much a place has to say, the most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Runs,
    Starts,
    Left,
    Empty,
}

/// The places, first those where somebody is. Places that are not safe are passed over; but where nobody is found, and
/// the place of a start is not safe, that is an error.
fn ranked(candidates: &[Candidate]) -> Result<Vec<(Rank, &Candidate)>> {
    let mut found = Vec::new();
    let mut refused = Ok(());
    for (index, candidate) in candidates.iter().enumerate() {
        let look = match pidfile::look(&candidate.place) {
            Err(error) if error.code == Code::UnsafePidFile => {
                if index == 0 {
                    refused = candidate.explain(Err(error));
                }
                continue;
            }
            look => candidate.explain(look)?,
        };
        let rank = match look.state {
            State::Running { .. } if look.decided => Rank::Runs,
            State::Running { .. } | State::Starting { .. } => Rank::Starts,
            State::Stopped { stale: true } => Rank::Left,
            State::Stopped { stale: false } => Rank::Empty,
        };
        found.push((rank, candidate));
        if rank == Rank::Runs {
            break;
        }
    }
    found.sort_by_key(|(rank, _)| *rank);
    let is_anyone = found.first().is_some_and(|(rank, _)| *rank <= Rank::Starts);
    if is_anyone { Ok(found) } else { refused.map(|()| found) }
}

/// The places in the same order, for a caller who looks into each: a single place need not be looked at before.
fn in_turn(candidates: &[Candidate]) -> Result<Vec<&Candidate>> {
    if let [one] = candidates {
        return Ok(vec![one]);
    }
    Ok(ranked(candidates)?.into_iter().map(|(_, candidate)| candidate).collect())
}

/// The index of the place that has the daemon, or its start; 0 where there is none.
pub fn current(candidates: &[Candidate]) -> usize {
    let found = ranked(candidates).unwrap_or_default();
    let held = found.first().filter(|(rank, _)| *rank <= Rank::Starts);
    held.and_then(|(_, held)| candidates.iter().position(|c| c == *held)).unwrap_or(0)
}

/// What is known of the daemon.
pub fn status(candidates: &[Candidate]) -> Result<(State, Info)> {
    let mut answer = (State::Stopped { stale: false }, Info::default());
    for candidate in in_turn(candidates)? {
        let (state, info) = candidate.explain(instance::status(&candidate.place))?;
        match state {
            // A start that has just given way leaves nothing.
            State::Stopped { stale: true } => answer = (state, info),
            State::Stopped { stale: false } if answer.1.state.is_none() => answer.1 = info,
            State::Stopped { stale: false } => {}
            State::Starting { .. } | State::Running { .. } => return Ok((state, info)),
        }
    }
    Ok(answer)
}

/// What the state file says of the daemon that holds a pidfile, or of its supervisor.
pub fn state(candidates: &[Candidate]) -> Option<String> {
    in_turn(candidates).ok()?.into_iter().find_map(|Candidate { place, .. }| {
        let (State::Starting { pid } | State::Running { pid }) = pidfile::look(place).ok()?.state
        else {
            return None;
        };
        pidfile::read_state(place).filter(|text| pid.is_some_and(|pid| is_about(text, pid)))
    })
}

/// Ends the daemon, as [`instance::stop()`] does, and leaves no pidfile.
pub fn stop(candidates: &[Candidate], patience: Duration) -> Result<Option<Stopped>> {
    for candidate in in_turn(candidates)? {
        let stopped = candidate.explain(instance::stop(&candidate.place, patience))?;
        if stopped.is_some() {
            return Ok(stopped);
        }
    }
    Ok(None)
}

/// Whether another start may do better in all of them, as [`pidfile::await_release`] says.
pub fn await_release(candidates: &[Candidate]) -> Result<bool> {
    for candidate in in_turn(candidates)? {
        if !candidate.explain(pidfile::await_release(&candidate.place))? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Sends one signal to the daemon that runs; `false` where none does.
pub fn kill(candidates: &[Candidate], signal: i32) -> Result<bool> {
    reach(candidates, |place| instance::kill(place, signal))
}

/// Has the daemon that runs read its configuration again, as [`instance::reload`] does; `false` where none runs.
pub fn reload(candidates: &[Candidate]) -> Result<bool> {
    reach(candidates, instance::reload)
}

fn reach(candidates: &[Candidate], send: impl Fn(&Place) -> Result<bool>) -> Result<bool> {
    for candidate in in_turn(candidates)? {
        if candidate.explain(send(&candidate.place))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where no daemon is, a pidfile of another program's: which one, and the process that it names, which lives. A state
/// file says that it was ours, and that another process has its number by now.
pub fn stranger(candidates: &[Candidate]) -> Option<(PathBuf, i32)> {
    let mut found = None;
    for Candidate { place, .. } in candidates {
        let Ok(look) = pidfile::look(place) else { continue };
        if !matches!(look.state, State::Stopped { .. }) {
            return None;
        }
        let lives = |pid: &i32| Process::open(*pid).is_some_and(|process| !process.has_ended());
        let was_ours = |pid| pidfile::read_state(place).is_some_and(|text| is_about(&text, pid));
        let stranger = look.left.filter(lives).filter(|&pid| !was_ours(pid));
        found = found.or(stranger.map(|pid| (place.path(), pid)));
    }
    found
}

/// A daemon of the same name that is another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namesake {
    /// Its pidfile.
    pub path: PathBuf,
    /// Its pid.
    pub pid: i32,
    /// The name of its user, or the number.
    pub user: String,
}

/// The daemons of a name that run in places where nobody has looked: root's, the caller's own, and, if
/// the caller is root, all users'.
pub fn elsewhere(name: &str, looked: &[Candidate], defaults: &[Candidate]) -> Vec<Namesake> {
    let mut places = of_root(name);
    places.extend_from_slice(defaults);
    if sys::effective_uid() == 0 {
        places.extend(of_users(name));
    }
    let mut found: Vec<Namesake> = Vec::new();
    for Candidate { place, .. } in places {
        let path = place.path();
        let is_known = |other: &Candidate| other.place.path() == path;
        if looked.iter().any(is_known) || found.iter().any(|namesake| namesake.path == path) {
            continue;
        }
        let Ok(look) = pidfile::look(&place) else { continue };
        if let (State::Running { pid }, Some(file)) = (look.state, look.file)
            && let Ok(keepers) = pidfile::recognise(&place, pid, look.supervised, file)
            && let Some(pid) = keepers.pid()
        {
            let user = accounts::user_by_uid(file.owner).ok().flatten();
            let user = user.map_or_else(|| file.owner.to_string(), |user| user.name);
            found.push(Namesake { path, pid, user });
        }
    }
    found
}

/// The places of all users that exist.
fn of_users(name: &str) -> impl Iterator<Item = Candidate> {
    let entries = |dir| fs::read_dir(dir).into_iter().flatten().flatten();
    let sessions = entries(SESSIONS).map(|entry| (entry.file_name(), String::new(), entry.path()));
    let prefix = format!("{name}-");
    let temporary = entries(TEMPORARY)
        .map(move |entry| (entry.file_name(), prefix.clone(), entry.path()))
        .collect::<Vec<_>>();
    sessions.chain(temporary).filter_map(|(file, prefix, path)| {
        let uid: u32 = file.to_str()?.strip_prefix(prefix.as_str())?.parse().ok()?;
        let (_, owner) = sys::owner_of(&path).ok()?;
        (owner == uid).then(|| Candidate::new(path, name))
    })
}
