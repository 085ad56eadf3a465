//! The drop itself, on Linux: the order of its steps, and the proof.

use nix::unistd::{Gid, Pid, Uid, getppid, setgroups, setresgid, setresuid};

use super::all_threads::{AllThreads, Order};
use super::capabilities::{self, SETGID, SETUID, SYS_CHROOT, prctl};
use super::chroot::{Root, load_time_zone};
use super::landlock::Ruleset;
use super::threads::{Credentials, Tasks};
use super::{io_uring, limits};
use crate::accounts;
use crate::error::Result;
use crate::privileges::errors::{after_a_change, failed, refused};
use crate::privileges::files::give_files;
use crate::privileges::regain::{is_refused, try_to_regain};
use crate::privileges::target::{Target, unknown};
use crate::privileges::{ChangeRoot, Confinement, Dropped, Whom};
use crate::sys::FileId;

/// Carries out the drop. The root directory is changed by `change_root`.
pub fn carry_out(
    whom: Option<&Whom>,
    confinement: &Confinement,
    change_root: ChangeRoot<'_>,
) -> Result<Dropped> {
    // All of this comes while nothing has changed: without /proc there will be
    // no proof, names are looked up with the files outside of a new root, and
    // what cannot be done at all is refused.
    let mut tasks = Tasks::open()?;
    let threads = tasks.all()?;
    io_uring::refuse(&threads)?;
    let mut target = whom.map(Target::choose).transpose()?;
    let (groups, becomes) = match &mut target {
        Some(target) => groups_for(target, &threads)?,
        None => (Vec::new(), false),
    };
    let root = match confinement.chroot.as_deref() {
        Some(path) => Some(Root::open(path, tasks.raw_fd())?),
        None => None,
    };
    let mut sequence =
        Sequence::plan(target.as_ref(), groups, becomes, confinement, &threads, root)?;
    let mut all_threads = AllThreads::reach(tasks)?;
    let mut warnings = match (whom, &target) {
        (Some(whom), Some(target)) if becomes => give_files(whom, target),
        _ => Vec::new(),
    };

    warnings.extend(sequence.carry_out(&mut all_threads, change_root)?);
    let identity = target.as_ref().map(|target| target.identity(sequence.groups.clone()));
    warnings.extend(target.into_iter().flat_map(|target| target.warnings));
    Ok(Dropped { identity, warnings })
}

/// The supplementary groups that the process is to have, and whether it has to
/// become the target: where it has not got the right to, it must be it already.
fn groups_for(target: &mut Target, threads: &[Credentials]) -> Result<(Vec<u32>, bool)> {
    let groups = match &target.account {
        Some(account) => accounts::groups_of(&account.name, target.group.gid).map_err(unknown)?,
        None => Vec::new(),
    };
    // Every thread must have it: where one has and another has not, the C
    // library ends the process in the middle of the change.
    let right = SETUID | SETGID;
    if threads.iter().all(|thread| thread.capabilities.effective & right == right) {
        return Ok((groups, true));
    }
    Ok((as_it_is(target, threads, &groups)?, false))
}

/// The groups the process has, if it is the right user and group already.
fn as_it_is(target: &mut Target, threads: &[Credentials], expected: &[u32]) -> Result<Vec<u32>> {
    let (uids, gids) = ([target.uid; 4], [target.group.gid; 4]);
    if !threads.iter().all(|thread| thread.uids == uids && thread.gids == gids) {
        let message = format!(
            "Not permitted to drop privileges to {target}: this process runs as uid {}, \
             gid {}, and has not got CAP_SETUID and CAP_SETGID. Start it as root, or as \
             that user and group, or leave out user and group.",
            nix::unistd::geteuid(),
            nix::unistd::getegid()
        );
        return Err(refused(message).with(None, libc::EPERM));
    }
    // These are the groups of any thread; the proof then sees whether all threads
    // have the same.
    let mut groups: Vec<u32> = threads.iter().flat_map(|thread| thread.groups.clone()).collect();
    groups.sort_unstable();
    groups.dedup();
    let more: Vec<String> = groups
        .iter()
        .filter(|gid| **gid != target.group.gid && !expected.contains(gid))
        .map(u32::to_string)
        .collect();
    if !more.is_empty() {
        target.warnings.push(format!(
            "This process was started as {target} with supplementary groups that the user \
             has not got, and keeps them: {}.",
            more.join(", ")
        ));
    }
    Ok(groups)
}

