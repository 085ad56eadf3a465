//! The daemon's own thread: it reads what is printed, hands the lines on, frees what was sent, and sees to it
//! that there is a relay. Nothing that it does waits for anybody.

use std::io::PipeReader;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::line::Line;
use super::relay::{self, IDLE, Prepared};
use super::ring::{GONE, is_sent};
use super::state::{Output, make_blocking};
use crate::signal_safe::now_ms;
use crate::sys::maps;
use crate::{sys, syslog};

/// It reads so many bytes at a time.
const CHUNK: usize = 16 << 10;
/// The first and the longest time, in milliseconds, between two looks whether what was handed on has been
/// sent.
const LOOK: i64 = 2;
const LONGEST_LOOK: i64 = 200;
/// The first and the longest time, in milliseconds, before a relay is replaced, or tried again after it
/// could not be made.
const RESPITE: i64 = 1000;
const LONGEST_RESPITE: i64 = 30_000;

/// The thread's life.
pub fn run(output: &'static Output) {
    let lines = [Line::new(), Line::new()];
    let mut reader = Reader { output, lines, relay: None, next: 0, respite: RESPITE, look: LOOK };
    loop {
        reader.turn();
    }
}

struct Reader {
    output: &'static Output,
    /// Of each pipe, the line that has no end yet.
    lines: [Line; 2],
    /// A pipe that is open at its other end for as long as the relay lives.
    relay: Option<PipeReader>,
    /// When the next one may be made, and how long the one after that must wait.
    next: i64,
    respite: i64,
    look: i64,
}

impl Reader {
    fn turn(&mut self) {
        self.see_to_relay();
        let freed = self.free();
        self.look = if freed { LOOK } else { (self.look * 2).min(LONGEST_LOOK) };
        let [out, err, wake, gone] = self.sleep();
        for (pipe, ready) in [out, err].into_iter().enumerate() {
            if ready {
                make_blocking(self.output.writers[pipe].as_fd());
                self.read(pipe, CHUNK);
            }
        }
        self.end_lines(now_ms() - IDLE);
        if wake {
            self.answer();
        }
        if gone {
            self.bury();
        }
    }

    /// Sleeps until there is something to read, or to look at; says which of them it is.
    fn sleep(&self) -> [bool; 4] {
        let now = now_ms();
        let idle = Line::first_of(&self.lines).map(|since| since + IDLE);
        let look = self.output.shared.ring.has_marks().then_some(now + self.look);
        let next = (self.relay.is_none() && self.output.state().wanted).then_some(self.next);
        let due = [idle, look, next].into_iter().flatten().min();
        let left = due.map(|due| i32::try_from((due - now).max(0)).unwrap_or(i32::MAX));
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        let [out, err] = &self.output.readers;
        let relay = self.relay.as_ref().map_or(out.as_fd(), AsFd::as_fd);
        let mut fds = [out.as_fd(), err.as_fd(), self.output.wake.descriptors().0, relay]
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        if poll(&mut fds, timeout).is_err() {
            return [false; 4];
        }
        let mut ready = fds.map(|fd| fd.any().unwrap_or(false));
        ready[3] &= self.relay.is_some();
        ready
    }

    /// Reads a pipe once, up to so many bytes; how many there were.
    fn read(&mut self, pipe: usize, most: usize) -> usize {
        let ring = &self.output.shared.ring;
        let fd = &self.output.readers[pipe];
        let read = ring.read(pipe, most, |memory| nix::unistd::read(fd, memory));
        let Ok(offsets) = read else { return 0 };
        let count = offsets.end - offsets.start;
        let line = &mut self.lines[pipe];
        for offset in offsets {
            line.push(ring.byte(pipe, offset), &mut |text, bytes| {
                hand_on(self.output, pipe, text, bytes);
            });
        }
        let empty = line.pass_over();
        if empty > 0 {
            ring.mark(pipe, empty).store(GONE, Ordering::SeqCst);
        }
        count as usize
    }

    /// Ends the lines that began before this time.
    fn end_lines(&mut self, before: i64) {
        for (pipe, line) in self.lines.iter_mut().enumerate() {
            if line.is_idle(before) {
                line.end(&mut |text, bytes| hand_on(self.output, pipe, text, bytes));
            }
        }
    }

