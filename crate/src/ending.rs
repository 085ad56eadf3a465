//! What must happen before this process is gone, whichever way it ends by exit(3): the last messages
//! are sent, and then the pidfile goes.
//!
//! By atexit(3) and not by a listener of JavaScript's `exit` event: this comes after all of the
//! program's own, so that the lock and the pidfile say "running" for as long as its code runs.

use std::panic::catch_unwind;
use std::sync::OnceLock;
use std::time::Duration;

use crate::{guard, syslog};

/// For the last messages to reach the logger.
const LAST: Duration = Duration::from_secs(1);

/// The process that owes an orderly end: not a child that it forked.
static OWNER: OnceLock<u32> = OnceLock::new();

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
            syslog::flush(LAST);
            guard::remove_pidfile();
        });
    }
}

/// Removes the pidfile and ends the process at once, without any of the handlers of exit(3).
pub fn exit_now(status: i32) -> ! {
    guard::remove_pidfile();
    // SAFETY: ends the process; no destructor is owed anything.
    unsafe { libc::_exit(status) }
}
