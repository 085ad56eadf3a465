//! The keeper: a small process beside the daemon that reads what it prints, and outlives it.
//!
//! Standard output and standard error are pipes; the keeper reads them, makes lines of what it
//! reads, and puts them where the daemon's thread takes them from ([`super::shared`]). When the
//! daemon is dead, whatever it died of, what has not been sent by then is here or still in the
//! pipes, and the keeper sends it to the local logger itself. It ends when nobody can print any more:
//! a child of the daemon that lives on has its standard output still.
//!
//! It is a fork without exec, of a process with many threads. So, as in [`crate::fork`], it makes
//! **only async-signal-safe calls** (signal-safety(7)): no allocation, no lock, no panic. All it
//! needs is in [`Prepared`] and in the shared memory. It keeps no descriptor but its own three, no
//! working directory, nothing large of the daemon's memory; all signals are blocked, and it tells
//! the daemon of its end by none (clone(2) without an exit signal), so that nothing that waits for
//! the daemon's children ever sees it.

use std::os::fd::RawFd;
use std::sync::atomic::Ordering;

use libc::{c_int, pid_t};

use super::shared::{Destination, Shared};
use crate::fork::{close_all_but, errno, now_ms};

/// A line without its end is sent after so many milliseconds.
const IDLE: i64 = 1000;
/// For a logger that is being restarted when the daemon dies, or is slow: milliseconds.
const PATIENCE: i64 = 10_000;
/// Between two tries to reach it, milliseconds.
const RETRY: c_int = 20;
/// The end of the daemon.
const ORPHANED: c_int = libc::SIGTERM;
const STREAMS: usize = 2;

/// Everything that it uses beside the shared memory. Plain values only.
#[derive(Debug, Clone, Copy)]
pub struct Prepared {
    /// What it shares with the daemon.
    pub shared: &'static Shared,
    /// Its end of the socket by which the two wake each other.
    pub socket: RawFd,
    /// The pipes' ends to read from: standard output's and standard error's.
    pub pipes: [RawFd; STREAMS],
    /// The three, sorted ascending.
    pub keep: [RawFd; 3],
    /// The daemon.
    pub daemon: pid_t,
    /// Where its arguments lie: address and length.
    pub arguments: (usize, usize),
}

/// The keeper's life.
///
/// # Safety
///
/// Only in a fresh child of fork, once, with all signals blocked; every descriptor of `prepared`
/// must be valid.
pub unsafe fn live(prepared: &Prepared) -> ! {
    // SAFETY: async-signal-safe calls on prepared values; see this file's head.
    unsafe {
        // ppoll(2) must wake when the daemon ends.
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_orphaned as *const () as usize;
        libc::sigaction(ORPHANED, &action, std::ptr::null_mut());
        libc::prctl(libc::PR_SET_PDEATHSIG, ORPHANED, 0, 0, 0);
        close_all_but(&prepared.keep);
        libc::chdir(c"/".as_ptr());
        show_title(prepared);
        give_back_memory(prepared.shared);
        let mut keeper = Keeper {
            prepared: *prepared,
            orphaned: false,
            socket: prepared.socket,
            open: [true; STREAMS],
            logger: -1,
            stream: false,
            give_up: 0,
        };
        loop {
            keeper.turn();
        }
    }
}

extern "C" fn on_orphaned(_: c_int) {}

/// What ps(1) shows: not a second daemon.
unsafe fn show_title(prepared: &Prepared) {
    let (address, length) = prepared.arguments;
    // SAFETY: the arguments lie in this process's own copy of its initial stack, which is writable.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, c"to-syslog".as_ptr(), 0, 0, 0);
        let title = &*prepared.shared.title.get();
        let shown = title.len().min(length.saturating_sub(1));
        if shown > 0 {
            std::ptr::write_bytes(address as *mut u8, 0, length);
            std::ptr::copy_nonoverlapping(title.as_ptr(), address as *mut u8, shown);
        }
    }
}

/// The copy of the daemon's memory would keep alive what the daemon frees or changes.
unsafe fn give_back_memory(shared: &Shared) {
    // SAFETY: the list has what `super::memory` found: nothing that is used here.
    unsafe {
        let spare = &*shared.spare.get();
        for spare in spare.iter().take(shared.spares.load(Ordering::SeqCst)) {
            let start = spare.start as *mut libc::c_void;
            if spare.must_stay {
                libc::madvise(start, spare.length, libc::MADV_DONTNEED);
            } else {
                libc::munmap(start, spare.length);
            }
        }
    }
}

