//! The keeper: a small process beside the daemon that holds what it prints, and outlives it.
//!
//! Standard output and standard error are pipes, which the daemon's thread reads. The keeper has them
//! open as well, and the memory in which the thread has put what was not sent yet ([`super::shared`]),
//! and does nothing: while the daemon lives, nobody waits for it. When the daemon is dead, whatever it
//! died of, what has not been sent by then is in that memory or still in the pipes, and the keeper sends
//! it to the local logger itself. It ends when nobody can print any more: a child of the daemon that
//! lives on has its standard output still.
//!
//! It is a fork without exec, of a process with many threads. So, as in [`crate::start::children`], it makes
//! **only async-signal-safe calls** (signal-safety(7)): no allocation, no lock, no panic. All it
//! needs is in [`Prepared`], on its stack, and in the shared memory, which it cannot write to. It keeps no
//! descriptor but its own three, no working directory, nothing large of the daemon's memory; all signals
//! are blocked, and it tells the daemon of its end by none (clone(2) without an exit signal), so that
//! nothing that waits for the daemon's children ever sees it.

use std::ops::Range;
use std::os::fd::RawFd;
use std::sync::atomic::Ordering;

use libc::{c_int, pid_t};

use super::line::{LONGEST, Line};
use super::ring::is_sent;
use super::shared::{Destination, Shared};
use crate::signal_safe::{close_all_but, errno, now_ms};

/// A line without its end is sent after so many milliseconds.
pub const IDLE: i64 = 1000;
/// For a logger that is being restarted when the daemon dies, or is slow: milliseconds.
const PATIENCE: i64 = 10_000;
/// Between two tries to reach it, milliseconds.
const RETRY: c_int = 20;
/// It reads so many bytes at a time.
const CHUNK: usize = 4 << 10;
/// The end of the daemon, or of the thread that has made the keeper.
const ORPHANED: c_int = libc::SIGTERM;
const STREAMS: usize = 2;

/// Everything that it uses beside the shared memory. Plain values only.
#[derive(Debug, Clone, Copy)]
pub struct Prepared {
    /// What the daemon shares with it.
    pub shared: &'static Shared,
    /// The pipes' ends to read from: standard output's and standard error's.
    pub pipes: [RawFd; STREAMS],
    /// These, and a pipe that is open for as long as the keeper lives; sorted ascending.
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
        let shared = std::ptr::from_ref(prepared.shared).cast_mut().cast();
        libc::mprotect(shared, size_of::<Shared>(), libc::PROT_READ);
        // When no thread of the daemon can do anything any more, its children have another parent.
        while libc::getppid() == prepared.daemon {
            sleep(&mut [], None);
        }
        let mut keeper = Keeper {
            prepared: *prepared,
            sent: prepared.shared.all_sent(),
            open: [true; STREAMS],
            out: Out {
                shared: prepared.shared,
                logger: -1,
                stream: false,
                give_up: now_ms() + PATIENCE,
                message: [0; LONGEST + 1024],
            },
        };
        keeper.work()
    }
}

extern "C" fn on_orphaned(_: c_int) {}

/// Waits for one of the descriptors, for so many milliseconds, or for the signal. Whether one is ready.
unsafe fn sleep(fds: &mut [libc::pollfd], left: Option<i64>) -> bool {
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
        libc::ppoll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, time, &mask) > 0
    }
}

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
    /// So many messages of the queue have been sent.
    sent: u64,
    /// Somebody can still print there.
    open: [bool; STREAMS],
    out: Out,
}

impl Keeper {
    unsafe fn work(&mut self) -> ! {
        let mut lines = [Line::new(), Line::new()];
        self.send_what_was_left(&mut lines);
        while self.open != [false; STREAMS] {
            // SAFETY: async-signal-safe calls.
            unsafe { self.turn(&mut lines) };
        }
        for (stream, line) in lines.iter_mut().enumerate() {
            line.end(&mut |text, _| self.out.send(stream, text));
        }
        // SAFETY: async-signal-safe.
        unsafe { libc::_exit(0) }
    }

