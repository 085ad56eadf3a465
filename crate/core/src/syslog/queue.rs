//! The queue between those who log and the thread that sends. It is bounded and in order, and knows of each
//! message whether it has left.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::config::Config;
use crate::sync::{AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering};
use crate::zone;

/// The queue holds so many bytes of message text.
pub const CAPACITY: usize = 8 << 20;
/// And so many messages, should they be empty.
pub const MOST: usize = 512 << 10;
/// A flush looks this often whether there is still something to wait for.
const LOOK: Duration = Duration::from_millis(100);
/// When all is sent the thread looks once more after this, before it sleeps: a program that goes on
/// logging does not have to wake it, which costs more than to log.
const LINGER: Duration = Duration::from_millis(1);
/// Unless so many bytes are waiting.
const LINGER_BYTES: usize = 32 << 10;

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
    /// Messages for which the queue had no room.
    pub dropped: u64,
}

/// One entry; a message's text, and its fields behind it, are in the arena beside it.
#[derive(Debug)]
pub(crate) enum Entry {
    Message {
        priority: i32,
        time: SystemTime,
        text: usize,
        fields: usize,
    },
    /// `openlog`, and its number: the messages behind it are made so.
    Open(Arc<Config>, u64),
    /// `closelog`, and the number of the `openlog` before: the connection is closed when all before it is sent.
    Close(u64),
}

/// Entries and their text, in order.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub entries: VecDeque<Entry>,
    pub text: Vec<u8>,
}

/// The queue, empty, whose thread is started by the function given, which says whether it could be. A macro,
/// since with loom's types it is no constant.
macro_rules! empty_queue {
    ($start_sender:expr) => {
        $crate::syslog::queue::Queue {
            start_sender: $start_sender,
            waiting: Mutex::new(None),
            filled: Condvar::new(),
            drained: Condvar::new(),
            done: AtomicU64::new(0),
            done_bytes: AtomicU64::new(0),
            to_show: AtomicU64::new(0),
            shown: AtomicU64::new(0),
            flushes: AtomicUsize::new(0),
        }
    };
}
pub(crate) use empty_queue;

#[derive(Debug)]
pub(crate) struct Queue {
    /// Called once, with the lock: whoever logs first needs the thread.
    pub start_sender: fn() -> bool,
    pub waiting: Mutex<Option<Waiting>>,
    /// The thread waits here for messages.
    pub filled: Condvar,
    /// Flushes wait here for the queue to be empty.
    pub drained: Condvar,
    /// How many of the accepted messages have left, and their bytes. Outside of the lock, so that the thread
    /// does not need it for every few messages.
    pub done: AtomicU64,
    pub done_bytes: AtomicU64,
    /// The number of the last message that stderr or the console is to get as well, and of the last one that
    /// they have. Neither waits for a logger.
    pub to_show: AtomicU64,
    pub shown: AtomicU64,
    /// How many flushes are waiting.
    pub flushes: AtomicUsize,
}

