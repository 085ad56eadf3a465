//! What the kernel says about every thread of this process: ids, groups and
//! capabilities belong to threads, and only the C library makes it look as if
//! they were the process's.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, RawFd};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use crate::error::{Error, Result};
use crate::privileges::errors::{failed, refused};
use crate::sys::{FileId, errno_of};

/// How many lists in a row must name no new thread: the kernel's list may lack a
/// thread while another one ends (2 of 10 000 lists, when one always does).
const QUIET: u32 = 3;

/// The credentials of one thread, from its `status` of proc_pid_status(5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    pub tid: u32,
    pub name: String,
    /// The real, effective, saved and file system user id.
    pub uids: [u32; 4],
    pub gids: [u32; 4],
    /// The supplementary groups, sorted, each once.
    pub groups: Vec<u32>,
    pub capabilities: Sets,
    /// Whether execve(2) gives no privileges; `None` where the kernel does not say
    /// (before Linux 4.10).
    pub no_new_privileges: Option<bool>,
}

/// The capability sets of capabilities(7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    pub inheritable: u64,
    pub permitted: u64,
    pub effective: u64,
    pub bounding: u64,
    /// The ambient set; 0 where there is none (before Linux 4.3).
    pub ambient: u64,
}

/// /proc/self/task, opened while that can be done: it can still be read through
/// this after chroot(2), and under Landlock. It must be closed soon: a directory
/// outside of a new root is a way out of it.
pub struct Tasks(Dir);

impl Tasks {
    pub fn open() -> Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let open = || Dir::open("/proc/self/task", flags, Mode::empty());
        let dir = crate::sys::again(open).map_err(unreadable)?;
        // Files of the same names elsewhere prove nothing.
        let tasks = match fstatfs(&dir).map_err(unreadable)?.filesystem_type() {
            PROC_SUPER_MAGIC => Self(dir),
            _ => return Err(unreadable(Errno::ENOENT)),
        };
        let status = tasks.read("../status").map_err(unreadable)?;
        if is_foreign(&String::from_utf8_lossy(&status)) {
            return Err(refused(
                "Cannot drop privileges: /proc is that of another pid namespace, and its numbers \
                 of threads mean nothing here. Mount it anew (mount -t proc proc /proc).",
            ));
        }
        Ok(tasks)
    }

    pub fn raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }

    /// Calls with the id of every thread, each once. A thread that begins
    /// meanwhile is not left out: the list is read again until it has often
    /// enough named nobody new.
    pub fn each(&mut self, mut call: impl FnMut(&Self, u32) -> Result<()>) -> Result<()> {
        let mut seen = BTreeSet::new();
        let mut quiet = 0;
        while quiet < QUIET {
            let new: Vec<u32> = self.ids()?.into_iter().filter(|tid| seen.insert(*tid)).collect();
            quiet += u32::from(new.is_empty());
            for tid in new {
                call(self, tid)?;
            }
        }
        if seen.is_empty() { Err(unreadable(Errno::ENOENT)) } else { Ok(()) }
    }

    fn ids(&mut self) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        for entry in self.0.iter() {
            let entry = entry.map_err(unreadable)?;
            ids.extend(entry.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok()));
        }
        Ok(ids)
    }

    /// Every thread of this process; one that ends meanwhile is left out.
    pub fn all(&mut self) -> Result<Vec<Credentials>> {
        let mut threads = Vec::new();
        self.each(|tasks, tid| {
            if let Some(status) = unless_gone(tasks.read(&format!("{tid}/status")))? {
                let thread = parse(tid, &String::from_utf8_lossy(&status));
                threads.push(thread.ok_or_else(|| unreadable(Errno::EBADMSG))?);
            }
            Ok(())
        })?;
        Ok(threads)
    }

    /// The root directory of a thread: not the process's, after unshare(2) with
    /// CLONE_FS.
    pub fn root_of(&self, tid: u32) -> Result<Option<FileId>> {
        let path = format!("{tid}/root");
        let found = fstatat(self.0.as_fd(), path.as_str(), AtFlags::empty());
        Ok(unless_gone(found.map_err(io::Error::from))?.map(|found| FileId::from(&found)))
    }

    /// Whether the thread has ended.
    pub fn is_gone(&self, tid: u32) -> bool {
        let found = fstatat(self.0.as_fd(), tid.to_string().as_str(), AtFlags::empty());
        matches!(found, Err(Errno::ENOENT | Errno::ESRCH))
    }

    /// The name of a thread.
    pub fn name_of(&self, tid: u32) -> String {
        let name = self.read(&format!("{tid}/comm")).unwrap_or_default();
        String::from_utf8_lossy(&name).trim_end().to_owned()
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let file = openat(self.0.as_fd(), path, flags, Mode::empty())?;
        let mut content = Vec::new();
        std::fs::File::from(file).read_to_end(&mut content)?;
        Ok(content)
    }
}

/// Whether a process has another number in a pid namespace beneath that of this
/// /proc (proc_pid_status(5), `NSpid`; not before Linux 4.1).
fn is_foreign(status: &str) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    line.is_some_and(|numbers| numbers.split_whitespace().count() != 1)
}

