//! What /proc shows of a process.

use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::stat;

use super::files::statx_unsynced;
use super::procfs;
use super::stat::Stat;
use crate::sys::{FileId, Reaction, Unseen, again, errno_of};

/// The directory in /proc of a process that can be seen.
#[derive(Debug)]
pub struct Seen(PathBuf);

impl Seen {
    /// Finds the process by its handle; where there is none, by its number.
    pub fn of(pid: i32, handle: Option<BorrowedFd<'_>>) -> Result<Self, Unseen> {
        match handle {
            Some(handle) => procfs::directory_of(pid, handle)?.ok_or(Unseen::Foreign),
            None => procfs::directory(pid),
        }
        .map(Self)
    }

    /// Whether the process has a descriptor that holds the flock on this file, and is the same user's as the file, if
    /// that is not root's. A locked descriptor can be given away, to a set-user-ID program, or to any process that
    /// takes one (SCM_RIGHTS in unix(7)). What an ordinary user locks makes only that user's processes a daemon;
    /// root's daemons become other users.
    pub fn holds_flock(&self, file: FileId, owner: u32) -> Result<bool, Unseen> {
        let may_hold = || match owner {
            0 => Ok(true),
            _ => Ok(effective_uid(&self.status()?) == Some(owner)),
        };
        let held = may_hold().and_then(|may| Ok(may && has_flock(&self.0, file)?));
        held.map_err(|errno| match errno {
            // Where /proc is mounted with `hidepid`, it has no such process, or refuses it with EPERM.
            Errno::ENOENT | Errno::ESRCH => Unseen::Failed("open", Errno::EPERM),
            errno => Unseen::Failed("open", errno),
        })
    }

    /// Whether it has begun to end.
    pub fn is_ending(&self) -> bool {
        Stat::read(&self.0).is_some_and(|stat| stat.is_ending)
    }

    /// Whether SIGKILL is on its way to it: that signal stays pending for the process until it is gone
    /// (proc_pid_status(5)).
    pub fn is_being_killed(&self) -> bool {
        let status = self.status().unwrap_or_default();
        let is_pending = |set| has_signal(&status, set, libc::SIGKILL) == Some(true);
        is_pending("SigPnd") || is_pending("ShdPnd")
    }

    /// What a signal does to it; `None` where that cannot be seen.
    pub fn reaction(&self, signal: i32) -> Option<Reaction> {
        let status = self.status().ok()?;
        if has_signal(&status, "SigCgt", signal)? {
            return Some(Reaction::Taken);
        }
        if has_signal(&status, "SigIgn", signal)? {
            return Some(Reaction::Ignored);
        }
        // A mask is a thread's own, and any thread that does not block the signal gets it.
        let threads = fs::read_dir(self.0.join("task")).ok()?;
        let blocks = |dir: PathBuf| {
            let status = procfs::read(&dir.join("status"));
            status.map_or(Some(true), |status| has_signal(&status, "SigBlk", signal))
        };
        let are_blocking = threads.map(|thread| blocks(thread.ok()?.path()));
        let are_blocking = are_blocking.collect::<Option<Vec<_>>>()?;
        let is_blocked = are_blocking.into_iter().all(|is| is);
        Some(if is_blocked { Reaction::Taken } else { Reaction::Default })
    }

    /// Its children, by their numbers here; those of one thread in the order in which it got them.
    pub fn children(&self) -> Vec<i32> {
        let Some(depth) = procfs::depth() else { return Vec::new() };
        let shown = self.listed_children().unwrap_or_else(|| self.searched_children());
        shown.into_iter().filter_map(|shown| procfs::number_here(shown, depth)).collect()
    }

    /// Those of each of its threads, as proc_tid_children(5) lists them; `None` where the kernel has no such list.
    fn listed_children(&self) -> Option<Vec<i32>> {
        let mut children = Vec::new();
        for thread in fs::read_dir(self.0.join("task")).ok()?.flatten() {
            let list = procfs::read(&thread.path().join("children")).ok()?;
            children.extend(procfs::words(&list).filter_map(procfs::number::<i32>));
        }
        Some(children)
    }

    fn searched_children(&self) -> Vec<i32> {
        let number = self.number();
        let parent = |shown: &i32| Stat::read(Path::new(&format!("/proc/{shown}"))).map(|s| s.ppid);
        procfs::listed("/proc")
            .filter(|shown| number.is_some() && parent(shown) == number)
            .collect()
    }

    /// Whether it is a child of another process that can be seen.
    pub fn is_child_of(&self, parent: &Self) -> bool {
        let number = parent.number();
        number.is_some() && Stat::read(&self.0).map(|stat| stat.ppid) == number
    }