/// What is behind the lock.
#[derive(Debug)]
pub(crate) struct Waiting {
    batch: Batch,
    /// How many messages were ever accepted, and their bytes. See [`Queue::done`].
    accepted: u64,
    accepted_bytes: u64,
    dropped: u64,
    /// How many were dropped since the last message that was accepted; a line is owed for them.
    gap: u64,
    connected: bool,
    /// The logger could not be reached when it was last tried.
    unreachable: bool,
    /// The logger was reached at least once.
    reached: bool,
    config: Arc<Config>,
    /// How often there was an `openlog`.
    opened: u64,
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

/// How deeply the thread sleeps, from not at all.
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

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, f: impl FnOnce(&mut Waiting) -> T) -> T {
        f(self.lock().get_or_insert_with(Waiting::new))
    }

    /// Asks what waits; `None` where the queue was never used.
    fn ask<T>(&self, f: impl FnOnce(&Waiting) -> T) -> Option<T> {
        self.lock().as_ref().map(f)
    }

    fn queued(&self, waiting: &Waiting) -> usize {
        (waiting.accepted - self.done.load(Ordering::SeqCst)) as usize
    }

    fn queued_bytes(&self, waiting: &Waiting) -> usize {
        (waiting.accepted_bytes - self.done_bytes.load(Ordering::SeqCst)) as usize
    }

    /// Adds a message; says whether there was room for it. `note` is told which one it is, before anybody
    /// can send it: it has been sent when so many have.
    pub fn push(&self, priority: i32, text: &[u8], fields: &[u8], note: impl FnOnce(u64)) -> bool {
        self.with(|waiting| {
            let bytes = self.queued_bytes(waiting) + text.len() + fields.len();
            let fits = bytes <= CAPACITY && self.queued(waiting) < MOST;
            if fits {
                waiting.tell_gap();
                note(waiting.accepted + 1);
                waiting.append(priority, text, fields);
                if waiting.config.is_shown() {
                    self.to_show.store(waiting.accepted, Ordering::SeqCst);
                }
            } else {
                waiting.gap += 1;
                waiting.dropped += 1;
            }
            let busy = waiting.batch.text.len() >= LINGER_BYTES;
            self.wake(waiting, if busy { Sleep::Lingering } else { Sleep::Deep });
            fits
        })
    }

    /// Has the thread started, if it was not tried before; whether there is one.
    pub fn start(&self) -> bool {
        self.with(|waiting| {
            self.start_once(waiting);
            waiting.sender == Sender::Thread
        })
    }

    fn start_once(&self, waiting: &mut Waiting) {
        if waiting.sender == Sender::None {
            let started = (self.start_sender)();
            waiting.sender = if started { Sender::Thread } else { Sender::Refused };
        }
    }

    /// Wakes the thread if it sleeps as deeply as that, or more.
    fn wake(&self, waiting: &mut Waiting, from: Sleep) {
        self.start_once(waiting);
        if waiting.sleep >= from {
            waiting.sleep = Sleep::No;
            self.filled.notify_one();
        }
    }

    /// The logger was tried, and never reached, and nothing else is to get the messages.
    fn has_given_up(&self, waiting: &Waiting) -> bool {
        waiting.unreachable && !waiting.reached && !self.owes_showing()
    }

    fn has_drained(&self, waiting: &Waiting) -> bool {
        self.queued(waiting) == 0 && waiting.gap == 0
    }

    /// Waits for entries, and moves them all into an empty batch. For the thread.
    pub fn wait_for_entries(&self, into: &mut Batch) {
        let mut guard = self.lock();
        let mut lingered = false;
        loop {
            let waiting = guard.get_or_insert_with(Waiting::new);
            waiting.tell_gap();
            if !waiting.batch.entries.is_empty() {
                waiting.sleep = Sleep::No;
                std::mem::swap(&mut waiting.batch, into);
                return;
            }
            waiting.sleep = if lingered { Sleep::Deep } else { Sleep::Lingering };
            guard = if lingered {
                self.filled.wait(guard).unwrap_or_else(PoisonError::into_inner)
            } else {
                let waited = self.filled.wait_timeout(guard, LINGER);
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
            lingered = true;
        }
    }

    /// Moves what waits now behind what `into` holds. For a thread that has not sent all of that yet, and
    /// so tells of no gap: it is not over.
    pub fn add_entries(&self, into: &mut Batch) {
        let more = self.with(|waiting| std::mem::take(&mut waiting.batch));
        into.entries.extend(more.entries);
        into.text.extend_from_slice(&more.text);
    }

    /// Waits for a while; `true` where that was cut short: somebody flushes.
    pub fn pause(&self, time: Duration) -> bool {
        let mut guard = self.lock();
        if let Some(waiting) = guard.as_mut() {
            waiting.sleep = Sleep::Pausing;
        }
        guard = self.filled.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner).0;
        let sleep = guard.as_mut().map(|waiting| std::mem::replace(&mut waiting.sleep, Sleep::No));
        sleep == Some(Sleep::No)
    }

    /// Whether stderr or the console is still to get a message.
    pub fn owes_showing(&self) -> bool {
        let shown = self.shown.load(Ordering::SeqCst).max(self.done.load(Ordering::SeqCst));
        shown < self.to_show.load(Ordering::SeqCst)
    }

    /// Stderr and the console have what they are to get of so many messages, counted from the first ever.
    pub fn note_shown(&self, count: u64) {
        self.shown.store(count, Ordering::SeqCst);
        if self.flushes.load(Ordering::SeqCst) > 0 {
            self.with(|_| self.drained.notify_all());
        }
    }

    /// `count` messages with `bytes` of text have left. `note` is told how many have by now, before a flush
    /// can know it.
    pub fn note_done(&self, count: usize, bytes: usize, note: impl FnOnce(u64)) {
        self.done_bytes.fetch_add(bytes as u64, Ordering::SeqCst);
        let done = self.done.fetch_add(count as u64, Ordering::SeqCst) + count as u64;
        note(done);
        // Whoever flushes counts itself first, and then looks at what is done: one of the two is seen.
        if self.flushes.load(Ordering::SeqCst) > 0 {
            self.with(|_| self.drained.notify_all());
        }
    }

    /// Whether the logger was reached just now.
    pub fn note_connection(&self, connected: bool) {
        self.with(|waiting| {
            waiting.connected = connected;
            waiting.unreachable = !connected;
            waiting.reached |= connected;
            if !connected {
                self.drained.notify_all();
            }
        });
    }

    /// What the last `openlog` has set, and its number; the thread may not be there yet.
    pub fn newest_config(&self) -> (Arc<Config>, u64) {
        self.with(|waiting| (Arc::clone(&waiting.config), waiting.opened))
    }

    /// Nothing waits to be sent.
    pub fn is_drained(&self) -> bool {
        self.ask(|waiting| self.has_drained(waiting)).unwrap_or(true)
    }

    /// Whether the logger that is now meant was ever reached.
    pub fn was_reached(&self) -> bool {
        self.with(|waiting| waiting.reached)
    }

    /// openlog(3); `at_once`: the thread is to connect now. `note` is told of the configuration, of several
    /// in their order.
    pub fn open(&self, config: Config, at_once: bool, note: impl FnOnce(&Config)) {
        self.with(|waiting| {
            note(&config);
            let elsewhere = config.transport != waiting.config.transport;
            let starts_to_show = config.is_shown() && !waiting.config.is_shown();
            waiting.reached &= !elsewhere;
            waiting.config = Arc::new(config);
            waiting.opened += 1;
            waiting.append_control(false);
            let is_news = elsewhere || starts_to_show;
            if at_once || (is_news && waiting.sender != Sender::None) {
                self.wake(waiting, Sleep::Pausing);
            }
        });
    }

    /// closelog(3).
    pub fn close(&self) {
        self.with(|waiting| {
            waiting.append_control(true);
            if waiting.sender != Sender::None {
                self.wake(waiting, Sleep::Deep);
            }
        });
    }

    /// Whether the thread has done what there was, or cannot.
    pub fn is_at_rest(&self) -> bool {
        let at_rest = |waiting: &Waiting| {
            let is_done = waiting.batch.entries.is_empty() && waiting.sleep != Sleep::No;
            waiting.unreachable || is_done
        };
        self.ask(at_rest).unwrap_or(true)
    }

    /// Whether all is sent; or it is shown, and the logger was tried, never reached, and is not worth a wait.
    pub fn is_settled(&self, never_reached: impl Fn(&Config) -> Duration) -> bool {
        let settled = |waiting: &Waiting| {
            let in_vain = self.has_given_up(waiting) && never_reached(&waiting.config).is_zero();
            self.has_drained(waiting) || in_vain
        };
        self.ask(settled).unwrap_or(true)
    }

    /// Waits until all is sent; `false` when the time was up first. `never_reached` says how long to wait
    /// for a logger that never was, once all is shown; `send_here` sends where there is no thread for it.
    pub fn wait_drained(
        &self,
        timeout: Duration,
        never_reached: impl Fn(&Config) -> Duration,
        send_here: impl FnOnce(Duration) -> bool,
    ) -> bool {
        let begun = Instant::now();
        let mut guard = self.lock();
        self.flushes.fetch_add(1, Ordering::SeqCst);
        let drained = loop {
            let Some(waiting) = guard.as_mut() else { break true };
            if self.has_drained(waiting) {
                break true;
            }
            let limit =
                if self.has_given_up(waiting) { never_reached(&waiting.config) } else { timeout };
            let left = limit.saturating_sub(begun.elapsed());
            if left.is_zero() {
                break false;
            }
            if waiting.sender == Sender::Refused {
                drop(guard);
                let sent = send_here(left);
                guard = self.lock();
                break sent;
            }
            // Whatever the thread is waiting for, now is the time to look.
            self.wake(waiting, Sleep::Pausing);
            let waited = self.drained.wait_timeout(guard, left.min(LOOK));
            guard = waited.unwrap_or_else(PoisonError::into_inner).0;
        };
        self.flushes.fetch_sub(1, Ordering::SeqCst);
        drop(guard);
        drained
    }

    /// What is sent, waits, and was dropped.
    pub fn stats(&self) -> Stats {
        let stats = |waiting: &Waiting| Stats {
            connected: waiting.connected,
            queued: self.queued(waiting),
            queued_bytes: self.queued_bytes(waiting),
            sent: self.done.load(Ordering::SeqCst),
            dropped: waiting.dropped,
        };
        self.ask(stats).unwrap_or_default()
    }

    /// What the last `openlog` has set, if there was any message or `openlog`.
    pub fn config(&self) -> Option<Arc<Config>> {
        self.ask(|waiting| Arc::clone(&waiting.config))
    }
}

