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

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, lstat, stat};

use crate::error::{Code, Error, Result};
use crate::holder::{Identity, Locked, may_hold};
use crate::sys;

/// Write-locked for the life of a daemon, from before its fork.
const HELD: libc::off_t = 0x4000_0000;
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
        self.dir.join(format!("{}.pid", self.name))
    }

    /// Where a replacement is prepared. Its mode is 0600 until it gets its name, so that only the
    /// owner and root can lock it: it is the lock that those who replace agree on.
    fn next(&self) -> PathBuf {
        self.dir.join(format!(".{}.pid.new", self.name))
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

impl PidFile {
    /// Opens, checks and locks the pidfile, and empties it. Retries while the file is being
    /// replaced. Fails with [`Code::AlreadyRunning`] where a daemon or a start holds it.
    pub fn acquire(place: &Place) -> Result<Self> {
        if place.private {
            make_private(&place.dir)?;
        }
        check_directory(place, Asker::Owner)?;
        for _ in 0..TRIES {
            if let Some(pidfile) = Self::try_acquire(place)? {
                return match pidfile.clear() {
                    Ok(()) => Ok(pidfile),
                    Err(error) => {
                        pidfile.remove();
                        Err(error)
                    }
                };
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err(busy(place, None))
    }

    /// Takes over the descriptor that was inherited through the forks.
    pub fn inherited(fd: OwnedFd, place: Place) -> Self {
        Self::of(File::from(fd), &place)
    }

    fn of(file: File, place: &Place) -> Self {
        Self { file, place: place.clone(), out_of_reach: false }
    }

    /// Whether all its locks are this description's: to take them again changes nothing.
    pub fn is_held(&self) -> bool {
        self.lock().unwrap_or(false)
    }

    fn try_acquire(place: &Place) -> Result<Option<Self>> {
        let Some((file, made)) = open_or_create(&place.path(), 0o644)? else { return Ok(None) };
        let candidate = Self::of(file, place);
        let tried = candidate.try_lock();
        if made && tried.is_err() {
            candidate.unmake();
        }
        match tried? {
            Some(true) => Ok(candidate.is_in_place().then_some(candidate)),
            // Only a reader's locks are in the way: no daemon's. The file is replaced.
            Some(false) => Self::replace(place, &candidate, |s| matches!(s, State::Stopped { .. })),
            None => Ok(None),
        }
    }

    /// Whether all locks were had. `false`: readers hold them; `None`: it is changing hands.
    fn try_lock(&self) -> Result<Option<bool>> {
        let path = self.place.path();
        let found = fstat(&self.file).map_err(|e| failed(&path, "fstat", e))?;
        if found.st_nlink == 0 {
            return Ok(None);
        }
        check_file(&path, &found, Asker::Owner, None)?;
        if self.lock()? {
            return Ok(Some(true));
        }
        match look_at(&self.file)? {
            // Someone who may write the file holds it: a daemon, or a start.
            // It may have the lock and not yet have emptied the file: a pid of the one before is
            // not told as its own.
            Some(State::Starting { pid } | State::Running { pid }) => {
                Err(busy(&self.place, pid.filter(|pid| may_hold(*pid, Locked::from(&found)))))
            }
            // A sweep, over in a moment.
            None => Ok(None),
            Some(State::Stopped { .. }) => Ok(Some(false)),
        }
    }

    /// Removes the file that was made for nothing, unless another has locked it meanwhile.
    fn unmake(&self) {
        if matches!(look_at(&self.file), Ok(Some(State::Stopped { .. }))) {
            self.remove();
        }
    }

    /// Takes all locks, or none: `false` where another's is in the way.
    fn lock(&self) -> Result<bool> {
        let free =
            ofd_lock(&self.file, HELD)? && ofd_lock(&self.file, STARTING)? && self.flock()?;
        // macOS keeps flock(2) and the locks of fcntl(2) in one list: one on the whole file covers this
        // byte, which has a meaning of its own.
        if free && cfg!(not(target_os = "linux")) {
            let _ = ofd(&self.file, SWEEPING, NO_LOCK);
        }
        Ok(free)
    }

    fn flock(&self) -> Result<bool> {
        // By hand, not nix's `Flock`: its Drop unlocks for every process that shares the lock.
        let operation = libc::LOCK_EX | libc::LOCK_NB;
        loop {
            // SAFETY: a valid descriptor and constant flags.
            if unsafe { libc::flock(self.file.as_raw_fd(), operation) } == 0 {
                return Ok(true);
            }
            match Errno::last() {
                Errno::EINTR => {}
                Errno::EWOULDBLOCK => return Ok(false),
                errno => return Err(failed(&self.place.path(), "flock", errno)),
            }
        }
    }

    /// Puts a new, locked file in the place of `old`, whose locks cannot be had. `None` where
    /// somebody was faster; `yields` says whether the file that now bears the name may be lost.
    fn replace(place: &Place, old: &Self, yields: impl Fn(&State) -> bool) -> Result<Option<Self>> {
        let Some(new) = Self::prepare(place)? else { return Ok(None) };
        let path = place.path();
        // Under the new file's lock all who replace take turns; look again before the old one goes.
        let same = stat(&path).is_ok_and(|now| old.is(&now));
        let yields = same && look_at(&old.file)?.is_some_and(|state| yields(&state));
        if !yields {
            new.discard_prepared();
            return Ok(None);
        }
        new.publish(&path).inspect_err(|_| new.discard_prepared())?;
        Ok(Some(new))
    }

    /// A new file under the name that only we know, locked. `None`: another prepares one.
    fn prepare(place: &Place) -> Result<Option<Self>> {
        let next = place.next();
        let Some((file, _)) = open_or_create(&next, 0o600)? else { return Ok(None) };
        let new = Self::of(file, place);
        if !new.lock()? {
            return Ok(None);
        }
        let found = fstat(&new.file).map_err(|e| failed(&next, "fstat", e))?;
        Ok(stat(&next)
            .is_ok_and(|now| Identity::from(&now) == Identity::from(&found))
            .then_some(new))
    }

    fn discard_prepared(&self) {
        let _ = std::fs::remove_file(self.place.next());
    }

    fn publish(&self, path: &Path) -> Result<()> {
        fchmod(&self.file, Mode::from_bits_truncate(0o644))
            .map_err(|e| failed(path, "fchmod", e))?;
        std::fs::rename(self.place.next(), path)
            .map_err(|e| failed(path, "rename", Errno::from_raw(e.raw_os_error().unwrap_or(0))))
    }

    /// Puts the file back that somebody removed from under this, running, daemon: a new one, locked
    /// and with our pid, under the same descriptor number. Where the directory in /tmp that is ours
    /// alone is gone as well, it is made again, as a start does. A start that is under way in its
    /// place loses; a daemon that is ready there does not, and `Ok(false)` says so.
    pub fn put_back(&mut self, pid: i32) -> Result<bool> {
        let path = self.place.path();
        if self.out_of_reach {
            let message = "the daemon has another root directory";
            return Err(Error::new(Code::PidFile, message).at(&path));
        }
        for _ in 0..TRIES {
            if self.is_in_place() {
                return Ok(true);
            }
            match Self::put_anew(&self.place, &path) {
                Ok(Some(Some(new))) => {
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
    fn put_anew(place: &Place, path: &Path) -> Result<Option<Option<Self>>> {
        if place.private {
            make_private(&place.dir)?;
            check_directory(place, Asker::Owner)?;
        }
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        match nix::fcntl::open(path, flags, Mode::empty()) {
            Ok(fd) => {
                let other = Self::of(File::from(fd), place);
                if let Some(State::Running { pid }) = look_at(&other.file)? {
                    // A start looks so too, between two of its locks: then the pid is not its own.
                    let found = fstat(&other.file).map_err(|e| failed(path, "fstat", e))?;
                    let runs = pid.is_some_and(|p| may_hold(p, Locked::from(&found)));
                    return Ok(runs.then_some(None));
                }
                let new = Self::replace(place, &other, |s| !matches!(s, State::Running { .. }))?;
                Ok(new.map(Some))
            }
            Err(Errno::ENOENT) => {
                let Some(new) = Self::prepare(place)? else { return Ok(None) };
                if stat(path).is_ok() {
                    new.discard_prepared();
                    return Ok(None);
                }
                new.publish(path).inspect_err(|_| new.discard_prepared())?;
                Ok(Some(Some(new)))
            }
            Err(errno) => Err(failed(path, "open", errno)),
        }
    }

    /// Takes the new file under the old descriptor's number; the old description is let go.
    fn adopt(&mut self, new: Self) -> Result<()> {
        // The one is replaced by the other in one step.
        sys::replace(new.file.as_raw_fd(), self.file.as_raw_fd())
            .map_err(|errno| failed(&self.place.path(), "dup3", errno))
    }

    fn clear(&self) -> Result<()> {
        let path = self.place.path();
        fchmod(&self.file, Mode::from_bits_truncate(0o644))
            .or_else(|e| if e == Errno::EPERM { Ok(()) } else { Err(e) })
            .map_err(|e| failed(&path, "fchmod", e))?;
        self.file
            .set_len(0)
            .map_err(|e| failed(&path, "ftruncate", Errno::from_raw(e.raw_os_error().unwrap_or(0))))
    }

    /// Writes the pid and a newline. Where that fails, the file is left empty.
    pub fn write(&self, pid: i32) -> Result<()> {
        self.file.write_all_at(format!("{pid}\n").as_bytes(), 0).map_err(|e| {
            let _ = self.file.set_len(0);
            failed(&self.place.path(), "write", Errno::from_raw(e.raw_os_error().unwrap_or(0)))
        })
    }

    /// Tells all who look that the daemon is ready.
    pub fn ready(&self) -> Result<()> {
        ofd(&self.file, STARTING, NO_LOCK)
            .map(drop)
            .map_err(|e| failed(&self.place.path(), "fcntl(F_OFD_SETLK)", e))
    }

    /// The root directory is about to become another. No descriptor of the pidfile's directory is
    /// kept to reach it all the same: it would be a way out of the new root.
    pub fn lose_reach(&mut self) {
        self.out_of_reach = true;
    }

    /// Whether the name still leads to this very file; out of reach, whether it has a name at all.
    pub fn is_in_place(&self) -> bool {
        if self.out_of_reach {
            return fstat(&self.file).is_ok_and(|mine| mine.st_nlink > 0);
        }
        lstat(&self.place.path()).is_ok_and(|now| self.is(&now))
    }

    /// Whether another file, held by a daemon or a start, now bears the name. Where none does, it may
    /// be about to: a daemon that runs puts its file back when it is removed. Blocks for a moment then.
    pub fn is_supplanted(&self) -> bool {
        let begun = Instant::now();
        while !self.is_in_place() && begun.elapsed() < PUT_BACK {
            if look(&self.place).is_ok_and(|l| !matches!(l.state, State::Stopped { .. })) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    }

    fn is(&self, other: &FileStat) -> bool {
        fstat(&self.file).is_ok_and(|mine| Identity::from(&mine) == Identity::from(other))
    }

    /// Removes the file while it is still locked, and only if it is still ours; where the directory
    /// is no longer writable (privileges dropped) or out of reach, empties it.
    /// Returns whether the name is gone.
    pub fn remove(&self) -> bool {
        if !self.is_in_place() {
            return true;
        }
        let removed = !self.out_of_reach && std::fs::remove_file(self.place.path()).is_ok();
        if !removed {
            let _ = self.file.set_len(0);
        }
        removed
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Its descriptor.
    pub fn raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// What the child of fork needs to remove it without allocating: path and identity.
    pub fn for_child(&self) -> Result<(CString, Identity)> {
        let path = self.place.path();
        let found = fstat(&self.file).map_err(|e| failed(&path, "fstat", e))?;
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| failed(&path, "open", Errno::EINVAL))?;
        Ok((name, Identity::from(&found)))
    }
}

/// What is found at a place: the state, and which file it is.
#[derive(Debug)]
pub struct Look {
    /// Who holds it.
    pub state: State,
    /// The file, where there is one, and whose it is.
    pub file: Option<Locked>,
}

/// Looks without touching: no lock is taken, nothing is created. Any user may ask.
pub fn look(place: &Place) -> Result<Look> {
    let path = place.path();
    let gone = || Look { state: State::Stopped { stale: false }, file: None };
    let mut swept = None;
    for _ in 0..TRIES {
        let Some(dir) = check_directory(place, Asker::Anyone)? else { return Ok(gone()) };
        let Some(file) = open_existing(&path, OFlag::O_RDONLY)? else { return Ok(gone()) };
        let removed = || fstat(&file).is_ok_and(|now| now.st_nlink == 0);
        let found = fstat(&file).map_err(|e| failed(&path, "fstat", e))?;
        if found.st_nlink == 0 {
            continue;
        }
        check_file(&path, &found, Asker::Anyone, Some(&dir))?;
        let locked = Some(Locked::from(&found));
        match look_at(&file)? {
            // A daemon removes its pidfile and ends: what it held is nothing that was left.
            Some(State::Stopped { stale: true }) if removed() => continue,
            Some(state) => return Ok(Look { state, file: locked }),
            None => {}
        }
        swept =
            Some(Look { state: State::Running { pid: parse_pid(&content(&file)) }, file: locked });
        std::thread::sleep(Duration::from_millis(1));
    }
    // No sweep takes so long: somebody has locked the whole file for writing.
    Ok(swept.unwrap_or_else(gone))
}

/// The file's first bytes: more than a pid has.
fn content(file: &File) -> Vec<u8> {
    let mut buffer = vec![0; 32];
    let read = file.read_at(&mut buffer, 0).unwrap_or(0);
    buffer.truncate(read);
    buffer
}

/// Who holds an open pidfile; `None` while a sweep does.
fn look_at(file: &File) -> Result<Option<State>> {
    let held = write_locked(file, HELD)?;
    if held && write_locked(file, SWEEPING)? {
        return Ok(None);
    }
    let starting = write_locked(file, STARTING)?;
    let content = content(file);
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
/// A start that comes at the same moment waits for it and is not disturbed.
pub fn sweep(place: &Place) {
    let path = place.path();
    let Ok(Some(dir)) = check_directory(place, Asker::Anyone) else { return };
    let Ok(Some(file)) = open_existing(&path, OFlag::O_RDWR) else { return };
    let Ok(found) = fstat(&file) else { return };
    if check_file(&path, &found, Asker::Anyone, Some(&dir)).is_err() {
        return;
    }
    let stale = PidFile::of(file, place);
    let free = ofd_lock(&stale.file, SWEEPING).unwrap_or(false)
        && ofd_lock(&stale.file, HELD).unwrap_or(false);
    if free {
        stale.remove();
    }
}

/// Who wants to know decides how strictly the file is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asker {
    /// A start: file and directory must be root's or the caller's own.
    Owner,
    /// `status`, `stop`, `kill`: they may be another user's, all of one hand.
    Anyone,
}

fn check_directory(place: &Place, asker: Asker) -> Result<Option<FileStat>> {
    let dir = &place.dir;
    let found = match if place.private { lstat(dir) } else { stat(dir) } {
        Ok(found) => found,
        Err(Errno::ENOENT | Errno::ENOTDIR) if asker == Asker::Anyone => return Ok(None),
        Err(errno) => {
            return Err(Error::os(
                Code::PidFile,
                format!("Cannot keep a pidfile in the directory {}", dir.display()),
                "stat",
                errno as i32,
            )
            .at(dir)
            .hint("Create it, or name another with `pidFilePath`"));
        }
    };
    if place.private {
        check_private(dir, &found)?;
    }
    let owner = found.st_uid;
    let trusted = owner == 0 || owner == euid() || asker == Asker::Anyone;
    if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFDIR {
        return Err(unsafe_directory(dir, "it is not a directory"));
    }
    if !trusted {
        let why = format!("the directory belongs to another user ({owner})");
        return Err(unsafe_directory(dir, &why));
    }
    if found.st_mode & 0o022 != 0 {
        return Err(open_directory(dir));
    }
    Ok(Some(found))
}

fn check_file(path: &Path, found: &FileStat, asker: Asker, dir: Option<&FileStat>) -> Result<()> {
    if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
        return Err(unsafe_file(path, "it is not a regular file"));
    }
    if found.st_nlink > 1 {
        return Err(unsafe_file(path, "it has more than one link"));
    }
    let owner = found.st_uid;
    let by_directory = asker == Asker::Anyone && dir.is_some_and(|d| d.st_uid == owner);
    if owner != 0 && owner != euid() && !by_directory {
        return Err(unsafe_file(path, &format!("it belongs to another user ({owner})")));
    }
    if found.st_mode & 0o022 != 0 {
        return Err(unsafe_file(path, "others than its owner can write to it"));
    }
    Ok(())
}

/// Our own directory in /tmp.
fn make_private(dir: &Path) -> Result<()> {
    match nix::unistd::mkdir(dir, Mode::S_IRWXU) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(failed(dir, "mkdir", errno)),
    }
}

/// Anyone may have made one of this name before; whoever asks is told, so that nobody takes another
/// user's daemon for their own.
fn check_private(dir: &Path, found: &FileStat) -> Result<()> {
    let is_dir = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR;
    if !is_dir || found.st_uid != euid() || found.st_mode & 0o077 != 0 {
        let why = "it is not a directory of this user's own with mode 0700";
        return Err(unsafe_directory(dir, why));
    }
    Ok(())
}

/// The file, and whether it was made. `None`: it came or went in between, try again.
fn open_or_create(path: &Path, mode: libc::mode_t) -> Result<Option<(File, bool)>> {
    if let Some(file) = open_existing(path, OFlag::O_RDWR)? {
        return Ok(Some((file, false)));
    }
    let flags = OFlag::O_RDWR
        | OFlag::O_CREAT
        | OFlag::O_EXCL
        | OFlag::O_CLOEXEC
        | OFlag::O_NOFOLLOW
        | OFlag::O_NONBLOCK;
    match nix::fcntl::open(path, flags, Mode::from_bits_truncate(mode)) {
        Ok(fd) => Ok(Some((File::from(fd), true))),
        Err(Errno::EEXIST) => Ok(None),
        Err(errno) => Err(failed(path, "open", errno)),
    }
}

/// `None`: there is none. What is no regular file is refused before it is opened: to open a device
/// or a FIFO can have effects.
fn open_existing(path: &Path, access: OFlag) -> Result<Option<File>> {
    match lstat(path) {
        Ok(found) => {
            if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != SFlag::S_IFREG {
                return Err(unsafe_file(path, "it is not a regular file"));
            }
        }
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
        Err(errno) => return Err(failed(path, "lstat", errno)),
    }
    let flags = access | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    match nix::fcntl::open(path, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(File::from(fd))),
        Err(Errno::ENOENT) => Ok(None),
        Err(Errno::ELOOP | Errno::EISDIR | Errno::ENXIO) => {
            Err(unsafe_file(path, "it is not a regular file"))
        }
        Err(errno) => Err(failed(path, "open", errno)),
    }
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

fn ofd(file: &File, at: libc::off_t, kind: libc::c_short) -> std::result::Result<i32, Errno> {
    loop {
        // Of a lock on a remote file (fcntl_locking(2)).
        match sys::ofd_set_lock(file, &byte(at, kind)) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// Takes the write lock on one byte; `false` where another's lock is in the way.
fn ofd_lock(file: &File, at: libc::off_t) -> Result<bool> {
    match ofd(file, at, WRITE_LOCK) {
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

/// Whether another open file description holds a write lock on one byte.
fn write_locked(file: &File, at: libc::off_t) -> Result<bool> {
    let mut lock = byte(at, READ_LOCK);
    sys::ofd_get_lock(file, &mut lock).map_err(|errno| {
        Error::os(
            Code::PidFile,
            "Cannot ask for the pidfile's lock",
            "fcntl(F_OFD_GETLK)",
            errno as i32,
        )
    })?;
    Ok(lock.l_type != NO_LOCK)
}

fn euid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

fn busy(place: &Place, pid: Option<i32>) -> Error {
    let message = match pid {
        Some(pid) => format!("The daemon '{}' is already running, with pid {pid}", place.name),
        None => format!("The daemon '{}' is already starting", place.name),
    };
    Error::new(Code::AlreadyRunning, message).at(&place.path()).of(pid)
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

/// A container's `/run` may be such a one: its engine mounts it as it mounts `/tmp`.
fn open_directory(dir: &Path) -> Error {
    let message = format!(
        "Refusing the pidfile's directory {}: others than its owner can write to the directory, so another user could \
         forge the pidfile. Take that right from them (`chmod go-w`; for a container's tmpfs `mode=755`), or \
         name a directory that only its owner can write to with `pidFilePath`",
        dir.display()
    );
    Error::new(Code::UnsafePidFile, message).at(dir)
}

/// No word of removing it: somebody may need what lies there.
fn unsafe_directory(dir: &Path, why: &str) -> Error {
    let message = format!(
        "Refusing the pidfile's directory {}: {why}, so another user could forge the pidfile. \
         Name another with `pidFilePath`",
        dir.display()
    );
    Error::new(Code::UnsafePidFile, message).at(dir)
}

fn unsafe_file(path: &Path, why: &str) -> Error {
    let message = format!(
        "Refusing the pidfile {}: {why}, so another user could forge it. Remove it, or name a directory \
         that only its owner can write to with `pidFilePath`",
        path.display()
    );
    Error::new(Code::UnsafePidFile, message).at(path)
}
