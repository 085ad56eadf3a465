//! Syslog that never blocks the event loop and loses nothing that it could keep.
//!
//! [`log`] reads the clock and copies the text into a bounded queue; that is all that the event loop
//! pays. A native thread ([`sender`]) takes what has gathered, formats it ([`format`](mod@format),
//! [`rfc3164`], [`rfc5424`], [`journal`]) and sends it to the logger ([`local`], [`remote`],
//! [`journal`]), many messages to a system call and in their order. While the logger is missing,
//! full or being restarted, messages wait in the queue. When the queue is full, the newest are
//! counted, and one line says how many were dropped.

pub mod format;
pub mod journal;
pub mod local;
pub mod remote;
pub mod rfc3164;
pub mod rfc5424;
pub mod sender;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::{sys, zone};

/// The queue holds so many bytes of message text.
pub const CAPACITY: usize = 8 << 20;
/// And so many messages, should they be empty.
pub const MOST: usize = 512 << 10;
/// The local logger's socket.
pub const LOCAL_LOGGER: &str =
    if cfg!(target_os = "linux") { "/dev/log" } else { "/var/run/syslog" };
/// In a priority: stderr has this message already, so that it is not shown there again.
pub const TOLD: i32 = 1 << 16;
/// The end of a process waits no longer than this for a logger that was never reached.
const UNREACHABLE: Duration = Duration::from_millis(200);
/// A flush looks this often whether there is still something to wait for.
const LOOK: Duration = Duration::from_millis(100);
/// When all is sent the thread looks once more after this, before it sleeps: a program that goes on
/// logging does not have to wake it, which costs more than to log.
const LINGER: Duration = Duration::from_millis(1);
/// Unless so many bytes are waiting.
const LINGER_BYTES: usize = 32 << 10;

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// The local logger's socket; RFC 3164.
    Local(PathBuf),
    /// RFC 5424 in datagrams (RFC 5426).
    Udp(Remote),
    /// RFC 5424 with octet counting (RFC 6587).
    Tcp(Remote),
    /// The journal's native socket.
    Journal(PathBuf),
}

/// Another host's logger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The SD-ID of the fields (RFC 5424, 6.3.2).
    pub sd_id: String,
}

/// What the sender's thread must know of the environment is read here, in JavaScript's main thread: that
/// alone may change it. A worker thread reads it where nobody has yet.
fn look() {
    static LOOKED: AtomicBool = AtomicBool::new(false);
    if !LOOKED.swap(true, Ordering::SeqCst) || sys::is_main_thread() {
        journal::look();
    }
}

impl Transport {
    /// Where messages go if nothing else was asked for: to the journal, where it reads our stdout or
    /// stderr anyhow (systemd.exec(5), `$JOURNAL_STREAM`), else to the local logger.
    pub fn default_here() -> Self {
        look();
        if journal::reads(1) || journal::reads(2) {
            Self::Journal(PathBuf::from(journal::SOCKET))
        } else {
            Self::Local(PathBuf::from(LOCAL_LOGGER))
        }
    }

    /// The longest text of a message, in bytes. The journal takes more than a queue can hold.
    fn longest(&self) -> usize {
        if matches!(self, Self::Journal(_)) { CAPACITY / 2 } else { format::LONGEST }
    }
}

/// How messages are made and where they go: what openlog(3) sets.
#[derive(Debug, Clone)]
pub struct Config {
    /// Prepended to every message.
    pub ident: String,
    /// OR'd `LOG_*` options.
    pub options: i32,
    /// The facility of messages that name none.
    pub facility: i32,
    /// Where messages go.
    pub transport: Transport,
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

/// One entry of the queue; a message's text, and its fields behind it, are in the arena beside it.
#[derive(Debug)]
pub(crate) enum Entry {
    Message {
        priority: i32,
        time: SystemTime,
        text: usize,
        fields: usize,
    },
    /// `openlog`: the messages behind it are made so.
    Open(Arc<Config>),
    /// `closelog`: the connection is closed when all before it is sent.
    Close,
}

/// Entries and their text, in order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub entries: VecDeque<Entry>,
    pub text: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Batch,
    /// All messages that were ever taken, and their bytes. See [`DONE`].
    taken: u64,
    taken_bytes: u64,
    dropped: u64,
    /// Dropped since the last message that was taken; a line is owed for them.
    gap: u64,
    connected: bool,
    /// The logger could not be reached when it was last tried.
    unreachable: bool,
    /// The logger was reached at least once.
    reached: bool,
    config: Arc<Config>,
    sender: Sender,
    sleep: Sleep,
}

