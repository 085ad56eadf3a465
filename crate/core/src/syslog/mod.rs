//! Syslog that never blocks the event loop and loses nothing that it could keep.
//!
//! [`log`] reads the clock and copies the text into a bounded queue; that is all that the event loop
//! pays. A native thread ([`sender`]) takes what has gathered, formats it ([`format`](mod@format)) and
//! sends it to the logger ([`transport`]), many messages to a system call and in their order. While the logger is missing,
//! full or being restarted, messages wait in the queue. When the queue is full, the newest are
//! counted, and one line says how many were dropped.

pub mod format {
    //! What a message looks like, by transport.

    pub mod journal;
    pub mod rfc3164;
    pub mod rfc5424;
}
pub mod message;
pub(crate) mod queue;
pub mod sender;
pub mod transport {
    //! The ways to a logger.

    pub mod local;
    pub mod tcp;
}

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32};
use std::time::{Duration, Instant, SystemTime};

pub use self::queue::{CAPACITY, MOST, Stats};
use self::queue::{Queue, empty_queue};
use crate::sync::{AtomicU64, AtomicUsize, Condvar, Mutex, Ordering};

use crate::{sys, zone};

/// The local logger's socket.
pub const LOCAL_LOGGER: &str =
    if cfg!(target_os = "linux") { "/dev/log" } else { "/var/run/syslog" };
/// In a priority: stderr has this message already, so that it is not shown there again.
pub const TOLD: i32 = 1 << 16;
/// The end of a process waits no longer than this for a logger that was never reached.
const UNREACHABLE: Duration = Duration::from_millis(200);
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
        format::journal::look();
    }
}

impl Transport {
    /// To the local logger: at this socket, or at its own.
    pub fn local(path: Option<PathBuf>) -> Self {
        Self::Local(path.unwrap_or_else(|| PathBuf::from(LOCAL_LOGGER)))
    }

    /// To the journal: at this socket, or at its own.
    pub fn journal(path: Option<PathBuf>) -> Self {
        Self::Journal(path.unwrap_or_else(|| PathBuf::from(format::journal::SOCKET)))
    }

    /// Where messages go if nothing else was asked for: to the journal, where it reads our stdout or
    /// stderr anyhow (systemd.exec(5), `$JOURNAL_STREAM`), else to the local logger.
    pub fn default_here() -> Self {
        look();
        if format::journal::reads(1) || format::journal::reads(2) {
            Self::journal(None)
        } else {
            Self::local(None)
        }
    }

