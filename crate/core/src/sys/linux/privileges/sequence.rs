//! The drop itself, on Linux: the order of its steps, and the proof.

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::all_threads::{AllThreads, Order};
use super::capabilities::{self, SETGID, SETUID, SYS_CHROOT, prctl};
use super::chroot::{Root, load_time_zone};
use super::landlock::Ruleset;
use super::parent::Parent;
use super::proof::Goal;
use super::threads::{Credentials, Tasks};
use super::{io_uring, limits, memory};
use crate::accounts;
use crate::error::Result;
use crate::privileges::errors::{after_a_change, failed, refused};
use crate::privileges::files::give_files;
use crate::privileges::regain::{is_refused, try_to_regain};
use crate::privileges::target::{Target, unknown};
use crate::privileges::{ChangeRoot, Confinement, Dropped, Whom};

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
    memory::refuse()?;
    let mut target = whom.map(Target::choose).transpose()?;
    let (groups, becomes) = match &mut target {
        Some(target) => groups_for(target, &threads)?,
        None => (Vec::new(), false),
    };
    let root = match confinement.chroot.as_deref() {
        Some(path) => Some(Root::open(path, tasks.raw_fd())?),
        None => None,
    };
    if let Some(keep) = &confinement.capabilities {
        capabilities::check(keep, &threads)?;
    }
    let goal = Goal::of(target.as_ref(), groups, confinement);
    let mut sequence = Sequence { goal, becomes, confinement, threads: &threads, root };
    let mut all_threads = AllThreads::reach(tasks)?;
    let mut warnings = match (whom, &target) {
        (Some(whom), Some(target)) if becomes => give_files(whom, target),
        _ => Vec::new(),
    };

    warnings.extend(sequence.carry_out(&mut all_threads, change_root)?);
    let identity = target.as_ref().map(|target| target.identity(sequence.goal.groups.clone()));
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
    goal: Goal<'a>,
    /// Whether the ids have to change.
    becomes: bool,
    confinement: &'a Confinement,
    threads: &'a [Credentials],
    root: Option<Root>,
}

impl Sequence<'_> {
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
            let keep = self.goal.keep.unwrap_or(0);
            all_threads.command(capabilities::before_the_change(keep, self.threads))?;
        }
        if let Some(target) = self.goal.target.filter(|_| self.becomes) {
            become_target(target, &self.goal.groups)?;
        }
        self.give_up_the_rest(all_threads)?;
        self.prove(all_threads)?;
        if let Some(target) = self.goal.target {
            let keep = self.goal.keep.unwrap_or(0);
            if target.uid != 0 && keep & SETUID == 0 {
                // SAFETY: takes numbers alone.
                is_refused("setresuid", unsafe { libc::setresuid(u32::MAX, 0, u32::MAX) })?;
            }
            try_to_regain(target, keep & SETUID != 0, keep & SETGID != 0)?;
            // The attempts have changed nothing, if they failed as they must.
            self.prove(all_threads)?;
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

    fn prove(&self, all_threads: &mut AllThreads) -> Result<()> {
        self.goal.prove(all_threads.tasks(), self.root.as_ref().map(Root::identity))
    }

    fn may_leave_a_root(&self) -> bool {
        let has = |thread: &Credentials| thread.capabilities.permitted & SYS_CHROOT != 0;
        self.goal.keep.map_or_else(|| self.threads.iter().any(has), |keep| keep & SYS_CHROOT != 0)
    }

    fn give_up_the_rest(&self, all_threads: &mut AllThreads) -> Result<()> {
        let mut order = Order::default();
        if let Some(keep) = self.goal.keep {
            capabilities::after_the_change(keep, &mut order);
        }
        if self.goal.no_new_privileges {
            let set = [libc::PR_SET_NO_NEW_PRIVS as usize, 1, 0, 0, 0];
            order.call(prctl("set no_new_privs".to_owned(), set));
        }
        all_threads.command(order)
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
