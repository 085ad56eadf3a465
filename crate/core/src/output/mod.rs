//! What the daemon prints: into log files, to a terminal, or, line by line, to syslog.
//!
//! The functions here see to the last of these. Standard output and standard error become pipes. A thread
//! (`pipes`) reads them and hands their lines on to the syslog queue, as LOG_INFO and LOG_ERR. It waits
//! for nobody, and so nobody who prints waits for anybody else: not for the logger, and for no other process.
//!
//! What V8 prints when its heap is exhausted comes microseconds before the end of all threads. So a process
//! of its own, the `relay`, holds the pipes and the memory in which the thread keeps what was not sent yet,
//! the [`ring`]. It does nothing as long as the daemon lives; when the daemon is dead, whatever it died of,
//! the relay sends the rest, and nothing is lost or sent twice. The two never read at the same time, and share no
//! state that both change: a relay that is killed, stopped, or cannot be replaced costs the last words, should
//! the daemon die just then, and nothing else.
//!
//! The ring holds [`shared::BYTES`] of each pipe. When that is full of what waits for the logger, the oldest
//! lines wait in the queue alone, like any message. Lines for which the queue has no room are counted, and one
//! line says how many there were.

pub mod line;
pub mod log_file;
mod pipes;
mod relay;
pub mod ring;
pub mod shared;
pub mod standard;
mod state;

use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::Mode;

pub use self::relay::RELAY;
use self::shared::Shared;
use self::state::{Failure, Output, make_blocking};
use crate::{sys, syslog, thread};

/// For a relay to end, or to begin.
const PATIENCE: Duration = Duration::from_secs(5);

/// There once [`start`] has succeeded so far; for the daemon's life.
static OUTPUT: OnceLock<Output> = OnceLock::new();

/// Makes the pipes, the thread and the relay; returns when they are there. More than once changes
/// nothing. Fails with the name of the call and its errno: ENOTSUP where no process can outlive the
/// daemon unseen.
pub fn start(name: &str) -> std::result::Result<(), Failure> {
    if OUTPUT.get().is_some() {
        return Ok(());
    }
    if !sys::CAN_OUTLIVE {
        return Err(("clone", libc::ENOTSUP));
    }
    if !syslog::start() {
        return Err(("pthread_create", libc::EAGAIN));
    }
    let shared = Shared::map(name).map_err(|errno| ("mmap", errno))?;
    let output = Output::new(shared)?;
    let output = OUTPUT.get_or_init(|| output);
    syslog::install(&shared.delivery);

    thread::spawn("output", || pipes::run(output))
        .map_err(|errno| ("pthread_create", errno as i32))?;
    output.wait_for_relay(PATIENCE).map_err(|errno| ("clone", errno))
}

/// Makes a pipe the process's descriptor 1 or 2.
pub fn redirect(number: i32) -> Result<()> {
    let output = OUTPUT.get().ok_or(ErrorKind::NotFound)?;
    let writer = &output.writers[usize::from(number == 2)];
    standard::redirect(writer.as_fd(), number)
}

/// Writes all to descriptor 1 or 2: a signal, or a stop, may end write(2) in the middle (pipe(7)).
pub fn write(number: i32, bytes: &[u8]) -> Result<()> {
    // SAFETY: a standard descriptor, which nobody closes.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let mut rest = bytes;
    while !rest.is_empty() {
        match nix::unistd::write(fd, rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or(&[]),
            Err(Errno::EAGAIN) => make_blocking(fd),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::from(errno)),
        }
    }
    Ok(())
}

/// Waits until all that was printed so far is in the queue.
pub fn drain(timeout: Duration) {
    let Some(output) = OUTPUT.get() else { return };
    let asked = {
        let mut state = output.state();
        state.asked += 1;
        state.asked
    };
    output.wake.wake();
    output.wait(timeout, |state| state.answered >= asked);
}

/// Before privileges are dropped: ends the relay, which has them still. And /dev/stdout must be a file
/// that the daemon's children can open as who they are then; to find it at all, by way of /proc, takes the
/// right to trace them (proc_pid_fd(5)).
pub fn retire() {
    let Some(output) = OUTPUT.get() else { return };
    for writer in &output.writers {
        let _ = nix::sys::stat::fchmod(writer, Mode::from_bits_truncate(0o622));
    }
    {
        let mut state = output.state();
        state.wanted = false;
        if let Some(pid) = state.relay {
            // It has nothing to lose, and a stopped one ends, too.
            // SAFETY: our own child, which was not waited for: that would have been noted.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
    output.wait(PATIENCE, |state| state.relay.is_none());
}

/// After that: makes a new one, with the daemon's new user. Fails with the errno of clone(2).
pub fn revive() -> std::result::Result<(), i32> {
    let Some(output) = OUTPUT.get() else { return Ok(()) };
    {
        let mut state = output.state();
        (state.wanted, state.at_once, state.failure) = (true, true, None);
    }
    output.wake.wake();
    output.wait_for_relay(PATIENCE)
}