/// The steps of a drop, with all that must be known before anything is changed.
struct Sequence<'a> {
    target: Option<&'a Target>,
    groups: Vec<u32>,
    /// Whether the ids have to change.
    becomes: bool,
    confinement: &'a Confinement,
    threads: &'a [Credentials],
    root: Option<Root>,
    /// The capabilities that are left, in all sets; `None` where they are not touched.
    keep: Option<u64>,
    no_new_privileges: bool,
}

impl<'a> Sequence<'a> {
    fn plan(
        target: Option<&'a Target>,
        groups: Vec<u32>,
        becomes: bool,
        confinement: &'a Confinement,
        threads: &'a [Credentials],
        root: Option<Root>,
    ) -> Result<Self> {
        let Confinement { capabilities, .. } = confinement;
        let leaves_root = target.is_some_and(|target| target.uid != 0);
        if let Some(keep) = capabilities {
            capabilities::check(keep, threads)?;
        }
        let keep = capabilities.as_deref().map(capabilities::set_of).or(leaves_root.then_some(0));
        let by_default = leaves_root || capabilities.is_some() || confinement.landlock.is_some();
        let no_new_privileges = confinement.no_new_privileges.unwrap_or(by_default);
        Ok(Self { target, groups, becomes, confinement, threads, root, keep, no_new_privileges })
    }

