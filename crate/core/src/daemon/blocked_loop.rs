//! A native thread that ends a daemon whose event loop is blocked, and that watches the pidfile meanwhile.
//!
//! `while (true) {}` never lets a JavaScript signal handler run. So a handler of ours stands in
//! front of libuv's for the signals that end a daemon: it counts, wakes this thread, and passes the
//! signal on. JavaScript says when it has taken the signal. Where it does not in time, the thread
//! logs why, removes the pidfile, and ends the process.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};

use super::life::LIFE;
use super::pidfile_watch::PidfileWatch;
use crate::sys::{self, Wake};
use crate::{poll, syslog, thread};

/// The thread looks this often while it waits for JavaScript. One look counts at most twice its
/// length: a process that was stopped (SIGSTOP, a laptop's lid) was not blocked meanwhile.
const TICK: Duration = Duration::from_millis(100);
/// The thread looks this often at a pidfile that cannot be watched, or mended.
const BLIND: Duration = Duration::from_secs(1);
/// How much longer than a JavaScript timer of the same length the thread waits.
const MARGIN: Duration = Duration::from_millis(600);
/// How long the last words may take to reach the logger.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What is known of this process's event loop. Its atomics are all that a signal handler touches.
pub static BLOCKED_LOOP: BlockedLoop = BlockedLoop {
    signals: [Ending::of("SIGTERM", libc::SIGTERM), Ending::of("SIGINT", libc::SIGINT)],
    wake: AtomicI32::new(-1),
    way_out: Mutex::new(None),
    watches_pidfile: AtomicBool::new(false),
    settings: OnceLock::new(),
};

/// There is one in a process: [`BLOCKED_LOOP`].
#[derive(Debug)]
pub struct BlockedLoop {
    /// The signals that end a daemon; the second one only where it is attached.
    signals: [Ending; 2],
    /// The descriptor that wakes the thread; -1 before there is one.
    wake: AtomicI32,
    /// The way out, once it has begun.
    way_out: Mutex<Option<WayOut>>,
    /// The pidfile is to be put back when it is removed.
    watches_pidfile: AtomicBool,
    settings: OnceLock<Settings>,
}

/// How the event loop is watched.
#[derive(Debug)]
pub struct Settings {
    /// The daemon's name.
    pub name: String,
    /// How long JavaScript may take to take a signal.
    pub blocked: Duration,
    /// The daemon runs in the foreground: SIGINT ends it, too.
    pub attached: bool,
    /// Standard error is told as well that the event loop is blocked.
    pub stderr: bool,
}

/// The way out.
#[derive(Debug, Clone, Copy)]
struct WayOut {
    /// The signal that asked for the end, or 0.
    cause: i32,
    /// How long it may take.
    limit: Duration,
}

/// A signal that ends a daemon.
#[derive(Debug)]
struct Ending {
    name: &'static str,
    number: i32,
    /// How often it has arrived.
    arrived: AtomicU32,
    /// How often it had arrived when JavaScript took it last.
    taken: AtomicU32,
    /// libuv's handler, which ours passes the signal on to.
    next: AtomicUsize,
    /// Whether libuv's handler takes three arguments (SA_SIGINFO).
    next_takes_info: AtomicBool,
}

impl Ending {
    const fn of(name: &'static str, number: i32) -> Self {
        Self {
            name,
            number,
            arrived: AtomicU32::new(0),
            taken: AtomicU32::new(0),
            next: AtomicUsize::new(0),
            next_takes_info: AtomicBool::new(false),
        }
    }

    fn waits(&self) -> bool {
        self.arrived.load(Ordering::SeqCst) != self.taken.load(Ordering::SeqCst)
    }

