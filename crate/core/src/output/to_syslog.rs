//! What a daemon prints, as syslog messages: every line, the last words included.
//!
//! Standard output and standard error become pipes. A thread here, the [`super::pipes`], reads them and hands
//! their lines on to the syslog queue, as LOG_INFO and LOG_ERR. It waits for nobody, and so nobody who
//! prints waits for anybody else: not for the logger, and for no other process.
//!
//! What V8 prints when its heap is exhausted comes microseconds before the end of all threads. So a
//! process of its own, the [`super::relay`], holds the pipes and the memory in which the thread keeps what was
//! not sent yet, the [`super::ring`]. It does nothing as long as the daemon lives; when that is dead, of
//! whatever, it sends the rest, and nothing is lost or sent twice. The two never read at the same time,
//! and share no state that both change: one that is killed, stopped, or cannot be replaced costs the
//! last words, should the daemon die just then, and nothing else.
//!
//! Of each pipe the ring holds [`super::shared::BYTES`]. When that is full of what waits for the logger, the oldest
//! wait in the queue alone, like any message, and what that does not take is counted, and one line says
//! how many.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;

use super::pipes;
use super::shared::{Destination, Shared};
use crate::sys::Wake;
use crate::syslog::{self, Config, Transport};
use crate::thread;
use crate::zone::Zone;

/// For a keeper to end, or to begin.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a pipe holds while the thread does not come to read, if the system allows it.
const PIPE: i32 = 1 << 20;
static STREAMS: OnceLock<Streams> = OnceLock::new();
static STATE: Mutex<State> = Mutex::new(State {
    wanted: true,
    at_once: true,
    keeper: None,
    failure: None,
    asked: 0,
    answered: 0,
});
pub(super) static CHANGED: Condvar = Condvar::new();
/// [`Shared::sent`] exists: cheap to ask for whoever sends.
static ACTIVE: AtomicBool = AtomicBool::new(false);

/// What is there for the daemon's life.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) shared: &'static Shared,
    /// The pipes' ends: to read from, and to write to.
    pub(super) readers: [OwnedFd; 2],
    pub(super) writers: [OwnedFd; 2],
    /// The thread is to look at [`State`].
    pub(super) wake: Wake,
}

#[derive(Debug)]
pub(super) struct State {
    /// There shall be a keeper.
    pub(super) wanted: bool,
    /// And at once, whatever became of the one before.
    pub(super) at_once: bool,
    /// Its pid. Only with this lock it is waited for, so that it is no other's.
    pub(super) keeper: Option<i32>,
    /// The errno of a keeper that could not be made.
    pub(super) failure: Option<i32>,
    /// So often somebody asked for all that was printed so far; so many were answered.
    pub(super) asked: u64,
    pub(super) answered: u64,
}

