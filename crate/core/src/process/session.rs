//! The end of a whole session.

use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::process::lock_holder::Process;
use crate::sys;

/// Ends all processes of a session, and waits for their end, no longer than `patience`. The session's leader must be
/// this process, or a child of it that has not been waited for, so that its id belongs to nobody else. The kernel says
/// who is in the session, as far as our own pid namespace goes (getsid(2)).
pub fn kill_session(leader: i32, patience: Duration) {
    kill_session_but(leader, patience, |_| false);
}

/// The same, without the processes that are to be spared.
pub fn kill_session_but(leader: i32, patience: Duration, is_spared: impl Fn(i32) -> bool) {
    let deadline = Instant::now() + patience;
    for _ in 0..3 {
        let found = signal_session(leader, libc::SIGKILL, &is_spared);
        for process in &found {
            process.await_end(deadline);
        }
        if found.is_empty() {
            break;
        }
    }
}

/// Sends a signal to all processes of a session that live, without its leader and those that are to be spared. Returns
/// them.
pub fn signal_session(leader: i32, signal: i32, is_spared: impl Fn(i32) -> bool) -> Vec<Process> {
    let is_member = |pid: i32| pid != leader && session_of(pid) == Some(leader) && !is_spared(pid);
    let opened = sys::pids().filter(|&pid| is_member(pid)).filter_map(Process::open);
    let found: Vec<Process> = opened.filter(|process| !process.has_ended()).collect();
    for process in &found {
        // Look again: the number may have been reused before the handle was open.
        if let Ok(handle) = process.handle()
            && is_member(process.pid)
        {
            let _ = sys::pidfd_send_signal(handle, process.pid, signal);
        }
    }
    found
}

/// No process has more ancestors that count.
const DEEPEST: usize = 100;

/// The processes of a session, its leader among them.
pub fn members(leader: i32) -> Vec<i32> {
    sys::pids().filter(|&pid| session_of(pid) == Some(leader)).collect()
}

/// Whether a process is in a session, or descends from a process: a shell's job has a session of its own.
pub fn belongs(pid: i32, leader: i32, ancestor: i32) -> bool {
    let ancestors =
        std::iter::successors(Some(pid), |&pid| sys::parent_of(pid).filter(|&pid| pid > 1));
    session_of(pid) == Some(leader) || ancestors.take(DEEPEST).any(|pid| pid == ancestor)
}

fn session_of(pid: i32) -> Option<i32> {
    nix::unistd::getsid(Some(Pid::from_raw(pid))).ok().map(Pid::as_raw)
}
