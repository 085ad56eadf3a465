//! The pidfile: one daemon of a name, and the truth about whether it runs.
//!
//! Running means locked. A start takes, in this order and before it forks:
//!
//! 1. open file description locks (fcntl_locking(2)) for writing on the bytes [`HELD`] and
//!    [`STARTING`]. They need write access, so that whoever can only read the file can neither
//!    take nor forge them, and they can be asked for (`F_OFD_GETLK`) without being taken: a
//!    question never disturbs a start. Asked for with `F_RDLCK`, locks for reading count for
//!    nothing.
//! 2. `flock(LOCK_EX)`, the lock that every tool knows.
//!
//! All belong to one open file description, which the daemon inherits through the forks and keeps
//! for its life. When the daemon is ready, [`STARTING`] is let go: letting go cannot be hindered
//! by a lock of another's, as taking a further one could. The bytes lie far behind the file's end.

mod directory;
mod holding;
mod turn;

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat};

use self::directory::Directory;
use self::holding::Holder;
pub use self::holding::await_release;
use self::turn::Turn;
use crate::error::{Code, Error, Result};
use crate::process::lock_holder::{Locked, may_hold};
use crate::sys::{self, FileId, again};
use crate::walk::{Failure, kind};

/// Write-locked for the life of a daemon, from before its fork.
const HELD: libc::off_t = 0x4000_0000;
/// Write-locked, with [`HELD`] in one step, until a start has looked in its other places
/// ([`crate::instance::places`]).
const UNDECIDED: libc::off_t = 0x4000_0001;
/// Write-locked from before the fork until the daemon is ready.
const STARTING: libc::off_t = 0x4000_0002;
/// Write-locked by who removes a stale file: not a daemon, gone in a moment.
const SWEEPING: libc::off_t = 0x4000_0004;

/// How long a daemon may take to put its removed file back, before a start believes that there is none.
const PUT_BACK: Duration = Duration::from_secs(2);
/// How often a step is tried again when the file changes under it, a millisecond apart.
const TRIES: u32 = 500;

/// Where a daemon's pidfile is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The directory.
    pub dir: PathBuf,
    /// The daemon's name.
    pub name: String,
    /// The directory is our own in /tmp: a start makes it, with mode 0700.
    pub private: bool,
}

impl Place {
    /// `<dir>/<name>.pid`.
    pub fn path(&self) -> PathBuf {
        self.dir.join(self.file_name())
    }

    fn file_name(&self) -> String {
        format!("{}.pid", self.name)
    }
}

/// A pidfile that this process holds.
#[derive(Debug)]
pub struct PidFile {
    file: File,
    place: Place,
    /// The process has another root directory now: the path leads elsewhere, or nowhere.
    out_of_reach: bool,
}

/// What a pidfile says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nobody holds it. `stale`: a file with content was left.
    Stopped {
        /// A file that is not empty lies there.
        stale: bool,
    },
    /// Held, not yet ready; the pid as soon as there is one.
    Starting {
        /// The pid in the file.
        pid: Option<i32>,
    },
    /// Held and ready.
    Running {
        /// The pid in the file, if it is one.
        pid: Option<i32>,
    },
}

/// Where the name of a held pidfile leads.
#[derive(Debug)]
enum Standing {
    /// To it, in this directory.
    InPlace(Box<Directory>),
    /// To none, or to another one.
    Gone,
    /// That cannot be seen: why.
    Unseen(Error),
}

/// What came of one try to lock the file.
enum Tried {
    /// It is ours.
    Locked(PidFile),
    /// It was changing under us.
    Changing,
    /// Someone who may write the file holds it: a daemon, or a start.
    Held(Holder),
}

