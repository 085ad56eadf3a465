//! The relay: a small process beside the daemon that holds what it prints, and outlives it.
//!
//! Standard output and standard error are pipes, which the daemon's thread reads. The relay has them
//! open as well, and the memory in which the thread has put what was not sent yet ([`super::shared`]),
//! and does nothing: while the daemon lives, nobody waits for it. When the daemon is dead, whatever it
//! died of, what has not been sent by then is in that memory or still in the pipes, and the relay sends
//! it to the local logger itself. It ends when nobody can print any more: a child of the daemon that
//! lives on still has its standard output.
//!
//! It is a fork without exec, of a process with many threads. So, as in [`crate::start::children`], it makes
//! **only async-signal-safe calls** (signal-safety(7)): no allocation, no lock, no panic. All it
//! needs is in [`Prepared`], on its stack, and in the shared memory, which it cannot write to. It keeps no
//! descriptor but its own three, no working directory, nothing large of the daemon's memory; all signals
//! are blocked, and it tells the daemon of its end by none, so that nothing that waits for the daemon's
//! children ever sees it.

use std::ffi::CStr;
use std::ops::Range;
use std::os::fd::RawFd;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use ::syslog::Severity;
use libc::{c_int, pid_t};
use nix::errno::Errno;

use super::line::Line;
use super::ring::is_sent;
use super::shared::Shared;
use crate::signal_safe::{close_all_but, errno, now_ms};
use crate::sys;
use crate::syslog::direct::Direct;

/// The name of the relay's process, by which others know it.
pub const RELAY: &CStr = c"to-syslog";

/// A line without its end is sent after so many milliseconds.
pub const IDLE: i64 = 1000;
/// So many milliseconds it waits for a logger that is being restarted when the daemon dies, or is slow.
const PATIENCE: i64 = 10_000;
/// It reads so many bytes at a time.
const CHUNK: usize = 4 << 10;
/// Tells of the end of the daemon, or of the thread that has made the relay.
const ORPHANED: c_int = libc::SIGTERM;
const PIPES: usize = 2;

/// The severity of what is printed to a pipe: standard output's, or standard error's.
pub fn severity(pipe: usize) -> Severity {
    if pipe == 0 { Severity::LOG_INFO } else { Severity::LOG_ERR }
}

/// Everything that it uses beside the shared memory. Plain values only.
#[derive(Debug, Clone, Copy)]
pub struct Prepared {
    /// What the daemon shares with it.
    pub shared: &'static Shared,
    /// The pipes' ends to read from: standard output's and standard error's.
    pub pipes: [RawFd; PIPES],
    /// These, and a pipe that is open for as long as the relay lives; sorted ascending.
    pub keep: [RawFd; 3],
    /// The daemon's pid.
    pub daemon: pid_t,
    /// Where its arguments lie: address and length.
    pub arguments: (usize, usize),
}

/// The relay's life.
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
        sys::signal_when_orphaned(ORPHANED);
        close_all_but(&prepared.keep);
        libc::chdir(c"/".as_ptr());
        show_title(prepared);
        give_back_memory(prepared.shared);
        let shared = std::ptr::from_ref(prepared.shared).cast_mut().cast();
        libc::mprotect(shared, size_of::<Shared>(), libc::PROT_READ);
        // When no thread of the daemon can do anything any more, its children have another parent.
        while libc::getppid() == prepared.daemon {
            sys::poll_or_signal(&mut [], None, &[ORPHANED]);
        }
    }
    let mut relay = Relay {
        prepared: *prepared,
        sent: prepared.shared.delivery.all_sent(),
        open: [true; PIPES],
        out: Out::new(prepared.shared),
    };
    relay.work()
}

extern "C" fn on_orphaned(_: c_int) {}

/// Shows in ps(1) what this process is: not a second daemon.
unsafe fn show_title(prepared: &Prepared) {
    let (address, length) = prepared.arguments;
    sys::set_name(RELAY);
    // SAFETY: the arguments lie in this process's own copy of its initial stack, which is writable.
    unsafe {
        let title = &*prepared.shared.title.get();
        let shown = title.len().min(length.saturating_sub(1));
        if shown > 0 {
            std::ptr::write_bytes(address as *mut u8, 0, length);
            std::ptr::copy_nonoverlapping(title.as_ptr(), address as *mut u8, shown);
        }
    }
}

