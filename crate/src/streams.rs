//! What a daemon prints, as syslog messages: every line, the last words included.
//!
//! Standard output and standard error become pipes. A process of its own, the [`keeper`], reads
//! them, and a thread here hands its lines on to the syslog queue, as LOG_INFO and LOG_ERR. Both
//! know which lines have been sent; so when the daemon dies, of whatever, the keeper sends the rest,
//! and nothing is lost or sent twice. A thread alone could not do that: what V8 prints when its
//! heap is exhausted comes microseconds before the end of all threads.
//!
//! The event loop waits for nobody: the keeper reads at once, and the ring between the two holds
//! [`shared::RING`] bytes. When most of that waits for the logger, the oldest wait in the queue alone,
//! like any message, and what that does not take is counted, and one line says how many.

pub mod keeper;
pub mod line;
pub mod memory;
pub mod shared;

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::stat::Mode;

use self::keeper::Prepared;
use self::shared::{CROWDED, Destination, FILLER, GONE, Shared};
use crate::syslog::{self, Config, Transport};
use crate::zone::Zone;

/// A keeper that must be replaced is not sooner than this after it was made.
const RESPITE: Duration = Duration::from_secs(1);
/// The first and the longest time between two looks whether what was handed on has been sent.
const LOOK: Duration = Duration::from_millis(2);
const LONGEST_LOOK: Duration = Duration::from_millis(200);
/// For a keeper to end, or to begin.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the pipes hold while the keeper does not come to read, if the system allows it.
const PIPE: i32 = 1 << 20;
static STREAMS: OnceLock<Streams> = OnceLock::new();
static STATE: Mutex<State> = Mutex::new(State { wanted: true, keeper: None, failure: None });
static CHANGED: Condvar = Condvar::new();
/// [`shared::Shared::sent`] exists: cheap to ask for whoever sends.
static ACTIVE: AtomicBool = AtomicBool::new(false);

/// What is there for the daemon's life.
#[derive(Debug)]
struct Streams {
    shared: &'static Shared,
    /// The pipes' ends: to read from, and to write to.
    readers: [OwnedFd; 2],
    writers: [OwnedFd; 2],
}

#[derive(Debug)]
struct State {
    /// There shall be a keeper.
    wanted: bool,
    keeper: Option<Keeper>,
    /// The errno of a keeper that could not be made.
    failure: Option<i32>,
}

#[derive(Debug, Clone)]
struct Keeper {
    pid: i32,
    /// By it the two wake each other, and each sees the end of the other.
    socket: Arc<UnixStream>,
}

fn state() -> MutexGuard<'static, State> {
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
    let shared = Shared::map().map_err(fail("mmap"))?;
    let pipe = || -> Result<_, (&'static str, i32)> {
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(nix("pipe2"))?;
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(nix("fcntl"))?;
        // A burst finds room. Refused to users with many pipes (pipe(7)): then less.
        let _ = fcntl(&writer, FcntlArg::F_SETPIPE_SZ(PIPE));
        Ok((reader, writer))
    };
    let (out, err) = (pipe()?, pipe()?);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    // SAFETY: nobody else knows of this memory yet.
    unsafe {
        *shared.zone.get() = Zone::look_up(now as i64);
        let title = &mut *shared.title.get();
        let _ = write!(title.as_mut_slice(), "{name}: its output to syslog");
    }
    shared.mask.store(syslog::set_mask(0), Ordering::SeqCst);
    let (readers, writers) = ([out.0, err.0], [out.1, err.1]);
    let _ = STREAMS.set(Streams { shared, readers, writers });
    let Some(streams) = STREAMS.get() else { return Ok(()) };
    set_destination();
    ACTIVE.store(true, Ordering::SeqCst);

    // The thread inherits the mask: signals are the main thread's.
    let old =
        SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).map_err(nix("sigprocmask"))?;
    let thread = std::thread::Builder::new().name("streams".into()).stack_size(128 << 10);
    let spawned = thread.spawn(|| Thread::new(streams).run());
    let _ = old.thread_set_mask();
    spawned.map_err(|error| ("pthread_create", error.raw_os_error().unwrap_or(0)))?;
    wait(|state| state.keeper.is_some() || state.failure.is_some());
    match state().failure {
        Some(errno) => Err(("clone", errno)),
        None => Ok(()),
    }
}