impl PidFile {
    /// Opens, checks and locks the pidfile, and empties it. Retries while the file is being
    /// replaced. Fails with [`Code::AlreadyRunning`] where a daemon or a start holds it.
    pub fn acquire(place: &Place) -> Result<Self> {
        let mut seen = None;
        for _ in 0..TRIES {
            let dir = Directory::for_start(place)?;
            let tried = Self::try_acquire(place, &dir);
            match tried.map_err(|error| in_the_way(place).unwrap_or(error))? {
                Tried::Locked(pidfile) => {
                    Turn::clear_up(&dir, place);
                    return match pidfile.clear() {
                        Ok(()) => Ok(pidfile),
                        Err(error) => {
                            pidfile.remove();
                            Err(error)
                        }
                    };
                }
                // What is told is looked at again before.
                Tried::Held(holder) if seen == Some(holder) => return Err(busy(place, holder)),
                Tried::Held(holder) => seen = Some(holder),
                Tried::Changing => seen = None,
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(busy(place, seen.unwrap_or(Holder::Starting(None))))
    }

    /// Takes over the descriptor that was inherited through the forks.
    pub fn inherited(fd: OwnedFd, place: Place) -> Self {
        Self::of(File::from(fd), &place)
    }

    fn of(file: File, place: &Place) -> Self {
        Self { file, place: place.clone(), out_of_reach: false }
    }

    /// Whether all its locks are this description's: to take them again changes nothing, once the start
    /// has said again that it goes on.
    pub fn is_held(&self) -> bool {
        self.lock().unwrap_or(false) && self.decide().is_ok()
    }

    fn try_acquire(place: &Place, dir: &Directory) -> Result<Tried> {
        let Some((file, made)) = dir.open_or_create(&place.file_name(), 0o644)? else {
            return Ok(Tried::Changing);
        };
        let candidate = Self::of(file, place);
        let tried = candidate.try_lock(dir);
        if made && !matches!(tried, Ok(Some(Ok(_)))) {
            candidate.unmake();
        }
        Ok(match tried? {
            Some(Ok(true)) => match candidate.is_in_place() {
                Ok(true) => Tried::Locked(candidate),
                Ok(false) => Tried::Changing,
                Err(error) => {
                    if made {
                        candidate.remove_from(dir);
                    }
                    return Err(error);
                }
            },
            // Only a reader's locks are in the way: no daemon's. The file is replaced.
            Some(Ok(false)) => {
                let yields = |state: &State| matches!(state, State::Stopped { .. });
                let new = Self::replace(dir, &candidate, yields)?;
                new.map_or(Tried::Changing, Tried::Locked)
            }
            Some(Err(holder)) => Tried::Held(holder),
            None => Tried::Changing,
        })
    }

    /// Whether all locks were had, or who holds them. `false`: readers do; `None`: it is changing hands.
    fn try_lock(&self, dir: &Directory) -> Result<Option<std::result::Result<bool, Holder>>> {
        let path = self.place.path();
        let found = again(|| fstat(&self.file)).map_err(|e| failed(&path, "fstat", e))?;
        if found.st_nlink == 0 {
            return Ok(None);
        }
        check_file(&path, &found, Asker::Owner, dir)?;
        if self.lock()? {
            return Ok(Some(Ok(true)));
        }
        Ok(match look_at(&self.file)? {
            // A sweep, over in a moment.
            None => None,
            Some(State::Stopped { .. }) => Some(Ok(false)),
            Some(state) => Some(Err(Holder::of(state, Locked::from(&found)))),
        })
    }

    /// Removes the file that was made for nothing, unless another has locked it meanwhile.
    fn unmake(&self) {
        if matches!(look_at(&self.file), Ok(Some(State::Stopped { .. }))) {
            self.remove();
        }
    }

    /// Takes all locks, or none: `false` where another's is in the way.
    fn lock(&self) -> Result<bool> {
        // In one step: nobody sees a part of it.
        let mut all = byte(HELD, WRITE_LOCK);
        all.l_len = STARTING - HELD + 1;
        let free = ofd_lock(&self.file, &all)? && self.flock()?;
        // macOS keeps flock(2) and the locks of fcntl(2) in one list: one on the whole file covers this
        // byte, which has a meaning of its own.
        if free && cfg!(not(target_os = "linux")) {
            let _ = ofd(&self.file, &byte(SWEEPING, NO_LOCK));
        }
        Ok(free)
    }

    fn flock(&self) -> Result<bool> {
        // By hand, not nix's `Flock`: its Drop unlocks for every process that shares the lock.
        let operation = libc::LOCK_EX | libc::LOCK_NB;
        // SAFETY: a valid descriptor and constant flags.
        let flock = || Errno::result(unsafe { libc::flock(self.file.as_raw_fd(), operation) });
        match again(flock) {
            Ok(_) => Ok(true),
            Err(Errno::EWOULDBLOCK) => Ok(false),
            Err(errno) => Err(failed(&self.place.path(), "flock", errno)),
        }
    }

    /// Puts a new, locked file in the place of `old`, whose locks cannot be had. `None` where
    /// somebody was faster; `yields` says whether the file that now bears the name may be lost.
    fn replace(
        dir: &Directory,
        old: &Self,
        yields: impl Fn(&State) -> bool,
    ) -> Result<Option<Self>> {
        let Some(turn) = Turn::take(dir, &old.place)? else { return Ok(None) };
        // Look again before the old one goes.
        let same = dir.stat(&old.place.file_name()).is_ok_and(|now| old.is(&now));
        let yields = same && look_at(&old.file)?.is_some_and(|state| yields(&state));
        if yields { turn.put() } else { Ok(None) }
    }

    /// Puts the file back that somebody removed from under this, running, daemon: a new one, locked
    /// and with our pid, under the same descriptor number. Where the directory in /tmp that is ours
    /// alone is gone as well, it is made again, as a start does. A start that is under way in its
    /// place loses; a daemon that is ready there does not, and `Ok(false)` says so.
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
                Ok(Some(Some(new))) => {
                    new.decide()?;
                    new.write(pid)?;
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

    /// One try: `None`, try again; `Some(None)`, another daemon runs there.
    fn put_anew(place: &Place) -> Result<Option<Option<Self>>> {
        let dir = Directory::for_start(place)?;
        if let Some(file) = dir.open_existing(&place.file_name(), OFlag::O_RDONLY)? {
            let other = Self::of(file, place);
            if let Some(State::Running { pid }) = look_at(&other.file)? {
                // A start looks so too, between two of its locks: then the pid is not its own.
                let found = again(|| fstat(&other.file));
                let found = found.map_err(|e| failed(&place.path(), "fstat", e))?;
                let runs = pid.is_some_and(|p| may_hold(p, Locked::from(&found)));
                return Ok(runs.then_some(None));
            }
            let new = Self::replace(&dir, &other, |s| !matches!(s, State::Running { .. }))?;
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
        // The one is replaced by the other in one step.
        sys::replace(new.file.as_raw_fd(), self.file.as_raw_fd())
            .map_err(|errno| failed(&self.place.path(), "dup3", errno))
    }

    fn clear(&self) -> Result<()> {
        let path = self.place.path();
        let io = |call| move |e: std::io::Error| failed(&path, call, errno_of(&e));
        again(|| fchmod(&self.file, Mode::from_bits_truncate(0o644)))
            .or_else(|e| if e == Errno::EPERM { Ok(()) } else { Err(e) })
            .map_err(|e| failed(&self.place.path(), "fchmod", e))?;
        self.file.set_len(0).map_err(io("ftruncate"))
    }

    /// Writes the pid and a newline. Where that fails, the file is left empty.
    pub fn write(&self, pid: i32) -> Result<()> {
        let line = format!("{pid}\n");
        let written = self.file.write_all_at(line.as_bytes(), 0);
        written.and_then(|()| self.file.set_len(line.len() as u64)).map_err(|e| {
            let _ = self.file.set_len(0);
            failed(&self.place.path(), "write", errno_of(&e))
        })
    }

    /// Writes the pid again where somebody has written something else, and takes back the right to write
    /// from others. By the descriptor, which is still writable where privileges were dropped. Returns
    /// whether there was something to do.
    pub fn restore(&self, pid: i32) -> Result<bool> {
        let path = self.place.path();
        let found = again(|| fstat(&self.file)).map_err(|e| failed(&path, "fstat", e))?;
        let open = found.st_mode & 0o022 != 0;
        if open {
            again(|| fchmod(&self.file, Mode::from_bits_truncate(0o644)))
                .map_err(|e| failed(&path, "fchmod", e))?;
        }
        let content = content(&self.file).map_err(|e| failed(&path, "read", e))?;
        let overwritten = content != format!("{pid}\n").into_bytes();
        if overwritten {
            self.write(pid)?;
        }
        Ok(open || overwritten)
    }

    /// Tells other starts that this one goes on.
    pub fn decide(&self) -> Result<()> {
        self.let_go(UNDECIDED)
    }

    /// Tells all who look that the daemon is ready.
    pub fn ready(&self) -> Result<()> {
        self.let_go(STARTING)
    }

    fn let_go(&self, at: libc::off_t) -> Result<()> {
        ofd(&self.file, &byte(at, NO_LOCK))
            .map(drop)
            .map_err(|e| failed(&self.place.path(), "fcntl(F_OFD_SETLK)", e))
    }

    /// The root directory is about to become another. No descriptor of the pidfile's directory is
    /// kept to reach it all the same: it would be a way out of the new root.
    pub fn lose_reach(&mut self) {
        self.out_of_reach = true;
    }

    /// Where the name leads. What cannot be seen is not gone.
    fn standing(&self) -> Standing {
        let path = self.place.path();
        let unseen = |call, errno| Standing::Unseen(failed(&path, call, errno));
        match again(|| fstat(&self.file)) {
            Ok(mine) if mine.st_nlink == 0 => return Standing::Gone,
            Ok(_) => {}
            Err(errno) => return unseen("fstat", errno),
        }
        if self.out_of_reach {
            return Standing::Unseen(another_root(&path));
        }
        let dir = match Directory::reach(&self.place) {
            Ok(dir) => dir,
            Err(Failure::Os(_, Errno::ENOENT | Errno::ENOTDIR)) => return Standing::Gone,
            Err(failure) => return Standing::Unseen(directory::unreachable(&self.place, failure)),
        };
        match dir.stat(&self.place.file_name()) {
            Ok(now) if self.is(&now) => Standing::InPlace(Box::new(dir)),
            Ok(_) | Err(Errno::ENOENT | Errno::ENOTDIR) => Standing::Gone,
            Err(errno) => unseen("fstatat", errno),
        }
    }

    /// Whether the name leads to this very file; an error where that cannot be seen.
    fn is_in_place(&self) -> Result<bool> {
        match self.standing() {
            Standing::InPlace(_) => Ok(true),
            Standing::Gone => Ok(false),
            Standing::Unseen(error) => Err(error),
        }
    }

    /// Removes the file, if that is what bears its name in this directory.
    fn remove_from(&self, dir: &Directory) {
        let name = self.place.file_name();
        if dir.stat(&name).is_ok_and(|now| self.is(&now)) {
            let _ = dir.remove(&name);
        }
    }

    /// Whether the name leads to no file, or to another one.
    pub fn is_gone(&self) -> bool {
        matches!(self.standing(), Standing::Gone)
    }

    /// Whether another file, held by a daemon or a start, now bears the name. Where none does, it may
    /// be about to: a daemon that runs puts its file back when it is removed. Blocks for a moment then.
    pub fn is_supplanted(&self) -> bool {
        let begun = Instant::now();
        while self.is_gone() && begun.elapsed() < PUT_BACK {
            if look(&self.place).is_ok_and(|l| !matches!(l.state, State::Stopped { .. })) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    }

    fn is(&self, other: &FileStat) -> bool {
        let mine = again(|| fstat(&self.file));
        mine.is_ok_and(|mine| FileId::from(&mine) == FileId::from(other))
    }

    /// Removes the file while it is still locked, and only if it is still ours; where it cannot be removed
    /// or seen (privileges dropped, another root directory), empties it. Returns whether the name is gone.
    pub fn remove(&self) -> bool {
        let removed = match self.standing() {
            Standing::Gone => return true,
            Standing::InPlace(dir) => dir.remove(&self.place.file_name()).is_ok(),
            Standing::Unseen(_) => false,
        };
        if !removed {
            let _ = self.file.set_len(0);
        }
        removed
    }

    /// Whether this is the file that was looked at.
    pub fn is_of(&self, file: Locked) -> bool {
        fstat(&self.file).is_ok_and(|mine| FileId::from(&mine) == file.identity)
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its descriptor.
    pub fn raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Its descriptor.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// What the child of fork needs to remove it without allocating: path and identity.
    pub fn for_child(&self) -> Result<(CString, FileId)> {
        let path = self.place.path();
        let found = again(|| fstat(&self.file)).map_err(|e| failed(&path, "fstat", e))?;
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| failed(&path, "open", Errno::EINVAL))?;
        Ok((name, FileId::from(&found)))
    }
}

/// What is found at a place: the state, and which file it is.
#[derive(Debug)]
pub struct Look {
    /// Who holds it.
    pub state: State,
    /// The file, where there is one, and whose it is.
    pub file: Option<Locked>,
    /// Who holds it gives way to nobody any more.
    pub decided: bool,
}

/// Looks without touching: no lock is taken, nothing is created. Any user may ask.
pub fn look(place: &Place) -> Result<Look> {
    let path = place.path();
    let gone = || Look { state: State::Stopped { stale: false }, file: None, decided: false };
    let mut swept = None;
    for _ in 0..TRIES {
        let Some(dir) = Directory::open(place, Asker::Anyone)? else { return Ok(gone()) };
        let file = dir.open_existing(&place.file_name(), OFlag::O_RDONLY)?;
        let Some(file) = file else { return Ok(gone()) };
        let removed = || again(|| fstat(&file)).is_ok_and(|now| now.st_nlink == 0);
        let found = again(|| fstat(&file)).map_err(|e| failed(&path, "fstat", e))?;
        if found.st_nlink == 0 {
            continue;
        }
        let held = write_locked(&file, HELD)?;
        check_file(&path, &found, if held { Asker::OfHeld } else { Asker::Anyone }, &dir)?;
        let locked = Some(Locked::from(&found));
        match look_at(&file)? {
            // A daemon removes its pidfile and ends: what it held is nothing that was left.
            Some(State::Stopped { stale: true }) if removed() => continue,
            Some(state) => {
                let held = !matches!(state, State::Stopped { .. });
                let decided = held && is_decided(&file)?;
                return Ok(Look { state, file: locked, decided });
            }
            None => {}
        }
        let content = content(&file).map_err(|e| failed(&path, "read", e))?;
        swept = Some(Look {
            state: State::Running { pid: parse_pid(&content) },
            file: locked,
            decided: true,
        });
        std::thread::sleep(Duration::from_millis(1));
    }
    // No sweep takes so long: somebody has locked the whole file for writing.
    Ok(swept.unwrap_or_else(gone))
}

/// The file's first bytes: more than a pid has.
fn content(file: &File) -> std::result::Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 32];
    let read = again(|| file.read_at(&mut buffer, 0).map_err(|e| errno_of(&e)))?;
    buffer.truncate(read);
    Ok(buffer)
}

fn errno_of(error: &std::io::Error) -> Errno {
    // Of a write of no bytes std has no number.
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::ENOSPC))
}

/// Who holds an open pidfile; `None` while a sweep does.
fn look_at(file: &File) -> Result<Option<State>> {
    let held = write_locked(file, HELD)?;
    if held && write_locked(file, SWEEPING)? {
        return Ok(None);
    }
    let starting = write_locked(file, STARTING)?;
    let content = content(file).map_err(|errno| {
        Error::os(Code::PidFile, "Cannot read the pidfile", "read", errno as i32)
    })?;
    let pid = parse_pid(&content);
    Ok(Some(match (held, starting) {
        (false, _) => State::Stopped { stale: !content.is_empty() },
        (true, true) => State::Starting { pid },
        (true, false) => State::Running { pid },
    }))
}

/// The decimal pid and a newline, and nothing else.
pub fn parse_pid(content: &[u8]) -> Option<i32> {
    let digits = content.strip_suffix(b"\n")?;
    let plain = !digits.is_empty() && digits.len() <= 10 && digits.iter().all(u8::is_ascii_digit);
    let pid = std::str::from_utf8(digits).ok()?.parse::<i32>().ok()?;
    (plain && pid > 0).then_some(pid)
}

/// Removes a file that nobody holds, if that can be done: what a daemon left that was killed.
/// A start that comes at the same moment waits for it and is not disturbed. `was_held`: by a daemon that
/// was found there.
pub fn sweep(place: &Place, was_held: bool) {
    let path = place.path();
    let Ok(Some(dir)) = Directory::open(place, Asker::Anyone) else { return };
    let Ok(Some(file)) = dir.open_existing(&place.file_name(), OFlag::O_RDWR) else { return };
    let Ok(found) = again(|| fstat(&file)) else { return };
    let asker = if was_held { Asker::OfHeld } else { Asker::Anyone };
    if check_file(&path, &found, asker, &dir).is_err() {
        return;
    }
    let stale = PidFile::of(file, place);
    let take = |at| ofd_lock(&stale.file, &byte(at, WRITE_LOCK)).unwrap_or(false);
    let free = take(SWEEPING) && take(HELD);
    if free {
        stale.remove();
    }
}

/// Who wants to know decides how strictly the file is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    /// A start: file and directory must be root's or the caller's own.
    Owner,
    /// `status`, `stop`, `kill`: they may be another user's, all of one hand.
    Anyone,
    /// The same, where somebody holds the file, or held it: it may have got further links since.
    OfHeld,
}

