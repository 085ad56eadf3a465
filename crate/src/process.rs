//! Other processes: who holds a pidfile's lock, what /proc says of it, signals that cannot hit a
//! stranger, and its end.
//!
//! A signal goes through a pidfd, which is opened first; then the process is checked: it must have
//! a descriptor that holds this very lock. The pidfd stays on the process that was checked, however
//! soon its pid is reused.

#[cfg(target_os = "linux")]
use std::fs;
#[cfg(target_os = "linux")]
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::error::{Code, Error, Result};
use crate::holder::{Holding, Locked, Process};
use crate::pidfile::{self, Place, State};
use crate::procfs::{self, Unseen};
use crate::{accounts, launch, sys};

/// How long a lock may belong to nobody who is found, while a start or an end is under way.
const SETTLE: Duration = Duration::from_secs(2);
/// How long a start may take from the lock to the fork, when it is asked to end.
const FORK: Duration = Duration::from_secs(10);
/// Between two looks at a file that is changing hands.
const PAUSE: Duration = Duration::from_millis(2);
/// For as long it is looked at again before it is told that a process cannot be seen: the file may name
/// one that had the lock before.
const DOUBT: Duration = Duration::from_millis(50);
/// How long a process may take to end after SIGKILL.
const KILLED: Duration = Duration::from_secs(10);
/// For the user database to give a name.
const NAMED: Duration = Duration::from_secs(2);

/// A running daemon that was recognised.
#[derive(Debug)]
pub struct Daemon {
    /// Its pid.
    pub pid: i32,
    process: Process,
}

/// How a daemon was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Its pid.
    pub pid: i32,
    /// It had to be killed.
    pub killed: bool,
}

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

/// Why the daemon at a place is not recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// The file names no process.
    NoPid,
    /// There is no process of this number, or it is about to end.
    Gone(i32),
    /// It does not hold the lock.
    NotIt(i32),
    /// It cannot be seen.
    Unseen(i32, Unseen),
}

impl Daemon {
    /// The daemon at a place; `None` where none runs. `starting` says whether one that is not ready
    /// counts as well.
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
            // One that starts and has no pid has the lock and is about to fork: its pid follows.
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