#[derive(Debug, PartialEq, Eq)]
enum Sender {
    None,
    Thread,
    /// No thread could be had: whoever flushes sends.
    Refused,
}

/// What the thread does, the deeper the later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sleep {
    /// It works.
    No,
    /// It waits before it tries again to reach the logger: new messages do not change that.
    Pausing,
    /// It will look for messages again soon.
    Lingering,
    /// It must be woken.
    Deep,
}

static QUEUE: Mutex<Option<Queue>> = Mutex::new(None);
/// The thread waits here for messages.
static FILLED: Condvar = Condvar::new();
/// Flushes wait here for the queue to be empty.
static DRAINED: Condvar = Condvar::new();
/// How many of the messages that were taken have left, and their bytes. Outside of the queue's lock,
/// so that the thread does not take it for every few messages.
static DONE: AtomicU64 = AtomicU64::new(0);
static DONE_BYTES: AtomicU64 = AtomicU64::new(0);
/// How many flushes wait.
static FLUSHES: AtomicUsize = AtomicUsize::new(0);
static OPEN: AtomicBool = AtomicBool::new(false);
/// setlogmask(3): bit n lets priority n through.
static MASK: AtomicI32 = AtomicI32::new(0xff);
/// The longest text that the transport takes.
static LIMIT: AtomicUsize = AtomicUsize::new(format::LONGEST);

fn queue() -> MutexGuard<'static, Option<Queue>> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn with<T>(f: impl FnOnce(&mut Queue) -> T) -> T {
    f(queue().get_or_insert_with(Queue::new))
}

impl Queue {
    fn new() -> Self {
        let config = Arc::new(Config {
            ident: String::new(),
            options: 0,
            facility: libc::LOG_USER,
            transport: Transport::Local(PathBuf::from(LOCAL_LOGGER)),
            attached: false,
        });
        let opening = Entry::Open(Arc::clone(&config));
        Self {
            waiting: Batch { entries: VecDeque::from([opening]), text: Vec::new() },
            taken: 0,
            taken_bytes: 0,
            dropped: 0,
            gap: 0,
            connected: false,
            unreachable: false,
            reached: false,
            config,
            sender: Sender::None,
            sleep: Sleep::No,
        }
    }

    fn queued(&self) -> usize {
        (self.taken - DONE.load(Ordering::SeqCst)) as usize
    }

    fn queued_bytes(&self) -> usize {
        (self.taken_bytes - DONE_BYTES.load(Ordering::SeqCst)) as usize
    }

    fn push(&mut self, priority: i32, text: &[u8], fields: &[u8]) {
        let bytes = self.queued_bytes() + text.len() + fields.len();
        if bytes > CAPACITY || self.queued() >= MOST {
            self.gap += 1;
            self.dropped += 1;
        } else {
            self.tell_gap();
            self.append(priority, text, fields);
        }
        let busy = self.waiting.text.len() >= LINGER_BYTES;
        self.wake(if busy { Sleep::Lingering } else { Sleep::Deep });
    }

    fn append(&mut self, priority: i32, text: &[u8], fields: &[u8]) {
        let time = SystemTime::now();
        zone::look(seconds(time));
        let entry = Entry::Message { priority, time, text: text.len(), fields: fields.len() };
        self.waiting.entries.push_back(entry);
        self.waiting.text.extend_from_slice(text);
        self.waiting.text.extend_from_slice(fields);
        self.taken += 1;
        self.taken_bytes += (text.len() + fields.len()) as u64;
    }