pub(super) fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the pipes, the thread and the keeper; returns when they are there. More than once changes
/// nothing. Fails with the name of the call and its errno.
pub fn start(name: &str) -> Result<(), (&'static str, i32)> {
    let fail = |call| move |errno: i32| (call, errno);
    let nix = |call| move |errno: Errno| (call, errno as i32);
    if STREAMS.get().is_some() {
        return Ok(());
    }
    if !syslog::start() {
        return Err(("pthread_create", libc::EAGAIN));
    }
    let shared = Shared::map().map_err(fail("mmap"))?;
    let pipe = || -> Result<_, (&'static str, i32)> {
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(nix("pipe2"))?;
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(nix("fcntl"))?;
        // A burst finds room. Refused to users with many pipes (pipe(7)): then less.
        let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE));
        Ok((reader, writer))
    };
    let (out, err) = (pipe()?, pipe()?);
    let wake = Wake::new().map_err(nix("eventfd"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    // SAFETY: nobody else knows of this memory yet.
    unsafe {
        *shared.zone.get() = Zone::look_up(now as i64);
        let title = &mut *shared.title.get();
        let _ = write!(title.as_mut_slice(), "{name}: its output to syslog");
    }
    shared.mask.store(syslog::set_mask(0), Ordering::SeqCst);
    let (readers, writers) = ([out.0, err.0], [out.1, err.1]);
    let _ = STREAMS.set(Streams { shared, readers, writers, wake });
    let Some(streams) = STREAMS.get() else { return Ok(()) };
    set_destination();
    ACTIVE.store(true, Ordering::SeqCst);

    thread::spawn("streams", || pipes::run(streams)).map_err(nix("pthread_create"))?;
    wait(PATIENCE, |state| state.keeper.is_some() || state.failure.is_some());
    match state().failure {
        Some(errno) => Err(("clone", errno)),
        None => Ok(()),
    }
}

fn wake(streams: &Streams) {
    let _ = nix::unistd::write(streams.wake.descriptors().0, &1u64.to_ne_bytes());
}

fn wait(timeout: Duration, done: impl Fn(&State) -> bool) -> bool {
    let begun = Instant::now();
    let mut guard = state();
    while !done(&guard) {
        let left = timeout.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return false;
        }
        guard = CHANGED.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
    }
    true
}

/// Makes a pipe the process's descriptor 1 or 2.
pub fn redirect(number: i32) -> std::io::Result<()> {
    let streams = STREAMS.get().ok_or(std::io::ErrorKind::NotFound)?;
    let writer = &streams.writers[usize::from(number == 2)];
    super::standard::redirect(writer.as_fd(), number)
}