impl Waiting {
    fn new() -> Self {
        let config = Arc::new(Config::unopened());
        let opening = Entry::Open(Arc::clone(&config), 0);
        Self {
            batch: Batch { entries: VecDeque::from([opening]), text: Vec::new() },
            accepted: 0,
            accepted_bytes: 0,
            dropped: 0,
            gap: 0,
            connected: false,
            unreachable: false,
            reached: false,
            config,
            opened: 0,
            sender: Sender::None,
            sleep: Sleep::No,
        }
    }

    fn append(&mut self, priority: i32, text: &[u8], fields: &[u8]) {
        let time = SystemTime::now();
        zone::look(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64));
        let entry = Entry::Message { priority, time, text: text.len(), fields: fields.len() };
        self.batch.entries.push_back(entry);
        self.batch.text.extend_from_slice(text);
        self.batch.text.extend_from_slice(fields);
        self.accepted += 1;
        self.accepted_bytes += (text.len() + fields.len()) as u64;
    }

    /// What `openlog` and `closelog` ask for. Between two messages only what is left of it counts: so a
    /// program that calls them for ever, while the logger takes nothing, does not fill the memory.
    fn append_control(&mut self, mut close: bool) {
        let mut open = !close;
        let entries = &mut self.batch.entries;
        loop {
            match entries.back() {
                Some(Entry::Close(_)) => close = true,
                Some(Entry::Open(..)) => open = true,
                Some(Entry::Message { .. }) | None => break,
            }
            entries.pop_back();
        }
        if close {
            entries.push_back(Entry::Close(self.opened));
        }
        if open {
            entries.push_back(Entry::Open(Arc::clone(&self.config), self.opened));
        }
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
}
