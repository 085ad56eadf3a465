//! Syslog that never blocks the event loop and loses nothing that it could keep.
//!
//! [`log`] reads the clock and copies the text into a bounded `queue`; that is all that the event loop
//! pays. A native thread, the `sender`, formats what has gathered ([`format`](mod@format)) and sends it
//! to the logger (`transport`), many messages to a system call and in their order. While the logger is
//! missing, full or being restarted, messages wait in the queue. When the queue is full, the newest are
//! counted, and one line says how many were dropped.
//!
//! There is one logger in a process, as in syslog(3), and these functions are what others use of it.

mod config;
mod delivery;
pub mod direct;
pub mod format;
mod journal_stream;
pub mod message;
pub(crate) mod queue;
mod sender;
pub(crate) mod transport;

use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicI32};
use std::time::{Duration, Instant, SystemTime};

pub use self::config::{Config, Remote, Transport};
pub use self::delivery::{Delivery, Destination};
use self::journal_stream::JournalStream;
pub use self::message::TOLD;
use self::message::{Fields, LONGEST, cut, second};
use self::queue::empty_queue;
pub use self::queue::{CAPACITY, MOST, Stats};
use self::sender::{Common, Sender};
use crate::sync::{AtomicU64, AtomicUsize, Condvar, Mutex, Ordering};
use crate::zone::{self, Zone};

/// Half of the queue, so that a message can wait behind another.
const _: () = assert!(config::LONGEST_TO_JOURNAL == CAPACITY / 2);

/// The logger of this process.
struct Syslog {
    common: Common,
    is_open: AtomicBool,
    /// setlogmask(3): bit n lets priority n through.
    mask: AtomicI32,
    /// The longest text that the transport allows.
    longest: AtomicUsize,
    /// What sends where no thread can be made: in the thread of whoever flushes.
    here: Mutex<Option<Sender>>,
}

static SYSLOG: Syslog = Syslog {
    common: Common {
        queue: empty_queue!(|| Sender::start(&SYSLOG.common)),
        installed: delivery::Installed::new(),
        journal_stream: JournalStream::new(),
    },
    is_open: AtomicBool::new(false),
    mask: AtomicI32::new(0xff),
    longest: AtomicUsize::new(LONGEST),
    here: Mutex::new(None),
};

impl Syslog {
    fn log(&self, priority: i32, text: &[u8], fields: &[u8], note: impl FnOnce(u64)) -> bool {
        is_let_through(priority)
            && self.common.queue.push(priority, cut(text, longest()), fields, note)
    }

    /// Sends what waits, in the caller's thread.
    fn send_here(&self, timeout: Duration) -> bool {
        let mut here = self.here.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = here.get_or_insert_with(|| Sender::new(&SYSLOG.common));
        sender.run(Some(Instant::now() + timeout))
    }

    fn flush(&self, timeout: Duration, never_reached: impl Fn(&Config) -> Duration) -> bool {
        let send_here = |left| self.send_here(left);
        self.common.queue.wait_drained(timeout, never_reached, send_here)
    }

    /// Writes down for another process what openlog(3) has set last.
    fn set_destination(&self) {
        self.common.installed.set_destination(|| self.common.queue.newest_config().0);
    }

    /// The same for setlogmask(3).
    fn set_mask(&self) {
        self.common.installed.set_mask(|| self.mask.load(Ordering::Relaxed));
    }
}

/// Where messages go if nothing else was asked for: to the journal, where it reads our stdout or
/// stderr anyhow (systemd.exec(5), `$JOURNAL_STREAM`), else to the local logger.
pub fn default_transport() -> Transport {
    let stream = &SYSLOG.common.journal_stream;
    stream.look();
    if stream.reads(1) || stream.reads(2) {
        Transport::journal(None)
    } else {
        Transport::local(None)
    }
}

/// Whether [`open`] was called in this process, by whichever of its threads.
pub fn is_open() -> bool {
    SYSLOG.is_open.load(Ordering::Relaxed)
}

/// openlog(3). `LOG_NDELAY` has the thread connect at once.
pub fn open(config: Config) {
    SYSLOG.is_open.store(true, Ordering::Relaxed);
    SYSLOG.common.journal_stream.look();
    zone::look(second(SystemTime::now()));
    let at_once = config.has(libc::LOG_NDELAY);
    SYSLOG.common.queue.open(config, at_once, |config| {
        SYSLOG.longest.store(config.transport.longest(), Ordering::Relaxed);
    });
    SYSLOG.set_destination();
}