struct Keeper {
    prepared: Prepared,
    /// The daemon is dead.
    orphaned: bool,
    /// -1 where nobody is at its other end any more.
    socket: RawFd,
    /// Somebody can still print there.
    open: [bool; STREAMS],
    /// The connection to the logger, of an orphan; or -1.
    logger: RawFd,
    /// It is a stream, not datagrams.
    stream: bool,
    /// When it stops waiting for the logger.
    give_up: i64,
}

impl Keeper {
    fn shared(&self) -> &'static Shared {
        self.prepared.shared
    }

    /// Waits for the first of what there is to do, and does it.
    unsafe fn turn(&mut self) {
        let shared = self.shared();
        // SAFETY: async-signal-safe calls.
        unsafe {
            if !self.orphaned && libc::getppid() != self.prepared.daemon {
                self.orphaned = true;
                self.give_up = now_ms() + PATIENCE;
                shared.count_flight();
                self.send_what_was_left();
            }
            if self.orphaned && self.open == [false; STREAMS] {
                self.end_lines(i64::MAX);
                libc::_exit(0);
            }
            let ready = self.sleep();
            if ready[STREAMS] {
                self.hear_daemon();
            }
            let asked = shared.asked.load(Ordering::SeqCst);
            let owes = asked != shared.answered.load(Ordering::SeqCst);
            let mut read_all = true;
            for (stream, ready) in ready.iter().take(STREAMS).enumerate() {
                if *ready || owes {
                    read_all &= self.read(stream, owes);
                }
            }
            self.end_lines(if owes && read_all { i64::MAX } else { now_ms() - IDLE });
            if owes && read_all {
                shared.answered.store(asked, Ordering::SeqCst);
            }
        }
    }

    /// Waits. Says which pipes can be read, and whether the daemon has something to say.
    unsafe fn sleep(&mut self) -> [bool; STREAMS + 1] {
        let shared = self.shared();
        let mut room = self.orphaned || shared.chunk_room() > 0;
        if !room {
            // The daemon's thread frees some, and then looks at this.
            shared.keeper_waits.store(1, Ordering::SeqCst);
            room = shared.chunk_room() > 0;
        }
        let mut fds = [libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 }; STREAMS + 1];
        for (stream, fd) in fds.iter_mut().take(STREAMS).enumerate() {
            if room && self.is_open(stream) {
                fd.fd = self.pipe(stream);
            }
        }
        fds[STREAMS].fd = self.socket;
        let mut first: Option<i64> = None;
        for line in &shared.lines {
            // SAFETY: the lines are the keeper's alone.
            let line = unsafe { &*line.get() };
            if !line.is_empty() {
                first = Some(first.map_or(line.since, |first| first.min(line.since)));
            }
        }
        let left = first.map(|since| (since + IDLE - now_ms()).max(0));
        let time = left.map(|left| libc::timespec {
            tv_sec: (left / 1000) as libc::time_t,
            tv_nsec: (left % 1000 * 1_000_000) as libc::c_long,
        });
        let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: async-signal-safe calls on our own values.
        unsafe {
            let mut mask: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut mask);
            libc::sigdelset(&mut mask, ORPHANED);
            let count = fds.len() as libc::nfds_t;
            if libc::ppoll(fds.as_mut_ptr(), count, time, &mask) <= 0 {
                return [false; STREAMS + 1];
            }
        }
        shared.keeper_waits.store(0, Ordering::SeqCst);
        fds.map(|fd| fd.fd >= 0 && fd.revents != 0)
    }

    /// Nothing is said but "look": at the shared memory.
    unsafe fn hear_daemon(&mut self) {
        let mut words = [0u8; 64];
        // SAFETY: the buffer is ours.
        unsafe {
            loop {
                let (to, size) = (words.as_mut_ptr().cast(), words.len());
                let got = libc::recv(self.socket, to, size, libc::MSG_DONTWAIT);
                if got == 0 || (got < 0 && errno() != libc::EAGAIN && errno() != libc::EINTR) {
                    self.socket = -1;
                }
                if got <= 0 {
                    break;
                }
            }
            if self.shared().leave.load(Ordering::SeqCst) != 0 && !self.orphaned {
                libc::_exit(0);
            }
        }
    }

    /// Reads a pipe, once or until it is empty. Whether it is.
    unsafe fn read(&mut self, stream: usize, all: bool) -> bool {
        let shared = self.shared();
        let chunk = shared.chunk.get().cast::<u8>();
        while self.is_open(stream) {
            let room = if self.orphaned { 4096 } else { shared.chunk_room() };
            if room == 0 {
                return false;
            }
            // SAFETY: the chunk is the keeper's alone, and has room for what is asked.
            let read = unsafe { libc::read(self.pipe(stream), chunk.cast(), room) };
            if read < 0 && errno() == libc::EINTR {
                continue;
            }
            if read == 0 {
                self.close(stream);
            }
            if read <= 0 {
                break;
            }
            let Some(line) = shared.lines.get(stream) else { return true };
            for at in 0..read as usize {
                // SAFETY: so many bytes were read; the lines are the keeper's alone, and `hand_on`
                // does not touch them.
                unsafe {
                    let byte = *chunk.add(at);
                    (*line.get()).take(byte, &mut |text| self.hand_on(stream, text));
                }
            }
            if !all {
                return false;
            }
        }
        true
    }

    /// Ends the lines that began before.
    unsafe fn end_lines(&mut self, before: i64) {
        for (stream, line) in self.shared().lines.iter().enumerate() {
            // SAFETY: the lines are the keeper's alone, and `hand_on` does not touch them.
            unsafe {
                let line = &mut *line.get();
                if !line.is_empty() && line.since <= before {
                    line.end(&mut |text| self.hand_on(stream, text));
                }
            }
        }
    }

    /// A line, or what is sent of it, to the daemon; or, of an orphan, to the logger. There is room
    /// for it: `chunk_room` has said so.
    unsafe fn hand_on(&mut self, stream: usize, text: &[u8]) {
        let shared = self.shared();
        // SAFETY: async-signal-safe calls.
        unsafe {
            if self.orphaned {
                return self.send(stream as u32, text);
            }
            shared.append(stream as u32, text);
            if shared.thread_sleeps.swap(0, Ordering::SeqCst) == 1 && self.socket >= 0 {
                let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
                libc::send(self.socket, c"!".as_ptr().cast(), 1, flags);
            }
        }
    }

    /// What the daemon had not sent when it died.
    unsafe fn send_what_was_left(&mut self) {
        let shared = self.shared();
        let head = shared.head.load(Ordering::SeqCst);
        let mut place = shared.tail.load(Ordering::SeqCst);
        while place < head {
            let record = shared.record(place);
            if !shared.is_sent(&record) {
                // SAFETY: as above.
                unsafe { self.send(record.stream, record.text) };
            }
            place = record.end;
        }
    }

    /// One message, to the local logger.
    unsafe fn send(&mut self, stream: u32, text: &[u8]) {
        let shared = self.shared();
        let severity = if stream == 0 { libc::LOG_INFO } else { libc::LOG_ERR };
        if shared.mask.load(Ordering::SeqCst) & (1 << severity) == 0 {
            return;
        }
        // SAFETY: the destination that counts is not written to; the daemon is dead.
        unsafe {
            let current = shared.current.load(Ordering::SeqCst) & 1;
            let to = &*shared.destinations[current].get();
            let message = &mut *shared.message.get();
            let mut length = compose(to, severity, shared, text, message);
            loop {
                let sent = self.try_to_send(to, message.as_ptr(), length);
                let waits = now_ms() < self.give_up;
                match sent {
                    Ok(()) => {
                        if waits {
                            self.give_up = now_ms() + PATIENCE;
                        }
                        return;
                    }
                    Err(libc::EMSGSIZE) if length > 512 => length /= 2,
                    Err(libc::EINTR) => {}
                    Err(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) if waits => {
                        let mut room =
                            libc::pollfd { fd: self.logger, events: libc::POLLOUT, revents: 0 };
                        libc::poll(&mut room, 1, RETRY);
                    }
                    Err(_) => {
                        self.disconnect();
                        if !waits {
                            return;
                        }
                        libc::poll(std::ptr::null_mut(), 0, RETRY);
                    }
                }
            }
        }
    }

    unsafe fn try_to_send(
        &mut self,
        to: &Destination,
        bytes: *const u8,
        length: usize,
    ) -> Result<(), c_int> {
        // SAFETY: async-signal-safe calls on valid memory.
        unsafe {
            if self.logger < 0 {
                self.connect(to)?;
            }
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // A stream's messages end with a NUL: there is one behind each.
            let length = if self.stream { length + 1 } else { length };
            let mut done = 0;
            while done < length {
                let sent = libc::send(self.logger, bytes.add(done).cast(), length - done, flags);
                if sent >= 0 {
                    done += sent as usize;
                    continue;
                }
                let error = errno();
                if done == 0 || (error != libc::EAGAIN && error != libc::EINTR) {
                    return Err(error);
                }
                // In the middle of a stream's message.
                if now_ms() >= self.give_up {
                    self.disconnect();
                    return Ok(());
                }
                let mut room = libc::pollfd { fd: self.logger, events: libc::POLLOUT, revents: 0 };
                libc::poll(&mut room, 1, RETRY);
            }
            Ok(())
        }
    }

    unsafe fn connect(&mut self, to: &Destination) -> Result<(), c_int> {
        // SAFETY: async-signal-safe calls on valid memory.
        unsafe {
            for (kind, stream) in [(libc::SOCK_DGRAM, false), (libc::SOCK_STREAM, true)] {
                let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
                let socket = libc::socket(libc::AF_UNIX, kind, 0);
                if socket < 0 {
                    return Err(errno());
                }
                let address = std::ptr::from_ref(&to.address).cast();
                let size = size_of::<libc::sockaddr_un>() as libc::socklen_t;
                if libc::connect(socket, address, size) == 0 {
                    (self.logger, self.stream) = (socket, stream);
                    return Ok(());
                }
                let error = errno();
                libc::close(socket);
                if error != libc::EPROTOTYPE {
                    return Err(error);
                }
            }
            Err(libc::EPROTOTYPE)
        }
    }

    fn disconnect(&mut self) {
        if self.logger >= 0 {
            // SAFETY: our own descriptor.
            unsafe { libc::close(self.logger) };
            self.logger = -1;
        }
    }

    fn is_open(&self, stream: usize) -> bool {
        self.open.get(stream).copied().unwrap_or(false)
    }

    fn close(&mut self, stream: usize) {
        if let Some(open) = self.open.get_mut(stream) {
            *open = false;
        }
    }

    fn pipe(&self, stream: usize) -> RawFd {
        self.prepared.pipes.get(stream).copied().unwrap_or(-1)
    }
}