    /// Goes all the steps; returns warnings.
    fn carry_out(
        &mut self,
        all_threads: &mut AllThreads,
        change_root: ChangeRoot<'_>,
    ) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        self.as_root(all_threads, change_root, &mut warnings)?;
        let ruleset = match &self.confinement.landlock {
            Some(landlock) => Ruleset::make(landlock, &mut warnings)?,
            None => None,
        };
        self.confinement.limits.iter().try_for_each(limits::set)?;
        let parent = Parent::meet();
        self.give_up(all_threads, ruleset.as_ref()).map_err(after_a_change)?;
        parent.keep_in_touch();
        Ok(warnings)
    }

    /// Goes the steps from which there is no way back. If one fails, the process must end.
    fn give_up(&self, all_threads: &mut AllThreads, ruleset: Option<&Ruleset>) -> Result<()> {
        if self.confinement.capabilities.is_some() {
            let keep = self.keep.unwrap_or(0);
            all_threads.command(capabilities::before_the_change(keep, self.threads))?;
        }
        if let Some(target) = self.target.filter(|_| self.becomes) {
            become_target(target, &self.groups)?;
        }
        self.give_up_the_rest(all_threads)?;
        self.prove(all_threads.tasks())?;
        if let Some(target) = self.target {
            let keep = self.keep.unwrap_or(0);
            if target.uid != 0 && keep & SETUID == 0 {
                // SAFETY: takes numbers alone.
                is_refused("setresuid", unsafe { libc::setresuid(u32::MAX, 0, u32::MAX) })?;
            }
            try_to_regain(target, keep & SETUID != 0, keep & SETGID != 0)?;
            // The attempts have changed nothing, if they failed as they must.
            self.prove(all_threads.tasks())?;
        }
        let Some(ruleset) = ruleset else { return Ok(()) };
        all_threads.command(ruleset.enforce())?;
        all_threads.command(ruleset.try_to_break())
    }

    /// Goes the steps that only root can go, or that need the files outside of a new root.
    fn as_root(
        &mut self,
        all_threads: &mut AllThreads,
        change_root: ChangeRoot<'_>,
        warnings: &mut Vec<String>,
    ) -> Result<()> {
        if let Some(value) = self.confinement.oom_score_adjust {
            limits::set_oom_score_adjust(value)?;
        }
        if let Some(nice) = self.confinement.nice {
            limits::set_nice(all_threads.tasks(), nice)?;
        }
        let Some(root) = &mut self.root else { return Ok(()) };
        load_time_zone();
        change_root(&|| root.enter())?;
        root.prove_that_nothing_leads_out()?;
        if self.may_leave_a_root() {
            warnings.push(
                "Root, and whoever has CAP_SYS_CHROOT, can leave the new root directory again \
                 (chroot(2)): give a `user` with `chroot`, and do not keep that capability."
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn may_leave_a_root(&self) -> bool {
        let has = |thread: &Credentials| thread.capabilities.permitted & SYS_CHROOT != 0;
        self.keep.map_or_else(|| self.threads.iter().any(has), |keep| keep & SYS_CHROOT != 0)
    }

    fn give_up_the_rest(&self, all_threads: &mut AllThreads) -> Result<()> {
        let mut order = Order::default();
        if let Some(keep) = self.keep {
            capabilities::after_the_change(keep, &mut order);
        }
        if self.no_new_privileges {
            let set = [libc::PR_SET_NO_NEW_PRIVS as usize, 1, 0, 0, 0];
            order.call(prctl("set no_new_privs".to_owned(), set));
        }
        all_threads.command(order)
    }

    fn prove(&self, tasks: &mut Tasks) -> Result<()> {
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
        let Some(root) = self.root.as_ref().map(Root::identity) else { return Ok(()) };
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
        let bounding = self.confinement.capabilities.is_some();
        let wrong =
            self.keep.and_then(|keep| capabilities::wrong(&thread.capabilities, keep, bounding));
        let lacking = self.no_new_privileges && thread.no_new_privileges == Some(false);
        wrong.or(lacking.then(|| "no no_new_privs".to_owned()))
    }
}

/// The parent whose end is this process's as well: the guardian of a start. The
/// kernel forgets that when ids change (PR_SET_PDEATHSIG(2const)).
struct Parent {
    signal: libc::c_int,
    pid: Pid,
}

impl Parent {
    fn meet() -> Self {
        let mut signal = 0;
        // SAFETY: PR_GET_PDEATHSIG writes an int.
        unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal) };
        Self { signal, pid: getppid() }
    }

    fn keep_in_touch(&self) {
        // SAFETY: these take numbers alone.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, self.signal as libc::c_ulong, 0, 0, 0);
            // The parent has ended meanwhile.
            if self.signal != 0 && getppid() != self.pid {
                libc::kill(libc::getpid(), self.signal);
            }
        }
    }
}

/// Becomes the target. initgroups(3) would be getgrouplist(3) and setgroups(2) in
/// one: in two steps the user database is asked before anything changes, and it
/// is known what to expect.
fn become_target(target: &Target, groups: &[u32]) -> Result<()> {
    let what = format!("Cannot drop privileges to {target}");
    let (uid, gid) = (Uid::from_raw(target.uid), Gid::from_raw(target.group.gid));
    let list: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    let unmapped = "In a user namespace, check that the id is mapped there.";
    setgroups(&list).map_err(|error| {
        let advice = "In a user namespace, check its /proc/self/setgroups and that every group of \
            the user is mapped there.";
        failed("setgroups", error, &what, advice)
    })?;
    setresgid(gid, gid, gid).map_err(|error| failed("setresgid", error, &what, unmapped))?;
    setresuid(uid, uid, uid).map_err(|error| failed("setresuid", error, &what, unmapped))
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
        let plan =
            |target| Sequence::plan(target, vec![20, 30], true, &confinement, &[], None).unwrap();
        let left = |thread: Credentials| plan(Some(&user)).left_over(&thread);
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
        assert_eq!(plan(Some(&root)).left_over(&root_thread), None);
        // Nobody asked for anything.
        assert_eq!(plan(None).left_over(&root_thread), None);
    }
}