    /// What the daemon had not sent when it died, and had read.
    fn send_what_was_left(&mut self, lines: &mut [Line; STREAMS]) {
        let (ring, out, sent) = (&self.prepared.shared.ring, &mut self.out, self.sent);
        let left = ring.left(
            |ticket| is_sent(ticket, sent),
            |stream, bytes| {
                let line = &mut lines[stream];
                take(line, stream, bytes, out);
                line.end(&mut |text, _| out.send(stream, text));
            },
        );
        for (stream, bytes) in left.into_iter().enumerate() {
            take(&mut lines[stream], stream, bytes, out);
        }

        fn take(line: &mut Line, stream: usize, bytes: Range<u64>, out: &mut Out) {
            let ring = &out.shared.ring;
            for place in bytes {
                line.take(ring.byte(stream, place), &mut |text, _| out.send(stream, text));
            }
        }
    }

    /// Reads what there is, and ends the lines that have waited long enough.
    unsafe fn turn(&mut self, lines: &mut [Line; STREAMS]) {
        let mut fds = [libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 }; STREAMS];
        for (stream, fd) in fds.iter_mut().enumerate() {
            if self.open[stream] {
                fd.fd = self.prepared.pipes[stream];
            }
        }
        let left = Line::first_of(lines).map(|since| (since + IDLE - now_ms()).max(0));
        // SAFETY: async-signal-safe calls.
        if unsafe { sleep(&mut fds, left) } {
            for (stream, fd) in fds.iter().enumerate() {
                if fd.revents != 0 {
                    self.read(stream, &mut lines[stream]);
                }
            }
        }
        for (stream, line) in lines.iter_mut().enumerate() {
            if line.is_idle(now_ms() - IDLE) {
                line.end(&mut |text, _| self.out.send(stream, text));
            }
        }
    }

    fn read(&mut self, stream: usize, line: &mut Line) {
        let mut chunk = [0u8; CHUNK];
        // SAFETY: the chunk has room for what is asked.
        let read = unsafe {
            libc::read(self.prepared.pipes[stream], chunk.as_mut_ptr().cast(), chunk.len())
        };
        self.open[stream] = read > 0 || (read < 0 && matches!(errno(), libc::EAGAIN | libc::EINTR));
        for byte in chunk.iter().take(read.max(0) as usize) {
            line.take(*byte, &mut |text, _| self.out.send(stream, text));
        }
    }
}

/// The way to the local logger.
struct Out {
    shared: &'static Shared,
    /// The connection, or -1.
    logger: RawFd,
    /// It is a stream, not datagrams.
    stream: bool,
    /// When it stops waiting for the logger.
    give_up: i64,
    /// One on its way out.
    message: [u8; LONGEST + 1024],
}

impl Out {
    /// One message, to the local logger.
    fn send(&mut self, stream: usize, text: &[u8]) {
        let shared = self.shared;
        let severity = if stream == 0 { libc::LOG_INFO } else { libc::LOG_ERR };
        if shared.mask.load(Ordering::SeqCst) & (1 << severity) == 0 {
            return;
        }
        // SAFETY: the destination that counts is not written to; the daemon is dead.
        unsafe {
            let current = shared.current.load(Ordering::SeqCst) & 1;
            let to = &*shared.destinations[current].get();
            let mut length = compose(to, severity, shared, text, &mut self.message);
            loop {
                let sent = self.try_to_send(to, length);
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

    unsafe fn try_to_send(&mut self, to: &Destination, length: usize) -> Result<(), c_int> {
        // SAFETY: async-signal-safe calls on valid memory.
        unsafe {
            if self.logger < 0 {
                self.connect(to)?;
            }
            let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
            // A stream's messages end with a NUL: there is one behind each.
            let length = if self.stream { length + 1 } else { length };
            let mut rest = self.message.get(..length).unwrap_or(&[]);
            let whole = rest.len();
            while !rest.is_empty() {
                let sent = libc::send(self.logger, rest.as_ptr().cast(), rest.len(), flags);
                if sent >= 0 {
                    rest = rest.get(sent as usize..).unwrap_or(&[]);
                    continue;
                }
                let error = errno();
                if rest.len() == whole || (error != libc::EAGAIN && error != libc::EINTR) {
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
