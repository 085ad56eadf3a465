//! The memory that the daemon and its relay share. The daemon writes; the relay reads, when the daemon is
//! dead, and what it must know before that was written before it began.

use std::cell::UnsafeCell;
use std::io::Write;
use std::sync::atomic::AtomicUsize;

use super::ring::Ring;
use crate::sys::maps::Spare;
use crate::syslog::Delivery;

/// Of each pipe, so many bytes may wait for the logger: as many as the queue has. Memory only where they
/// are used.
pub const BYTES: usize = 8 << 20;
/// And so many messages of both.
pub const MARKS: usize = 256 << 10;

/// All of it. Mapped as zeroes, which is how it begins.
#[derive(Debug)]
#[repr(C)]
pub struct Shared {
    /// What has been sent, and where the rest goes.
    pub delivery: Delivery,
    /// What the relay does not need of the daemon's memory, and how much of the list counts.
    pub(super) spare: UnsafeCell<[Spare; 1024]>,
    pub(super) spares: AtomicUsize,
    /// What ps(1) shows of the relay.
    pub(super) title: UnsafeCell<[u8; 96]>,
    /// What was printed.
    pub ring: Ring<BYTES, MARKS>,
}

// SAFETY: what is not atomic is written by one thread of the daemon at a time, as is said where it is
// written, and read by the relay when nobody writes it any more.
unsafe impl Sync for Shared {}

impl Shared {
    /// Maps it, for the daemon of this name: shared with the children of fork that this process will have.
    /// Never unmapped.
    pub fn map(name: &str) -> Result<&'static Self, i32> {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, of zeroes, at an address that is the kernel's choice.
        let address =
            unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Self>(), access, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(nix::errno::Errno::last_raw());
        }
        // SAFETY: zeroes are a valid value, the mapping is aligned to a page, and stays.
        let shared = unsafe { &*address.cast::<Self>() };
        // SAFETY: nobody else knows of this memory yet.
        let title = unsafe { &mut *shared.title.get() };
        let _ = write!(title.as_mut_slice(), "{name}: its output to syslog");
        Ok(shared)
    }
}
