//! The memory that the daemon and its keeper share: lines on their way from one to the other.
//!
//! The keeper appends lines to a ring at [`Shared::head`]; the daemon's thread hands them on to the
//! syslog queue, notes in each record which message it became (its ticket), and frees it at
//! [`Shared::tail`] when that message has been sent. Should the daemon die, what lies between is
//! the keeper's to send, but for the records whose message had been sent already.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::line::{LONGEST, Line};
use super::memory::Spare;
use crate::syslog::local::TOGETHER;
use crate::zone::Zone;

/// Bytes of lines that wait for the daemon's thread, or for the logger: as many as the queue has.
/// Memory only where they are used.
pub const RING: usize = 8 << 20;
/// When more than this is used, lines are let go of that were handed on and are not sent yet.
pub const CROWDED: u64 = (RING / 4 * 3) as u64;
/// An empty ring is begun anew behind this, so that a calm daemon uses only its first pages.
const CALM: usize = 64 << 10;
/// Before a record's text: its ticket, its length, its stream.
pub const HEADER: usize = 16;
/// What a record may take, the rest of the ring that it does not fit into included.
const LARGEST: usize = 2 * (LONGEST + HEADER + 8);
/// The keeper reads so many bytes at a time.
pub const CHUNK: usize = 16 << 10;
/// A byte read may need so much of the ring: a line of one letter and its newline, 24.
const GROWTH: usize = 12;

/// A record's ticket before it is handed on.
pub const WAITS: u64 = 0;
/// A record that nobody need send any more: masked, or counted as dropped.
pub const GONE: u64 = u64::MAX;
/// Instead of a stream: nothing but the rest of the ring before it begins anew.
pub const FILLER: u32 = u32::MAX;

/// Where the keeper sends what it must send itself, ready to use.
#[derive(Debug, Clone, Copy)]
pub struct Destination {
    /// A socket's address (unix(7)).
    pub address: libc::sockaddr_un,
    /// `ident[pid]: `, or for the journal the lines that say the same.
    pub tag: [u8; 512],
    /// Of the tag.
    pub tag_length: usize,
    /// The journal's native protocol, not RFC 3164.
    pub journal: bool,
    /// The facility's bits.
    pub facility: i32,
}

/// All of it. Mapped as zeroes, which is how it begins.
#[derive(Debug)]
#[repr(C)]
pub struct Shared {
    /// How many messages the syslog queue has sent, ever.
    pub sent: AtomicU64,
    /// How many it had sent when the call began that sends `flight`.
    pub before_flight: AtomicU64,
    /// What goes, or went last, to the logger in one system call. The kernel notes in each what of it
    /// it took, as soon as it did: so it is known even if that call never came back.
    pub flight: UnsafeCell<[libc::mmsghdr; TOGETHER]>,
    /// Where the keeper appends.
    pub head: AtomicU64,
    /// Where the daemon's thread reads on.
    pub taken: AtomicU64,
    /// Where the oldest record is.
    pub tail: AtomicU64,
    /// The daemon asks for all that was printed so far.
    pub asked: AtomicU32,
    /// The keeper has read all that was printed when this was asked for.
    pub answered: AtomicU32,
    /// The keeper shall end, without a word.
    pub leave: AtomicU32,
    /// The daemon's thread wants to be woken for the next record.
    pub thread_sleeps: AtomicU32,
    /// The keeper wants to be woken when there is room.
    pub keeper_waits: AtomicU32,
    /// setlogmask(3).
    pub mask: AtomicI32,
    /// Which destination counts.
    pub current: AtomicUsize,
    /// One is read while the other is written.
    pub destinations: [UnsafeCell<Destination>; 2],
    /// Local time.
    pub zone: UnsafeCell<Zone>,
    /// The keeper's, by stream.
    pub lines: [UnsafeCell<Line>; 2],
    /// The keeper's: what it has just read.
    pub chunk: UnsafeCell<[u8; CHUNK]>,
    /// The keeper's: a message on its way out.
    pub message: UnsafeCell<[u8; LONGEST + 1024]>,
    /// The keeper's: what of the daemon's memory it does not need.
    pub spare: UnsafeCell<[Spare; 1024]>,
    /// Of these.
    pub spares: AtomicUsize,
    /// The keeper's: what ps(1) shows of it.
    pub title: UnsafeCell<[u8; 96]>,
    ring: UnsafeCell<[u64; RING / 8]>,
}

// SAFETY: shared between two processes and their threads. What is not atomic belongs to one of them
// at a time: as said at each field, and for the ring by `head` and `taken`.
unsafe impl Sync for Shared {}

/// A record in the ring.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Which message of the queue it became.
    pub ticket: &'a AtomicU64,
    /// 0 for standard output, 1 for standard error, or [`FILLER`].
    pub stream: u32,
    /// The text.
    pub text: &'a [u8],
    /// Where the next one begins.
    pub end: u64,
}

