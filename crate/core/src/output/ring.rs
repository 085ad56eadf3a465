//! What was printed and has not been sent yet: the bytes as they came, and where each message ends.
//!
//! The daemon's thread reads a pipe straight into a ring of bytes, and sets a mark behind each message
//! that it hands on, with its ticket: which message of the syslog queue it became. When that has been
//! sent, mark and bytes are freed. So no length and no kind lies among the bytes: a message is made of
//! them anew, by [`super::line`], whenever it is needed.
//!
//! Only the daemon writes here. When it is dead the relay, which only reads, finds all that was not
//! sent: the daemon may die between any two instructions, and each change is whole with one store, in
//! an order that makes sense at each step. A system call that reads a pipe ends before the process that
//! called it does, but what it returns may never be noted: so the memory that it reads into is full of a
//! byte that is in no text before, and what else is found there has been read.

use std::ops::Range;

use crate::sync::{AtomicU64, Ordering, UnsafeCell};
use crate::sys;

/// The ticket of a message before it is handed on.
pub const WAITS: u64 = 0;
/// The ticket of a message that nobody need send any more: masked, counted as dropped, or empty.
pub const GONE: u64 = u64::MAX;

/// Whether the message with this ticket need not be sent any more, when so many have been.
pub fn is_sent(ticket: u64, sent: u64) -> bool {
    ticket != WAITS && (ticket == GONE || ticket <= sent)
}

/// The byte that memory is full of into which nothing was read.
const BLANK: u8 = 0xff;
/// An empty ring of which more than one part in so many was used is begun anew: so a calm daemon uses only its
/// first pages.
const CALM: usize = 128;

/// The newest `BYTES` bytes of each of two pipes, and the marks of the newest `MARKS` messages. Zeroes
/// are an empty ring.
#[derive(Debug)]
#[repr(C)]
pub struct Ring<const BYTES: usize, const MARKS: usize> {
    pipes: [Pipe<BYTES>; 2],
    /// How many messages were marked, ever, and how many of them are freed.
    head: AtomicU64,
    tail: AtomicU64,
    marks: [Mark; MARKS],
}

#[derive(Debug)]
#[repr(C)]
struct Pipe<const BYTES: usize> {
    /// How many bytes were read, ever, and how many of them are freed.
    head: AtomicU64,
    tail: AtomicU64,
    /// Behind `head` the memory is [`BLANK`] up to here.
    blank: AtomicU64,
    /// Where the newest message ends. Only the daemon uses it.
    marked: AtomicU64,
    bytes: UnsafeCell<[u8; BYTES]>,
}

#[derive(Debug)]
struct Mark {
    /// Where the message ends among the bytes of its pipe, doubled, and which of the two that is.
    end: AtomicU64,
    ticket: AtomicU64,
}

// SAFETY: all but the bytes is atomic. They are read and written by one thread of the daemon; after its
// death, by the relay.
unsafe impl<const BYTES: usize, const MARKS: usize> Sync for Ring<BYTES, MARKS> {}

impl<const BYTES: usize, const MARKS: usize> Ring<BYTES, MARKS> {
    /// An empty ring, in memory that is not shared.
    #[allow(clippy::new_without_default, reason = "a stack may have no room for a ring")]
    pub fn new() -> Self {
        Self {
            pipes: std::array::from_fn(|_| Pipe {
                head: AtomicU64::new(0),
                tail: AtomicU64::new(0),
                blank: AtomicU64::new(0),
                marked: AtomicU64::new(0),
                bytes: UnsafeCell::new([0; BYTES]),
            }),
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            marks: std::array::from_fn(|_| Mark {
                end: AtomicU64::new(0),
                ticket: AtomicU64::new(0),
            }),
        }
    }

