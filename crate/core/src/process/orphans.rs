//! The orphans that PID 1 of a container is given: nobody else waits for them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::lock_holder::Process;
use crate::sys;

/// The children of this process that somebody here waits for: they are no orphans.
static CLAIMED: Mutex<Vec<i32>> = Mutex::new(Vec::new());

fn claimed() -> MutexGuard<'static, Vec<i32>> {
    CLAIMED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on the caller alone waits for this child.
pub fn claim(child: i32) {
    claimed().push(child);
}

/// The caller has waited for this child.
pub fn release(child: i32) {
    claimed().retain(|&pid| pid != child);
}

fn is_claimed(child: i32) -> bool {
    claimed().contains(&child)
}

/// The children that had ended when it was last asked, by handles that stay on them.
static SUSPECTS: Mutex<Vec<Process>> = Mutex::new(Vec::new());

fn suspects() -> MutexGuard<'static, Vec<Process>> {
    SUSPECTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes which children have ended. Those that are not waited for until [`reap_suspects`] are orphans.
pub fn suspect_orphans() {
    let ended = sys::ended_children().into_iter().filter(|&pid| !is_claimed(pid));
    *suspects() = ended.filter_map(Process::open).collect();
}

/// Waits for the suspects that are still there. Returns whether other children have ended.
pub fn reap_suspects() -> bool {
    for suspect in suspects().drain(..) {
        suspect.reap();
    }
    !sys::ended_children().is_empty()
}