/// Gives back what is not needed of the copy of the daemon's memory, which would keep alive what the daemon
/// frees or changes.
unsafe fn give_back_memory(shared: &Shared) {
    // SAFETY: the list has what `sys::maps` found: nothing that is used here.
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

struct Relay {
    prepared: Prepared,
    /// How many messages of the queue the daemon has sent.
    sent: u64,
    /// Whether somebody can still print to a pipe.
    open: [bool; PIPES],
    out: Out,
}

impl Relay {
    fn work(&mut self) -> ! {
        let mut lines = [Line::new(), Line::new()];
        self.send_what_was_left(&mut lines);
        while self.open != [false; PIPES] {
            self.turn(&mut lines);
        }
        for (pipe, line) in lines.iter_mut().enumerate() {
            line.end(&mut |text, _| self.out.send(pipe, text));
        }
        // SAFETY: async-signal-safe.
        unsafe { libc::_exit(0) }
    }

    /// Sends what the daemon had read and not sent when it died.
    fn send_what_was_left(&mut self, lines: &mut [Line; PIPES]) {
        let (ring, out, sent) = (&self.prepared.shared.ring, &mut self.out, self.sent);
        let left = ring.left(
            |ticket| is_sent(ticket, sent),
            |pipe, offsets| {
                let line = &mut lines[pipe];
                push(line, pipe, offsets, out);
                line.end(&mut |text, _| out.send(pipe, text));
            },
        );
        for (pipe, offsets) in left.into_iter().enumerate() {
            push(&mut lines[pipe], pipe, offsets, out);
        }

        fn push(line: &mut Line, pipe: usize, offsets: Range<u64>, out: &mut Out) {
            let ring = &out.shared.ring;
            for offset in offsets {
                line.push(ring.byte(pipe, offset), &mut |text, _| out.send(pipe, text));
            }
        }
    }

    /// Reads what there is, and ends the lines that have waited long enough.
    fn turn(&mut self, lines: &mut [Line; PIPES]) {
        let mut fds = [libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 }; PIPES];
        for (pipe, fd) in fds.iter_mut().enumerate() {
            if self.open[pipe] {
                fd.fd = self.prepared.pipes[pipe];
            }
        }
        let left = Line::first_of(lines).map(|since| (since + IDLE - now_ms()).max(0));
        if sys::poll_or_signal(&mut fds, left, &[ORPHANED]) {
            for (pipe, fd) in fds.iter().enumerate() {
                if fd.revents != 0 {
                    self.read(pipe, &mut lines[pipe]);
                }
            }
        }
        for (pipe, line) in lines.iter_mut().enumerate() {
            if line.is_idle(now_ms() - IDLE) {
                line.end(&mut |text, _| self.out.send(pipe, text));
            }
        }
    }

    fn read(&mut self, pipe: usize, line: &mut Line) {
        let mut chunk = [0u8; CHUNK];
        // SAFETY: the chunk has room for what is asked.
        let read = unsafe {
            libc::read(self.prepared.pipes[pipe], chunk.as_mut_ptr().cast(), chunk.len())
        };
        self.open[pipe] = read > 0 || (read < 0 && matches!(errno(), libc::EAGAIN | libc::EINTR));
        for byte in chunk.iter().take(read.max(0) as usize) {
            line.push(*byte, &mut |text, _| self.out.send(pipe, text));
        }
    }
}

/// The way to the local logger.
struct Out {
    shared: &'static Shared,
    logger: Direct,
    /// When it stops waiting for the logger.
    give_up: i64,
}

impl Out {
    fn new(shared: &'static Shared) -> Self {
        let delivery = &shared.delivery;
        Self {
            shared,
            logger: Direct::new(delivery.destination(), delivery.zone()),
            give_up: now_ms() + PATIENCE,
        }
    }

    /// Sends one message.
    fn send(&mut self, pipe: usize, text: &[u8]) {
        let severity = severity(pipe);
        if !self.shared.delivery.lets_through(severity as i32) {
            return;
        }
        self.logger.compose(severity, SystemTime::now(), text);
        loop {
            let sent = self.logger.try_to_send(self.give_up);
            let waits = now_ms() < self.give_up;
            match sent {
                Ok(()) => {
                    if waits {
                        self.give_up = now_ms() + PATIENCE;
                    }
                    return;
                }
                Err(Errno::EMSGSIZE) if self.logger.shorten() => {}
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM) if waits => {
                    self.logger.wait_for_room();
                }
                Err(_) => {
                    self.logger.disconnect();
                    if !waits {
                        return;
                    }
                    self.logger.wait_for_room();
                }
            }
        }
    }
}
