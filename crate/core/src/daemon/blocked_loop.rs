//! The guard: a native thread that ends a daemon whose event loop is blocked, and that puts the
//! pidfile back when somebody removes it.
//!
//! `while (true) {}` never lets a JavaScript signal handler run. So a handler of ours stands in
//! front of libuv's for the signals that end a daemon: it counts, wakes this thread, and passes the
//! signal on. JavaScript says when it has taken the signal. Where it does not in time, the thread
//! logs why, removes the pidfile, and ends the process.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout};

use crate::daemon::{at_exit, farewell};
use crate::pidfile::PidFile;
use crate::sys::{self, Wake, Watch};
use crate::{poll, syslog, thread};

/// The thread looks this often while it waits for JavaScript. One look counts at most twice its
/// length: a process that was stopped (SIGSTOP, a laptop's lid) was not blocked meanwhile.
const TICK: Duration = Duration::from_millis(100);
/// And this often at a pidfile that cannot be watched, or mended.
const BLIND: Duration = Duration::from_secs(1);
/// How much longer than a JavaScript timer of the same length the guard waits.
const MARGIN: Duration = Duration::from_millis(600);
/// For the last words to reach the logger.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The signals that end a daemon; the second one only where it is attached.
const ENDING: [i32; 2] = [libc::SIGTERM, libc::SIGINT];

/// How often each has arrived, and how often JavaScript has taken it.
static ARRIVED: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
static TAKEN: [AtomicU32; 2] = [const { AtomicU32::new(0) }; 2];
/// libuv's handlers, which ours passes the signal on to.
static NEXT: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];
/// Whether they take three arguments (SA_SIGINFO).
static NEXT_TAKES_INFO: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];
/// The descriptor that wakes the thread.
static WAKE: AtomicI32 = AtomicI32::new(-1);
/// The signal that began the end; 0 while there is none.
static CAUSE: AtomicI32 = AtomicI32::new(0);
/// The thread shall watch the pidfile from now on.
static KEEP_PIDFILE: AtomicBool = AtomicBool::new(false);

static SHARED: OnceLock<Shared> = OnceLock::new();

#[derive(Debug)]
struct Shared {
    wake: Wake,
    name: String,
    blocked: Duration,
    attached: bool,
    stderr: bool,
    leaving: Mutex<Option<Duration>>,
}

/// Starts the thread. Once in a process; a second call changes nothing.
pub fn start(name: &str, blocked: Duration, attached: bool, stderr: bool) -> std::io::Result<()> {
    let wake = Wake::new()?;
    let leaving = Mutex::new(None);
    let shared = Shared { wake, name: name.to_owned(), blocked, attached, stderr, leaving };
    if SHARED.set(shared).is_err() {
        return Ok(());
    }
    let Some(shared) = SHARED.get() else { return Ok(()) };
    WAKE.store(shared.wake.descriptors().1, Ordering::SeqCst);
    Ok(thread::spawn("guard", move || Thread::new(shared).run())?)
}

/// Puts our handler in front of libuv's. Again and again, as listeners come and go: where ours
/// stands already, or nobody listens, nothing is done.
pub fn chain() {
    // In the background SIGINT is the program's, and no reason for an end.
    let count = if SHARED.get().is_some_and(|shared| shared.attached) { 2 } else { 1 };
    for (index, signal) in ENDING.iter().enumerate().take(count) {
        // SAFETY: sigaction with valid pointers. The handler only touches atomics and writes to an
        // eventfd, which is async-signal-safe, before it calls the one that stood there.
        unsafe {
            let mut current: libc::sigaction = std::mem::zeroed();
            libc::sigaction(*signal, std::ptr::null(), &mut current);
            let handler = current.sa_sigaction;
            let ours = on_signal as *const () as usize;
            if handler == ours || handler == libc::SIG_DFL || handler == libc::SIG_IGN {
                continue;
            }
            let takes_info = current.sa_flags & libc::SA_SIGINFO != 0;
            NEXT_TAKES_INFO[index].store(takes_info, Ordering::SeqCst);
            NEXT[index].store(handler, Ordering::SeqCst);
            current.sa_sigaction = ours;
            current.sa_flags |= libc::SA_SIGINFO;
            libc::sigaction(*signal, &current, std::ptr::null_mut());
        }
    }
}

extern "C" fn on_signal(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let Some(index) = ENDING.iter().position(|s| *s == signal) else { return };
    ARRIVED[index].fetch_add(1, Ordering::SeqCst);
    wake();
    let next = NEXT[index].load(Ordering::SeqCst);
    if next == 0 {
        return;
    }
    // SAFETY: the address is that of the handler that sigaction(2) returned, called as the flags
    // that came with it say.
    unsafe {
        if NEXT_TAKES_INFO[index].load(Ordering::SeqCst) {
            type WithInfo = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);
            std::mem::transmute::<usize, WithInfo>(next)(signal, info, context);
        } else {
            std::mem::transmute::<usize, extern "C" fn(i32)>(next)(signal);
        }
    }
}

