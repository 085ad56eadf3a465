//! What the kernel says about every thread of this process: ids, groups and
//! capabilities belong to threads, and only the C library makes it look as if
//! they were the process's.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use nix::sys::statfs::{PROC_SUPER_MAGIC, statfs};

/// The credentials of one thread, from its `status` of proc_pid_status(5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    pub tid: u32,
    pub name: String,
    /// Real, effective, saved, file system.
    pub uids: [u32; 4],
    pub gids: [u32; 4],
    /// Sorted, each once.
    pub groups: Vec<u32>,
    pub effective: u64,
    /// Inheritable, permitted, effective and ambient capabilities, together.
    pub capabilities: u64,
}

/// Every thread of this process.
///
/// A thread that ends meanwhile is left out; one that begins meanwhile is not:
/// the list is read again until it names nobody new.
pub fn all() -> io::Result<Vec<Thread>> {
    let directory = "/proc/self/task";
    // Files of the same names elsewhere prove nothing.
    if statfs(directory)?.filesystem_type() != PROC_SUPER_MAGIC {
        return Err(io::Error::from_raw_os_error(libc::ENOENT));
    }
    let mut seen = BTreeMap::new();
    loop {
        let mut news = false;
        for entry in fs::read_dir(directory)? {
            let name = entry?.file_name();
            let Some(tid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            if seen.contains_key(&tid) {
                continue;
            }
            news = true;
            let status = match fs::read(format!("{directory}/{tid}/status")) {
                Ok(status) => status,
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            let thread = parse(tid, &String::from_utf8_lossy(&status))
                .ok_or_else(|| io::Error::from_raw_os_error(libc::EBADMSG))?;
            seen.insert(tid, thread);
        }
        if !news {
            break;
        }
    }
    match seen.is_empty() {
        true => Err(io::Error::from_raw_os_error(libc::ENOENT)),
        false => Ok(seen.into_values().collect()),
    }
}

/// `None` where a line is missing or is not what it should be.
fn parse(tid: u32, status: &str) -> Option<Thread> {
    let lines: BTreeMap<&str, &str> =
        status.lines().filter_map(|line| line.split_once(':')).collect();
    let numbers = |key: &str| -> Option<Vec<u32>> {
        lines.get(key)?.split_whitespace().map(|number| number.parse().ok()).collect()
    };
    let set = |key: &str| u64::from_str_radix(lines.get(key)?.trim(), 16).ok();
    let mut groups = numbers("Groups")?;
    groups.sort_unstable();
    groups.dedup();
    let effective = set("CapEff")?;
    // Ambient capabilities came with Linux 4.3.
    let ambient = if lines.contains_key("CapAmb") { set("CapAmb")? } else { 0 };
    Some(Thread {
        tid,
        name: lines.get("Name")?.trim().to_owned(),
        uids: numbers("Uid")?.try_into().ok()?,
        gids: numbers("Gid")?.try_into().ok()?,
        groups,
        effective,
        capabilities: set("CapInh")? | set("CapPrm")? | effective | ambient,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tnode: x\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t30 10 30 \n\
        CapInh:\t0000000000000001\nCapPrm:\t0000000000000002\nCapEff:\t0000000000000004\n\
        CapBnd:\t00000000000000f0\nCapAmb:\t0000000000000008\n";

    #[test]
    fn a_status_is_read() {
        let thread = parse(9, STATUS).unwrap();
        assert_eq!(thread.name, "node: x");
        assert_eq!(thread.uids, [1, 2, 3, 4]);
        assert_eq!(thread.gids, [5, 6, 7, 8]);
        assert_eq!(thread.groups, [10, 30]);
        assert_eq!((thread.effective, thread.capabilities), (4, 15));
    }

    #[test]
    fn an_empty_list_of_groups_is_a_list() {
        let status = STATUS.replace("30 10 30 ", "");
        assert_eq!(parse(9, &status).unwrap().groups, Vec::<u32>::new());
    }

    #[test]
    fn a_status_without_ambient_capabilities_is_read() {
        let status = STATUS.replace("CapAmb", "Other");
        assert_eq!(parse(9, &status).unwrap().capabilities, 7);
    }

    #[test]
    fn a_status_that_lacks_a_line_proves_nothing() {
        for line in ["Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff"] {
            assert_eq!(parse(9, &STATUS.replace(line, "Other")), None, "{line}");
        }
        assert_eq!(parse(9, &STATUS.replace("3\t4", "3")), None);
    }

    #[test]
    fn every_thread_is_listed() {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            tell.send(nix::unistd::gettid().as_raw()).unwrap();
            ended.recv().unwrap_err();
        });
        let tid = u32::try_from(told.recv().unwrap()).unwrap();
        assert!(all().unwrap().iter().any(|thread| thread.tid == tid));
        std::mem::drop(end);
        other.join().unwrap();
    }
}
