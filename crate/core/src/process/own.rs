//! What this process can see of itself: its threads, and the name of its parent.

#[cfg(target_os = "linux")]
use std::path::Path;

#[cfg(target_os = "linux")]
use crate::process::procfs;
#[cfg(target_os = "linux")]
use crate::process::stat::Stat;
#[cfg(not(target_os = "linux"))]
use crate::sys;

/// The name of this process's parent, of which the kernel keeps the first 15 bytes (proc_pid_comm(5)).
/// The parent by its number in /proc, which may be that of another pid namespace.
#[cfg(target_os = "linux")]
pub fn name_of_parent() -> Option<String> {
    let status = procfs::read("/proc/self/status").ok()?;
    let parent: i32 = procfs::number(procfs::field(&status, "PPid")?.next()?)?;
    let name = procfs::read(&format!("/proc/{parent}/comm")).ok()?;
    Some(String::from_utf8_lossy(&name).trim_end_matches('\n').to_owned())
}

/// The same, with MAXCOMLEN.
#[cfg(not(target_os = "linux"))]
pub fn name_of_parent() -> Option<String> {
    let (process, _) = sys::process(nix::unistd::getppid().as_raw())?;
    let bytes = process.pbi_comm.iter().map(|&c| c as u8).take_while(|&c| c != 0);
    Some(String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned())
}

/// Whether this process leads its session.
pub fn leads_session() -> bool {
    nix::unistd::getsid(None) == Ok(nix::unistd::getpid())
}

/// The threads of this process without its main one, by their numbers in /proc. None, where the system
/// does not tell.
#[cfg(target_os = "linux")]
pub fn other_threads() -> Vec<i32> {
    let main = procfs::own_number();
    procfs::listed(THREADS).filter(|&id| Some(id) != main).collect()
}

/// None: the system does not tell.
#[cfg(not(target_os = "linux"))]
pub fn other_threads() -> Vec<i32> {
    Vec::new()
}

#[cfg(target_os = "linux")]
const THREADS: &str = "/proc/self/task";

/// Whether a thread of this process does anything at this moment; one that has ended does not.
#[cfg(target_os = "linux")]
pub fn is_awake(thread: i32) -> bool {
    let dir = format!("{THREADS}/{thread}");
    Stat::read(Path::new(&dir)).is_some_and(|now| now.state != 'S')
}

/// The same, of none.
#[cfg(not(target_os = "linux"))]
pub fn is_awake(_thread: i32) -> bool {
    false
}