/// Writes all to descriptor 1 or 2: a signal, or a stop, may end write(2) in the middle (pipe(7)).
pub fn write(number: i32, bytes: &[u8]) -> std::io::Result<()> {
    // SAFETY: a standard descriptor, which nobody closes.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let mut rest = bytes;
    while !rest.is_empty() {
        match nix::unistd::write(fd, rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or(&[]),
            Err(Errno::EAGAIN) => make_blocking(fd),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// A child that is a Node makes the pipe that it inherits non-blocking for all who print there, and what did
/// not fit would be lost. Somebody always reads, so that nobody is blocked for long.
pub(super) fn make_blocking(writer: BorrowedFd<'_>) {
    if let Ok(flags) = fcntl(writer, FcntlArg::F_GETFL).map(OFlag::from_bits_retain)
        && flags.contains(OFlag::O_NONBLOCK)
    {
        let _ = fcntl(writer, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK));
    }
}

/// So many messages of the queue have been sent, ever.
pub fn note_sent(sent: u64) {
    if ACTIVE.load(Ordering::Relaxed)
        && let Some(streams) = STREAMS.get()
    {
        streams.shared.sent.fetch_max(sent, Ordering::SeqCst);
    }
}

/// Puts what is about to be sent in one call, in `headers`, where the keeper sees what became of it.
pub fn in_sight(headers: &mut [libc::mmsghdr]) -> &mut [libc::mmsghdr] {
    let Some(streams) = STREAMS.get() else { return headers };
    // SAFETY: only whoever sends, one at a time, comes here; the keeper reads it when that one is
    // dead.
    let flight = unsafe { &mut *streams.shared.flight.get() };
    // First nothing has been taken, then it is clear of what.
    flight.iter_mut().for_each(|header| header.msg_len = 0);
    streams.shared.before_flight.store(syslog::done(), Ordering::SeqCst);
    let count = headers.len().min(flight.len());
    for (to, from) in flight.iter_mut().zip(headers.iter()) {
        *to = *from;
    }
    flight.get_mut(..count).unwrap_or(headers)
}

/// setlogmask(3) counts for the keeper, too.
pub fn note_mask(mask: i32) {
    if let Some(streams) = STREAMS.get() {
        streams.shared.mask.store(mask, Ordering::SeqCst);
    }
}

/// Where the keeper sends the last words: as openlog(3) says, to the local logger.
pub fn set_destination() {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let Some(streams) = STREAMS.get() else { return };
    let shared = streams.shared;
    // Worker threads call openlog(3), too. What it has set last is asked for in here, so that the last one
    // to write knows it.
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let next = (shared.current.load(Ordering::SeqCst) & 1) ^ 1;
    // SAFETY: the keeper reads the other one, and of this process's threads only one is here.
    unsafe { *shared.destinations[next].get() = destination(&syslog::newest_config()) };
    shared.current.store(next, Ordering::SeqCst);
}

fn destination(config: &Config) -> Destination {
    let (path, journal) = local_logger(config);
    // SAFETY: all zero is a valid address, and the tag is of bytes.
    let mut to: Destination = unsafe { std::mem::zeroed() };
    to.address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    let bytes = path.as_os_str().as_bytes();
    // Its last byte stays a NUL.
    let room = to.address.sun_path.len() - 1;
    for (to, from) in to.address.sun_path.iter_mut().take(room).zip(bytes) {
        *to = *from as libc::c_char;
    }
    let ident: String = config.ident.chars().filter(|c| !c.is_control()).collect();
    let pid = (config.options & libc::LOG_PID != 0).then(std::process::id);
    let tag = match (journal, pid) {
        (false, None) => format!("{ident}: "),
        (false, Some(pid)) => format!("{ident}[{pid}]: "),
        (true, None) => format!("SYSLOG_IDENTIFIER={ident}\n"),
        (true, Some(pid)) => format!("SYSLOG_IDENTIFIER={ident}\nSYSLOG_PID={pid}\n"),
    };
    let mut room = to.tag.as_mut_slice();
    let _ = room.write_all(tag.as_bytes());
    to.tag_length = tag.len().min(to.tag.len());
    to.journal = journal;
    to.facility = config.facility;
    to
}

/// Its socket, and whether that is the journal's own. Of a remote one the keeper knows nothing: there
/// the local one gets the last words.
fn local_logger(config: &Config) -> (PathBuf, bool) {
    match &config.transport {
        Transport::Local(path) => (path.clone(), false),
        Transport::Journal(path) => (path.clone(), true),
        Transport::Udp(_) | Transport::Tcp(_) => (PathBuf::from(syslog::LOCAL_LOGGER), false),
    }
}

/// Waits until all that was printed so far is in the queue.
pub fn drain(timeout: Duration) {
    let Some(streams) = STREAMS.get() else { return };
    let asked = {
        let mut state = state();
        state.asked += 1;
        state.asked
    };
    wake(streams);
    wait(timeout, |state| state.answered >= asked);
}

/// Before privileges are dropped: the keeper ends, which has them still. And /dev/stdout must be a
/// file that the daemon's children can open as who they are then; to find it at all, by way of /proc,
/// takes the right to trace them (proc_pid_fd(5)).
pub fn retire() {
    let Some(streams) = STREAMS.get() else { return };
    for writer in &streams.writers {
        let _ = nix::sys::stat::fchmod(writer, Mode::from_bits_truncate(0o622));
    }
    {
        let mut state = state();
        state.wanted = false;
        if let Some(pid) = state.keeper {
            // It has nothing to lose, and a stopped one ends, too.
            // SAFETY: our own child, which was not waited for: that would have been noted.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
    wait(PATIENCE, |state| state.keeper.is_none());
}

/// After that: there is a new one, who is who the daemon is now. Fails with the errno of clone(2).
pub fn revive() -> Result<(), i32> {
    let Some(streams) = STREAMS.get() else { return Ok(()) };
    {
        let mut state = state();
        (state.wanted, state.at_once, state.failure) = (true, true, None);
    }
    wake(streams);
    wait(PATIENCE, |state| state.keeper.is_some() || state.failure.is_some());
    state().failure.map_or(Ok(()), Err)
}
