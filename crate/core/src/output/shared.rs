//! The memory that the daemon and its keeper share. The daemon writes; the keeper reads, when the daemon
//! is dead, and what it must know before that was written before it began.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};

use super::maps::Spare;
use super::ring::Ring;
use crate::syslog::transport::local::TOGETHER;
use crate::zone::Zone;

/// Of each pipe, so many bytes may wait for the logger: as many as the queue has. Memory only where they
/// are used.
pub const BYTES: usize = 8 << 20;
/// And so many messages of both.
pub const MARKS: usize = 256 << 10;

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
    /// setlogmask(3).
    pub mask: AtomicI32,
    /// Which destination counts.
    pub current: AtomicUsize,
    /// The other one is written to.
    pub destinations: [UnsafeCell<Destination>; 2],
    /// Local time.
    pub zone: UnsafeCell<Zone>,
    /// For the keeper: what of the daemon's memory it does not need.
    pub spare: UnsafeCell<[Spare; 1024]>,
    /// Of these.
    pub spares: AtomicUsize,
    /// What ps(1) shows of the keeper.
    pub title: UnsafeCell<[u8; 96]>,
    /// What was printed.
    pub ring: Ring<BYTES, MARKS>,
}

// SAFETY: what is not atomic is written by one thread of the daemon at a time, as is said where it is
// written, and read by the keeper when nobody writes it any more.
unsafe impl Sync for Shared {}

impl Shared {
    /// Maps it: shared with the children of fork that this process will have. Never unmapped.
    pub fn map() -> Result<&'static Self, i32> {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
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

    /// The daemon is dead: how many messages have been sent, those that the last system call took included.
    pub fn all_sent(&self) -> u64 {
        // SAFETY: nobody writes there any more.
        let flight = unsafe { &*self.flight.get() };
        // The journal and the local logger get no empty message.
        let taken = flight.iter().take_while(|header| header.msg_len > 0).count() as u64;
        let before = self.before_flight.load(Ordering::SeqCst);
        self.sent.load(Ordering::SeqCst).max(before + taken)
    }
}
