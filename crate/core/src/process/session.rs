//! The end of a whole session.

use std::time::{Duration, Instant};

use nix::unistd::Pid;

use crate::process::lock_holder::Process;
use crate::sys;

/// Ends all processes of a session, and waits for their end, no longer than `patience`. The session's leader must be
/// a child of ours that has not been waited for, so that its id belongs to nobody else. The kernel says who is
/// in the session, as far as our own pid namespace goes (getsid(2)).
pub fn kill_session(leader: i32, patience: Duration) {
    let is_member = |pid: i32| {
        pid != leader && nix::unistd::getsid(Some(Pid::from_raw(pid))) == Ok(Pid::from_raw(leader))
    };
    let deadline = Instant::now() + patience;
    for _ in 0..3 {
        let found: Vec<Process> =
            sys::pids().filter(|&pid| is_member(pid)).filter_map(Process::open).collect();
        for process in &found {
            // Look again: the number may have been reused before the handle was open.
            if let Ok(handle) = process.handle()
                && is_member(process.pid)
            {
                let _ = sys::pidfd_send_signal(handle, process.pid, libc::SIGKILL);
            }
        }
        for process in &found {
            process.await_end(deadline);
        }
        if found.is_empty() {
            break;
        }
    }
}