    /// Puts our handler in front of the one that is there, unless that is ours already, or there is none.
    fn stand_in_front(&self) {
        // SAFETY: sigaction with valid pointers. The handler only touches atomics and writes to an
        // eventfd, which is async-signal-safe, before it calls the one that was there.
        unsafe {
            let mut current: libc::sigaction = std::mem::zeroed();
            libc::sigaction(self.number, std::ptr::null(), &mut current);
            let handler = current.sa_sigaction;
            let ours = on_signal as *const () as usize;
            if handler == ours || handler == libc::SIG_DFL || handler == libc::SIG_IGN {
                return;
            }
            let takes_info = current.sa_flags & libc::SA_SIGINFO != 0;
            self.next_takes_info.store(takes_info, Ordering::SeqCst);
            self.next.store(handler, Ordering::SeqCst);
            current.sa_sigaction = ours;
            current.sa_flags |= libc::SA_SIGINFO;
            libc::sigaction(self.number, &current, std::ptr::null_mut());
        }
    }

    /// Calls the handler that was there before ours.
    fn pass_on(&self, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        let next = self.next.load(Ordering::SeqCst);
        if next == 0 {
            return;
        }
        // SAFETY: the address is that of the handler that sigaction(2) returned, called as the flags
        // that came with it say.
        unsafe {
            if self.next_takes_info.load(Ordering::SeqCst) {
                type WithInfo = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);
                std::mem::transmute::<usize, WithInfo>(next)(self.number, info, context);
            } else {
                std::mem::transmute::<usize, extern "C" fn(i32)>(next)(self.number);
            }
        }
    }
}

extern "C" fn on_signal(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    if let Some(ending) = BLOCKED_LOOP.signal(signal) {
        ending.arrived.fetch_add(1, Ordering::SeqCst);
        BLOCKED_LOOP.wake();
        ending.pass_on(info, context);
    }
}

impl BlockedLoop {
    /// Starts the thread. Once in a process; a second call changes nothing.
    pub fn watch(&'static self, settings: Settings) -> Result<(), Errno> {
        let wake = Wake::new()?;
        if self.settings.set(settings).is_err() {
            return Ok(());
        }
        let Some(settings) = self.settings.get() else { return Ok(()) };
        let number = wake.descriptors().1;
        thread::spawn("guard", move || Watcher::new(self, settings, wake).run())?;
        // Not before: where there is no thread, the number soon is another descriptor's.
        self.wake.store(number, Ordering::SeqCst);
        Ok(())
    }

    /// Puts our handlers in front of libuv's. Again and again, as listeners come and go.
    pub fn stand_in_front(&self) {
        // In the background SIGINT is the program's, and no reason for an end.
        let is_attached = self.settings.get().is_some_and(|settings| settings.attached);
        let count = if is_attached { 2 } else { 1 };
        self.signals.iter().take(count).for_each(Ending::stand_in_front);
    }

    /// JavaScript has taken this signal.
    pub fn taken(&self, signal: i32) {
        if let Some(ending) = self.signal(signal) {
            ending.taken.store(ending.arrived.load(Ordering::SeqCst), Ordering::SeqCst);
        }
    }

    /// The way out has begun and may take this long; `cause` is the signal that asked for it, or 0.
    pub fn leaving(&self, cause: i32, limit: Duration) {
        *self.way_out() = Some(WayOut { cause, limit });
        self.wake();
    }

