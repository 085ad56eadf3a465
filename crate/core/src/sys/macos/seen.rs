//! What libproc shows of a process.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use super::libproc;
use crate::sys::{FileId, Reaction, Unseen};

/// The number of a process, which libproc may show.
#[derive(Debug)]
pub struct Seen(i32);

impl Seen {
    /// Takes the process by its number: libproc has no handles.
    pub fn of(pid: i32, _handle: Option<BorrowedFd<'_>>) -> Result<Self, Unseen> {
        Ok(Self(pid))
    }

    /// Whether the process is the one that holds the flock on this file, which is locked: it has the file open
    /// for writing, and is the same user's as the file. That is more than anyone can do who may only
    /// read it. macOS does not say which descriptor has the lock.
    pub fn holds_flock(&self, file: FileId, owner: u32) -> Result<bool, Unseen> {
        let held = self.process().ok_or(Errno::ESRCH).and_then(|(process, _)| {
            let may_hold = owner == 0 || process.pbi_uid == owner;
            Ok(may_hold && libproc::has_open_for_writing(self.0, file.dev, file.ino)?)
        });
        held.map_err(|errno| Unseen::Failed("proc_pidinfo", errno))
    }

    /// Whether it has begun to end.
    pub fn is_ending(&self) -> bool {
        /// PROC_FLAG_INEXIT of sys/proc_info.h.
        const ENDING: u32 = 4;
        self.process().is_none_or(|(process, _)| process.pbi_flags & ENDING != 0)
    }

    /// Whether SIGKILL is on its way to it: macOS does not tell.
    pub fn is_being_killed(&self) -> bool {
        false
    }

    /// What a signal does to it: libproc does not tell.
    pub fn reaction(&self, _signal: i32) -> Option<Reaction> {
        None
    }

    /// Its children.
    pub fn children(&self) -> Vec<i32> {
        libproc::children(self.0)
    }

    /// Whether it is a child of another process.
    pub fn is_child_of(&self, parent: &Self) -> bool {
        self.process().is_some_and(|(process, _)| i32::try_from(process.pbi_ppid) == Ok(parent.0))
    }

    /// When it began, in milliseconds since the epoch.
    pub fn started_at(&self) -> Option<f64> {
        let (process, _) = self.process()?;
        Some(process.pbi_start_tvsec as f64 * 1e3 + (process.pbi_start_tvusec / 1000) as f64)
    }

    /// Its effective user, and its resident memory in bytes.
    pub fn user_and_rss(&self) -> (Option<u32>, Option<f64>) {
        let Some((process, task)) = self.process() else { return (None, None) };
        let rss = (task.pti_resident_size > 0).then_some(task.pti_resident_size as f64);
        (Some(process.pbi_uid), rss)
    }

    /// Whether all its user ids, the saved one too, are among these.
    pub fn runs_as_one_of(&self, users: &[u32]) -> bool {
        self.process().is_some_and(|(process, _)| {
            let ids = [process.pbi_uid, process.pbi_ruid, process.pbi_svuid];
            ids.iter().all(|id| users.contains(id))
        })
    }

    fn process(&self) -> Option<(libc::proc_bsdinfo, libc::proc_taskinfo)> {
        libproc::process(self.0)
    }
}