    /// Where messages were dropped, a line stands in their place.
    fn tell_gap(&mut self) {
        let dropped = std::mem::take(&mut self.gap);
        if dropped > 0 {
            let text =
                format!("{dropped} messages were dropped: the logger did not take them in time");
            self.append(libc::LOG_WARNING, text.as_bytes(), &[]);
        }
    }

    /// Wakes the thread if it sleeps as deep as that, or deeper.
    fn wake(&mut self, from: Sleep) {
        if self.sender == Sender::None {
            let started = sender::start();
            self.sender = if started { Sender::Thread } else { Sender::Refused };
        }
        if self.sleep >= from {
            self.sleep = Sleep::No;
            FILLED.notify_one();
        }
    }

    fn is_drained(&self) -> bool {
        self.queued() == 0 && self.gap == 0
    }

    /// The logger was tried, and never reached.
    fn has_given_up(&self) -> bool {
        self.unreachable && !self.reached
    }
}

/// Waits for entries, and takes them all. For the thread.
pub(crate) fn take_waiting(into: &mut Batch) {
    let mut guard = queue();
    let mut lingered = false;
    loop {
        if let Some(queue) = guard.as_mut() {
            queue.tell_gap();
            if !queue.waiting.entries.is_empty() {
                queue.sleep = Sleep::No;
                std::mem::swap(&mut queue.waiting, into);
                return;
            }
            queue.sleep = if lingered { Sleep::Deep } else { Sleep::Lingering };
        }
        guard = if lingered {
            FILLED.wait(guard).unwrap_or_else(PoisonError::into_inner)
        } else {
            FILLED.wait_timeout(guard, LINGER).unwrap_or_else(PoisonError::into_inner).0
        };
        lingered = true;
    }
}

/// Takes what waits now, behind what `into` holds. For a thread that has not sent all of that yet,
/// and so tells of no gap: it is not over.
pub(crate) fn take_more(into: &mut Batch) {
    let more = with(|queue| std::mem::take(&mut queue.waiting));
    into.entries.extend(more.entries);
    into.text.extend_from_slice(&more.text);
}

/// Waits for a while, at most until somebody flushes.
pub(crate) fn pause(time: Duration) {
    let mut guard = queue();
    if let Some(queue) = guard.as_mut() {
        queue.sleep = Sleep::Pausing;
    }
    guard = FILLED.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner).0;
    if let Some(queue) = guard.as_mut() {
        queue.sleep = Sleep::No;
    }
}

/// `count` messages with `bytes` of text have left the queue.
pub(crate) fn note_done(count: usize, bytes: usize) {
    DONE_BYTES.fetch_add(bytes as u64, Ordering::SeqCst);
    let done = DONE.fetch_add(count as u64, Ordering::SeqCst) + count as u64;
    crate::streams::note_sent(done);
    // Whoever flushes counts itself first, and then looks at what is done: one of the two is seen.
    if FLUSHES.load(Ordering::SeqCst) > 0 {
        with(|_| DRAINED.notify_all());
    }
}

/// Whether the logger was reached just now.
pub(crate) fn note_connection(connected: bool) {
    with(|queue| {
        queue.connected = connected;
        queue.unreachable = !connected;
        queue.reached |= connected;
        if !connected {
            DRAINED.notify_all();
        }
    });
}

/// What the last `openlog` has set; the thread may not be there yet.
pub(crate) fn newest_config() -> Arc<Config> {
    with(|queue| Arc::clone(&queue.config))
}

/// How many messages have left the queue: for the keeper of [`crate::streams`].
#[cfg(target_os = "linux")]
pub(crate) fn done() -> u64 {
    DONE.load(Ordering::SeqCst)
}

/// Nothing waits to be sent.
pub(crate) fn is_drained() -> bool {
    queue().as_ref().is_none_or(Queue::is_drained)
}