    /// The daemon is ready: from here on its pidfile is put back when somebody removes it.
    pub fn watch_pidfile(&self) {
        self.watches_pidfile.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn signal(&self, number: i32) -> Option<&Ending> {
        self.signals.iter().find(|ending| ending.number == number)
    }

    fn way_out(&self) -> MutexGuard<'_, Option<WayOut>> {
        self.way_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the thread. Async-signal-safe.
    fn wake(&self) {
        let fd = self.wake.load(Ordering::SeqCst);
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
}

/// The thread.
struct Watcher {
    watched: &'static BlockedLoop,
    settings: &'static Settings,
    wake: Wake,
    /// What is left for JavaScript to take each signal, once one has arrived.
    patience: [Option<Duration>; 2],
    /// What is left of the way out.
    way_out: Option<Duration>,
    pidfile: PidfileWatch,
}

impl Watcher {
    fn new(watched: &'static BlockedLoop, settings: &'static Settings, wake: Wake) -> Self {
        let pidfile = PidfileWatch::default();
        Self { watched, settings, wake, patience: [None; 2], way_out: None, pidfile }
    }

    fn run(mut self) {
        // Now, and not when the pidfile is to be put back: it may be out of reach by then (chroot(2)).
        LIFE.with_pidfile(|pidfile| self.pidfile.begin(pidfile));
        let mut last = Instant::now();
        loop {
            let waiting = self.patience.iter().any(Option::is_some) || self.way_out.is_some();
            self.sleep(waiting);
            let spent = if waiting { last.elapsed().min(2 * TICK) } else { Duration::ZERO };
            last = Instant::now();
            self.judge(spent);
            if self.watches_pidfile() {
                LIFE.with_pidfile(|pidfile| self.pidfile.tend(pidfile, &mut warn));
            }
        }
    }

    fn watches_pidfile(&self) -> bool {
        self.watched.watches_pidfile.load(Ordering::SeqCst)
    }

    fn sleep(&self, waiting: bool) {
        let blind = self.watches_pidfile()
            && self.pidfile.is_blind()
            && LIFE.with_pidfile(|_| ()).is_some();
        let timeout = match (waiting, blind) {
            (true, _) => poll::timeout(TICK),
            (false, true) => poll::timeout(BLIND),
            (false, false) => PollTimeout::NONE,
        };
        let mut fds = vec![PollFd::new(self.wake.descriptors().0, PollFlags::POLLIN)];
        let watch = self.pidfile.descriptor();
        fds.extend(watch.map(|watch| PollFd::new(watch, PollFlags::POLLIN)));
        let _ = nix::poll::poll(&mut fds, timeout);
        self.wake.clear();
        self.pidfile.clear();
    }

    /// Counts down what waits for JavaScript, and ends the process where the time is up.
    fn judge(&mut self, spent: Duration) {
        let way_out = *self.watched.way_out();
        let blocked = self.settings.blocked;
        for (signal, left) in self.watched.signals.iter().zip(&mut self.patience) {
            // On the way out a further signal changes nothing: it is not waited for either.
            let open = way_out.is_none() && signal.waits();
            *left = count_down(open.then_some(blocked + MARGIN), *left, spent);
            if left.is_some_and(|left| left.is_zero()) {
                let limit = blocked.as_millis();
                let why = format!("{} was not taken within {limit} ms", signal.name);
                self.settings.end(signal.number, &why);
            }
        }
        let limit = way_out.map(|way_out| way_out.limit + MARGIN);
        self.way_out = count_down(limit, self.way_out, spent);
        if let (Some(WayOut { cause, limit }), Some(Duration::ZERO)) = (way_out, self.way_out) {
            let limit = limit.as_millis();
            self.settings.end(cause, &format!("the way out was not done within {limit} ms"));
        }
    }
}

fn warn(text: &str) {
    syslog::log(libc::LOG_WARNING, text.as_bytes());
}

impl Settings {
    /// Ends the process, as by the signal.
    fn end(&self, signal: i32, why: &str) -> ! {
        let signal = if signal == libc::SIGINT { signal } else { libc::SIGTERM };
        let name = &self.name;
        let text = format!("The event loop of {name} is blocked: {why}. Ending the process.");
        syslog::alarm_now(&text, self.stderr, LAST_WORDS);
        LIFE.say_farewell(128 + signal, "its event loop was blocked");
        syslog::flush_last(LAST_WORDS);
        LIFE.end(128 + signal)
    }
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

    #[test]
    fn a_signal_waits_until_it_was_taken() {
        let signal = Ending::of("SIGTERM", libc::SIGTERM);
        assert!(!signal.waits());
        signal.arrived.fetch_add(1, Ordering::SeqCst);
        assert!(signal.waits());
        signal.taken.store(1, Ordering::SeqCst);
        assert!(!signal.waits());
    }
}