fn check_file(path: &Path, found: &FileStat, asker: Asker, dir: &Directory) -> Result<()> {
    if kind(found) != SFlag::S_IFREG {
        return Err(unsafe_file(path, "it is not a regular file"));
    }
    let owner = found.st_uid;
    let by_directory = asker != Asker::Owner && dir.owner() == owner;
    // Another user could make a name for a daemon's file in a directory of their own, and have that daemon
    // stopped instead of theirs. A further name elsewhere, such as a backup's, changes nothing.
    let is_named_by_owner = by_directory || dir.owner() == 0 || dir.owner() == euid();
    if found.st_nlink > 1 && (asker != Asker::OfHeld || !is_named_by_owner) {
        return Err(unsafe_file(path, "it has more than one link"));
    }
    if owner != 0 && owner != euid() && !by_directory {
        return Err(unsafe_file(path, &format!("it belongs to another user ({owner})")));
    }
    if found.st_mode & 0o022 != 0 {
        return Err(unsafe_file(path, "others than its owner can write to it"));
    }
    Ok(())
}

// The type of `l_type`, which the constants do not have on all systems.
#[allow(clippy::unnecessary_cast, reason = "the types differ between platforms")]
const NO_LOCK: libc::c_short = libc::F_UNLCK as libc::c_short;
#[allow(clippy::unnecessary_cast, reason = "the types differ between platforms")]
const READ_LOCK: libc::c_short = libc::F_RDLCK as libc::c_short;
#[allow(clippy::unnecessary_cast, reason = "the types differ between platforms")]
const WRITE_LOCK: libc::c_short = libc::F_WRLCK as libc::c_short;