    /// Reads all that was printed when somebody asked.
    fn answer(&mut self) {
        self.output.wake.clear();
        let asked = self.output.state().asked;
        if asked == self.output.state().answered {
            return;
        }
        for pipe in 0..self.output.readers.len() {
            let mut left = waiting(&self.output.readers[pipe]);
            while left > 0 {
                match self.read(pipe, left.min(CHUNK)) {
                    0 => break,
                    read => left -= read,
                }
            }
        }
        self.end_lines(i64::MAX);
        self.output.state().answered = asked;
        self.output.notify();
    }

    fn free(&self) -> bool {
        let shared = self.output.shared;
        shared.ring.free(|ticket| is_sent(ticket, shared.delivery.sent()))
    }

    /// Waits for a relay that has ended. It ends before the daemon only when it is killed: by
    /// [`super::retire`], or by somebody.
    fn bury(&mut self) {
        self.relay = None;
        let mut state = self.output.state();
        if let Some(pid) = state.relay.take() {
            sys::wait_for_unseen(pid);
        }
        if state.wanted {
            let text =
                "The process that sends the daemon's last words was killed. Starting another";
            syslog::log(libc::LOG_WARNING, text.as_bytes());
        }
        self.output.notify();
    }

    /// Makes a relay, where there is to be one and is none, if it is time.
    fn see_to_relay(&mut self) {
        let mut state = self.output.state();
        let is_time = state.at_once || now_ms() >= self.next;
        if self.relay.is_some() || !state.wanted || !is_time {
            return;
        }
        state.at_once = false;
        match fork_relay(self.output) {
            Ok((pid, alive)) => {
                self.relay = Some(alive);
                (state.relay, state.failure) = (Some(pid), None);
                self.respite = RESPITE;
            }
            Err(errno) => {
                if state.failure.replace(errno as i32).is_none() {
                    let why = crate::error::reason(errno as i32);
                    let text = format!(
                        "Cannot start the process that sends the daemon's last words: {why}. \
                         Trying again"
                    );
                    syslog::log(libc::LOG_ERR, text.as_bytes());
                }
            }
        }
        self.next = now_ms() + self.respite;
        self.respite = (self.respite * 2).min(LONGEST_RESPITE);
        self.output.notify();
    }
}

/// Makes a line a message.
fn hand_on(output: &Output, pipe: usize, text: &[u8], bytes: usize) {
    let ticket = output.shared.ring.mark(pipe, bytes);
    // Noted before it can be sent: whenever the daemon dies, it is known whether it was.
    let note = |number| ticket.store(number, Ordering::SeqCst);
    if !syslog::log_noting(relay::severity(pipe) as i32, text, note) {
        ticket.store(GONE, Ordering::SeqCst);
    }
}

/// How many bytes there are to read.
fn waiting(pipe: &OwnedFd) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes an int.
    unsafe { libc::ioctl(pipe.as_raw_fd(), libc::FIONREAD, &mut bytes) };
    bytes.max(0) as usize
}

/// Makes the relay; returns its pid, and the pipe that ends with it.
fn fork_relay(output: &Output) -> Result<(i32, PipeReader), Errno> {
    let (alive, its_end) = std::io::pipe().map_err(|error| sys::errno_of(&error))?;
    let pipes = [output.readers[0].as_raw_fd(), output.readers[1].as_raw_fd()];
    let mut keep = [pipes[0], pipes[1], its_end.as_raw_fd()];
    keep.sort_unstable();
    let prepared = Prepared {
        shared: output.shared,
        pipes,
        keep,
        daemon: nix::unistd::getpid().as_raw(),
        arguments: maps::arguments().unwrap_or((0, 0)),
    };
    let needed = [
        std::ptr::from_ref(&prepared).addr(),
        sys::errno_location().addr(),
        std::ptr::from_ref(output.shared).addr(),
    ];
    // SAFETY: there is no relay now that could read it.
    let spare = unsafe { &mut *output.shared.spare.get() };
    output.shared.spares.store(maps::spare(&needed, spare), Ordering::SeqCst);
    // SAFETY: the child only calls `relay::live`, which keeps to async-signal-safe calls and never
    // returns. All signals are blocked in this thread, and so in the child.
    match unsafe { sys::fork_unseen() }? {
        // SAFETY: a fresh child; `prepared` lives on its copy of this stack.
        0 => unsafe { relay::live(&prepared) },
        pid => Ok((pid, alive)),
    }
}