/// Whether the logger that is now meant was ever reached.
pub(crate) fn was_reached() -> bool {
    with(|queue| queue.reached)
}

/// Whether [`open`] was called in this process, by whichever of its threads.
pub fn is_open() -> bool {
    OPEN.load(Ordering::Relaxed)
}

/// openlog(3). `LOG_NDELAY` has the thread connect at once.
pub fn open(config: Config) {
    OPEN.store(true, Ordering::Relaxed);
    with(|queue| {
        look();
        zone::look(seconds(SystemTime::now()));
        LIMIT.store(config.transport.longest(), Ordering::Relaxed);
        let now = config.options & libc::LOG_NDELAY != 0;
        let elsewhere = config.transport != queue.config.transport;
        queue.reached &= !elsewhere;
        queue.config = Arc::new(config);
        queue.waiting.entries.push_back(Entry::Open(Arc::clone(&queue.config)));
        if now || (elsewhere && queue.sender != Sender::None) {
            queue.wake(Sleep::Pausing);
        }
    });
}

/// Connects now, as far as that can be done, and waits for it: the way to the logger may be cut off
/// in a moment (chroot(2)).
pub fn connect(timeout: Duration) {
    let Some(config) = queue().as_ref().map(|queue| Config::clone(&queue.config)) else { return };
    let options = config.options;
    open(Config { options: options | libc::LOG_NDELAY, ..config.clone() });
    let begun = Instant::now();
    let done = || {
        let taken = |q: &Queue| q.waiting.entries.is_empty() && q.sleep != Sleep::No;
        queue().as_ref().is_none_or(|q| q.unreachable || taken(q))
    };
    while !done() && begun.elapsed() < timeout {
        std::thread::sleep(Duration::from_millis(1));
    }
    open(config);
}

/// closelog(3): messages that wait are sent first.
pub fn close() {
    with(|queue| {
        queue.waiting.entries.push_back(Entry::Close);
        if queue.sender != Sender::None {
            queue.wake(Sleep::Deep);
        }
    });
}

fn seconds(time: SystemTime) -> i64 {
    format::second(time) as i64
}

/// setlogmask(3): returns the mask before; 0 changes nothing.
pub fn set_mask(mask: i32) -> i32 {
    if mask == 0 { MASK.load(Ordering::Relaxed) } else { MASK.swap(mask, Ordering::Relaxed) }
}

/// Whether setlogmask(3) lets this priority through.
pub fn is_let_through(priority: i32) -> bool {
    MASK.load(Ordering::Relaxed) & (1 << (priority & 7)) != 0
}

/// The longest text that the transport takes; a longer one is cut here.
pub fn longest() -> usize {
    LIMIT.load(Ordering::Relaxed)
}

/// syslog(3): takes the message into the queue. Never blocks on anything but the queue's lock.
pub fn log(priority: i32, text: &[u8]) {
    if is_let_through(priority) {
        let text = format::cut(text, longest());
        with(|queue| queue.push(priority, text, &[]));
    }
}

/// [`log`] with fields: names and their values.
pub fn log_fields<'a>(
    priority: i32,
    text: &[u8],
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
) {
    if is_let_through(priority) {
        let text = format::cut(text, longest());
        let fields = format::Fields::pack(fields);
        with(|queue| queue.push(priority, text, &fields));
    }
}

/// [`log`]; returns which message it became: it has been sent when so many have. `None` where it is
/// masked or was dropped.
pub fn log_with_ticket(priority: i32, text: &[u8]) -> Option<u64> {
    if !is_let_through(priority) {
        return None;
    }
    let text = format::cut(text, longest());
    with(|queue| {
        let dropped = queue.dropped;
        queue.push(priority, text, &[]);
        (queue.dropped == dropped).then_some(queue.taken)
    })
}

/// [`log`], then [`flush_last`]: the last words of a dying process.
pub fn log_now(priority: i32, text: &[u8], timeout: Duration) {
    log(priority, text);
    flush_last(timeout);
}

