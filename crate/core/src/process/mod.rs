//! Processes as the system shows them: what /proc says, handles that stay on one process, who holds a
//! lock, and what becomes of children. Knows nothing of daemons.

pub mod lock_holder;
pub mod orphans;
pub mod own;
pub mod procfs;
pub mod session;
pub mod stat;

#[cfg(target_os = "linux")]
use std::fs;

#[cfg(not(target_os = "linux"))]
use crate::sys;

/// All numbers of processes.
#[cfg(not(target_os = "linux"))]
pub fn numbers() -> Box<dyn Iterator<Item = i32>> {
    Box::new(sys::pids().into_iter())
}

/// The numbers of this pid namespace that may be a process's: those that /proc has. Where it has not even
/// this process, or hides others (that it shows no first one), all that there can be.
#[cfg(target_os = "linux")]
pub fn numbers() -> Box<dyn Iterator<Item = i32>> {
    /// PID_MAX_LIMIT of include/linux/threads.h.
    const LIMIT: i32 = 4 << 20;
    let depth = procfs::depth().filter(|_| fs::symlink_metadata("/proc/1").is_ok());
    if let Some(depth) = depth {
        let listed = procfs::listed("/proc");
        return Box::new(listed.filter_map(move |shown| procfs::number_here(shown, depth)));
    }
    let limit = fs::read("/proc/sys/kernel/pid_max").ok();
    let limit = limit.and_then(|line| procfs::number(line.trim_ascii()));
    Box::new(1..limit.unwrap_or(LIMIT))
}
