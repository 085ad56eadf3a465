//! Other processes: who holds a pidfile's lock, what /proc says of it, signals that cannot hit a
//! stranger, and its end.
//!
//! A signal goes through a pidfd, which is opened first; then the process is checked: it must have
//! a descriptor that holds this very lock. The pidfd stays on the process that was checked, however
//! soon its pid is reused.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::error::{Code, Error, Result};
use crate::holder::{Locked, holds, may_hold};
use crate::pidfile::{self, Place, State, is_dying};
use crate::sys;

/// How long a lock may belong to nobody who is found, while a start or an end is under way.
const SETTLE: Duration = Duration::from_secs(2);
/// How long a start may take from the lock to the fork, when it is asked to end.
const FORK: Duration = Duration::from_secs(10);
/// Between two looks at a file that is changing hands.
const PAUSE: Duration = Duration::from_millis(2);
/// How long a process may take to end after SIGKILL.
const KILLED: Duration = Duration::from_secs(10);

/// A running daemon that was recognised.
#[derive(Debug)]
pub struct Daemon {
    /// Its pid.
    pub pid: i32,
    pidfd: OwnedFd,
}

/// How a daemon was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Its pid.
    pub pid: i32,
    /// It had to be killed.
    pub killed: bool,
}

/// What /proc tells about a daemon.
#[derive(Debug, Clone, PartialEq)]
pub struct Info {
    /// Milliseconds since the epoch.
    pub started_at: f64,
    /// The effective user's name, or its number.
    pub user: String,
    /// Resident memory in bytes.
    pub rss: f64,
}

impl Daemon {
    /// The daemon at a place; `None` where none runs. `starting` says whether one that is not ready
    /// counts as well.
    pub fn find(place: &Place, starting: bool) -> Result<Option<Self>> {
        let begun = Instant::now();
        let mut doubt = None;
        loop {
            let found = pidfile::look(place)?;
            let (pid, file) = match (found.state, found.file) {
                (State::Stopped { .. }, _) | (_, None) => return Ok(None),
                (State::Starting { .. }, _) if !starting => return Ok(None),
                (State::Starting { pid } | State::Running { pid }, Some(file)) => (pid, file),
            };
            match pid.map(|pid| Self::recognise(pid, file)) {
                Some(Ok(daemon)) => {
                    // The pidfd is open and its process holds the lock: whatever happens from here
                    // on happens to that process.
                    return Ok(Some(daemon));
                }
                Some(Err(Errno::ESRCH)) => doubt = pid,
                // A process that ends has no memory map any more, and with it no owner: its
                // descriptors are root's for a moment. Soon it has none.
                Some(Err(Errno::EACCES))
                    if pid.and_then(Stat::read).is_none_or(|s| s.is_ending) => {}
                Some(Err(errno)) => return Err(unseen(place, pid, errno)),
                None => {}
            }
            // One that starts and has no pid has the lock and is about to fork: its pid follows.
            let forking = pid.is_none() && matches!(found.state, State::Starting { .. });
            if begun.elapsed() >= if forking { FORK } else { SETTLE } {
                return Err(unrecognised(place, doubt));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// `ESRCH`: there is no such process, or it does not hold the lock.
    fn recognise(pid: i32, file: Locked) -> std::result::Result<Self, Errno> {
        let pidfd = sys::pidfd_open(pid).map_err(|e| match Errno::from_raw(e) {
            // A pid that names a thread is nobody's (Linux before 6.9 says EINVAL, later ENOENT).
            Errno::EINVAL | Errno::ENOENT => Errno::ESRCH,
            errno => errno,
        })?;
        if holds(pid, file)? { Ok(Self { pid, pidfd }) } else { Err(Errno::ESRCH) }
    }

    /// Sends a signal; to this process or to nobody.
    pub fn signal(&self, signal: i32) -> std::result::Result<(), Errno> {
        match sys::pidfd_send_signal(self.pidfd.as_fd(), self.pid, signal) {
            Ok(()) | Err(libc::ESRCH) => Ok(()),
            Err(errno) => Err(Errno::from_raw(errno)),
        }
    }

    /// Waits for its end; `false` when the time was up first.
    pub fn wait(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let millis = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
            let mut fds = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)) {
                Ok(n) if n > 0 => return true,
                _ if left.is_zero() => return false,
                _ => {}
            }
        }
    }
}