    /// Reads up to `most` bytes of a pipe, by `read`, which is given the memory for them and says how many
    /// there were. Makes room first: the oldest messages are freed, and wait in the queue alone. Returns
    /// the offsets of the bytes.
    pub fn read<E>(
        &self,
        pipe: usize,
        most: usize,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Range<u64>, E> {
        let pipe = &self.pipes[pipe & 1];
        while pipe.room() < most && self.free_oldest() {}
        pipe.read(most, read)
    }

    /// The byte at an offset at which [`Ring::read`] has put one.
    pub fn byte(&self, pipe: usize, offset: u64) -> u8 {
        self.pipes[pipe & 1].byte(offset)
    }

    /// Marks the next message of a pipe, which has so many bytes. Returns its ticket, to be set before it
    /// can be sent. Makes room for the mark first, as [`Ring::read`] does.
    pub fn mark(&self, pipe: usize, bytes: usize) -> &AtomicU64 {
        let head = self.head.load(Ordering::SeqCst);
        if head.abs_diff(self.tail.load(Ordering::SeqCst)) >= MARKS as u64 {
            self.free_oldest();
        }
        let marked = &self.pipes[pipe & 1].marked;
        let end = marked.load(Ordering::SeqCst) + bytes as u64;
        marked.store(end, Ordering::SeqCst);
        let mark = self.mark_at(head);
        mark.ticket.store(WAITS, Ordering::SeqCst);
        mark.end.store(end << 1 | (pipe & 1) as u64, Ordering::SeqCst);
        self.head.store(head + 1, Ordering::SeqCst);
        &mark.ticket
    }

    /// Frees what was sent; says whether there was any.
    pub fn free(&self, is_sent: impl Fn(u64) -> bool) -> bool {
        let mut freed = false;
        while self.has_marks() {
            let oldest = self.mark_at(self.tail.load(Ordering::SeqCst));
            if !is_sent(oldest.ticket.load(Ordering::SeqCst)) {
                break;
            }
            freed |= self.free_oldest();
        }
        if freed {
            self.pipes.iter().for_each(Pipe::begin_anew);
            self.begin_anew();
        }
        freed
    }

    /// Whether messages wait to be freed.
    pub fn has_marks(&self) -> bool {
        self.tail.load(Ordering::SeqCst) < self.head.load(Ordering::SeqCst)
    }

    /// Frees the oldest message, its bytes first: a mark whose bytes are freed counts for nothing. Says
    /// whether there was one.
    fn free_oldest(&self) -> bool {
        let tail = self.tail.load(Ordering::SeqCst);
        if !self.has_marks() {
            return false;
        }
        let (pipe, end) = self.mark_at(tail).pipe_and_end();
        self.pipes[pipe].tail.store(end, Ordering::SeqCst);
        self.tail.store(tail + 1, Ordering::SeqCst);
        true
    }

    fn mark_at(&self, number: u64) -> &Mark {
        &self.marks[(number % MARKS as u64) as usize]
    }

    /// As [`Pipe::begin_anew`], for the marks.
    fn begin_anew(&self) {
        if let Some(next) = anew(&self.head, &self.tail, MARKS) {
            self.tail.store(next, Ordering::SeqCst);
            self.head.store(next, Ordering::SeqCst);
            give_back(self.marks.as_ptr().addr(), size_of::<[Mark; MARKS]>());
        }
    }

    /// For the relay, when the daemon is dead: tells the messages that were not sent, each with its pipe
    /// and the offsets of its bytes. Returns, by pipe, the offsets of the bytes that are of no message yet.
    pub fn left(
        &self,
        is_sent: impl Fn(u64) -> bool,
        mut message: impl FnMut(usize, Range<u64>),
    ) -> [Range<u64>; 2] {
        let [out, err] = &self.pipes;
        let mut left = [out.left(), err.left()];
        let (tail, head) = (self.tail.load(Ordering::SeqCst), self.head.load(Ordering::SeqCst));
        for number in tail.max(head.saturating_sub(MARKS as u64))..head {
            let mark = self.mark_at(number);
            let (pipe, end) = mark.pipe_and_end();
            let left = &mut left[pipe];
            if !left.contains(&end.wrapping_sub(1)) {
                continue;
            }
            if !is_sent(mark.ticket.load(Ordering::SeqCst)) {
                message(pipe, left.start..end);
            }
            left.start = end;
        }
        left
    }
}

impl Mark {
    fn pipe_and_end(&self) -> (usize, u64) {
        let end = self.end.load(Ordering::SeqCst);
        ((end & 1) as usize, end >> 1)
    }
}

impl<const BYTES: usize> Pipe<BYTES> {
    fn room(&self) -> usize {
        let used = self.head.load(Ordering::SeqCst).abs_diff(self.tail.load(Ordering::SeqCst));
        BYTES.saturating_sub(used as usize)
    }

