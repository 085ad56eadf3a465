//! What this process can see of itself in /proc.

use std::path::Path;

use super::procfs;
use super::stat::Stat;

const THREADS: &str = "/proc/self/task";

/// The name of this process's parent, of which the kernel keeps the first 15 bytes (proc_pid_comm(5)). The
/// parent is found by its number in /proc, which may be that of another pid namespace.
pub fn name_of_parent() -> Option<String> {
    let status = procfs::read("/proc/self/status").ok()?;
    let parent: i32 = procfs::number(procfs::field(&status, "PPid")?.next()?)?;
    let name = procfs::read(&format!("/proc/{parent}/comm")).ok()?;
    Some(String::from_utf8_lossy(&name).trim_end_matches('\n').to_owned())
}

/// The name of a process, where it can be seen, as of the parent.
pub fn name_of(pid: i32) -> Option<String> {
    let name = std::fs::read(procfs::directory(pid).ok()?.join("comm")).ok()?;
    Some(String::from_utf8_lossy(&name).trim_end_matches('\n').to_owned())
}

/// The threads of this process without its main one, by their numbers in /proc.
pub fn other_threads() -> Vec<i32> {
    let main = procfs::own_number();
    procfs::listed(THREADS).filter(|&id| Some(id) != main).collect()
}

/// Whether a thread of this process does anything at this moment; one that has ended does not.
pub fn is_awake(thread: i32) -> bool {
    let dir = format!("{THREADS}/{thread}");
    Stat::read(Path::new(&dir)).is_some_and(|now| now.state != 'S')
}

/// The arguments of this process, each with a NUL at its end; empty where /proc is not mounted.
pub fn arguments() -> Vec<u8> {
    procfs::read("/proc/self/cmdline").unwrap_or_default()
}

/// Where root's pidfiles of foreign programs are.
pub const OF_FOREIGN: &str = "/run/tsdaemonize";

/// Whether this process got more rights by its exec than its caller has: the file is set-user-ID or set-group-ID, or
/// has capabilities (`AT_SECURE` in getauxval(3)).
pub fn has_rights_of_its_file() -> bool {
    // SAFETY: getauxval takes an integer and reads what the kernel has left for this process.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Whether the C library has the name service switch, nsswitch.conf(5). musl has not.
pub const HAS_NAME_SERVICE: bool = cfg!(not(target_env = "musl"));