impl Shared {
    /// Maps it: shared with the children of fork that this process will have. Never unmapped.
    pub fn map() -> Result<&'static Self, i32> {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, of zeroes, at an address that is the kernel's choice.
        let address =
            unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Self>(), access, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(nix::errno::Errno::last_raw());
        }
        // SAFETY: zeroes are a valid value, the mapping is aligned to a page, and stays.
        Ok(unsafe { &*address.cast::<Self>() })
    }

    /// Whether a chunk may be read: how many bytes at most.
    pub fn chunk_room(&self) -> usize {
        let used = self.head.load(Ordering::SeqCst) - self.tail.load(Ordering::SeqCst);
        let room = RING.saturating_sub(used as usize).saturating_sub(LARGEST);
        (room / GROWTH).min(CHUNK)
    }

    /// Appends a record. For the keeper, which has seen to it that there is room.
    pub fn append(&self, stream: u32, text: &[u8]) {
        let need = (HEADER + text.len() + 7) & !7;
        let mut head = self.head.load(Ordering::SeqCst);
        let at = head as usize % RING;
        let is_empty = self.tail.load(Ordering::SeqCst) == head;
        if at + need > RING || (is_empty && at > CALM) {
            self.write(at, FILLER, &[]);
            head += (RING - at) as u64;
            if is_empty {
                self.give_back(at);
            }
        }
        self.write(head as usize % RING, stream, text);
        self.head.store(head + need as u64, Ordering::SeqCst);
    }

    /// The pages that a burst has needed, up to `at`, but for the first and for that of `at` itself.
    fn give_back(&self, at: usize) {
        const PAGE: usize = 64 << 10;
        let ring = self.ring.get().cast::<u8>().addr();
        let begin = (ring + CALM).next_multiple_of(PAGE);
        let end = (ring + at) / PAGE * PAGE;
        if end > begin {
            // SAFETY: the ring is empty, so that nobody reads there, and the caller alone writes;
            // async-signal-safe. Read again, it is zeroes.
            unsafe { libc::madvise(begin as *mut libc::c_void, end - begin, libc::MADV_REMOVE) };
        }
    }

    fn write(&self, at: usize, stream: u32, text: &[u8]) {
        let start = self.ring.get().cast::<u8>().wrapping_add(at);
        // SAFETY: `at` is a multiple of 8 below RING, so that there is room for a header; the caller
        // has made sure that the text fits too. Nobody else reads or writes behind `head`.
        unsafe {
            start.cast::<u64>().write(WAITS);
            start.add(8).cast::<u32>().write(text.len() as u32);
            start.add(12).cast::<u32>().write(stream);
            std::ptr::copy_nonoverlapping(text.as_ptr(), start.add(HEADER), text.len());
        }
    }

    /// The record at a place between `tail` and `head`.
    pub fn record(&self, place: u64) -> Record<'_> {
        let at = place as usize % RING;
        let start = self.ring.get().cast::<u8>().wrapping_add(at);
        // SAFETY: `append` has written a record here, and nobody writes there until it is freed, but
        // for the ticket, which is atomic.
        unsafe {
            let length = start.add(8).cast::<u32>().read() as usize;
            let stream = start.add(12).cast::<u32>().read();
            let size = if stream == FILLER { RING - at } else { (HEADER + length + 7) & !7 };
            Record {
                ticket: &*start.cast::<AtomicU64>(),
                stream,
                text: std::slice::from_raw_parts(start.add(HEADER), length),
                end: place + size as u64,
            }
        }
    }

    /// Whether a record need not be sent any more.
    pub fn is_sent(&self, record: &Record<'_>) -> bool {
        match record.ticket.load(Ordering::SeqCst) {
            _ if record.stream == FILLER => true,
            WAITS => false,
            GONE => true,
            ticket => ticket <= self.sent.load(Ordering::SeqCst),
        }
    }

    /// The daemon is dead: the messages that the last system call took have been sent.
    pub fn count_flight(&self) {
        // SAFETY: nobody writes there any more.
        let flight = unsafe { &*self.flight.get() };
        // The journal and the local logger get no empty message.
        let taken = flight.iter().take_while(|header| header.msg_len > 0).count() as u64;
        let before = self.before_flight.load(Ordering::SeqCst);
        self.sent.fetch_max(before + taken, Ordering::SeqCst);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_as_they_went_in_round_after_round() {
        let shared = Shared::map().unwrap();
        let mut place = 0;
        for round in 0..4000usize {
            let text = vec![b'a' + (round % 26) as u8; round * 37 % LONGEST];
            let before = shared.head.load(Ordering::SeqCst);
            shared.append(u32::from(round % 2 == 1), &text);
            let mut record = shared.record(place);
            if record.stream == FILLER {
                assert!(shared.is_sent(&record));
                record = shared.record(record.end);
            }
            assert_eq!((record.text, record.stream), (text.as_slice(), (round % 2) as u32));
            assert!(!shared.is_sent(&record));
            record.ticket.store(round as u64 + 1, Ordering::SeqCst);
            assert!(!shared.is_sent(&record));
            shared.sent.store(round as u64 + 1, Ordering::SeqCst);
            assert!(shared.is_sent(&record));
            place = record.end;
            assert!(before < place);
            // Not always empty: then it is begun anew.
            if round % 500 == 0 {
                shared.tail.store(place, Ordering::SeqCst);
            }
        }
        assert_eq!(place, shared.head.load(Ordering::SeqCst));
        assert!(place > RING as u64);
    }

    #[test]
    fn a_chunk_always_fits() {
        let shared = Shared::map().unwrap();
        loop {
            let room = shared.chunk_room();
            if room == 0 {
                break;
            }
            for _ in 0..room.div_ceil(2) {
                shared.append(0, b"x");
            }
            shared.append(0, &[b'y'; LONGEST]);
            assert!(shared.head.load(Ordering::SeqCst) <= RING as u64);
        }
        assert!(shared.head.load(Ordering::SeqCst) > RING as u64 / 2);
    }
}
