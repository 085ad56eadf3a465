//! What libproc shows this process of itself.

use super::libproc;

/// The name of this process's parent, of which the kernel keeps MAXCOMLEN bytes.
pub fn name_of_parent() -> Option<String> {
    name_of(nix::unistd::getppid().as_raw())
}

/// The name of a process, where it can be seen, as of the parent.
pub fn name_of(pid: i32) -> Option<String> {
    let (process, _) = libproc::process(pid)?;
    let bytes = process.pbi_comm.iter().map(|&c| c as u8).take_while(|&c| c != 0);
    Some(String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned())
}

/// The threads of this process without its main one: none, since the system does not tell their numbers.
pub fn other_threads() -> Vec<i32> {
    Vec::new()
}

/// Whether a thread of this process does anything at this moment: no, since none is known.
pub fn is_awake(_thread: i32) -> bool {
    false
}

/// The arguments of this process: none here, since std knows them on macOS.
pub fn arguments() -> Vec<u8> {
    Vec::new()
}

/// Where root's pidfiles of foreign programs are. The root directory cannot be written there.
pub const OF_FOREIGN: &str = "/var/run/tsdaemonize";

/// Whether this process got more rights by its exec than its caller has: the file is set-user-ID or set-group-ID.
pub fn has_rights_of_its_file() -> bool {
    // SAFETY: issetugid takes nothing and cannot fail.
    unsafe { libc::issetugid() != 0 }
}

/// Whether the C library knows all users, those of directory services too.
pub const HAS_NAME_SERVICE: bool = true;