/// A message as the logger takes it, and a NUL behind it. Returns its length.
fn compose(
    to: &Destination,
    severity: c_int,
    shared: &Shared,
    text: &[u8],
    message: &mut [u8],
) -> usize {
    use std::io::Write;
    let whole = message.len() - 1;
    let tag = to.tag.get(..to.tag_length).unwrap_or(&[]);
    let mut rest = message.get_mut(..whole).unwrap_or(&mut []);
    if to.journal {
        let _ = write!(rest, "PRIORITY={severity}\nSYSLOG_FACILITY={}\n", to.facility >> 3);
        let _ = rest.write_all(tag);
        let _ = rest.write_all(b"MESSAGE=");
        let _ = rest.write_all(text);
        let _ = rest.write_all(b"\n");
    } else {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: clock_gettime is async-signal-safe and writes the timespec. The zone was written
        // before this process began.
        let zone = unsafe {
            libc::clock_gettime(libc::CLOCK_REALTIME, &mut now);
            &*shared.zone.get()
        };
        let mut stamp = [0u8; 32];
        #[allow(clippy::unnecessary_cast, reason = "the types differ between platforms")]
        let length = zone.stamp(now.tv_sec as i64, &mut stamp);
        let _ = write!(rest, "<{}>", to.facility | severity);
        let _ = rest.write_all(stamp.get(..length).unwrap_or(&[]));
        let _ = rest.write_all(tag);
        let _ = rest.write_all(text);
    }
    let length = whole - rest.len();
    if let Some(end) = message.get_mut(length) {
        *end = 0;
    }
    length
}
