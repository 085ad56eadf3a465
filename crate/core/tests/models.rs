//! The ring and the queue as `loom` runs them: by every order in which their threads can take turns. The
//! very same files as in the core, with loom's types in the place of those of `std`.
#![allow(dead_code, reason = "not all of the files is needed here")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(missing_docs, reason = "as above")]

#[path = "../src/output/line.rs"]
mod line;
#[path = "../src/syslog/message.rs"]
mod message;
#[allow(unused_imports, reason = "only its cell is needed")]
#[path = "../src/sync.rs"]
mod of_std;
#[path = "../src/syslog/queue.rs"]
mod queue;
#[path = "../src/output/ring.rs"]
mod ring;

mod signal_safe {
    pub fn now_ms() -> i64 {
        0
    }
}

mod sys {
    pub unsafe fn remove_pages(_start: usize, _size: usize) {}
}

mod syslog {
    pub(crate) use crate::{message, queue};
}

mod zone {
    pub fn look(_now: i64) {}
}

/// What the queue knows of the rest of the core.
mod config {
    #[derive(Debug, Clone)]
    pub struct Config {
        pub transport: u8,
    }

    impl Config {
        pub fn unopened() -> Self {
            Self { transport: 0 }
        }

        pub fn is_shown(&self) -> bool {
            false
        }
    }
}

fn note_sent(done: u64) {
    SENT.fetch_max(done, sync::Ordering::SeqCst);
}

loom::lazy_static! {
    static ref SENT: sync::AtomicU64 = sync::AtomicU64::new(0);
    static ref DEAD: loom::sync::Mutex<bool> = loom::sync::Mutex::new(false);
}

thread_local! {
    /// See [`sync::Condvar::wait_timeout`]. All threads of a model are one of the system's.
    static SHORT: std::cell::Cell<Duration> = const { std::cell::Cell::new(Duration::from_millis(5)) };
}

loom::thread_local! {
    /// This thread is one of the daemon's, which may die.
    static MORTAL: std::cell::Cell<bool> = std::cell::Cell::new(false);
}

/// What another process can see of this one: a store to shared memory, a system call. Of a dead daemon
/// none is made any more; the thread ends instead.
fn seen<T>(act: impl FnOnce() -> T) -> T {
    if !MORTAL.with(std::cell::Cell::get) {
        return act();
    }
    let dead = DEAD.lock().unwrap();
    if *dead {
        drop(dead);
        std::panic::resume_unwind(Box::new("dead"));
    }
    act()
}

/// A thread of the daemon.
fn daemon_thread(run: impl FnOnce() + Send + 'static) -> loom::thread::JoinHandle<()> {
    thread(move || {
        MORTAL.with(|mortal| mortal.set(true));
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    })
}

/// A thread with room for two lines.
fn thread(run: impl FnOnce() + Send + 'static) -> loom::thread::JoinHandle<()> {
    loom::thread::Builder::new().stack_size(64 << 10).spawn(run).unwrap()
}

/// Kills the daemon; returns when nothing of it can be seen any more.
fn kill_daemon() {
    *DEAD.lock().unwrap() = true;
}

/// In the place of `crate::sync`.
mod sync {
    use std::ops::{Deref, DerefMut};
    use std::sync::{LockResult, PoisonError};
    use std::time::Duration;

    /// That nobody uses it at the same time cannot be told from where the threads of a dead daemon stand.
    pub use crate::of_std::UnsafeCell;
    pub use loom::sync::atomic::Ordering;
    use loom::sync::atomic::fence;

