//! The end of the daemon at a place, and signals to it.

use std::time::{Duration, Instant};

use super::errors::{no_reload, not_allowed};
use super::find::{Daemon, Wanted};
use crate::error::{Code, Error, Result};
use crate::pidfile::patience::{KILLED, PAUSE, SETTLE};
use crate::pidfile::{self, Place, State};
use crate::sys::Reaction;

/// How much longer a supervisor may take than the daemon.
const SUPERVISOR: Duration = Duration::from_secs(1);

/// How a daemon was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Its pid.
    pub pid: i32,
    /// Whether it had to be killed.
    pub killed: bool,
}

/// Ends the daemon at a place and its supervisor, by SIGTERM, and after `patience` by SIGKILL; waits for their end, and
/// leaves no pidfile. `None` means that no daemon was running. A daemon that is starting is ended too.
pub fn stop(place: &Place, patience: Duration) -> Result<Option<Stopped>> {
    let Some(daemon) = Daemon::find(place, Wanted::Any)? else {
        pidfile::sweep(place, false);
        return Ok(None);
    };
    let pid = daemon.pid;
    let refused = |errno| not_allowed(place, pid, daemon.is_supervised(), errno);
    daemon.ask_to_end().map_err(refused)?;
    let asked = Instant::now();
    let mut stopped = Stopped { pid, killed: false };
    // A supervisor has the same patience, and kills the daemon itself.
    let is_supervised = daemon.is_supervised();
    if daemon.wait(if is_supervised { patience + SUPERVISOR } else { patience }) {
        stopped.killed = is_supervised && asked.elapsed() >= patience;
    } else {
        daemon.kill().map_err(refused)?;
        stopped.killed = true;
        if !daemon.wait(KILLED) {
            let message = format!(
                "The daemon '{}' (pid {pid}) was killed and has not ended: it hangs in the kernel. Look at \
                 /proc/{pid}/stack and at its file systems",
                place.name
            );
            return Err(Error::new(Code::StopFailed, message).at(&place.path()).of(Some(pid)));
        }
    }
    await_release(place, daemon.named);
    pidfile::sweep(place, true);
    Ok(Some(stopped))
}

/// Waits for the start whose daemon was ended: it may still hold the lock while it cleans up.
fn await_release(place: &Place, pid: i32) {
    let deadline = Instant::now() + SETTLE;
    let is_held = || {
        let state = pidfile::look(place).map(|look| look.state);
        matches!(
            state,
            Ok(State::Starting { pid: Some(now) } | State::Running { pid: Some(now) }) if now == pid
        )
    };
    while is_held() && Instant::now() < deadline {
        std::thread::sleep(PAUSE);
    }
}

/// Sends one signal to the daemon that runs at a place; `false` where none does.
pub fn kill(place: &Place, signal: i32) -> Result<bool> {
    let Some(daemon) = Daemon::find(place, Wanted::Ready)? else { return Ok(false) };
    daemon.signal(signal).map_err(|errno| not_allowed(place, daemon.pid, false, errno))?;
    Ok(true)
}

/// Sends SIGHUP to the daemon that runs at a place, unless it would end by that, or ignore it; `false` where none runs.
pub fn reload(place: &Place) -> Result<bool> {
    let Some(daemon) = Daemon::find(place, Wanted::Ready)? else { return Ok(false) };
    if let Some(why) = match daemon.reaction(libc::SIGHUP) {
        Some(Reaction::Default) => Some("does not catch SIGHUP, and would end by it"),
        Some(Reaction::Ignored) => Some("ignores SIGHUP"),
        Some(Reaction::Taken) | None => None,
    } {
        return Err(no_reload(place, daemon.pid, why));
    }
    daemon.signal(libc::SIGHUP).map_err(|errno| not_allowed(place, daemon.pid, false, errno))?;
    Ok(true)
}
