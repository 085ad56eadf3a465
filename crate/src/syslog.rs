//! Syslog that never blocks the event loop and loses nothing that it could keep.
//!
//! [`log`] reads the clock and copies the text into a bounded queue; that is all that the event loop
//! pays. A native thread ([`sender`]) takes what has gathered, formats it ([`format`](mod@format)) and sends it to
//! the local logger ([`local`]), many messages to a system call and in their order. While the
//! logger is missing, full or being restarted, messages wait in the queue. When the queue is full,
//! the newest are counted, and one line says how many were dropped.

pub mod format;
pub mod local;
pub mod sender;

use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// The queue holds so many bytes of message text.
pub const CAPACITY: usize = 8 << 20;
/// The local logger's socket.
pub const LOCAL_LOGGER: &str = "/dev/log";
/// A flush waits no longer than this for a logger that cannot be reached at all.
const UNREACHABLE: Duration = Duration::from_millis(200);

/// How messages are made and where they go: what openlog(3) sets.
#[derive(Debug, Clone)]
pub struct Config {
    /// Prepended to every message.
    pub ident: String,
    /// OR'd `LOG_*` options.
    pub options: i32,
    /// The facility of messages that name none.
    pub facility: i32,
    /// The local logger's socket.
    pub path: PathBuf,
    /// The process is not a background one: without any logger, messages go to stderr.
    pub attached: bool,
}

/// What the queue and the thread are doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// The logger was reached when it was last tried.
    pub connected: bool,
    /// Messages that wait.
    pub queued: usize,
    /// Bytes of their text.
    pub queued_bytes: usize,
    /// Messages that were handed to the logger.
    pub sent: u64,
    /// Messages that the full queue did not take.
    pub dropped: u64,
}

/// One entry of the queue; a message's text is in the arena beside it.
#[derive(Debug)]
pub(crate) enum Entry {
    Message {
        priority: i32,
        time: SystemTime,
        length: usize,
    },
    /// `openlog`: the messages behind it are made so.
    Open(Arc<Config>),
    /// `closelog`: the connection is closed when all before it is sent.
    Close,
}

/// Entries and their text, in order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub entries: Vec<Entry>,
    pub text: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Queue {
    pub waiting: Batch,
    pub stats: Stats,
    /// Dropped since the last message that was taken; a line is owed for them.
    pub gap: u64,
    /// The logger could not be reached when it was last tried.
    pub unreachable: bool,
    /// It was reached at least once.
    reached: bool,
    config: Config,
    sender: Sender,
    sleeping: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Sender {
    None,
    Thread,
    /// No thread could be had: whoever flushes sends.
    Refused,
}

pub(crate) static QUEUE: Mutex<Option<Queue>> = Mutex::new(None);
/// The thread waits here for messages.
pub(crate) static FILLED: Condvar = Condvar::new();
/// Flushes wait here for the queue to be empty.
pub(crate) static DRAINED: Condvar = Condvar::new();
/// setlogmask(3): bit n lets priority n through.
static MASK: AtomicI32 = AtomicI32::new(0xff);

pub(crate) fn queue() -> MutexGuard<'static, Option<Queue>> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn with<T>(f: impl FnOnce(&mut Queue) -> T) -> T {
    f(queue().get_or_insert_with(Queue::new))
}

impl Queue {
    fn new() -> Self {
        let config = Config {
            ident: String::new(),
            options: 0,
            facility: libc::LOG_USER,
            path: PathBuf::from(LOCAL_LOGGER),
            attached: false,
        };
        let opening = Entry::Open(Arc::new(config.clone()));
        Self {
            waiting: Batch { entries: vec![opening], text: Vec::new() },
            stats: Stats::default(),
            gap: 0,
            unreachable: false,
            reached: false,
            config,
            sender: Sender::None,
            sleeping: false,
        }
    }

    fn push(&mut self, priority: i32, text: &[u8]) {
        if self.stats.queued_bytes + text.len() > CAPACITY {
            self.gap += 1;
            self.stats.dropped += 1;
        } else {
            self.tell_gap();
            self.append(priority, text);
        }
        self.wake();
    }

    fn append(&mut self, priority: i32, text: &[u8]) {
        let time = SystemTime::now();
        self.waiting.entries.push(Entry::Message { priority, time, length: text.len() });
        self.waiting.text.extend_from_slice(text);
        self.stats.queued += 1;
        self.stats.queued_bytes += text.len();
    }

    /// Where messages were dropped, a line stands in their place.
    pub fn tell_gap(&mut self) {
        let dropped = std::mem::take(&mut self.gap);
        if dropped > 0 {
            let text =
                format!("{dropped} messages were dropped: the logger did not take them in time");
            self.append(libc::LOG_WARNING, text.as_bytes());
        }
    }