    fn read<E>(
        &self,
        most: usize,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<Range<u64>, E> {
        let head = self.head.load(Ordering::SeqCst);
        let at = (head % BYTES as u64) as usize;
        let size = most.min(self.room()).min(BYTES - at);
        let got = self.bytes.with_mut(|bytes| {
            // SAFETY: of the daemon only the calling thread uses the bytes; the relay does when that
            // is dead. The part is within the ring, and not what waits in it: `size` is bounded by both.
            let part = unsafe { std::slice::from_raw_parts_mut(bytes.cast::<u8>().add(at), size) };
            let end = head + size as u64;
            let blank = self.blank.load(Ordering::SeqCst).clamp(head, end);
            part.iter_mut().skip((blank - head) as usize).for_each(|byte| *byte = BLANK);
            // What is blank beyond the end stays so.
            self.blank.fetch_max(end, Ordering::SeqCst);
            read(part)
        })?;
        let end = head + got.min(size) as u64;
        self.head.store(end, Ordering::SeqCst);
        Ok(head..end)
    }

    fn byte(&self, offset: u64) -> u8 {
        // SAFETY: as in `read`.
        self.bytes.with(|bytes| unsafe { (*bytes)[(offset % BYTES as u64) as usize] })
    }

    /// The offsets of what is there when the daemon is dead, what it was reading then included.
    fn left(&self) -> Range<u64> {
        let tail = self.tail.load(Ordering::SeqCst);
        let head = self.head.load(Ordering::SeqCst).max(tail);
        let blank = self.blank.load(Ordering::SeqCst).min(head.saturating_add(BYTES as u64));
        let read = (head..blank).rev().find(|offset| self.byte(*offset) != BLANK);
        let head = read.map_or(head, |last| last + 1);
        tail.max(head.saturating_sub(BYTES as u64))..head
    }

    /// Begins anew, if it is empty and its calm part is used up. First nothing waits, then it is elsewhere.
    fn begin_anew(&self) {
        if let Some(next) = anew(&self.head, &self.tail, BYTES) {
            self.marked.store(next, Ordering::SeqCst);
            self.tail.store(next, Ordering::SeqCst);
            self.head.store(next, Ordering::SeqCst);
            give_back(self.bytes.with(|bytes| bytes.addr()), BYTES);
        }
    }
}

/// Where an empty ring begins once more, if its calm part is used up.
fn anew(head: &AtomicU64, tail: &AtomicU64, size: usize) -> Option<u64> {
    let (head, size) = (head.load(Ordering::SeqCst), size as u64);
    let is_empty = head == tail.load(Ordering::SeqCst);
    (is_empty && head % size > size / CALM as u64).then(|| head.next_multiple_of(size))
}

/// Gives back the pages that a burst has needed: those of an empty ring that are not in its calm part.
fn give_back(start: usize, size: usize) {
    const PAGE: usize = 64 << 10;
    let begin = (start + size / CALM).next_multiple_of(PAGE);
    let end = (start + size) / PAGE * PAGE;
    if end > begin {
        // SAFETY: these pages lie within the ring, in which there is nothing.
        unsafe { sys::remove_pages(begin, end - begin) };
    }
}
