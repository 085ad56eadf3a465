//! The launcher's side of a start: everything is prepared, then two forks; then a thread waits for
//! what becomes of it.
//!
//! 1. open and lock the pidfile ([`crate::pidfile`]), and look in the other places ([`crate::instance::places`]);
//! 2. open all descriptors and make every string (`prepare`);
//! 3. fork; the children are in [`crate::start::children`];
//! 4. [`Launch::wait`]: the daemon says "ready"; the guardian is asked to stand down, and does; the
//!    daemon is marked ready in the pidfile; the daemon is told "go". Anything else is a failure,
//!    and then nothing is left.

use std::fs::File;
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::cancel::Cancellation;
use super::children::MOST_EXTRA;
use super::deferred::Deferred;
use super::guardian::Guardian;
use super::plan::{Plan, Supervision};
use super::prepare;
use super::shared_path::SharedPath;
use crate::error::{Code, Error, Result};
use crate::instance::places;
use crate::pidfile::PidFile;
use crate::process::own::is_open;

/// A start that is under way. Dropped, it is given up: the guardian ends the daemon.
#[derive(Debug)]
pub struct Launch {
    pub(super) guardian: Guardian,
    /// This end of the hand-over socket.
    pub(super) hand_over: UnixStream,
    /// What the daemon prints while it starts.
    pub(super) stdout: File,
    pub(super) stderr: File,
    pub(super) pidfile: Option<PidFile>,
    pub(super) supervision: Option<Supervision>,
    /// Where the guardian is told of a pidfile that the daemon locks itself.
    pub(super) shared: Option<SharedPath>,
    pub(super) state: Option<String>,
    pub(super) timeout: Duration,
    pub(super) cancellation: Cancellation,
}

/// Steps 1 to 3. Takes a few milliseconds; no signal ends the process in between.
pub fn launch(mut plan: Plan) -> Result<Launch> {
    let _deferred = Deferred::begin();
    let extra = plan.supervision.as_ref().map_or(0, |supervision| supervision.extra.len());
    debug_assert!(extra <= MOST_EXTRA);
    plan.keep_fds.iter().try_for_each(|&fd| require_open(fd))?;
    let pidfile = places::acquire(&plan.places)?;
    let timeout = plan.timeout;
    let (supervision, state) = (plan.supervision.take(), plan.state.take());
    match prepare::prepare_and_fork(plan, supervision.as_ref(), pidfile.as_ref()) {
        Ok((guardian, ends)) => Ok(Launch {
            guardian: Guardian::new(guardian, ends.guardian),
            cancellation: Cancellation::of(&ends.hand_over),
            hand_over: ends.hand_over,
            stdout: ends.stdout.into(),
            stderr: ends.stderr.into(),
            pidfile,
            supervision,
            shared: ends.shared,
            state,
            timeout,
        }),
        Err(error) => {
            if let Some(pidfile) = pidfile {
                pidfile.remove();
            }
            Err(error)
        }
    }
}

fn require_open(fd: RawFd) -> Result<()> {
    if is_open(fd) {
        return Ok(());
    }
    let message = format!("`keepFds` names descriptor {fd}, which is not open");
    Err(Error::os(Code::StartFailed, message, "fcntl", libc::EBADF))
}