fn wait(done: impl Fn(&State) -> bool) -> bool {
    let begun = Instant::now();
    let mut guard = state();
    while !done(&guard) {
        let left = PATIENCE.saturating_sub(begun.elapsed());
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
    crate::takeover::redirect(writer.as_fd(), number)
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
    let begun = Instant::now();
    let shared = streams.shared;
    let asked = shared.asked.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
    wake_keeper();
    let done = || {
        shared.answered.load(Ordering::SeqCst) == asked
            && shared.taken.load(Ordering::SeqCst) == shared.head.load(Ordering::SeqCst)
    };
    while !done() && begun.elapsed() < timeout {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Before privileges are dropped: the keeper ends, which has them still. And /dev/stdout must be a
/// file that the daemon's children can open as who they are then; to find it at all, by way of /proc,
/// takes the right to trace them (proc_pid_fd(5)).
pub fn retire() {
    let Some(streams) = STREAMS.get() else { return };
    for writer in &streams.writers {
        let _ = nix::sys::stat::fchmod(writer, Mode::from_bits_truncate(0o622));
    }
    state().wanted = false;
    streams.shared.leave.store(1, Ordering::SeqCst);
    wake_keeper();
    if !wait(|state| state.keeper.is_none())
        && let Some(keeper) = state().keeper.clone()
    {
        // SAFETY: our own child, which was not waited for: that would have been noted.
        unsafe { libc::kill(keeper.pid, libc::SIGKILL) };
        wait(|state| state.keeper.is_none());
    }
}

/// After that: there is a new one, who is who the daemon is now. Fails with the errno of clone(2).
pub fn revive() -> Result<(), i32> {
    let Some(streams) = STREAMS.get() else { return Ok(()) };
    streams.shared.leave.store(0, Ordering::SeqCst);
    {
        let mut state = state();
        (state.wanted, state.failure) = (true, None);
    }
    CHANGED.notify_all();
    wait(|state| state.keeper.is_some() || state.failure.is_some());
    state().failure.map_or(Ok(()), Err)
}

fn wake_keeper() {
    let keeper = state().keeper.clone();
    if let Some(keeper) = keeper {
        let _ = keeper.socket.as_ref().write(b"!");
    }
}

/// Hands lines on, frees what was sent, and sees to it that there is a keeper.
struct Thread {
    streams: &'static Streams,
    /// When the keeper was made, or tried to be.
    born: Instant,
    /// It could not be made, or was killed.
    failed: bool,
    look: Duration,
}

impl Thread {
    fn new(streams: &'static Streams) -> Self {
        Self { streams, born: Instant::now(), failed: false, look: LOOK }
    }

    fn run(mut self) {
        loop {
            let keeper = state().keeper.clone();
            let Some(keeper) = keeper else {
                self.make_keeper();
                continue;
            };
            let progress = self.hand_on() | self.free();
            self.look = if progress { LOOK } else { (self.look * 2).min(LONGEST_LOOK) };
            if self.sleep(&keeper.socket) {
                self.bury(&keeper);
            }
        }
    }

    /// Lines become messages.
    fn hand_on(&self) -> bool {
        let shared = self.streams.shared;
        let begin = shared.taken.load(Ordering::SeqCst);
        let mut place = begin;
        while place < shared.head.load(Ordering::SeqCst) {
            let record = shared.record(place);
            if record.stream != FILLER {
                let priority = if record.stream == 0 { libc::LOG_INFO } else { libc::LOG_ERR };
                let ticket = syslog::log_with_ticket(priority, record.text);
                record.ticket.store(ticket.unwrap_or(GONE), Ordering::SeqCst);
            }
            place = record.end;
            shared.taken.store(place, Ordering::SeqCst);
            if place - shared.tail.load(Ordering::SeqCst) > CROWDED {
                self.free();
            }
        }
        place > begin
    }

    /// What was sent makes room; and where the logger does not take it, what is in the queue.
    fn free(&self) -> bool {
        let shared = self.streams.shared;
        let taken = shared.taken.load(Ordering::SeqCst);
        let begin = shared.tail.load(Ordering::SeqCst);
        let mut tail = begin;
        while tail < taken {
            let record = shared.record(tail);
            let pressing = shared.head.load(Ordering::SeqCst) - tail > CROWDED;
            if !pressing && !shared.is_sent(&record) {
                break;
            }
            tail = record.end;
        }
        shared.tail.store(tail, Ordering::SeqCst);
        if tail > begin && shared.keeper_waits.swap(0, Ordering::SeqCst) == 1 {
            wake_keeper();
        }
        tail > begin
    }

    /// Until the keeper has more, or it is time to look what was sent. Whether the keeper is gone.
    fn sleep(&self, socket: &UnixStream) -> bool {
        use std::io::Read;
        let shared = self.streams.shared;
        shared.thread_sleeps.store(1, Ordering::SeqCst);
        let taken = shared.taken.load(Ordering::SeqCst);
        if shared.head.load(Ordering::SeqCst) == taken {
            let waiting = shared.tail.load(Ordering::SeqCst) != taken;
            let millis = u16::try_from(self.look.as_millis()).unwrap_or(u16::MAX);
            let timeout = if waiting { PollTimeout::from(millis) } else { PollTimeout::NONE };
            let mut fds = [PollFd::new(socket.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, timeout);
        }
        shared.thread_sleeps.store(0, Ordering::SeqCst);
        let (mut socket, mut words) = (socket, [0u8; 64]);
        loop {
            match socket.read(&mut words) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
            }
        }
    }

    /// It ends before the daemon only when it is asked to, or killed by somebody.
    fn bury(&mut self, keeper: &Keeper) {
        // SAFETY: our own child. __WALL: one without an exit signal.
        let wait = || unsafe { libc::waitpid(keeper.pid, std::ptr::null_mut(), libc::__WALL) };
        let _ = crate::sys::again(|| Errno::result(wait()));
        let mut state = state();
        state.keeper = None;
        self.failed = state.wanted;
        if state.wanted {
            let text = "The process that reads what the daemon prints was killed. Starting another";
            syslog::log(libc::LOG_WARNING, text.as_bytes());
        }
        CHANGED.notify_all();
    }

    fn make_keeper(&mut self) {
        drop(
            CHANGED
                .wait_while(state(), |state| !state.wanted)
                .unwrap_or_else(PoisonError::into_inner),
        );
        if self.failed {
            std::thread::sleep(RESPITE.saturating_sub(self.born.elapsed()));
        }
        self.born = Instant::now();
        let made = fork_keeper(self.streams);
        self.failed = made.is_err();
        let mut state = state();
        match made {
            Ok(keeper) => (state.keeper, state.failure) = (Some(keeper), None),
            Err(errno) => {
                if state.failure.replace(errno as i32).is_none() {
                    let why = crate::error::reason(errno as i32);
                    let text = format!("Cannot read what the daemon prints: {why}");
                    syslog::log(libc::LOG_ERR, text.as_bytes());
                }
            }
        }
        CHANGED.notify_all();
    }
}

fn fork_keeper(streams: &Streams) -> Result<Keeper, Errno> {
    let io = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
    let (socket, its_socket) = UnixStream::pair().map_err(io)?;
    socket.set_nonblocking(true).map_err(io)?;
    let pipes = [streams.readers[0].as_raw_fd(), streams.readers[1].as_raw_fd()];
    let mut keep = [pipes[0], pipes[1], its_socket.as_raw_fd()];
    keep.sort_unstable();
    let prepared = Prepared {
        shared: streams.shared,
        socket: its_socket.as_raw_fd(),
        pipes,
        keep,
        daemon: nix::unistd::getpid().as_raw(),
        arguments: memory::arguments().unwrap_or((0, 0)),
    };
    let errno: *const i32 = {
        // SAFETY: the address of this thread's errno is always valid.
        unsafe { libc::__errno_location() }
    };
    let needed = [
        std::ptr::from_ref(&prepared).addr(),
        errno.addr(),
        std::ptr::from_ref(streams.shared).addr(),
    ];
    // SAFETY: there is no keeper now that could read it.
    let spare = unsafe { &mut *streams.shared.spare.get() };
    streams.shared.spares.store(memory::spare(&needed, spare), Ordering::SeqCst);
    // Not fork(3): without an exit signal nothing that waits for the daemon's children, libuv or
    // another, sees this one; and no handlers of pthread_atfork(3) run.
    // SAFETY: the child only calls `keeper::live`, which keeps to async-signal-safe calls and never
    // returns. All signals are blocked in this thread, and so in the child.
    let pid = unsafe { libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) };
    if pid == 0 {
        // SAFETY: a fresh child; `prepared` lives on its copy of this stack.
        unsafe { keeper::live(&prepared) }
    }
    if pid < 0 {
        return Err(Errno::last());
    }
    Ok(Keeper { pid: pid as i32, socket: Arc::new(socket) })
}