    /// Sends a signal; to this process or to nobody.
    pub fn signal(&self, signal: i32) -> std::result::Result<(), Errno> {
        let handle = self.process.handle().map_err(|_| Errno::ESRCH)?;
        match sys::pidfd_send_signal(handle, self.pid, signal) {
            Ok(()) | Err(libc::ESRCH) => Ok(()),
            Err(errno) => Err(Errno::from_raw(errno)),
        }
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

/// Ends the daemon at a place: SIGTERM, after `patience` SIGKILL; waits for its end, and leaves no
/// pidfile. `None`: none was running. One that is starting is ended too.
pub fn stop(place: &Place, patience: Duration) -> Result<Option<Stopped>> {
    let Some(daemon) = Daemon::find(place, true)? else {
        pidfile::sweep(place, false);
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
    await_release(place, pid);
    pidfile::sweep(place, true);
    Ok(Some(stopped))
}

/// The start whose daemon was ended may still hold the lock, while it cleans up.
fn await_release(place: &Place, pid: i32) {
    let deadline = Instant::now() + SETTLE;
    let is_held = || {
        let state = pidfile::look(place).map(|look| look.state);
        matches!(
            state,
            Ok(State::Starting { pid: Some(now) } | State::Running { pid: Some(now) }) if now == pid
        )
    };
    while is_held() && Instant::now() < deadline {
        std::thread::sleep(PAUSE);
    }
}

/// Sends one signal to the daemon that runs at a place. `false`: none does.
pub fn kill(place: &Place, signal: i32) -> Result<bool> {
    let Some(daemon) = Daemon::find(place, false)? else { return Ok(false) };
    daemon.signal(signal).map_err(|errno| not_allowed(place, daemon.pid, errno))?;
    Ok(true)
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
    let thread = std::thread::Builder::new().name("user".into()).stack_size(256 << 10);
    let asked = thread.spawn(move || tell.send(accounts::user_by_uid(uid)));
    let found = asked.ok().and_then(|_| told.recv_timeout(NAMED).ok());
    found.and_then(|found| found.ok().flatten()).map_or_else(|| uid.to_string(), |user| user.name)
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
        Some(Self {
            state: if process.pbi_status == libc::SZOMB { 'Z' } else { 'R' },
            ppid: i32::try_from(process.pbi_ppid).ok()?,
            is_ending: process.pbi_flags & ENDING != 0,
            start_ticks: process.pbi_start_tvsec * 1_000_000 + process.pbi_start_tvusec,
        })
    }

    /// Reads it from a process's directory in /proc; `None` where that cannot be seen.
    #[cfg(target_os = "linux")]
    pub fn read(dir: &Path) -> Option<Self> {
        Self::parse(&fs::read(dir.join("stat")).ok()?)
    }

    /// The name in field 2 may contain anything, parentheses and spaces too, and the kernel cuts it
    /// inside a character: it ends at the last parenthesis.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let end = line.iter().rposition(|byte| *byte == b')')?;
        let fields: Vec<&[u8]> = procfs::words(line.get(end + 1..)?).collect();
        let field = |at: usize| fields.get(at).copied();
        Some(Self {
            state: char::from(*field(0)?.first()?),
            ppid: procfs::number(field(1)?)?,
            is_ending: procfs::number::<u32>(field(6)?)? & PF_EXITING != 0,
            start_ticks: procfs::number(field(19)?)?,
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

/// All numbers of processes.
#[cfg(not(target_os = "linux"))]
fn numbers() -> Box<dyn Iterator<Item = i32>> {
    Box::new(sys::pids().into_iter())
}

/// The numbers of this pid namespace that may be a process's: those that /proc has. Where it has not even
/// this process, or hides others (that it shows no first one), all that there can be.
#[cfg(target_os = "linux")]
fn numbers() -> Box<dyn Iterator<Item = i32>> {
    /// PID_MAX_LIMIT of include/linux/threads.h.
    const LIMIT: i32 = 4 << 20;
    let depth = procfs::depth().filter(|_| fs::symlink_metadata("/proc/1").is_ok());
    if let Some(depth) = depth {
        let listed = procfs::listed("/proc");
        return Box::new(listed.filter_map(move |shown| procfs::number_here(shown, depth)));
    }
    let limit = fs::read("/proc/sys/kernel/pid_max").ok();
    let limit = limit.and_then(|line| procfs::number(line.trim_ascii()));
    Box::new(1..limit.unwrap_or(LIMIT))
}

/// The name of this process's parent, of which the kernel keeps the first 15 bytes (proc_pid_comm(5)).
/// The parent by its number in /proc, which may be that of another pid namespace.
#[cfg(target_os = "linux")]
pub fn name_of_parent() -> Option<String> {
    let status = procfs::read("/proc/self/status").ok()?;
    let parent: i32 = procfs::number(procfs::field(&status, "PPid")?.next()?)?;
    let name = procfs::read(&format!("/proc/{parent}/comm")).ok()?;
    Some(String::from_utf8_lossy(&name).trim_end_matches('\n').to_owned())
}

/// The same, with MAXCOMLEN.
#[cfg(not(target_os = "linux"))]
pub fn name_of_parent() -> Option<String> {
    let (process, _) = sys::process(nix::unistd::getppid().as_raw())?;
    let bytes = process.pbi_comm.iter().map(|&c| c as u8).take_while(|&c| c != 0);
    Some(String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned())
}

/// The threads of this process without its main one, by their numbers in /proc. None, where the system
/// does not tell.
#[cfg(target_os = "linux")]
pub fn other_threads() -> Vec<i32> {
    let main = procfs::own_number();
    procfs::listed(THREADS).filter(|&id| Some(id) != main).collect()
}

/// None: the system does not tell.
#[cfg(not(target_os = "linux"))]
pub fn other_threads() -> Vec<i32> {
    Vec::new()
}

#[cfg(target_os = "linux")]
const THREADS: &str = "/proc/self/task";

/// Whether a thread of this process does anything at this moment; one that has ended does not.
#[cfg(target_os = "linux")]
pub fn is_awake(thread: i32) -> bool {
    let dir = format!("{THREADS}/{thread}");
    Stat::read(Path::new(&dir)).is_some_and(|now| now.state != 'S')
}

/// The same, of none.
#[cfg(not(target_os = "linux"))]
pub fn is_awake(_thread: i32) -> bool {
    false
}

/// Ends all processes of a session, and waits for their end, both bounded. The session's leader must be a
/// child of ours that has not been waited for: so its id belongs to nobody else. Who is in the session, the
/// kernel says of our own pid namespace (getsid(2)).
pub fn kill_session(leader: i32, patience: Duration) {
    let is_member = |pid: i32| {
        pid != leader && nix::unistd::getsid(Some(Pid::from_raw(pid))) == Ok(Pid::from_raw(leader))
    };
    let deadline = Instant::now() + patience;
    for _ in 0..3 {
        let found: Vec<Process> =
            numbers().filter(|&pid| is_member(pid)).filter_map(Process::open).collect();
        for process in &found {
            // Look again: the number may have been reused before the handle was open.
            if let Ok(handle) = process.handle()
                && is_member(process.pid)
            {
                let _ = sys::pidfd_send_signal(handle, process.pid, libc::SIGKILL);
            }
        }
        for process in &found {
            process.await_end(deadline);
        }
        if found.is_empty() {
            break;
        }
    }
}

/// Our own children that have ended and that nobody has waited for: for PID 1, which is given the orphans of
/// its container.
#[cfg(target_os = "linux")]
fn ended_children() -> Vec<i32> {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    let is_one = |shown: &i32, me: i32| {
        let stat = Stat::read(Path::new(&format!("/proc/{shown}")));
        stat.is_some_and(|stat| stat.ppid == me && stat.state == 'Z')
    };
    if let (Some(depth), Some(me)) = (procfs::depth(), procfs::own_number()) {
        let children = procfs::listed("/proc").filter(|shown| is_one(shown, me));
        return children.filter_map(|shown| procfs::number_here(shown, depth)).collect();
    }
    // Without a list the kernel names one, and when that was waited for, the next.
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let first = waitid(Id::All, flags).ok().and_then(|status| status.pid());
    first.map(Pid::as_raw).into_iter().collect()
}

/// The same.
#[cfg(not(target_os = "linux"))]
fn ended_children() -> Vec<i32> {
    let me = nix::unistd::getpid().as_raw();
    let is_one = |stat: Stat| stat.ppid == me && stat.state == 'Z';
    numbers().filter(|pid| Stat::read(*pid).is_some_and(is_one)).collect()
}

/// Those of them that were seen when it was last asked, by handles that stay on them.
static SUSPECTS: Mutex<Vec<Process>> = Mutex::new(Vec::new());

fn suspects() -> MutexGuard<'static, Vec<Process>> {
    SUSPECTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes which children have ended. Those that are not waited for until [`reap_suspects`] are orphans.
pub fn suspect_orphans() {
    let ended = ended_children().into_iter().filter(|&pid| !launch::is_guardian(pid));
    *suspects() = ended.filter_map(Process::open).collect();
}

/// Waits for those that are still there, and whether there are others.
pub fn reap_suspects() -> bool {
    for suspect in suspects().drain(..) {
        suspect.reap();
    }
    !ended_children().is_empty()
}

fn unrecognised(place: &Place, doubt: Doubt) -> Error {
    let path = place.path();
    let shown = path.display();
    let who = match doubt {
        Doubt::Unseen(pid, unseen) => return cannot_see(place, pid, unseen),
        Doubt::NoPid => "it names no process".to_owned(),
        Doubt::Gone(pid) => format!(
            "the process {pid} that it names does not exist here: the one that holds the lock may be in another pid \
             namespace (a container)"
        ),
        Doubt::NotIt(pid) => format!("the process {pid} that it names does not hold the lock"),
    };
    let message = format!(
        "The pidfile {shown} is locked, but {who}. Nothing was sent. `lslocks` and `fuser {shown}` tell which \
         processes have it open"
    );
    Error::new(Code::StopFailed, message).at(&path)
}

fn cannot_see(place: &Place, pid: i32, unseen: Unseen) -> Error {
    let what = format!(
        "Cannot see whether the daemon '{}' (pid {pid}) is the one that holds its pidfile",
        place.name
    );
    let error = match unseen {
        Unseen::Foreign => Error::new(
            Code::StopFailed,
            format!(
                "{what}: /proc is that of another pid namespace. Nothing was sent. Mount it anew \
                     (`mount -t proc proc /proc`)"
            ),
        ),
        Unseen::Missing => Error::new(
            Code::StopFailed,
            format!(
                "{what}: /proc is not mounted. Nothing was sent. Mount it (`mount -t proc proc /proc`)"
            ),
        ),
        Unseen::Failed(call, errno) => {
            let code = if errno == Errno::ENOSYS { Code::Unsupported } else { Code::StopFailed };
            let hint = match (call, errno) {
                ("pidfd_open", Errno::ENOSYS | Errno::EPERM | Errno::EACCES) => {
                    "Nothing was sent: signals need pidfd_open(2). Linux 5.3 and newer have it; a seccomp filter, such \
                     as an old container engine's profile, may refuse it: allow it there"
                }
                (_, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) => {
                    "Nothing was sent. Too many open files, or too little memory (`ulimit -n`)"
                }
                (_, Errno::EPERM) => {
                    "/proc hides that process (is it mounted with `hidepid`?). Nothing was sent. Run it as root, or as \
                     the user who started the daemon"
                }
                (_, Errno::EACCES) => {
                    "Nothing was sent. Run it as root, or as the user who started the daemon"
                }
                _ => "Nothing was sent",
            };
            Error::os(code, what, call, errno as i32).hint(hint)
        }
    };
    error.at(&place.path()).of(Some(pid))
}

fn not_allowed(place: &Place, pid: i32, errno: Errno) -> Error {
    let message = format!("Cannot signal the daemon '{}' (pid {pid})", place.name);
    // Signal 0 asks for the right alone (kill(2)).
    let has_right = nix::sys::signal::kill(Pid::from_raw(pid), None).is_ok();
    let hint = match errno {
        Errno::EPERM | Errno::EACCES if !has_right => {
            "Run it as root, or as the user as whom the daemon runs"
        }
        _ => {
            "A seccomp filter, such as an old container engine's profile, may refuse pidfd_send_signal(2): allow it \
             there"
        }
    };
    Error::os(Code::StopFailed, message, "pidfd_send_signal", errno as i32)
        .at(&place.path())
        .of(Some(pid))
        .hint(hint)
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