/// Ends the daemon at a place: SIGTERM, after `patience` SIGKILL; waits for its end, and leaves no
/// pidfile. `None`: none was running. One that is starting is ended too.
pub fn stop(place: &Place, patience: Duration) -> Result<Option<Stopped>> {
    let Some(daemon) = Daemon::find(place, true)? else {
        pidfile::sweep(place);
        return Ok(None);
    };
    let pid = daemon.pid;
    let send = |signal| daemon.signal(signal).map_err(|errno| not_allowed(place, pid, errno));
    send(libc::SIGTERM)?;
    let mut stopped = Stopped { pid, killed: false };
    if !daemon.wait(patience) {
        send(libc::SIGKILL)?;
        stopped.killed = true;
        if !daemon.wait(KILLED) {
            let message = format!(
                "The daemon '{}' (pid {pid}) was killed and has not ended: it hangs in the kernel. Look at \
                 /proc/{pid}/stack and at its file systems",
                place.name
            );
            return Err(Error::new(Code::StopFailed, message).at(&place.path()).of(Some(pid)));
        }
    }
    await_release(place, pid)?;
    pidfile::sweep(place);
    Ok(Some(stopped))
}

/// The start whose daemon was ended may still hold the lock, while it cleans up.
fn await_release(place: &Place, pid: i32) -> Result<()> {
    let deadline = Instant::now() + SETTLE;
    while Instant::now() < deadline {
        match pidfile::look(place)?.state {
            State::Starting { pid: Some(now) } | State::Running { pid: Some(now) }
                if now == pid =>
            {
                std::thread::sleep(PAUSE);
            }
            _ => break,
        }
    }
    Ok(())
}

/// Sends one signal to the daemon that runs at a place.
pub fn kill(place: &Place, signal: i32) -> Result<()> {
    match Daemon::find(place, false)? {
        Some(daemon) => {
            daemon.signal(signal).map_err(|errno| not_allowed(place, daemon.pid, errno))
        }
        None => {
            let message = format!("The daemon '{}' is not running", place.name);
            Err(Error::new(Code::NotRunning, message).at(&place.path()))
        }
    }
}

/// What libproc tells; `None` where the process is gone.
#[cfg(not(target_os = "linux"))]
pub fn info(pid: i32) -> Option<Info> {
    let (process, task) = sys::process(pid)?;
    let uid = process.pbi_uid;
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    Some(Info {
        started_at: process.pbi_start_tvsec as f64 * 1e3 + (process.pbi_start_tvusec / 1000) as f64,
        user: user.map_or_else(|| uid.to_string(), |u| u.name),
        rss: task.pti_resident_size as f64,
    })
}

/// What /proc tells; `None` where the process is gone.
#[cfg(target_os = "linux")]
pub fn info(pid: i32) -> Option<Info> {
    let stat = Stat::read(pid)?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| {
        status.lines().find_map(|l| l.strip_prefix(name)).map(str::split_ascii_whitespace)
    };
    let uid: u32 = field("Uid:")?.nth(1)?.parse().ok()?;
    let rss: f64 = field("VmRSS:").and_then(|mut w| w.next()?.parse().ok()).unwrap_or(0.0);
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    Some(Info {
        started_at: stat.started_at()?,
        user: user.map_or_else(|| uid.to_string(), |u| u.name),
        rss: rss * 1024.0,
    })
}

/// The kernel's mark on a process that ends (include/linux/sched.h).
const PF_EXITING: u32 = 4;

/// The fields of proc_pid_stat(5) that are used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// (3) one letter; `Z` is a zombie.
    pub state: char,
    /// (4) the parent.
    pub ppid: i32,
    /// (6) the session.
    pub session: i32,
    /// (9) PF_EXITING among the flags: it has begun to end.
    pub is_ending: bool,
    /// (22) clock ticks since boot; elsewhere microseconds since the epoch.
    pub start_ticks: u64,
}

