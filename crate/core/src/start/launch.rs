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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;

use super::arguments::c_string;
use super::deferred::Deferred;
use super::guardian::Guardian;
use super::plan::Plan;
use super::prepare;
use crate::error::{Code, Error, Result};
use crate::instance::places;
use crate::pidfile::PidFile;
use crate::sys;

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
    pub(super) timeout: Duration,
    pub(super) cancelled: Arc<AtomicBool>,
}

/// Steps 1 to 3. Takes a few milliseconds; no signal ends the process in between.
pub fn launch(plan: Plan) -> Result<Launch> {
    let executable = plan.command.into_bytes()?;
    let cwd = plan.cwd.map(c_string).transpose()?;
    let _deferred = Deferred::begin();
    plan.keep_fds.iter().try_for_each(|&fd| require_open(fd))?;
    let pidfile = places::acquire(&plan.places)?;
    let wanted =
        prepare::Wanted { executable, cwd, keep_fds: plan.keep_fds, timeout: plan.timeout };
    match prepare::prepare_and_fork(wanted, &plan.hello, pidfile.as_ref()) {
        Ok((guardian, ends)) => {
            let launch = Launch {
                guardian: Guardian::new(guardian, ends.guardian),
                hand_over: ends.hand_over,
                stdout: ends.stdout.into(),
                stderr: ends.stderr.into(),
                pidfile,
                timeout: plan.timeout,
                cancelled: Arc::default(),
            };
            *latest() = Cancel::of(&launch);
            Ok(launch)
        }
        Err(error) => {
            if let Some(pidfile) = pidfile {
                pidfile.remove();
            }
            Err(error)
        }
    }
}

fn require_open(fd: RawFd) -> Result<()> {
    // SAFETY: asks for flags only; a closed descriptor is an error, not undefined.
    let flags = || Errno::result(unsafe { libc::fcntl(fd, libc::F_GETFD) });
    sys::again(flags).map(drop).map_err(|_| {
        let message = format!("`keepFds` names descriptor {fd}, which is not open");
        Error::os(Code::StartFailed, message, "fcntl", libc::EBADF)
    })
}

/// Gives up a start while another thread waits for it.
#[derive(Debug)]
struct Cancel {
    hand_over: UnixStream,
    cancelled: Arc<AtomicBool>,
}

/// For the start that was begun last, until it is over.
static LATEST: Mutex<Option<Cancel>> = Mutex::new(None);

fn latest() -> MutexGuard<'static, Option<Cancel>> {
    LATEST.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cancel {
    /// `None` where there is no descriptor left for that.
    fn of(launch: &Launch) -> Option<Self> {
        let hand_over = launch.hand_over.try_clone().ok()?;
        Some(Self { hand_over, cancelled: Arc::clone(&launch.cancelled) })
    }
}

/// Gives up the start that was begun last: its daemon is ended, and [`Launch::wait`] returns when nothing
/// is left. Too late once the daemon was told "go".
pub fn cancel_latest() {
    if let Some(cancel) = latest().as_ref() {
        cancel.cancelled.store(true, Ordering::SeqCst);
        // Wakes the one that waits.
        let _ = cancel.hand_over.shutdown(std::net::Shutdown::Both);
    }
}

/// This start is over, and nobody can give it up any more.
pub(super) fn conclude(cancelled: &Arc<AtomicBool>) {
    let mut latest = latest();
    if latest.as_ref().is_some_and(|cancel| Arc::ptr_eq(&cancel.cancelled, cancelled)) {
        *latest = None;
    }
}
