//! What another process must know to send on where this one ends: what has been sent, what is let through,
//! and where it goes.
//!
//! It lies in memory that the two share. This process writes, the other one reads when this one is dead
//! ([`crate::output`] has such a process, and gives syslog the memory).

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::atomic::{AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use nix::sys::socket::UnixAddr;

use super::config::Config;
use super::format::header::{Header, Stamp, Text};
use super::format::{journal, rfc3164};
use crate::sys::{Flight, LOCAL_LOGGER};
use crate::zone::Zone;

/// The memory. Zeroes are how it begins.
#[derive(Debug)]
#[repr(C)]
pub struct Delivery {
    /// How many messages of the queue have been sent, ever.
    sent: AtomicU64,
    /// How many had been sent when the system call began that `flight` was last used for.
    before_flight: AtomicU64,
    flight: UnsafeCell<Flight>,
    /// setlogmask(3).
    mask: AtomicI32,
    /// Which of the two destinations counts. The other one is written to.
    current: AtomicUsize,
    destinations: [UnsafeCell<MaybeUninit<Destination>>; 2],
    zone: UnsafeCell<MaybeUninit<Zone>>,
}

// SAFETY: what is not atomic is written by one thread at a time, as is said where it is written, and read
// by the other process when nobody writes it any more.
unsafe impl Sync for Delivery {}

/// Where the other process sends, and what its messages begin with.
#[derive(Debug, Clone, Copy)]
pub struct Destination {
    /// The socket of a logger on this host.
    pub address: UnixAddr,
    /// Whether that is the journal's, and so is the format. Else the format is RFC 3164.
    pub is_journal: bool,
    /// The header of its format.
    pub header: Header<Text<512>>,
}

impl Destination {
    /// As openlog(3) says. The other process knows no other host: the local logger gets those messages.
    pub(super) fn new(config: &Config) -> Option<Self> {
        let local = Path::new(LOCAL_LOGGER);
        let path = config.transport.path().unwrap_or(local);
        let is_journal = config.transport.is_journal();
        let address = UnixAddr::new(path).or_else(|_| UnixAddr::new(local)).ok()?;
        let mut tag = Text::EMPTY;
        // What does not fit is left out.
        let _ = if is_journal {
            journal::write_tag(&mut tag, config)
        } else {
            rfc3164::write_tag(&mut tag, config)
        };
        let header = Header { tag, facility: config.facility, stamp: Stamp::UNSET };
        Some(Self { address, is_journal, header })
    }
}

impl Delivery {
    /// How many messages have been sent, ever.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

/// For the other process, when this one is dead.
impl Delivery {
    /// How many messages have been sent, those included that the last system call took.
    pub fn all_sent(&self) -> u64 {
        // SAFETY: nobody writes there any more. The journal and the local logger get no empty message.
        let taken = unsafe { &*self.flight.get() }.taken() as u64;
        let before = self.before_flight.load(Ordering::SeqCst);
        self.sent().max(before + taken)
    }

    /// Whether setlogmask(3) lets a severity through.
    pub fn lets_through(&self, severity: i32) -> bool {
        self.mask.load(Ordering::SeqCst) & (1 << severity) != 0
    }

    /// Where messages go.
    pub fn destination(&self) -> Destination {
        let current = self.current.load(Ordering::SeqCst) & 1;
        // SAFETY: it was written before it became the current one, by `Installed::install` at the latest.
        unsafe { (*self.destinations[current].get()).assume_init_read() }
    }

    /// Local time.
    pub fn zone(&self) -> Zone {
        // SAFETY: `Installed::install` has written it, before there was another process.
        unsafe { (*self.zone.get()).assume_init_read() }
    }
}

/// The memory that was given, if any was. All of this does nothing until then.
#[derive(Debug)]
pub struct Installed {
    delivery: OnceLock<&'static Delivery>,
    /// Worker threads call openlog(3) and setlogmask(3), too: one at a time writes what they have set.
    writing: Mutex<()>,
}

impl Installed {
    /// None was given yet.
    pub const fn new() -> Self {
        Self { delivery: OnceLock::new(), writing: Mutex::new(()) }
    }

    /// Gives the memory. More than once changes nothing.
    pub fn install(&self, delivery: &'static Delivery, zone: Zone, sent: u64) {
        // SAFETY: nobody reads it before there is another process, and zeroes are no zone yet.
        unsafe { (*delivery.zone.get()).write(zone) };
        let _ = self.delivery.set(delivery);
        self.note_sent(sent);
    }

    /// So many messages have been sent, ever. By whoever sends, one at a time.
    pub fn note_sent(&self, sent: u64) {
        if let Some(delivery) = self.delivery.get() {
            delivery.sent.fetch_max(sent, Ordering::SeqCst);
        }
    }

    /// Calls with what is to be sent in one system call, where the other process can see what became of it.
    /// So many messages have been sent before. By whoever sends, one at a time.
    pub fn in_sight<T>(&self, sent: u64, send: impl FnOnce(&mut Flight) -> T) -> T {
        let Some(delivery) = self.delivery.get() else { return send(&mut Flight::new()) };
        // SAFETY: only whoever sends comes here, one at a time; the other process reads it when that one is
        // dead.
        let flight = unsafe { &mut *delivery.flight.get() };
        // First nothing is in it, then it is behind so many messages.
        flight.clear();
        delivery.before_flight.store(sent, Ordering::SeqCst);
        send(flight)
    }

    /// What setlogmask(3) has set last, which is asked for with `newest`.
    pub fn set_mask(&self, newest: impl FnOnce() -> i32) {
        let Some(delivery) = self.delivery.get() else { return };
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        delivery.mask.store(newest(), Ordering::SeqCst);
    }

    /// What openlog(3) has set last, which is asked for with `newest`.
    pub fn set_destination<C: AsRef<Config>>(&self, newest: impl FnOnce() -> C) {
        let Some(delivery) = self.delivery.get() else { return };
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(destination) = Destination::new(newest().as_ref()) else { return };
        let next = (delivery.current.load(Ordering::SeqCst) & 1) ^ 1;
        // SAFETY: the other process reads the current one, and of this process's threads one has the lock.
        unsafe { (*delivery.destinations[next].get()).write(destination) };
        delivery.current.store(next, Ordering::SeqCst);
    }
}

impl Default for Installed {
    fn default() -> Self {
        Self::new()
    }
}