impl Stat {
    /// Asks libproc (sys/proc_info.h); `None` where the process is gone.
    #[cfg(not(target_os = "linux"))]
    pub fn read(pid: i32) -> Option<Self> {
        /// PROC_FLAG_INEXIT: it has begun to end.
        const ENDING: u32 = 4;
        let (process, _) = sys::process(pid)?;
        let session = nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(pid))).ok();
        Some(Self {
            state: if process.pbi_status == libc::SZOMB { 'Z' } else { 'R' },
            ppid: i32::try_from(process.pbi_ppid).ok()?,
            session: session.map_or(0, nix::unistd::Pid::as_raw),
            is_ending: process.pbi_flags & ENDING != 0,
            start_ticks: process.pbi_start_tvsec * 1_000_000 + process.pbi_start_tvusec,
        })
    }

    /// Reads it; `None` where the process is gone.
    #[cfg(target_os = "linux")]
    pub fn read(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name in field 2 may contain anything, parentheses and spaces too: it ends at the last
    /// parenthesis.
    pub fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            ppid: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            is_ending: fields.get(6)?.parse::<u32>().ok()? & PF_EXITING != 0,
            start_ticks: fields.get(19)?.parse().ok()?,
        })
    }

    #[cfg(target_os = "linux")]
    fn started_at(&self) -> Option<f64> {
        use nix::time::{ClockId, clock_gettime};
        let millis = |id| {
            let t = clock_gettime(id).ok()?;
            Some(t.tv_sec() as f64 * 1e3 + t.tv_nsec() as f64 / 1e6)
        };
        // SAFETY: sysconf takes an integer and returns one.
        let hertz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
        let age = millis(ClockId::CLOCK_BOOTTIME)? - self.start_ticks as f64 * 1e3 / hertz;
        Some((millis(ClockId::CLOCK_REALTIME)? - age).round())
    }
}

/// All processes.
#[cfg(not(target_os = "linux"))]
fn all() -> impl Iterator<Item = (i32, Stat)> {
    sys::pids().into_iter().filter_map(|pid| Some((pid, Stat::read(pid)?)))
}

/// All processes that /proc shows.
#[cfg(target_os = "linux")]
fn all() -> impl Iterator<Item = (i32, Stat)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, Stat::read(pid)?))
    })
}

/// A process's name, of which the kernel keeps the first 15 bytes (proc_pid_comm(5)).
#[cfg(target_os = "linux")]
pub fn name_of(pid: i32) -> Option<String> {
    let name = fs::read(format!("/proc/{pid}/comm")).ok()?;
    Some(String::from_utf8_lossy(&name).trim_end_matches('\n').to_owned())
}

/// A process's name, of which the kernel keeps the first 15 bytes (MAXCOMLEN).
#[cfg(not(target_os = "linux"))]
pub fn name_of(pid: i32) -> Option<String> {
    let (process, _) = sys::process(pid)?;
    let bytes = process.pbi_comm.iter().map(|&c| c as u8).take_while(|&c| c != 0);
    Some(String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned())
}

const THREADS: &str = "/proc/self/task";

/// The threads of this process without its main one. None, where the system does not tell.
pub fn other_threads() -> Vec<i32> {
    let main = nix::unistd::getpid().as_raw();
    let entries = fs::read_dir(THREADS).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(|&id| id != main).collect()
}

/// Whether a thread of this process does anything at this moment; one that has ended does not.
pub fn is_awake(thread: i32) -> bool {
    let line = fs::read(format!("{THREADS}/{thread}/stat")).unwrap_or_default();
    Stat::parse(&String::from_utf8_lossy(&line)).is_some_and(|now| now.state != 'S')
}