fn byte(at: libc::off_t, kind: libc::c_short) -> libc::flock {
    // SAFETY: `struct flock` is plain integers, for which zero is a value; l_pid must be 0.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock.l_start = at;
    lock.l_len = 1;
    lock
}

fn ofd(file: &File, lock: &libc::flock) -> std::result::Result<i32, Errno> {
    again(|| sys::ofd_set_lock(file, lock))
}

/// Takes a write lock; `false` where another's is in the way.
fn ofd_lock(file: &File, lock: &libc::flock) -> Result<bool> {
    match ofd(file, lock) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(Error::os(
            Code::PidFile,
            "Cannot lock the pidfile",
            "fcntl(F_OFD_SETLK)",
            errno as i32,
        )),
    }
}

/// The write lock of another open file description on one byte.
fn write_lock(file: &File, at: libc::off_t) -> Result<Option<libc::flock>> {
    let mut lock = byte(at, READ_LOCK);
    again(|| sys::ofd_get_lock(file, &mut lock)).map_err(|errno| {
        Error::os(
            Code::PidFile,
            "Cannot ask for the pidfile's lock",
            "fcntl(F_OFD_GETLK)",
            errno as i32,
        )
    })?;
    Ok((lock.l_type != NO_LOCK).then_some(lock))
}