    /// The number under which /proc shows it.
    fn number(&self) -> Option<i32> {
        self.0.file_name()?.to_str()?.parse().ok()
    }

    /// When it began, in milliseconds since the epoch.
    pub fn started_at(&self) -> Option<f64> {
        Stat::read(&self.0)?.started_at()
    }

    /// Its effective user, and its resident memory in bytes.
    pub fn user_and_rss(&self) -> (Option<u32>, Option<f64>) {
        let Ok(status) = self.status() else { return (None, None) };
        // A whole number: the code that parses a float takes 14 KB of the module.
        let kib = procfs::field(&status, "VmRSS").and_then(|mut words| words.next());
        let kib = kib.and_then(procfs::number::<u64>);
        (effective_uid(&status), kib.map(|kib| kib as f64 * 1024.0))
    }

    /// Whether all its user ids, the saved one too, are among these.
    pub fn runs_as_one_of(&self, users: &[u32]) -> bool {
        let Ok(status) = self.status() else { return false };
        let Some(ids) = procfs::field(&status, "Uid") else { return false };
        let ids: Vec<Option<u32>> = ids.map(procfs::number).collect();
        ids.len() == 4 && ids.iter().all(|id| id.is_some_and(|id| users.contains(&id)))
    }

    fn status(&self) -> Result<Vec<u8>, Errno> {
        procfs::read(&self.0.join("status"))
    }
}

/// Whether a signal is in a set of proc_pid_status(5).
fn has_signal(status: &[u8], set: &str, signal: i32) -> Option<bool> {
    let set = std::str::from_utf8(procfs::field(status, set)?.next()?).ok()?;
    Some(u64::from_str_radix(set, 16).ok()? & (1 << (signal - 1)) != 0)
}

fn effective_uid(status: &[u8]) -> Option<u32> {
    procfs::number(procfs::field(status, "Uid")?.nth(1)?)
}

/// Whether a process has a descriptor that holds the flock on this file. To have the file open is
/// not enough: anyone may read it. The kernel shows a lock only beside the descriptor that has it
/// (proc_pid_fdinfo(5)).
fn has_flock(dir: &Path, file: FileId) -> Result<bool, Errno> {
    let number = |error| errno_of(&error);
    for entry in again(|| fs::read_dir(dir.join("fd")).map_err(number))? {
        let entry = entry.map_err(number)?;
        let info = match procfs::read(&dir.join("fdinfo").join(entry.file_name())) {
            Err(Errno::ENOENT) => continue, // Closed meanwhile; or the process is gone, as all will say.
            info => info?,
        };
        if !info.split(|byte| *byte == b'\n').any(is_flock_for_writing) {
            continue;
        }
        match file_behind(&entry.path()) {
            Ok(found) if found == file => return Ok(true),
            Err(errno @ (Errno::EACCES | Errno::EPERM)) => return Err(errno),
            // It is another file, was closed meanwhile, or is on a file system that does not answer, as ours does.
            _ => {}
        }
    }
    Ok(false)
}

/// Which file an open one is, by its link in /proc. Only the kernel is asked: a stranger's descriptor may lead to a
/// file system that never answers.
fn file_behind(path: &Path) -> Result<FileId, Errno> {
    match statx_unsynced(path) {
        // An old kernel has no such call; an old container's seccomp filter refuses it.
        Err(Errno::ENOSYS | Errno::EPERM) => stat(path).map(|found| FileId::from(&found)),
        found => found,
    }
}

/// Whether a line of proc_pid_fdinfo(5) tells of a flock for writing:
/// `lock:\t1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF`
pub fn is_flock_for_writing(line: &[u8]) -> bool {
    let Some(lock) = line.strip_prefix(b"lock:") else { return false };
    let mut words = procfs::words(lock).skip(1);
    words.next() == Some(b"FLOCK") && words.nth(1) == Some(b"WRITE")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_a_flock_for_writing_makes_a_holder() {
        assert!(is_flock_for_writing(b"lock:\t1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF"));
        for line in [
            "lock:\t1: FLOCK  ADVISORY  READ 4711 fe:00:1234 0 EOF",
            "lock:\t1: OFDLCK ADVISORY  WRITE -1 fe:00:1234 5 5",
            "lock:\t1: POSIX  ADVISORY  WRITE 4711 fe:00:1234 0 EOF",
            "lock:\t1: -> FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF",
            "flags:\t0100002",
            "lock:",
            "",
        ] {
            assert!(!is_flock_for_writing(line.as_bytes()), "{line}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_line_makes_it_panic(
            head in "(lock:)?", rest in prop::collection::vec(any::<u8>(), 0..60)
        ) {
            let line = [head.as_bytes(), rest.as_slice()].concat();
            let _ = is_flock_for_writing(&line);
        }
    }
}