/// Ends all processes of a session, and waits for their end. The session's leader must be a child of
/// ours that has not been waited for: so its id belongs to nobody else.
pub fn kill_session(leader: i32) {
    let deadline = Instant::now() + KILLED;
    for _ in 0..3 {
        for (pid, _) in all().filter(|(pid, stat)| stat.session == leader && *pid != leader) {
            let Ok(pidfd) = sys::pidfd_open(pid) else { continue };
            // Look again: the pid may have been reused before the pidfd was open.
            if Stat::read(pid).is_some_and(|now| now.session == leader) {
                let _ = sys::pidfd_send_signal(pidfd.as_fd(), pid, libc::SIGKILL);
                Daemon { pid, pidfd }.wait(deadline.saturating_duration_since(Instant::now()));
            }
        }
    }
}

/// Our own children that have ended and that nobody has waited for, with their start times: for
/// PID 1, which is given the orphans of its container.
pub fn zombies() -> Vec<(i32, u64)> {
    let me = nix::unistd::getpid().as_raw();
    all()
        .filter(|(_, stat)| stat.ppid == me && stat.state == 'Z')
        .map(|(pid, stat)| (pid, stat.start_ticks))
        .collect()
}

/// Waits for a zombie, if it is still the one that was seen.
pub fn reap(pid: i32, start_ticks: u64) {
    if Stat::read(pid).is_some_and(|now| now.state == 'Z' && now.start_ticks == start_ticks) {
        let flags = nix::sys::wait::WaitPidFlag::WNOHANG;
        let _ = nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), Some(flags));
    }
}

fn unseen(place: &Place, pid: Option<i32>, errno: Errno) -> Error {
    let pid_text = pid.map_or_else(String::new, |p| format!(" (pid {p})"));
    let (code, hint) = match errno {
        Errno::ENOSYS => (Code::Unsupported, "Signals need pidfd_open(2), Linux 5.3 or newer"),
        Errno::EACCES | Errno::EPERM => (
            Code::StopFailed,
            "Nothing was sent. Run it as root, or as the user who started the daemon",
        ),
        _ => (Code::StopFailed, "Nothing was sent"),
    };
    let message = format!(
        "Cannot see whether the daemon '{}'{pid_text} is the one that holds its pidfile",
        place.name
    );
    let syscall = if errno == Errno::ENOSYS { "pidfd_open" } else { "open" };
    Error::os(code, message, syscall, errno as i32).at(&place.path()).of(pid).hint(hint)
}

fn unrecognised(place: &Place, pid: Option<i32>) -> Error {
    let who = pid.map_or_else(
        || "it names no process".to_owned(),
        |pid| format!("the process {pid} that it names does not hold the lock"),
    );
    let message = format!(
        "The pidfile {} is locked, but {who}. Nothing was sent. Find the process with `lslocks` or \
         `fuser {}`, and end it by hand",
        place.path().display(),
        place.path().display()
    );
    Error::new(Code::StopFailed, message).at(&place.path())
}

fn not_allowed(place: &Place, pid: i32, errno: Errno) -> Error {
    let message = format!("Cannot signal the daemon '{}' (pid {pid})", place.name);
    Error::os(Code::StopFailed, message, "pidfd_send_signal", errno as i32)
        .at(&place.path())
        .of(Some(pid))
        .hint("Run it as root, or as the user as whom the daemon runs")
}

/// What can be said of the daemon at a place, by anyone. Running means locked and ready; a pid that
/// is demonstrably not the holder's is an error, one that cannot be checked is believed.
pub fn status(place: &Place) -> Result<(State, Option<Info>)> {
    let begun = Instant::now();
    loop {
        let found = pidfile::look(place)?;
        let (State::Running { pid }, Some(file)) = (found.state, found.file) else {
            return Ok((found.state, None));
        };
        let holder = pid.filter(|pid| may_hold(*pid, file));
        // One that was killed is about to be gone: no more than one that cannot be found it runs.
        let is_dying = holder.is_some_and(is_dying) && begun.elapsed() < KILLED;
        if let Some(info) = holder.filter(|_| !is_dying).and_then(info) {
            return Ok((found.state, Some(info)));
        }
        // On its way out, or back into place: look again.
        if !is_dying && begun.elapsed() >= SETTLE {
            return Err(unrecognised(place, pid));
        }
        std::thread::sleep(PAUSE);
    }
}
