//! macOS has neither saved ids to set nor threads to read back; setuid(2) of
//! root sets all three ids of the process.

use std::ffi::CString;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, getegid, geteuid, getgid, getuid, setgid, setuid};

use crate::error::Result;
use crate::privileges::errors::{after_a_change, failed, refused};
use crate::privileges::files::give_files;
use crate::privileges::regain::try_to_regain;
use crate::privileges::target::Target;
use crate::privileges::{ChangeRoot, Confinement, Dropped, Whom};

/// Changes the ids. All else that may be asked for is Linux's, and refused.
pub fn carry_out(
    whom: Option<&Whom>,
    confinement: &Confinement,
    _change_root: ChangeRoot<'_>,
) -> Result<Dropped> {
    let alone = Confinement { no_new_privileges: Some(false), ..Confinement::default() };
    let asked = Confinement {
        no_new_privileges: confinement.no_new_privileges.or(Some(false)),
        ..confinement.clone()
    };
    if asked != alone {
        return Err(refused(
            "Only ids can be changed on this system: leave out chroot, capabilities, \
             noNewPrivileges, limits, nice, oomScoreAdjust and landlock.",
        ));
    }
    let Some(whom) = whom else {
        return Ok(Dropped { identity: None, warnings: Vec::new() });
    };
    let mut target = Target::choose(whom)?;
    let (uid, gid) = (Uid::from_raw(target.uid), Gid::from_raw(target.group.gid));
    let there = || (getuid(), geteuid(), getgid(), getegid()) == (uid, uid, gid, gid);
    if geteuid().is_root() {
        let given = give_files(whom, &target);
        target.warnings.extend(given);
        change(&target, uid, gid)?;
    } else if !there() {
        let message = format!(
            "Not permitted to drop privileges to {target}: this process runs as uid {}. \
             Start it as root, or as that user and group, or leave out user and group.",
            geteuid()
        );
        return Err(refused(message).with(None, libc::EPERM));
    }
    if !there() {
        return Err(after_a_change(refused(format!("The ids are not those of {target}."))));
    }
    try_to_regain(&target, false, false).map_err(after_a_change)?;
    let groups = current_groups().map_err(after_a_change)?;
    let identity = target.identity(groups);
    Ok(Dropped { identity: Some(identity), warnings: target.warnings })
}

fn change(target: &Target, uid: Uid, gid: Gid) -> Result<()> {
    let failed = |call, errno: Errno| {
        let what = format!("Cannot drop privileges to {target}");
        failed(call, errno, &what, "Check that the process runs as root.")
    };
    let result = match &target.account {
        Some(account) => {
            let name = CString::new(account.name.as_str())
                .map_err(|_| failed("initgroups", Errno::EINVAL))?;
            // SAFETY: `name` ends with a NUL.
            unsafe { libc::initgroups(name.as_ptr(), target.group.gid as _) }
        }
        // SAFETY: no groups are read from a list of none.
        None => unsafe { libc::setgroups(0, std::ptr::null()) },
    };
    Errno::result(result).map_err(|error| failed("initgroups", error))?;
    setgid(gid).map_err(|errno| after_a_change(failed("setgid", errno)))?;
    setuid(uid).map_err(|errno| after_a_change(failed("setuid", errno)))
}

fn current_groups() -> Result<Vec<u32>> {
    let mut groups = [0; 1024];
    // SAFETY: there is room for 1024 groups.
    let count = unsafe { libc::getgroups(1024, groups.as_mut_ptr()) };
    let count = Errno::result(count)
        .map_err(|errno| failed("getgroups", errno, "Cannot read the groups", ""))?;
    let mut groups = groups[..usize::try_from(count).unwrap_or(0)].to_vec();
    groups.sort_unstable();
    groups.dedup();
    Ok(groups)
}
