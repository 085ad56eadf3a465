//! Which processes there are.

use super::libproc;

/// The numbers of all processes.
pub fn pids() -> Box<dyn Iterator<Item = i32>> {
    Box::new(libproc::pids().into_iter())
}

/// The children of this process that have ended and that nobody has waited for.
pub fn ended_children() -> Vec<i32> {
    let me = nix::unistd::getpid().as_raw();
    let is_one = |process: libc::proc_bsdinfo| {
        i32::try_from(process.pbi_ppid) == Ok(me) && process.pbi_status == libc::SZOMB
    };
    pids().filter(|&pid| libproc::process(pid).is_some_and(|found| is_one(found.0))).collect()
}

/// The parent of a process, where that can be seen.
pub fn parent_of(pid: i32) -> Option<i32> {
    i32::try_from(libproc::process(pid)?.0.pbi_ppid).ok()
}