    /// For loom `SeqCst` is no more than `AcqRel`, but for fences: so there is one with each access.
    macro_rules! atomic {
        ($name:ident, $value:ty) => {
            #[derive(Debug)]
            pub struct $name(loom::sync::atomic::$name);

            impl $name {
                pub fn new(value: $value) -> Self {
                    Self(loom::sync::atomic::$name::new(value))
                }
                pub fn load(&self, order: Ordering) -> $value {
                    fence(Ordering::SeqCst);
                    self.0.load(order)
                }
                pub fn store(&self, value: $value, order: Ordering) {
                    crate::seen(|| self.0.store(value, order));
                    fence(Ordering::SeqCst);
                }
                pub fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                    let before = crate::seen(|| self.0.fetch_add(value, order));
                    fence(Ordering::SeqCst);
                    before
                }
                pub fn fetch_sub(&self, value: $value, order: Ordering) -> $value {
                    let before = crate::seen(|| self.0.fetch_sub(value, order));
                    fence(Ordering::SeqCst);
                    before
                }
                pub fn fetch_max(&self, value: $value, order: Ordering) -> $value {
                    let before = crate::seen(|| self.0.fetch_max(value, order));
                    fence(Ordering::SeqCst);
                    before
                }
            }
        };
    }
    atomic!(AtomicU64, u64);
    atomic!(AtomicUsize, usize);

    #[derive(Debug)]
    pub struct Mutex<T>(loom::sync::Mutex<T>);

    #[derive(Debug)]
    pub struct MutexGuard<'a, T>(&'a Mutex<T>, Option<loom::sync::MutexGuard<'a, T>>);

    impl<T> Mutex<T> {
        pub fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }
        pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
            let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(MutexGuard(self, Some(guard)))
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;
        fn deref(&self) -> &T {
            self.1.as_ref().unwrap()
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.1.as_mut().unwrap()
        }
    }

    #[derive(Debug)]
    pub struct Condvar(loom::sync::Condvar);

    impl Condvar {
        pub fn new() -> Self {
            Self(loom::sync::Condvar::new())
        }
        pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
            let MutexGuard(mutex, inner) = guard;
            let inner = self.0.wait(inner.unwrap()).unwrap_or_else(PoisonError::into_inner);
            Ok(MutexGuard(mutex, Some(inner)))
        }
        /// A short wait is one that is over at once. A longer one never ends by itself: so a wake-up that is
        /// missed is a deadlock, which loom reports.
        pub fn wait_timeout<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            time: Duration,
        ) -> LockResult<(MutexGuard<'a, T>, ())> {
            if time > crate::SHORT.get() {
                return Ok((self.wait(guard).unwrap_or_else(PoisonError::into_inner), ()));
            }
            let MutexGuard(mutex, inner) = guard;
            drop(inner);
            loom::thread::yield_now();
            Ok((mutex.lock().unwrap_or_else(PoisonError::into_inner), ()))
        }
        pub fn notify_one(&self) {
            self.0.notify_one();
        }
        pub fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}

use loom::sync::Arc;
use std::collections::VecDeque;
use std::time::Duration;

use line::Line;
use queue::{Batch, Entry, Queue, empty_queue};
use ring::{GONE, Ring, is_sent};
use sync::{AtomicU64, AtomicUsize, Condvar, Mutex, Ordering};

/// Far longer than a model runs.
const LONG: Duration = Duration::from_secs(10_000);

fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    builder.check(model);
}

/// The texts of a batch, which is empty then, and how many bytes they had.
fn texts(batch: &mut Batch) -> (Vec<String>, usize) {
    let bytes = std::mem::take(&mut batch.text);
    let mut rest = &bytes[..];
    let mut texts = Vec::new();
    for entry in batch.entries.drain(..) {
        if let Entry::Message { text, fields, .. } = entry {
            let (text, after) = rest.split_at(text + fields);
            texts.push(String::from_utf8(text.to_vec()).unwrap());
            rest = after;
        }
    }
    (texts, bytes.len())
}

