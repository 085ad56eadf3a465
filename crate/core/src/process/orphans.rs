//! The orphans that a container's PID 1 is given: nobody else waits for them.

#[cfg(target_os = "linux")]
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[cfg(target_os = "linux")]
use nix::unistd::Pid;

use super::lock_holder::Process;
#[cfg(not(target_os = "linux"))]
use super::numbers;
#[cfg(target_os = "linux")]
use super::procfs;
use super::stat::Stat;

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

/// Our own children that have ended and that nobody has waited for: for PID 1, which is given the orphans of
/// its container.
#[cfg(target_os = "linux")]
fn ended_children() -> Vec<i32> {
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    let is_one = |shown: &i32, me: i32| {
        let stat = Stat::read(Path::new(&format!("/proc/{shown}")));
        stat.is_some_and(|stat| stat.ppid == me && stat.state == 'Z')
    };
    if let (Some(depth), Some(me)) = (procfs::depth(), procfs::own_number()) {
        let children = procfs::listed("/proc").filter(|shown| is_one(shown, me));
        return children.filter_map(|shown| procfs::number_here(shown, depth)).collect();
    }
    // Without a list the kernel names one, and when that was waited for, the next.
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let first = waitid(Id::All, flags).ok().and_then(|status| status.pid());
    first.map(Pid::as_raw).into_iter().collect()
}

/// The same.
#[cfg(not(target_os = "linux"))]
fn ended_children() -> Vec<i32> {
    let me = nix::unistd::getpid().as_raw();
    let is_one = |stat: Stat| stat.ppid == me && stat.state == 'Z';
    numbers().filter(|pid| Stat::read(*pid).is_some_and(is_one)).collect()
}

/// Those of them that were seen when it was last asked, by handles that stay on them.
static SUSPECTS: Mutex<Vec<Process>> = Mutex::new(Vec::new());

fn suspects() -> MutexGuard<'static, Vec<Process>> {
    SUSPECTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes which children have ended. Those that are not waited for until [`reap_suspects`] are orphans.
pub fn suspect_orphans() {
    let ended = ended_children().into_iter().filter(|&pid| !is_claimed(pid));
    *suspects() = ended.filter_map(Process::open).collect();
}

/// Waits for those that are still there, and whether there are others.
pub fn reap_suspects() -> bool {
    for suspect in suspects().drain(..) {
        suspect.reap();
    }
    !ended_children().is_empty()
}