fn unless_gone<T>(result: io::Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Ok(None),
        Err(error) => Err(unreadable(error)),
    }
}

fn unreadable(error: impl Into<io::Error>) -> Error {
    let errno = errno_of(&error.into());
    let what = "Cannot drop privileges: /proc/self/task, which proves that every thread has \
        dropped them, cannot be read";
    let advice = match errno {
        Errno::EMFILE => "Raise the limit `nofile`.",
        _ => {
            "Mount /proc where the daemon runs. In a chroot or under Landlock privileges are not \
             dropped a second time."
        }
    };
    failed("open", errno, what, advice)
}

/// Reads a `status`; `None` where a line is missing or is not what it should be.
fn parse(tid: u32, status: &str) -> Option<Credentials> {
    let lines: BTreeMap<&str, &str> =
        status.lines().filter_map(|line| line.split_once(':')).collect();
    let numbers = |key: &str| -> Option<Vec<u32>> {
        lines.get(key)?.split_whitespace().map(|number| number.parse().ok()).collect()
    };
    let set = |key: &str| u64::from_str_radix(lines.get(key)?.trim(), 16).ok();
    let mut groups = numbers("Groups")?;
    groups.sort_unstable();
    groups.dedup();
    Some(Credentials {
        tid,
        name: lines.get("Name")?.trim().to_owned(),
        uids: numbers("Uid")?.try_into().ok()?,
        gids: numbers("Gid")?.try_into().ok()?,
        groups,
        capabilities: Sets {
            inheritable: set("CapInh")?,
            permitted: set("CapPrm")?,
            effective: set("CapEff")?,
            bounding: set("CapBnd")?,
            ambient: if lines.contains_key("CapAmb") { set("CapAmb")? } else { 0 },
        },
        no_new_privileges: match lines.get("NoNewPrivs").map(|value| value.trim()) {
            None => None,
            Some("0") => Some(false),
            Some("1") => Some(true),
            Some(_) => return None,
        },
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tnode: x\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t30 10 30 \n\
        CapInh:\t0000000000000001\nCapPrm:\t0000000000000002\nCapEff:\t0000000000000004\n\
        CapBnd:\t00000000000000f0\nCapAmb:\t0000000000000008\nNoNewPrivs:\t1\n";

    #[test]
    fn a_status_is_read() {
        let thread = parse(9, STATUS).unwrap();
        assert_eq!(thread.name, "node: x");
        assert_eq!(thread.uids, [1, 2, 3, 4]);
        assert_eq!(thread.gids, [5, 6, 7, 8]);
        assert_eq!(thread.groups, [10, 30]);
        let sets = Sets { inheritable: 1, permitted: 2, effective: 4, bounding: 0xf0, ambient: 8 };
        assert_eq!(thread.capabilities, sets);
        assert_eq!(thread.no_new_privileges, Some(true));
    }

    #[test]
    fn a_process_of_an_inner_pid_namespace_has_more_than_one_number() {
        assert!(!is_foreign("NSpid:\t9\n"));
        assert!(is_foreign("Pid:\t9\nNSpid:\t9\t1\n"));
        assert!(!is_foreign("Pid:\t9\n"));
    }

    #[test]
    fn an_empty_list_of_groups_is_a_list() {
        let status = STATUS.replace("30 10 30 ", "");
        assert_eq!(parse(9, &status).unwrap().groups, Vec::<u32>::new());
    }

    #[test]
    fn a_status_of_an_older_kernel_is_read() {
        let status = STATUS.replace("CapAmb", "Other").replace("NoNewPrivs", "Another");
        let thread = parse(9, &status).unwrap();
        assert_eq!((thread.capabilities.ambient, thread.no_new_privileges), (0, None));
    }

    #[test]
    fn a_status_that_lacks_a_line_proves_nothing() {
        for line in ["Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd"] {
            assert_eq!(parse(9, &STATUS.replace(line, "Other")), None, "{line}");
        }
        assert_eq!(parse(9, &STATUS.replace("3\t4", "3")), None);
        assert_eq!(parse(9, &STATUS.replace("NoNewPrivs:\t1", "NoNewPrivs:\t2")), None);
    }

    #[test]
    fn every_thread_is_listed_again_and_again() {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let mut tasks = Tasks::open().unwrap();
        let before = tasks.all().unwrap().len();
        assert!(before > 0);
        let other = std::thread::spawn(move || {
            tell.send(nix::unistd::gettid().as_raw()).unwrap();
            ended.recv().unwrap_err();
        });
        let tid = u32::try_from(told.recv().unwrap()).unwrap();
        assert!(tasks.all().unwrap().iter().any(|thread| thread.tid == tid));
        assert!(!tasks.is_gone(tid));
        let root = nix::sys::stat::stat("/").unwrap();
        assert_eq!(tasks.root_of(tid).unwrap(), Some(FileId::from(&root)));
        std::mem::drop(end);
        other.join().unwrap();
    }
}