/// Waits until all is sent; `false` when the time was up first.
pub fn flush(timeout: Duration) -> bool {
    wait_drained(timeout, |_| timeout)
}

/// [`flush`] at the end of a process, which hardly waits for a logger that was never reached.
pub fn flush_last(timeout: Duration) -> bool {
    wait_drained(timeout, |config| timeout.min(config.patience()))
}

/// Whether [`flush_last`] has nothing to wait for.
pub fn is_settled() -> bool {
    queue().as_ref().is_none_or(|queue| {
        queue.is_drained() || (queue.has_given_up() && queue.config.patience().is_zero())
    })
}

/// `never_reached` says how long to wait for a logger that never was.
fn wait_drained(timeout: Duration, never_reached: impl Fn(&Config) -> Duration) -> bool {
    let begun = Instant::now();
    let mut guard = queue();
    FLUSHES.fetch_add(1, Ordering::SeqCst);
    let drained = loop {
        let Some(waiting) = guard.as_mut() else { break true };
        if waiting.is_drained() {
            break true;
        }
        let limit = if waiting.has_given_up() { never_reached(&waiting.config) } else { timeout };
        let left = limit.saturating_sub(begun.elapsed());
        if left.is_zero() {
            break false;
        }
        if waiting.sender == Sender::Refused {
            drop(guard);
            let sent = sender::send_here(left);
            guard = queue();
            break sent;
        }
        // Whatever the thread is waiting for, now is the time to look.
        waiting.wake(Sleep::Pausing);
        guard =
            DRAINED.wait_timeout(guard, left.min(LOOK)).unwrap_or_else(PoisonError::into_inner).0;
    };
    FLUSHES.fetch_sub(1, Ordering::SeqCst);
    drop(guard);
    drained
}

/// What is sent, waits, and was dropped.
pub fn stats() -> Stats {
    queue().as_ref().map_or_else(Stats::default, |queue| Stats {
        connected: queue.connected,
        queued: queue.queued(),
        queued_bytes: queue.queued_bytes(),
        sent: DONE.load(Ordering::SeqCst),
        dropped: queue.dropped,
    })
}

/// The socket of the local logger, where messages go there and nobody listens.
pub fn missing() -> Option<PathBuf> {
    let (config, connected) =
        queue().as_ref().map(|queue| (Arc::clone(&queue.config), queue.connected))?;
    let (Transport::Local(path) | Transport::Journal(path)) = &config.transport else {
        return None;
    };
    // The connection stays where the path is out of reach by now (chroot(2)).
    (!connected && local::Local::connect(path).is_err()).then(|| path.clone())
}

/// Whether what is written to stderr goes where messages go: to the journal.
pub fn reaches_stderr() -> bool {
    queue().as_ref().is_some_and(|queue| queue.config.goes_to_stderr())
}

/// [`log_now`] of what stderr, if somebody reads it, is told as well, once.
pub fn alarm_now(text: &str, stderr: bool, timeout: Duration) {
    let told = stderr && !reaches_stderr();
    if told {
        sender::write_stderr(format!("{}: {text}\n", newest_config().ident).as_bytes());
    }
    log_now(if told { libc::LOG_ERR | TOLD } else { libc::LOG_ERR }, text.as_bytes(), timeout);
}

impl Config {
    /// It is a local one, and not there.
    fn lacks_logger(&self) -> bool {
        let (Transport::Local(path) | Transport::Journal(path)) = &self.transport else {
            return false;
        };
        !path.exists()
    }

    /// How long the end of a process waits for a logger that was never reached: not at all where there
    /// is none, unless messages go to stderr.
    fn patience(&self) -> Duration {
        let shown = self.attached || self.options & libc::LOG_PERROR != 0;
        if self.lacks_logger() && !shown { Duration::ZERO } else { UNREACHABLE }
    }

    /// To the journal, and so does what is written to stderr.
    fn goes_to_stderr(&self) -> bool {
        matches!(self.transport, Transport::Journal(_)) && journal::reads(2)
    }
}
