//! What there is for the daemon's life where its output becomes syslog messages: the pipes, the memory that
//! is shared with the relay, and what those who ask and the thread that reads say to each other.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::shared::Shared;
use crate::sys::{self, Wake, errno_of};

/// A pipe holds so many bytes while the thread does not come to read, if the system allows it.
const PIPE: i32 = 1 << 20;

/// The call that failed, and its errno.
pub type Failure = (&'static str, i32);

#[derive(Debug)]
pub struct Output {
    pub shared: &'static Shared,
    /// The pipes' ends, of standard output and standard error: to read from, and to write to.
    pub readers: [OwnedFd; 2],
    pub writers: [OwnedFd; 2],
    /// Has the thread look at `state`.
    pub wake: Wake,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
pub struct State {
    /// Whether there is to be a relay.
    pub wanted: bool,
    /// Whether it is to be made at once, whatever became of the one before.
    pub at_once: bool,
    /// Its pid. Only with this lock it is waited for, so that it is no other process's.
    pub relay: Option<i32>,
    /// The errno of a relay that could not be made.
    pub failure: Option<i32>,
    /// How often somebody asked for all that was printed so far, and how many of these were answered.
    pub asked: u64,
    pub answered: u64,
}

impl Output {
    pub fn new(shared: &'static Shared) -> Result<Self, Failure> {
        let pipe = || -> Result<(OwnedFd, OwnedFd), Failure> {
            let (reader, writer) =
                std::io::pipe().map_err(|error| ("pipe2", errno_of(&error) as i32))?;
            fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))
                .map_err(|error| ("fcntl", error as i32))?;
            sys::grow_pipe(&writer, PIPE);
            Ok((reader.into(), writer.into()))
        };
        let (out, err) = (pipe()?, pipe()?);
        let state = State {
            wanted: true,
            at_once: true,
            relay: None,
            failure: None,
            asked: 0,
            answered: 0,
        };
        Ok(Self {
            shared,
            readers: [out.0, err.0],
            writers: [out.1, err.1],
            wake: Wake::new().map_err(|errno| ("eventfd", errno as i32))?,
            state: Mutex::new(state),
            changed: Condvar::new(),
        })
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whoever waits for the state to change.
    pub fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits until the state is as asked; `false` when the time was up first.
    pub fn wait(&self, timeout: Duration, is_done: impl Fn(&State) -> bool) -> bool {
        let begun = Instant::now();
        let mut guard = self.state();
        while !is_done(&guard) {
            let left = timeout.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(guard, left);
            guard = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Waits until there is a relay, or none can be made: then it fails with the errno.
    pub fn wait_for_relay(&self, timeout: Duration) -> Result<(), i32> {
        self.wait(timeout, |state| state.relay.is_some() || state.failure.is_some());
        self.state().failure.map_or(Ok(()), Err)
    }
}

/// A child that is a Node makes the pipe that it inherits non-blocking for all who print there, and what did
/// not fit would be lost. Somebody always reads, so that nobody is blocked for long.
pub fn make_blocking(writer: BorrowedFd<'_>) {
    if let Ok(flags) = fcntl(writer, FcntlArg::F_GETFL).map(OFlag::from_bits_retain)
        && flags.contains(OFlag::O_NONBLOCK)
    {
        let _ = fcntl(writer, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK));
    }
}