fn write_locked(file: &File, at: libc::off_t) -> Result<bool> {
    write_lock(file, at).map(|lock| lock.is_some())
}

/// Whether it is held by who has decided. By one question: between two, who has not could let go of all.
fn is_decided(file: &File) -> Result<bool> {
    let is_undecided = |lock: libc::flock| lock.l_len == 0 || lock.l_start + lock.l_len > UNDECIDED;
    write_lock(file, HELD).map(|lock| lock.is_some_and(|lock| !is_undecided(lock)))
}

fn euid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

fn busy(place: &Place, holder: Holder) -> Error {
    let name = &place.name;
    let (message, pid) = match holder {
        Holder::Daemon(pid) => {
            (format!("The daemon '{name}' is already running, with pid {pid}"), Some(pid))
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

/// Who holds a file that a start may not open, or must not touch: to say that it runs is more than that.
fn in_the_way(place: &Place) -> Option<Error> {
    let look = look(place).ok()?;
    let is_held = !matches!(look.state, State::Stopped { .. });
    is_held.then(|| busy_at(place, &look))
}

/// What keeps a start from its place in another one.
pub fn busy_at(place: &Place, look: &Look) -> Error {
    busy(place, look.file.map_or(Holder::Unknown, |file| Holder::of(look.state, file)))
}

fn another_root(path: &Path) -> Error {
    Error::new(Code::PidFile, "the daemon has another root directory").at(path)
}

fn failed(path: &Path, syscall: &'static str, errno: Errno) -> Error {
    let hint = match errno {
        Errno::EACCES | Errno::EPERM => {
            "Run it as a user who may write there, or name another directory with `pidFilePath`"
        }
        Errno::ENOENT | Errno::EROFS => {
            "Name a directory that exists and is writable with `pidFilePath`"
        }
        Errno::ENOSPC | Errno::EDQUOT => "Free some space there",
        _ => "Look at the file and its directory",
    };
    let message = format!("Cannot keep the pidfile {}", path.display());
    Error::os(Code::PidFile, message, syscall, errno as i32).at(path).hint(hint)
}

fn unsafe_file(path: &Path, why: &str) -> Error {
    let message = format!(
        "Refusing the pidfile {}: {why}, so another user could forge it. Remove it, or name a directory \
         that only its owner can write to with `pidFilePath`",
        path.display()
    );
    Error::new(Code::UnsafePidFile, message).at(path)
}