/// Async-signal-safe.
fn wake() {
    let fd = WAKE.load(Ordering::SeqCst);
    if fd >= 0 {
        let one = 1u64.to_ne_bytes();
        // SAFETY: write(2) on our eventfd; errno belongs to the interrupted code and is put back.
        unsafe {
            let errno = *sys::errno_location();
            libc::write(fd, one.as_ptr().cast(), one.len());
            *sys::errno_location() = errno;
        }
    }
}

/// JavaScript has taken this signal.
pub fn taken(signal: i32) {
    if let Some(index) = ENDING.iter().position(|s| *s == signal) {
        TAKEN[index].store(ARRIVED[index].load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

/// The way out has begun and may take this long; `cause` is the signal that asked for it, or 0.
pub fn leaving(cause: i32, limit: Duration) {
    CAUSE.store(cause, Ordering::SeqCst);
    if let Some(shared) = SHARED.get() {
        *lock(&shared.leaving) = Some(limit);
    }
    wake();
}

/// The daemon is ready: from here on its pidfile is put back when somebody removes it.
pub fn keep_pidfile() {
    KEEP_PIDFILE.store(true, Ordering::SeqCst);
    wake();
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Thread {
    shared: &'static Shared,
    /// What is left for JavaScript to take each signal, once one has arrived.
    patience: [Option<Duration>; 2],
    /// What is left of the way out.
    way_out: Option<Duration>,
    watch: Option<Watch>,
    /// The pidfile is not as it should be, and cannot be mended at the moment: that was said.
    uneasy: bool,
}

impl Thread {
    fn new(shared: &'static Shared) -> Self {
        Self { shared, patience: [None; 2], way_out: None, watch: None, uneasy: false }
    }

    fn run(mut self) {
        // Now, and not when the pidfile is to be kept: it may be out of reach by then (chroot(2)).
        at_exit::with_pidfile(|pidfile| self.watch(pidfile));
        let mut last = Instant::now();
        loop {
            let waiting = self.patience.iter().any(Option::is_some) || self.way_out.is_some();
            self.sleep(waiting);
            let spent = if waiting { last.elapsed().min(2 * TICK) } else { Duration::ZERO };
            last = Instant::now();
            self.judge(spent);
            if KEEP_PIDFILE.load(Ordering::SeqCst) {
                self.tend_pidfile();
            }
        }
    }

    fn sleep(&self, waiting: bool) {
        let shared = self.shared;
        // Where the file cannot be watched, or mended, look now and then.
        let blind = KEEP_PIDFILE.load(Ordering::SeqCst)
            && (self.uneasy || self.watch.as_ref().is_none_or(|watch| !watch.has_file()))
            && at_exit::with_pidfile(|_| ()).is_some();
        let timeout = match (waiting, blind) {
            (true, _) => poll::timeout(TICK),
            (false, true) => poll::timeout(BLIND),
            (false, false) => PollTimeout::NONE,
        };
        let mut fds = vec![PollFd::new(shared.wake.descriptors().0, PollFlags::POLLIN)];
        if let Some(watch) = &self.watch {
            fds.push(PollFd::new(watch.descriptor(), PollFlags::POLLIN));
        }
        let _ = nix::poll::poll(&mut fds, timeout);
        shared.wake.clear();
        if let Some(watch) = &self.watch {
            watch.clear();
        }
    }

    /// Counts down what waits for JavaScript, and ends the process where the time is up.
    fn judge(&mut self, spent: Duration) {
        let leaving = *lock(&self.shared.leaving);
        for (index, signal) in ENDING.iter().enumerate() {
            // On the way out a further signal changes nothing: it is not waited for either.
            let open = leaving.is_none()
                && ARRIVED[index].load(Ordering::SeqCst) != TAKEN[index].load(Ordering::SeqCst);
            let limit = self.shared.blocked + MARGIN;
            self.patience[index] = count_down(open.then_some(limit), self.patience[index], spent);
            if self.patience[index].is_some_and(|left| left.is_zero()) {
                let name = if *signal == libc::SIGINT { "SIGINT" } else { "SIGTERM" };
                let limit = self.shared.blocked.as_millis();
                self.end(*signal, &format!("{name} was not taken within {limit} ms"));
            }
        }
        self.way_out = count_down(leaving.map(|limit| limit + MARGIN), self.way_out, spent);
        if self.way_out.is_some_and(|left| left.is_zero()) {
            let limit = leaving.unwrap_or_default().as_millis();
            let cause = CAUSE.load(Ordering::SeqCst);
            self.end(cause, &format!("the way out was not done within {limit} ms"));
        }
    }

    fn end(&self, signal: i32, why: &str) -> ! {
        let signal = if signal == libc::SIGINT { signal } else { libc::SIGTERM };
        let text = format!(
            "The event loop of {} is blocked: {why}. Ending the process.",
            self.shared.name
        );
        syslog::alarm_now(&text, self.shared.stderr, LAST_WORDS);
        farewell::say(128 + signal, "its event loop was blocked");
        syslog::flush_last(LAST_WORDS);
        at_exit::exit_now(128 + signal)
    }

    /// Puts the pidfile back if it is gone, writes the pid again if something else was written, and sees to
    /// it that the kernel tells of both.
    fn tend_pidfile(&mut self) {
        at_exit::with_pidfile(|pidfile| self.tend(pidfile));
    }

    fn tend(&mut self, pidfile: &mut PidFile) {
        if self.watch.is_none() {
            self.watch(pidfile);
        }
        // Again, where it was removed before the kernel was asked to tell.
        while KEEP_PIDFILE.load(Ordering::SeqCst) && pidfile.is_gone() {
            if !self.put_back(pidfile) {
                return;
            }
        }
        if KEEP_PIDFILE.load(Ordering::SeqCst) {
            self.restore(pidfile);
        }
    }

    /// Whether it is there again.
    fn put_back(&mut self, pidfile: &mut PidFile) -> bool {
        let path = pidfile.place().path();
        let place = path.display();
        match pidfile.put_back(nix::unistd::getpid().as_raw()) {
            Ok(true) => {
                self.rewatch(pidfile);
                self.uneasy = false;
                let text = format!("The pidfile {place} was removed. Put it back.");
                syslog::log(libc::LOG_WARNING, text.as_bytes());
                return true;
            }
            Ok(false) => self.give_up(&format!(
                "The pidfile {place} was removed, and another daemon has taken its place"
            )),
            Err(error) => {
                let why = &error.message;
                let text = format!("The pidfile {place} was removed and cannot be put back: {why}");
                if error.errno.is_some_and(passes) { self.wait(&text) } else { self.give_up(&text) }
            }
        }
        false
    }

    fn restore(&mut self, pidfile: &PidFile) {
        let path = pidfile.place().path();
        let place = path.display();
        match pidfile.restore(nix::unistd::getpid().as_raw()) {
            Ok(false) => self.uneasy = false,
            Ok(true) => {
                self.uneasy = false;
                let text = format!("The pidfile {place} was changed. Wrote the pid again.");
                syslog::log(libc::LOG_WARNING, text.as_bytes());
            }
            Err(error) => {
                let why = &error.message;
                self.wait(&format!("The pidfile {place} was changed and cannot be mended: {why}"));
            }
        }
    }

    fn watch(&mut self, pidfile: &PidFile) {
        self.watch = Watch::new();
        self.rewatch(pidfile);
    }

    /// Says so, once, and tries again in a while.
    fn wait(&mut self, text: &str) {
        if !self.uneasy {
            syslog::log(libc::LOG_WARNING, text.as_bytes());
        }
        self.uneasy = true;
    }

    fn give_up(&mut self, text: &str) {
        KEEP_PIDFILE.store(false, Ordering::SeqCst);
        self.watch = None;
        syslog::log(libc::LOG_WARNING, text.as_bytes());
    }

    fn rewatch(&mut self, pidfile: &PidFile) {
        if let Some(watch) = &mut self.watch {
            watch.set_file(pidfile.as_fd(), &pidfile.place().path());
        }
    }
}

/// Whether what hinders now may soon do so no more: something is full, or used up.
fn passes(errno: i32) -> bool {
    matches!(
        errno,
        libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOSPC | libc::EDQUOT | libc::EIO
    )
}

/// What is left: nothing to wait for, the whole limit when it begins, else less by what was spent.
fn count_down(
    limit: Option<Duration>,
    left: Option<Duration>,
    spent: Duration,
) -> Option<Duration> {
    match (limit, left) {
        (None, _) => None,
        (Some(limit), None) => Some(limit),
        (Some(_), Some(left)) => Some(left.saturating_sub(spent)),
    }
}

/// Lets the signals of a daemon through in this, the main, thread. Node leaves SIGUSR1 blocked when
/// it was told never to open its debugger.
pub fn unblock_signals() {
    let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
}

/// Has this process ignore SIGUSR1. Deno opens its debugger's port at it, whoever else listens, and has
/// no way to close that.
pub fn ignore_sigusr1() {
    // SAFETY: SIG_IGN is a valid disposition; no handler of ours is concerned.
    unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_the_limit_down_to_nothing() {
        let ms = Duration::from_millis;
        assert_eq!(count_down(None, Some(ms(5)), ms(1)), None);
        assert_eq!(count_down(Some(ms(5)), None, ms(1)), Some(ms(5)));
        assert_eq!(count_down(Some(ms(5)), Some(ms(3)), ms(1)), Some(ms(2)));
        assert_eq!(count_down(Some(ms(5)), Some(ms(3)), ms(9)), Some(ms(0)));
    }
}
