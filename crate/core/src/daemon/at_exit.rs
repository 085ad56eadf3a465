//! What must happen before this process is gone, whichever way it ends by exit(3): the last messages
//! are sent, and then the pidfile goes.
//!
//! By atexit(3) and not by a listener of JavaScript's `exit` event: this comes after all of the
//! program's own, so that the lock and the pidfile say "running" for as long as its code runs.

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::output::{standard, to_syslog};
use crate::pidfile::PidFile;
use crate::syslog;

/// For the last messages to reach the logger.
const LAST: Duration = Duration::from_secs(1);

/// The process that owes an orderly end: not a child that it forked.
static OWNER: OnceLock<u32> = OnceLock::new();

/// The pidfile of this daemon, from its take-over until it is removed.
static PIDFILE: Mutex<Option<PidFile>> = Mutex::new(None);

/// This start has failed, and its guardian is gone: the process group ends with this process.
static GROUP_ENDS: AtomicBool = AtomicBool::new(false);

/// The logger did not take the last messages in time.
static IN_VAIN: AtomicBool = AtomicBool::new(false);

fn pidfile() -> MutexGuard<'static, Option<PidFile>> {
    PIDFILE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Hands the pidfile over to this module, which removes it in the end.
pub fn set_pidfile(held: PidFile) {
    *pidfile() = Some(held);
    prepare();
}

/// Calls with the pidfile, if there is one.
pub fn with_pidfile<T>(f: impl FnOnce(&mut PidFile) -> T) -> Option<T> {
    pidfile().as_mut().map(f)
}

/// Gives the process another root directory, from where the pidfile cannot be reached. Nobody looks
/// at the pidfile meanwhile.
pub fn change_root<E>(enter: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
    let mut held = pidfile();
    enter()?;
    if let Some(held) = held.as_mut() {
        held.lose_reach();
    }
    Ok(())
}

/// Removes the pidfile, once, on the process's last steps.
fn remove_pidfile() {
    if let Some(held) = pidfile().take() {
        // Where it could only be emptied, it stays locked until this process has ended. A removed one
        // goes now: the guard's inotify would make the end of the process wait for it, 10 ms or more.
        if !held.remove() {
            std::mem::forget(held);
        }
    }
}

/// Sends the last messages, while the event loop still turns; `false` when the time was up first: then
/// they are not waited for again.
pub fn flush(timeout: Duration) -> bool {
    let sent = syslog::flush_last(timeout);
    IN_VAIN.store(!sent, Ordering::SeqCst);
    sent
}

/// From now on the end of this process is that of its process group: a start leaves no process.
pub fn end_group() {
    GROUP_ENDS.store(true, Ordering::SeqCst);
}

/// The last step but exit(3)'s own.
fn leave() {
    remove_pidfile();
    if GROUP_ENDS.load(Ordering::SeqCst) {
        // SAFETY: signals the daemon's own process group, which it leads, itself included.
        unsafe { libc::kill(0, libc::SIGKILL) };
    }
}

/// Sees to an orderly end of this process. Once is enough; more often changes nothing.
pub fn prepare() {
    OWNER.get_or_init(|| {
        // SAFETY: `at_exit` is there for as long as the process: Node never unloads a module of its
        // main thread, and a C library runs the handlers of one that is unloaded before that.
        unsafe { libc::atexit(at_exit) };
        std::process::id()
    });
}

extern "C" fn at_exit() {
    finish();
}

/// Sends the last messages and removes the pidfile, in a process that asked for it.
pub fn finish() {
    if OWNER.get() == Some(&std::process::id()) {
        let _ = catch_unwind(|| {
            to_syslog::drain(LAST);
            if !IN_VAIN.load(Ordering::SeqCst) {
                syslog::flush_last(LAST);
            }
            leave();
            standard::let_go_of_terminal();
        });
    }
}

/// Removes the pidfile and ends the process at once, without any of the handlers of exit(3).
pub fn exit_now(status: i32) -> ! {
    leave();
    // SAFETY: ends the process; no destructor is owed anything.
    unsafe { libc::_exit(status) }
}