/// Connects now, as far as that can be done, and waits for it: the way to the logger may be cut off
/// in a moment (chroot(2)).
pub fn connect(timeout: Duration) {
    let queue = &SYSLOG.common.queue;
    let Some(config) = queue.config().map(|config| Config::clone(&config)) else { return };
    let options = config.options;
    open(Config { options: options | libc::LOG_NDELAY, ..config.clone() });
    let begun = Instant::now();
    while !queue.is_at_rest() && begun.elapsed() < timeout {
        std::thread::sleep(Duration::from_millis(1));
    }
    open(config);
}

/// closelog(3): messages that wait are sent first.
pub fn close() {
    SYSLOG.common.queue.close();
}

/// Starts the thread that sends, which else is made with the first message; says whether there is one. Who
/// will need it calls this while a thread can still be made.
pub(crate) fn start() -> bool {
    SYSLOG.common.queue.start()
}

/// Gives the memory in which another process sees what has been sent, and where the rest goes.
pub(crate) fn install(delivery: &'static Delivery) {
    let zone = Zone::look_up(second(SystemTime::now()));
    let Common { queue, installed, .. } = &SYSLOG.common;
    installed.install(delivery, zone, queue.done.load(Ordering::SeqCst));
    SYSLOG.set_mask();
    SYSLOG.set_destination();
}

/// setlogmask(3): returns the mask before; 0 changes nothing.
pub fn set_mask(mask: i32) -> i32 {
    if mask == 0 {
        return SYSLOG.mask.load(Ordering::Relaxed);
    }
    let before = SYSLOG.mask.swap(mask, Ordering::Relaxed);
    SYSLOG.set_mask();
    before
}

/// Whether setlogmask(3) lets this priority through.
pub fn is_let_through(priority: i32) -> bool {
    SYSLOG.mask.load(Ordering::Relaxed) & (1 << (priority & 7)) != 0
}

/// The longest text that the transport allows; a longer one is cut here.
pub fn longest() -> usize {
    SYSLOG.longest.load(Ordering::Relaxed)
}

/// syslog(3): adds the message to the queue. Never blocks on anything but the queue's lock.
pub fn log(priority: i32, text: &[u8]) {
    SYSLOG.log(priority, text, &[], |_| {});
}

/// [`log`] with fields: names and their values.
pub fn log_fields<'a>(
    priority: i32,
    text: &[u8],
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
) {
    if is_let_through(priority) {
        SYSLOG.log(priority, text, &Fields::pack(fields), |_| {});
    }
}

/// [`log`]; `note` is told which message it becomes, before that can be sent: it has been when so many have.
/// `false` where it is masked or was dropped.
pub fn log_noting(priority: i32, text: &[u8], note: impl FnOnce(u64)) -> bool {
    SYSLOG.log(priority, text, &[], note)
}

/// [`log`], then [`flush_last`]: the last words of a dying process.
pub fn log_now(priority: i32, text: &[u8], timeout: Duration) {
    log(priority, text);
    flush_last(timeout);
}

/// Waits until all is sent; `false` when the time was up first.
pub fn flush(timeout: Duration) -> bool {
    SYSLOG.flush(timeout, |_| timeout)
}

/// [`flush`] at the end of a process, which hardly waits for a logger that was never reached.
pub fn flush_last(timeout: Duration) -> bool {
    SYSLOG.flush(timeout, |config| timeout.min(config.patience()))
}

/// Whether [`flush_last`] has nothing to wait for.
pub fn is_settled() -> bool {
    SYSLOG.common.queue.is_settled(Config::patience)
}

/// What is sent, waits, and was dropped.
pub fn stats() -> Stats {
    SYSLOG.common.queue.stats()
}

/// The socket of a logger on this host, where messages go there and nobody listens.
pub fn missing() -> Option<PathBuf> {
    let config = SYSLOG.common.queue.config()?;
    let path = config.transport.path()?;
    // The connection stays where the path is out of reach by now (chroot(2)).
    let is_missing = !stats().connected && transport::local::Local::connect(path).is_err();
    is_missing.then(|| path.to_owned())
}

/// Whether what is written to stderr goes where messages go: to the journal.
pub fn reaches_stderr() -> bool {
    let common = &SYSLOG.common;
    common.queue.config().is_some_and(|config| common.reaches_stderr(&config))
}

/// [`log_now`] of what stderr, if somebody reads it, is told as well, once.
pub fn alarm_now(text: &str, stderr: bool, timeout: Duration) {
    let told = stderr && !reaches_stderr();
    if told {
        let ident = &SYSLOG.common.queue.newest_config().0.ident;
        sender::write_stderr(format!("{ident}: {text}\n").as_bytes());
    }
    log_now(if told { libc::LOG_ERR | TOLD } else { libc::LOG_ERR }, text.as_bytes(), timeout);
}