/// Daemon and relay: `printed` is in two pipes, the thread reads so many bytes at a time, another sends,
/// and both may die between any two things that they do. Each line arrives, once, in its order.
fn dies_whenever<const BYTES: usize, const MARKS: usize>(printed: [&'static str; 2], most: usize) {
    explore(2, move || {
        let pipes = Arc::new(loom::sync::Mutex::new(
            printed.map(|text| text.bytes().collect::<VecDeque<u8>>()),
        ));
        let ring = Arc::new(Ring::<BYTES, MARKS>::new());
        let queue = Arc::new(empty_queue!(|| true));
        let logger = Arc::new(loom::sync::Mutex::new(Vec::new()));

        let reader = {
            let (pipes, ring, queue) = (Arc::clone(&pipes), Arc::clone(&ring), Arc::clone(&queue));
            daemon_thread(move || {
                let mut lines = [Line::new(), Line::new()];
                loop {
                    let mut all = 0;
                    for (pipe, line) in lines.iter_mut().enumerate() {
                        all += read(&pipes, &ring, &queue, pipe, line, most);
                    }
                    ring.free(|ticket| is_sent(ticket, SENT.load(Ordering::SeqCst)));
                    if all == 0 {
                        break;
                    }
                }
            })
        };
        let sender = {
            let (queue, logger) = (Arc::clone(&queue), Arc::clone(&logger));
            daemon_thread(move || {
                let mut batch = Batch::default();
                for _ in 0..2 {
                    queue.add_entries(&mut batch);
                    let (texts, bytes) = texts(&mut batch);
                    let count = texts.len();
                    // One system call: the kernel says how many it took even if the caller is dead then.
                    seen(|| logger.lock().unwrap().extend(texts));
                    queue.note_done(count, bytes, note_sent);
                }
            })
        };
        let relay = thread(move || {
            kill_daemon();
            let sent = logger.lock().unwrap().clone();
            let mut all = sent.clone();
            relay_rest(&ring, &mut pipes.lock().unwrap(), sent.len() as u64, &mut all);
            for text in printed {
                let expected: Vec<&str> =
                    text.split('\n').filter(|line| !line.is_empty()).collect();
                let found: Vec<_> =
                    all.iter().filter(|line| expected.contains(&&***line)).collect();
                assert_eq!(found, expected, "{sent:?} were sent, {all:?} in all");
            }
            let expected: usize =
                printed.iter().map(|text| text.split_terminator('\n').count()).sum();
            assert_eq!(all.len(), expected, "{all:?}");
        });
        relay.join().unwrap();
        reader.join().unwrap();
        sender.join().unwrap();
    });
}

/// Reads as the daemon's thread does.
fn read<const BYTES: usize, const MARKS: usize>(
    pipes: &loom::sync::Mutex<[VecDeque<u8>; 2]>,
    ring: &Ring<BYTES, MARKS>,
    queue: &Queue,
    pipe: usize,
    line: &mut Line,
    most: usize,
) -> usize {
    let offsets = ring.read(pipe, most, |memory| {
        seen(|| {
            let mut pipes = pipes.lock().unwrap();
            let count = memory.len().min(pipes[pipe].len());
            for (to, from) in memory.iter_mut().zip(pipes[pipe].drain(..count)) {
                *to = from;
            }
            Ok::<_, ()>(count)
        })
    });
    let offsets = offsets.unwrap();
    let count = offsets.end - offsets.start;
    for offset in offsets {
        line.push(ring.byte(pipe, offset), &mut |text, bytes| {
            let ticket = ring.mark(pipe, bytes);
            let note = |number| ticket.store(number, Ordering::SeqCst);
            if !queue.push(6, text, &[], note) {
                ticket.store(GONE, Ordering::SeqCst);
            }
        });
    }
    count as usize
}

/// Sends what is left, as the relay does.
fn relay_rest<const BYTES: usize, const MARKS: usize>(
    ring: &Ring<BYTES, MARKS>,
    pipes: &mut [VecDeque<u8>; 2],
    sent: u64,
    all: &mut Vec<String>,
) {
    let mut send = |text: &[u8], _: usize| all.push(String::from_utf8(text.to_vec()).unwrap());
    let left = ring.left(
        |ticket| is_sent(ticket, sent),
        |pipe, offsets| {
            let mut line = Line::new();
            offsets.for_each(|offset| line.push(ring.byte(pipe, offset), &mut send));
            line.end(&mut send);
        },
    );
    for (pipe, offsets) in left.into_iter().enumerate() {
        let mut line = Line::new();
        offsets.for_each(|offset| line.push(ring.byte(pipe, offset), &mut send));
        pipes[pipe].drain(..).for_each(|byte| line.push(byte, &mut send));
        line.end(&mut send);
    }
}

#[test]
fn whenever_a_daemon_dies_each_line_arrives_once_in_order() {
    dies_whenever::<16, 4>(["a\nbc\n", ""], 4);
}

#[test]
fn the_same_with_lines_in_parts() {
    dies_whenever::<16, 4>(["ab\ncd", ""], 2);
}

#[test]
fn the_same_with_a_ring_that_is_begun_anew() {
    dies_whenever::<8, 4>(["a\nb\n", ""], 2);
}

#[test]
fn the_same_with_both_pipes() {
    dies_whenever::<16, 4>(["a\n", "x\ny"], 4);
}

#[test]
fn each_message_leaves_the_queue_once_and_no_thread_sleeps_beside_one() {
    explore(3, || {
        let queue = Arc::new(empty_queue!(|| true));
        let threads = ["a", "b"].map(|text| {
            let queue = Arc::clone(&queue);
            loom::thread::spawn(move || assert!(queue.push(6, text.as_bytes(), &[], |_| {})))
        });
        let (mut batch, mut all) = (Batch::default(), Vec::new());
        while all.len() < 2 {
            queue.wait_for_entries(&mut batch);
            let (texts, bytes) = texts(&mut batch);
            queue.note_done(texts.len(), bytes, note_sent);
            all.extend(texts);
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        all.sort_unstable();
        assert_eq!(all, ["a", "b"]);
        assert!(queue.is_drained());
    });
}

#[test]
fn a_message_is_noted_before_it_can_be_sent() {
    explore(3, || {
        let queue = Arc::new(empty_queue!(|| true));
        let ticket = Arc::new(AtomicU64::new(0));
        let thread = {
            let (queue, ticket) = (Arc::clone(&queue), Arc::clone(&ticket));
            loom::thread::spawn(move || {
                queue.push(6, b"a", &[], |number| ticket.store(number, Ordering::SeqCst));
            })
        };
        let mut batch = Batch::default();
        while texts(&mut batch).0.is_empty() {
            queue.wait_for_entries(&mut batch);
        }
        assert_eq!(ticket.load(Ordering::SeqCst), 1);
        thread.join().unwrap();
    });
}

/// A flush, and a thread that sends, which finds no logger at first if it `pauses`.
fn flush(pauses: bool) {
    explore(3, move || {
        let queue = Arc::new(empty_queue!(|| true));
        let thread = {
            let queue = Arc::clone(&queue);
            loom::thread::spawn(move || {
                let mut batch = Batch::default();
                let mut done = 0;
                while done == 0 {
                    queue.wait_for_entries(&mut batch);
                    let (texts, bytes) = texts(&mut batch);
                    done = texts.len();
                    if done > 0 && pauses {
                        queue.pause(LONG);
                    }
                    queue.note_done(done, bytes, note_sent);
                }
            })
        };
        assert!(queue.push(6, b"a", &[], |_| {}));
        assert!(queue.wait_drained(LONG, |_| LONG, |_| false));
        thread.join().unwrap();
    });
}

#[test]
fn a_flush_hears_when_all_is_sent() {
    flush(false);
}

#[test]
fn a_flush_that_looks_now_and_then_wakes_a_thread_that_pauses() {
    SHORT.set(Duration::from_millis(100));
    flush(true);
}