    /// The longest text of a message, in bytes. The journal takes more than a queue can hold.
    fn longest(&self) -> usize {
        if matches!(self, Self::Journal(_)) { CAPACITY / 2 } else { message::LONGEST }
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

static QUEUE: Queue = empty_queue!();
static OPEN: AtomicBool = AtomicBool::new(false);
/// setlogmask(3): bit n lets priority n through.
static MASK: AtomicI32 = AtomicI32::new(0xff);
/// The longest text that the transport takes.
static LIMIT: AtomicUsize = AtomicUsize::new(message::LONGEST);

/// What the last `openlog` has set; the thread may not be there yet.
pub(crate) fn newest_config() -> Arc<Config> {
    QUEUE.newest_config().0
}

/// How many messages have left the queue: for the keeper of [`crate::output`].
#[cfg(target_os = "linux")]
pub(crate) fn done() -> u64 {
    QUEUE.done.load(Ordering::SeqCst)
}

/// For the queue: a message is taken at this time.
pub(crate) fn note_time(time: SystemTime) {
    zone::look(seconds(time));
}

/// For the queue: the messages that are taken from now on are made so.
pub(crate) fn note_opening(config: &Config) {
    look();
    note_time(SystemTime::now());
    LIMIT.store(config.transport.longest(), Ordering::Relaxed);
}

/// So many have: for the queue.
pub(crate) fn note_sent(done: u64) {
    crate::output::to_syslog::note_sent(done);
}

/// Starts the thread that sends, which else is made with the first message: who needs it makes it while it
/// can be had. Whether there is one.
#[cfg(target_os = "linux")]
pub(crate) fn start() -> bool {
    QUEUE.start()
}

/// For the queue: whether there is a thread that sends, now.
pub(crate) fn start_sender() -> bool {
    sender::start()
}

/// Whether [`open`] was called in this process, by whichever of its threads.
pub fn is_open() -> bool {
    OPEN.load(Ordering::Relaxed)
}

/// openlog(3). `LOG_NDELAY` has the thread connect at once.
pub fn open(config: Config) {
    OPEN.store(true, Ordering::Relaxed);
    let now = config.options & libc::LOG_NDELAY != 0;
    QUEUE.open(config, now);
}

/// Connects now, as far as that can be done, and waits for it: the way to the logger may be cut off
/// in a moment (chroot(2)).
pub fn connect(timeout: Duration) {
    let Some(config) = QUEUE.config().map(|config| Config::clone(&config)) else { return };
    let options = config.options;
    open(Config { options: options | libc::LOG_NDELAY, ..config.clone() });
    let begun = Instant::now();
    while !QUEUE.is_at_rest() && begun.elapsed() < timeout {
        std::thread::sleep(Duration::from_millis(1));
    }
    open(config);
}

/// closelog(3): messages that wait are sent first.
pub fn close() {
    QUEUE.close();
}

fn seconds(time: SystemTime) -> i64 {
    message::second(time) as i64
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
        let text = message::cut(text, longest());
        QUEUE.push(priority, text, &[], |_| {});
    }
}

/// [`log`] with fields: names and their values.
pub fn log_fields<'a>(
    priority: i32,
    text: &[u8],
    fields: impl IntoIterator<Item = (&'a str, &'a str)>,
) {
    if is_let_through(priority) {
        let text = message::cut(text, longest());
        let fields = message::Fields::pack(fields);
        QUEUE.push(priority, text, &fields, |_| {});
    }
}

/// [`log`]; `note` gets which message it becomes, before that can be sent: it has been when so many have.
/// `false` where it is masked or was dropped.
pub fn log_noting(priority: i32, text: &[u8], note: impl FnOnce(u64)) -> bool {
    is_let_through(priority) && QUEUE.push(priority, message::cut(text, longest()), &[], note)
}

/// [`log`], then [`flush_last`]: the last words of a dying process.
pub fn log_now(priority: i32, text: &[u8], timeout: Duration) {
    log(priority, text);
    flush_last(timeout);
}

/// Waits until all is sent; `false` when the time was up first.
pub fn flush(timeout: Duration) -> bool {
    QUEUE.wait_drained(timeout, |_| timeout, sender::send_here)
}

/// [`flush`] at the end of a process, which hardly waits for a logger that was never reached.
pub fn flush_last(timeout: Duration) -> bool {
    QUEUE.wait_drained(timeout, |config| timeout.min(config.patience()), sender::send_here)
}

/// Whether [`flush_last`] has nothing to wait for.
pub fn is_settled() -> bool {
    QUEUE.is_settled(Config::patience)
}

/// What is sent, waits, and was dropped.
pub fn stats() -> Stats {
    QUEUE.stats()
}

/// The socket of the local logger, where messages go there and nobody listens.
pub fn missing() -> Option<PathBuf> {
    let config = QUEUE.config()?;
    let connected = QUEUE.stats().connected;
    let (Transport::Local(path) | Transport::Journal(path)) = &config.transport else {
        return None;
    };
    // The connection stays where the path is out of reach by now (chroot(2)).
    (!connected && transport::local::Local::connect(path).is_err()).then(|| path.clone())
}

/// Whether what is written to stderr goes where messages go: to the journal.
pub fn reaches_stderr() -> bool {
    QUEUE.config().is_some_and(|config| config.goes_to_stderr())
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
    /// Before openlog(3).
    pub(crate) fn unopened() -> Self {
        Self {
            ident: String::new(),
            options: 0,
            facility: libc::LOG_USER,
            transport: Transport::local(None),
            attached: false,
        }
    }

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
        matches!(self.transport, Transport::Journal(_)) && format::journal::reads(2)
    }
}