    fn control(&mut self, entry: Entry) {
        self.waiting.entries.push(entry);
    }

    fn wake(&mut self) {
        if self.sender == Sender::None {
            let started = sender::start();
            self.sender = if started { Sender::Thread } else { Sender::Refused };
        }
        if self.sleeping {
            self.sleeping = false;
            FILLED.notify_one();
        }
    }

    fn is_drained(&self) -> bool {
        self.stats.queued == 0 && self.gap == 0
    }
}

/// Waits for entries, and takes them all. For the thread.
pub(crate) fn take_waiting(into: &mut Batch) {
    let mut guard = queue();
    loop {
        if let Some(queue) = guard.as_mut() {
            queue.tell_gap();
            if !queue.waiting.entries.is_empty() {
                std::mem::swap(&mut queue.waiting, into);
                return;
            }
            queue.sleeping = true;
        }
        guard = FILLED.wait(guard).unwrap_or_else(PoisonError::into_inner);
    }
}

/// `count` messages with `bytes` of text have left the queue.
pub(crate) fn note_sent(count: usize, bytes: usize) {
    with(|queue| {
        queue.stats.queued -= count.min(queue.stats.queued);
        queue.stats.queued_bytes -= bytes.min(queue.stats.queued_bytes);
        queue.stats.sent += count as u64;
        if queue.is_drained() {
            DRAINED.notify_all();
        }
    });
}

/// Whether the logger was reached just now.
pub(crate) fn note_connection(connected: bool) {
    with(|queue| {
        queue.stats.connected = connected;
        queue.unreachable = !connected;
        queue.reached |= connected;
        if !connected {
            DRAINED.notify_all();
        }
    });
}

/// openlog(3). `LOG_NDELAY` has the thread connect at once.
pub fn open(config: Config) {
    with(|queue| {
        queue.config = config.clone();
        let now = config.options & libc::LOG_NDELAY != 0;
        queue.control(Entry::Open(Arc::new(config)));
        if now {
            queue.wake();
        }
    });
}

/// closelog(3): messages that wait are sent first.
pub fn close() {
    with(|queue| {
        queue.control(Entry::Close);
        if queue.sender != Sender::None {
            queue.wake();
        }
    });
}

/// setlogmask(3): returns the mask before; 0 changes nothing.
pub fn set_mask(mask: i32) -> i32 {
    if mask == 0 { MASK.load(Ordering::Relaxed) } else { MASK.swap(mask, Ordering::Relaxed) }
}

/// syslog(3): takes the message into the queue. Never blocks on anything but the queue's lock.
pub fn log(priority: i32, text: &[u8]) {
    if MASK.load(Ordering::Relaxed) & (1 << (priority & 7)) != 0 {
        with(|queue| queue.push(priority, text));
    }
}

/// [`log`], then [`flush_last`]: the last words of a dying process.
pub fn log_now(priority: i32, text: &[u8], timeout: Duration) {
    log(priority, text);
    flush_last(timeout);
}

/// Waits until all is sent; `false` when the time was up first, or no logger can be reached.
pub fn flush(timeout: Duration) -> bool {
    wait_drained(timeout, |_| timeout.min(UNREACHABLE))
}

/// [`flush`] at the end of a process: where there never was a logger, and is none now, nothing is
/// waited for, unless messages go to stderr.
pub fn flush_last(timeout: Duration) -> bool {
    wait_drained(timeout, |queue| {
        let Config { options, path, attached, .. } = &queue.config;
        let shown = *attached || options & libc::LOG_PERROR != 0;
        let none = !shown && !queue.reached && !path.exists();
        if none { Duration::ZERO } else { timeout.min(UNREACHABLE) }
    })
}

/// `unreachable` says how long to wait for a logger that cannot be reached.
fn wait_drained(timeout: Duration, unreachable: impl Fn(&Queue) -> Duration) -> bool {
    let begun = Instant::now();
    let mut guard = queue();
    loop {
        let Some(queue) = guard.as_mut() else { return true };
        if queue.is_drained() {
            return true;
        }
        if queue.sender == Sender::Refused {
            drop(guard);
            return sender::send_here(timeout);
        }
        let limit = if queue.unreachable { unreachable(queue) } else { timeout };
        let Some(left) = limit.checked_sub(begun.elapsed()).filter(|left| !left.is_zero()) else {
            return false;
        };
        // Woken early too, to see whether the logger has become unreachable.
        let nap = left.min(UNREACHABLE);
        guard = DRAINED.wait_timeout(guard, nap).unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// What is sent, waits, and was dropped.
pub fn stats() -> Stats {
    queue().as_ref().map(|queue| queue.stats).unwrap_or_default()
}

/// Nothing was ever logged or opened: there is nothing to flush.
pub fn is_unused() -> bool {
    queue().is_none()
}
