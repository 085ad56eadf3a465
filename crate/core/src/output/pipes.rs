//! The daemon's own thread: reads what is printed, hands the lines on, frees what was sent, and sees to it
//! that there is a keeper. Nothing that it does waits for anybody.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::line::Line;
use super::maps;
use super::relay::{self, IDLE, Prepared};
use super::ring::{GONE, is_sent};
use super::to_syslog::{CHANGED, Streams, make_blocking, state};
use crate::signal_safe::now_ms;
use crate::syslog;

/// It reads so many bytes at a time.
const CHUNK: usize = 16 << 10;
/// The first and the longest time between two looks whether what was handed on has been sent: milliseconds.
const LOOK: i64 = 2;
const LONGEST_LOOK: i64 = 200;
/// A keeper is replaced, or one that could not be made is tried again, after so many milliseconds at first,
/// and after so many at last.
const RESPITE: i64 = 1000;
const LONGEST_RESPITE: i64 = 30_000;

/// The thread's life.
pub fn run(streams: &'static Streams) {
    let lines = [Line::new(), Line::new()];
    let mut reader = Reader { streams, lines, keeper: None, next: 0, respite: RESPITE, look: LOOK };
    loop {
        reader.turn();
    }
}

struct Reader {
    streams: &'static Streams,
    /// What has no end yet.
    lines: [Line; 2],
    /// A pipe that is open at its other end for as long as the keeper lives.
    keeper: Option<OwnedFd>,
    /// When one may be made, and for how long the next one may not be.
    next: i64,
    respite: i64,
    look: i64,
}

