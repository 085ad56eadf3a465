//! Which processes there are.

use std::fs;
use std::path::Path;

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::procfs;
use super::stat::Stat;

/// The numbers of this pid namespace that may be a process's: those that /proc shows. Where it does not even show this
/// process, or hides others (it shows no first process then), all numbers that there can be.
pub fn pids() -> Box<dyn Iterator<Item = i32>> {
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

/// The children of this process that have ended and that nobody has waited for.
pub fn ended_children() -> Vec<i32> {
    let is_one = |shown: &i32, me: i32| {
        let stat = Stat::read(Path::new(&format!("/proc/{shown}")));
        stat.is_some_and(|stat| stat.ppid == me && stat.state == 'Z')
    };
    if let (Some(depth), Some(me)) = (procfs::depth(), procfs::own_number()) {
        let children = procfs::listed("/proc").filter(|shown| is_one(shown, me));
        return children.filter_map(|shown| procfs::number_here(shown, depth)).collect();
    }
    // Where there is no list, the kernel names one child, and the next when that was waited for.
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let first = waitid(Id::All, flags).ok().and_then(|status| status.pid());
    first.map(Pid::as_raw).into_iter().collect()
}

/// The parent of a process, where that can be seen.
pub fn parent_of(pid: i32) -> Option<i32> {
    Stat::read(&procfs::directory(pid).ok()?).map(|stat| stat.ppid)
}
