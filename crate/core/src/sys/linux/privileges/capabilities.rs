//! Capabilities: the few that are kept, and the end of all others, in every set
//! of every thread (capabilities(7)).
//!
//! The crate `caps` is of no use here: it acts on the calling thread alone.

use nix::errno::Errno;

use super::all_threads::{Call, Expected, Order};
use super::threads::{Credentials, Sets};
use crate::error::Result;
use crate::privileges::Capability;
use crate::privileges::errors::refused;

/// The right to change group ids and supplementary groups.
pub const SETGID: u64 = 1 << 6;
/// The right to change user ids.
pub const SETUID: u64 = 1 << 7;
/// The right to take capabilities out of the bounding set.
const SETPCAP: u64 = 1 << 8;
/// The right to change the root directory, and so to leave one.
pub const SYS_CHROOT: u64 = 1 << 18;

/// The capabilities of a list, as a set of bits.
pub fn set_of(list: &[Capability]) -> u64 {
    list.iter().map(|capability| 1_u64 << (capability.bit & 63)).fold(0, |set, bit| set | bit)
}

/// Refuses, while nothing is changed yet, what cannot be done on one of the
/// threads.
pub fn check(keep: &[Capability], threads: &[Credentials]) -> Result<()> {
    let cannot = |syscall, errno: Errno, message: String| {
        let message = format!("Cannot keep the capabilities asked for: {message}");
        Err(refused(message).with(Some(syscall), errno as i32))
    };
    for Capability { name, bit } in keep {
        // SAFETY: takes numbers alone.
        if unsafe { libc::prctl(libc::PR_CAPBSET_READ, *bit as libc::c_ulong, 0, 0, 0) } < 0 {
            let message = format!("this kernel does not know {name}. Leave it out.");
            return cannot("prctl", Errno::EINVAL, message);
        }
        if threads.iter().any(|thread| !thread.capabilities.permitted & (1 << bit) != 0) {
            let message = format!(
                "this process has not got {name} itself. Start it as root, or with that capability \
                 (in a container, add it there), or leave it out."
            );
            return cannot("capset", Errno::EPERM, message);
        }
    }
    // SAFETY: takes numbers alone.
    let ambient = unsafe {
        let (is_set, none) = (libc::PR_CAP_AMBIENT_IS_SET as libc::c_ulong, 0 as libc::c_ulong);
        libc::prctl(libc::PR_CAP_AMBIENT, is_set, none, none, none)
    };
    if !keep.is_empty() && ambient < 0 {
        let message = "this kernel has no ambient capabilities. Use Linux 4.3 or newer.".into();
        return cannot("prctl", Errno::EINVAL, message);
    }
    let surplus = surplus(set_of(keep), threads);
    if surplus != 0 && threads.iter().any(|t| t.capabilities.effective & SETPCAP == 0) {
        let message = "all others must leave the bounding set, and that takes CAP_SETPCAP. Start \
             the daemon as root, or leave out `capabilities`: a process without any has none to \
             keep."
            .into();
        return cannot("prctl", Errno::EPERM, message);
    }
    Ok(())
}

/// What some thread's bounding set has and must lose.
fn surplus(keep: u64, threads: &[Credentials]) -> u64 {
    threads.iter().fold(0, |set, thread| set | thread.capabilities.bounding) & !keep
}

/// What every thread does before the ids change: it takes capabilities out of
/// the bounding set, to which it has no right afterwards, and sees to it that
/// those to be kept survive the change.
pub fn before_the_change(keep: u64, threads: &[Credentials]) -> Order {
    let mut order = Order::default();
    let surplus = surplus(keep, threads);
    for bit in (0..64).filter(|bit| surplus & (1 << bit) != 0) {
        let purpose = format!("take capability {bit} out of the bounding set");
        order.call(prctl(purpose, [libc::PR_CAPBSET_DROP as usize, bit, 0, 0, 0]));
    }
    if keep != 0 {
        let purpose = "keep capabilities while the ids change".to_owned();
        order.call(prctl(purpose, [libc::PR_SET_KEEPCAPS as usize, 1, 0, 0, 0]));
    }
    order
}

/// What every thread does after the ids have changed: it keeps these capabilities
/// and no others. The kernel clears capabilities when the last id leaves 0, but
/// not the inheritable ones, and none where securebits keep them or where the
/// process was not root.
pub fn after_the_change(keep: u64, order: &mut Order) {
    let (low, high) = (keep as u32, (keep >> 32) as u32);
    // _LINUX_CAPABILITY_VERSION_3, and 0 for the calling thread; then twice
    // effective, permitted and inheritable.
    let header = order.memory(&[0x2008_0522, 0]);
    let data = order.memory(&[low, low, low, high, high, high]);
    order.call(Call {
        name: "capset",
        purpose: "give up capabilities".to_owned(),
        number: libc::SYS_capset,
        arguments: [header, data, 0, 0, 0],
        expected: Expected::Result(0),
    });
    if keep == 0 {
        // Ambient ones have gone with the permitted.
        return;
    }
    let ambient = libc::PR_CAP_AMBIENT as usize;
    let purpose = "clear the ambient capabilities".to_owned();
    order.call(prctl(purpose, [ambient, libc::PR_CAP_AMBIENT_CLEAR_ALL as usize, 0, 0, 0]));
    for bit in (0..64).filter(|bit| keep & (1 << bit) != 0) {
        let purpose = format!("make capability {bit} an ambient one");
        order.call(prctl(purpose, [ambient, libc::PR_CAP_AMBIENT_RAISE as usize, bit, 0, 0]));
    }
    let purpose = "stop keeping capabilities".to_owned();
    order.call(prctl(purpose, [libc::PR_SET_KEEPCAPS as usize, 0, 0, 0, 0]));
}

/// prctl(2) that must return 0.
pub fn prctl(purpose: String, arguments: [usize; 5]) -> Call {
    let expected = Expected::Result(0);
    Call { name: "prctl", purpose, number: libc::SYS_prctl, arguments, expected }
}

/// What a thread has that is not as it must be: `keep` in every set, and in the
/// bounding set too, if it was asked for.
pub fn wrong(sets: &Sets, keep: u64, bounding: bool) -> Option<String> {
    let Sets { inheritable, permitted, effective, ambient, .. } = *sets;
    let all = [
        ("inheritable", inheritable),
        ("permitted", permitted),
        ("effective", effective),
        ("ambient", ambient),
        ("bounding", if bounding { sets.bounding } else { keep }),
    ];
    let (name, set) = all.into_iter().find(|(_, set)| *set != keep)?;
    Some(format!("the {name} capabilities {set:#x} instead of {keep:#x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_counts() {
        let sets = |inheritable, permitted, effective, bounding, ambient| Sets {
            inheritable,
            permitted,
            effective,
            bounding,
            ambient,
        };
        assert_eq!(wrong(&sets(4, 4, 4, 4, 4), 4, true), None);
        assert_eq!(wrong(&sets(4, 4, 4, 7, 4), 4, false), None);
        for bad in [
            sets(0, 4, 4, 4, 4),
            sets(4, 5, 4, 4, 4),
            sets(4, 4, 5, 4, 4),
            sets(4, 4, 4, 5, 4),
            sets(4, 4, 4, 4, 0),
        ] {
            assert!(wrong(&bad, 4, true).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn a_list_is_a_set() {
        let capability = |bit| Capability { name: String::new(), bit };
        assert_eq!(set_of(&[capability(0), capability(10), capability(40)]), 1 | 1 << 10 | 1 << 40);
    }
}