impl Reader {
    fn turn(&mut self) {
        self.see_to_keeper();
        let freed = self.free();
        self.look = if freed { LOOK } else { (self.look * 2).min(LONGEST_LOOK) };
        let [out, err, wake, gone] = self.sleep();
        for (stream, ready) in [out, err].into_iter().enumerate() {
            if ready {
                make_blocking(self.streams.writers[stream].as_fd());
                self.read(stream, CHUNK);
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

    /// Until there is something to read, or to look at. Says which of them it is.
    fn sleep(&self) -> [bool; 4] {
        let now = now_ms();
        let idle = Line::first_of(&self.lines).map(|since| since + IDLE);
        let look = self.streams.shared.ring.has_marks().then_some(now + self.look);
        let next = (self.keeper.is_none() && state().wanted).then_some(self.next);
        let due = [idle, look, next].into_iter().flatten().min();
        let left = due.map(|due| i32::try_from((due - now).max(0)).unwrap_or(i32::MAX));
        let timeout = left.map_or(PollTimeout::NONE, |left| {
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        let [out, err] = &self.streams.readers;
        let keeper = self.keeper.as_ref().unwrap_or(out).as_fd();
        let mut fds = [out.as_fd(), err.as_fd(), self.streams.wake.descriptors().0, keeper]
            .map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        if poll(&mut fds, timeout).is_err() {
            return [false; 4];
        }
        let mut ready = fds.map(|fd| fd.any().unwrap_or(false));
        ready[3] &= self.keeper.is_some();
        ready
    }

    /// Reads a pipe once, up to so many bytes; how many there were.
    fn read(&mut self, stream: usize, most: usize) -> usize {
        let ring = &self.streams.shared.ring;
        let fd = &self.streams.readers[stream];
        let read = ring.read(stream, most, |memory| nix::unistd::read(fd, memory));
        let Ok(places) = read else { return 0 };
        let count = places.end - places.start;
        let line = &mut self.lines[stream];
        for place in places {
            line.take(ring.byte(stream, place), &mut |text, bytes| {
                hand_on(self.streams, stream, text, bytes);
            });
        }
        let empty = line.pass_over();
        if empty > 0 {
            ring.mark(stream, empty).store(GONE, Ordering::SeqCst);
        }
        count as usize
    }

    /// Ends the lines that began before.
    fn end_lines(&mut self, before: i64) {
        for (stream, line) in self.lines.iter_mut().enumerate() {
            if line.is_idle(before) {
                line.end(&mut |text, bytes| hand_on(self.streams, stream, text, bytes));
            }
        }
    }

    /// All that was printed when somebody asked is read.
    fn answer(&mut self) {
        self.streams.wake.clear();
        let asked = state().asked;
        if asked == state().answered {
            return;
        }
        for stream in 0..self.streams.readers.len() {
            let mut left = waiting(&self.streams.readers[stream]);
            while left > 0 {
                match self.read(stream, left.min(CHUNK)) {
                    0 => break,
                    read => left -= read,
                }
            }
        }
        self.end_lines(i64::MAX);
        state().answered = asked;
        CHANGED.notify_all();
    }

    fn free(&self) -> bool {
        let shared = self.streams.shared;
        shared.ring.free(|ticket| is_sent(ticket, shared.sent.load(Ordering::SeqCst)))
    }

    /// The keeper ends before the daemon only when it is killed: by [`super::to_syslog::retire`], or by somebody.
    fn bury(&mut self) {
        self.keeper = None;
        let mut state = state();
        if let Some(pid) = state.keeper.take() {
            // SAFETY: our own child. __WALL: one without an exit signal.
            let wait = || unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) };
            let _ = crate::sys::again(|| Errno::result(wait()));
        }
        if state.wanted {
            let text =
                "The process that sends the daemon's last words was killed. Starting another";
            syslog::log(libc::LOG_WARNING, text.as_bytes());
        }
        CHANGED.notify_all();
    }

    /// Where there is none and shall be one, makes it, if it is time.
    fn see_to_keeper(&mut self) {
        let mut state = state();
        let is_time = state.at_once || now_ms() >= self.next;
        if self.keeper.is_some() || !state.wanted || !is_time {
            return;
        }
        state.at_once = false;
        match fork_keeper(self.streams) {
            Ok((pid, alive)) => {
                self.keeper = Some(alive);
                (state.keeper, state.failure) = (Some(pid), None);
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
        CHANGED.notify_all();
    }
}

/// A line becomes a message.
fn hand_on(streams: &Streams, stream: usize, text: &[u8], bytes: usize) {
    let priority = if stream == 0 { libc::LOG_INFO } else { libc::LOG_ERR };
    let ticket = streams.shared.ring.mark(stream, bytes);
    // Noted before it can be sent: whenever the daemon dies, it is known whether it was.
    let taken = syslog::log_noting(priority, text, |number| ticket.store(number, Ordering::SeqCst));
    if !taken {
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

/// Its pid, and the pipe that ends with it.
fn fork_keeper(streams: &Streams) -> Result<(i32, OwnedFd), Errno> {
    let (alive, its_end) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    let pipes = [streams.readers[0].as_raw_fd(), streams.readers[1].as_raw_fd()];
    let mut keep = [pipes[0], pipes[1], its_end.as_raw_fd()];
    keep.sort_unstable();
    let prepared = Prepared {
        shared: streams.shared,
        pipes,
        keep,
        daemon: nix::unistd::getpid().as_raw(),
        arguments: maps::arguments().unwrap_or((0, 0)),
    };
    let needed = [
        std::ptr::from_ref(&prepared).addr(),
        crate::sys::errno_location().addr(),
        std::ptr::from_ref(streams.shared).addr(),
    ];
    // SAFETY: there is no keeper now that could read it.
    let spare = unsafe { &mut *streams.shared.spare.get() };
    streams.shared.spares.store(maps::spare(&needed, spare), Ordering::SeqCst);
    // Not fork(3): without an exit signal nothing that waits for the daemon's children, libuv or
    // another, sees this one; and no handlers of pthread_atfork(3) run.
    // SAFETY: the child only calls `relay::live`, which keeps to async-signal-safe calls and never
    // returns. All signals are blocked in this thread, and so in the child.
    let pid = unsafe { libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) };
    if pid == 0 {
        // SAFETY: a fresh child; `prepared` lives on its copy of this stack.
        unsafe { relay::live(&prepared) }
    }
    if pid < 0 { Err(Errno::last()) } else { Ok((pid as i32, alive)) }
}
