//! The memory of this process, which a process beside it may use: a child that was made by clone(2) with CLONE_VM. It
//! has its own ids, which no drop reaches. Whoever runs here would write what it does there.
//!
//! kcmp(2) tells whether two processes have one memory. Where it is forbidden (a seccomp filter in a container), a
//! number that was just written here is looked for in their memory: a copy of fork(2) does not have it. A process that
//! may not be looked at in either way (another user's, without CAP_SYS_PTRACE) is taken for one that has its own: that
//! much is not proven, since otherwise every other user's process would be in the way.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::super::stat::Stat;
use crate::error::Result;
use crate::privileges::errors::refused;
use crate::sys::procfs;

/// kcmp(2), which the C library does not know.
const KCMP_VM: libc::c_int = 1;
/// How long a child may use this memory that is about to execute a program (posix_spawn(3)).
const SPAWNING: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

/// Refuses to go on where another process uses the memory of this one.
pub fn refuse() -> Result<()> {
    let deadline = Instant::now() + SPAWNING;
    while let Some((pid, name)) = sharer() {
        if Instant::now() >= deadline {
            return Err(refused(format!(
                "Cannot drop privileges: process {pid} ({name}) uses the memory of this one, and would keep them. End \
                 it first: it was made with CLONE_VM, and has executed no program."
            )));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// A process that uses this memory, and its name.
fn sharer() -> Option<(i32, String)> {
    let me = nix::unistd::getpid().as_raw();
    let compare: fn(i32, i32) -> bool = if is_same(me, me) { is_same } else { has_our_number };
    let of_this = |pid: i32| {
        // A main thread that has ended has no memory any more. Others of its process may go on.
        compare(me, pid) || has_ended(pid) && threads(pid).any(|thread| compare(me, thread))
    };
    // /proc is that of our own pid namespace, or else nothing could be proven anyway.
    let pid = procfs::listed("/proc").filter(|&pid| pid != me).find(|&pid| of_this(pid))?;
    let name = procfs::read(&format!("/proc/{pid}/comm")).unwrap_or_default();
    Some((pid, String::from_utf8_lossy(name.trim_ascii_end()).into_owned()))
}

fn is_same(me: i32, pid: i32) -> bool {
    // SAFETY: takes numbers alone.
    unsafe { libc::syscall(libc::SYS_kcmp, me, pid, KCMP_VM, 0, 0) == 0 }
}

fn has_ended(pid: i32) -> bool {
    Stat::read(Path::new(&format!("/proc/{pid}"))).is_some_and(|stat| stat.state == 'Z')
}

fn threads(pid: i32) -> impl Iterator<Item = i32> {
    procfs::listed(&format!("/proc/{pid}/task"))
}

/// What nobody else has at this address, unless it is one memory.
static NUMBER: AtomicU64 = AtomicU64::new(0);

fn has_our_number(_me: i32, pid: i32) -> bool {
    let mut fresh = [0; 8];
    if File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut fresh)).is_err() {
        return false;
    }
    NUMBER.store(u64::from_ne_bytes(fresh), Ordering::SeqCst);
    let Ok(memory) = File::open(format!("/proc/{pid}/mem")) else { return false };
    let mut found = [0; 8];
    memory.read_exact_at(&mut found, NUMBER.as_ptr() as u64).is_ok() && found == fresh
}
