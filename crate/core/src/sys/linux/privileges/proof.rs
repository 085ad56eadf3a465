//! What every thread must be after a drop, and the proof that it is.

use super::capabilities;
use super::threads::{Credentials, Tasks};
use crate::error::Result;
use crate::privileges::Confinement;
use crate::privileges::errors::refused;
use crate::privileges::target::Target;
use crate::sys::FileId;

/// What every thread is when privileges were dropped.
#[derive(Debug)]
pub struct Goal<'a> {
    /// Whom the threads are.
    pub target: Option<&'a Target>,
    /// Their supplementary groups, sorted, each once.
    pub groups: Vec<u32>,
    /// The capabilities that are left, in all sets; `None` where they are not touched.
    pub keep: Option<u64>,
    /// Whether the bounding set has no others than those either.
    pub bounds: bool,
    /// Whether no execve(2) gives privileges any more.
    pub no_new_privileges: bool,
}

impl<'a> Goal<'a> {
    /// The goal of what was asked for.
    pub fn of(target: Option<&'a Target>, groups: Vec<u32>, confinement: &Confinement) -> Self {
        let Confinement { capabilities, landlock, no_new_privileges, .. } = confinement;
        let leaves_root = target.is_some_and(|target| target.uid != 0);
        let keep = capabilities.as_deref().map(capabilities::set_of).or(leaves_root.then_some(0));
        let by_default = leaves_root || capabilities.is_some() || landlock.is_some();
        Self {
            target,
            groups,
            keep,
            bounds: capabilities.is_some(),
            no_new_privileges: no_new_privileges.unwrap_or(by_default),
        }
    }

    /// Reads back from the kernel that every thread is as it must be, and has this root directory.
    pub fn prove(&self, tasks: &mut Tasks, root: Option<FileId>) -> Result<()> {
        let fail = |tid: u32, name: &str, left: &str| {
            let what = self.target.map_or_else(
                || "Giving up privileges".to_owned(),
                |target| format!("Dropping privileges to {target}"),
            );
            Err(refused(format!("{what} did not reach thread {tid} ({name:?}): it has {left}.")))
        };
        for thread in tasks.all()? {
            if let Some(left) = self.left_over(&thread) {
                return fail(thread.tid, &thread.name, &left);
            }
        }
        let Some(root) = root else { return Ok(()) };
        tasks.each(|tasks, tid| match tasks.root_of(tid)? {
            Some(found) if found != root => {
                let FileId { dev, ino } = found;
                let left = format!("another root directory (device {dev:#x}, inode {ino})");
                fail(tid, &tasks.name_of(tid), &left)
            }
            _ => Ok(()),
        })
    }

    /// What a thread has and should not have.
    fn left_over(&self, thread: &Credentials) -> Option<String> {
        let Credentials { uids, gids, .. } = thread;
        if let Some(target) = self.target {
            if *uids != [target.uid; 4] {
                let kinds = "(real, effective, saved, file system)";
                return Some(format!("the user ids {uids:?} {kinds}"));
            }
            if *gids != [target.group.gid; 4] {
                let kinds = "(real, effective, saved, file system)";
                return Some(format!("the group ids {gids:?} {kinds}"));
            }
            if thread.groups != self.groups {
                let (found, expected) = (&thread.groups, &self.groups);
                return Some(format!("the supplementary groups {found:?} instead of {expected:?}"));
            }
        }
        let wrong =
            self.keep.and_then(|keep| capabilities::wrong(&thread.capabilities, keep, self.bounds));
        let lacking = self.no_new_privileges && thread.no_new_privileges == Some(false);
        wrong.or(lacking.then(|| "no no_new_privs".to_owned()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::threads::Sets;
    use super::*;
    use crate::accounts::Group;

    #[test]
    fn whatever_a_thread_keeps_is_found() {
        let target = |uid| Target {
            account: None,
            uid,
            group: Group { name: "g".to_owned(), gid: 20 },
            warnings: Vec::new(),
        };
        let (user, root) = (target(10), target(0));
        let confinement = Confinement::default();
        let goal = |target| Goal::of(target, vec![20, 30], &confinement);
        let left = |thread: Credentials| goal(Some(&user)).left_over(&thread);
        let good = Credentials {
            uids: [10; 4],
            gids: [20; 4],
            groups: vec![20, 30],
            no_new_privileges: Some(true),
            ..Credentials::default()
        };
        assert_eq!(left(good.clone()), None);
        for index in 0..4 {
            let mut bad = good.clone();
            bad.uids[index] = 0;
            assert!(left(bad).unwrap().contains("user ids"));
            let mut bad = good.clone();
            bad.gids[index] = 0;
            assert!(left(bad).unwrap().contains("group ids"));
        }
        for groups in [vec![20], vec![20, 30, 40], vec![]] {
            assert!(
                left(Credentials { groups, ..good.clone() }).unwrap().contains("supplementary")
            );
        }
        let privileged = Credentials { no_new_privileges: Some(false), ..good.clone() };
        assert!(left(privileged).unwrap().contains("no_new_privs"));
        let capabilities = Sets { permitted: 1 << 10, ..Sets::default() };
        let capable = Credentials { capabilities, ..good };
        assert!(left(capable.clone()).unwrap().contains("permitted capabilities 0x400"));
        // Who asked to be root may have them.
        let root_thread = Credentials { uids: [0; 4], no_new_privileges: Some(false), ..capable };
        assert_eq!(goal(Some(&root)).left_over(&root_thread), None);
        // Nobody asked for anything.
        assert_eq!(goal(None).left_over(&root_thread), None);
    }
}
