//! Dropping privileges for real. The test runner keeps its own: each test runs
//! itself once more as a process of its own, and drops them there.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::ffi::CString;
use std::fs;
use std::process::{Command, Output};
use std::sync::{Arc, Barrier};
use std::thread;

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use tsdaemonize::accounts::{group_by_name, user_by_name};
use tsdaemonize::privileges::{self, Error, Identity};

const CHILD: &str = "TSDAEMONIZE_TEST_CHILD";
/// An id no machine has an entry for.
const NOBODY_AT_ALL: &str = "3999999998";

/// Runs `body` in a process of its own, as root.
fn in_a_process(name: &str, body: fn()) {
    in_a_process_with(name, &[], body);
}

fn in_a_process_with(name: &str, environment: &[(&str, &str)], body: fn()) {
    if std::env::var_os(CHILD).is_some() {
        body();
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: {name} needs root");
        return;
    }
    let Output { status, stdout, stderr } = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .env_remove("UV_USE_IO_URING")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{status}\n{stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "the test {name} did not run:\n{stdout}");
}

fn drop(user: Option<&str>, group: Option<&str>) -> Result<Identity, Error> {
    privileges::drop(user, group, "no-such-daemon")
}

/// The numbers of a line of the calling thread's status.
fn status(key: &str) -> Vec<u32> {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{key}:"))).unwrap();
    line.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

fn assert_is(identity: &Identity) {
    assert_eq!(status("Uid"), [identity.uid; 4]);
    assert_eq!(status("Gid"), [identity.gid; 4]);
    assert_eq!(status("Groups"), identity.groups);
    if identity.uid != 0 {
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(status(set), [0], "{set}");
        }
        assert!(setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).is_err());
        assert!(fs::File::open("/etc/shadow").is_err() || identity.groups.contains(&42));
    }
}

/// Root with groups that a drop must take away.
fn with_groups(groups: &[u32]) {
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    setgroups(&groups).unwrap();
}

fn become_without_help(uid: u32, gid: u32, groups: &[u32]) {
    with_groups(groups);
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setresgid(gid, gid, gid).unwrap();
    setresuid(uid, uid, uid).unwrap();
}

#[test]
fn the_user_named_is_the_user_then() {
    in_a_process("the_user_named_is_the_user_then", || {
        with_groups(&[0, 4, 54321]);
        let nobody = user_by_name("nobody").unwrap().unwrap();
        let identity = drop(Some("nobody"), None).unwrap();
        assert_eq!((identity.user.as_str(), identity.uid), ("nobody", nobody.uid));
        assert_eq!((identity.gid, &identity.home), (nobody.gid, &Some(nobody.home)));
        assert_eq!(identity.shell, Some(nobody.shell));
        assert!(identity.groups.contains(&nobody.gid));
        assert!(!identity.groups.contains(&54321));
        assert_eq!(identity.warnings, [""; 0]);
        assert_is(&identity);
    });
}

#[test]
fn without_a_name_it_is_daemon() {
    in_a_process("without_a_name_it_is_daemon", || {
        let identity = drop(None, None).unwrap();
        assert_eq!((identity.user.as_str(), identity.group.as_str()), ("daemon", "daemon"));
        assert_eq!(identity.warnings, [""; 0]);
        assert_is(&identity);
    });
}

#[test]
fn without_a_name_it_is_the_user_named_like_the_daemon() {
    in_a_process("without_a_name_it_is_the_user_named_like_the_daemon", || {
        let identity = privileges::drop(None, None, "nobody").unwrap();
        assert_eq!(identity.user, "nobody");
        assert_eq!(identity.gid, user_by_name("nobody").unwrap().unwrap().gid);
        assert_is(&identity);
    });
}

#[test]
fn a_daemon_called_root_does_not_stay_root() {
    in_a_process("a_daemon_called_root_does_not_stay_root", || {
        let identity = privileges::drop(None, None, "root").unwrap();
        assert_eq!(identity.user, "daemon");
        assert_is(&identity);
    });
}

#[test]
fn who_does_not_exist_is_daemon_with_a_warning() {
    in_a_process("who_does_not_exist_is_daemon_with_a_warning", || {
        let identity = drop(Some("no-such-user"), Some("no-such-group")).unwrap();
        assert_eq!((identity.user.as_str(), identity.group.as_str()), ("daemon", "daemon"));
        assert_eq!(identity.warnings.len(), 2);
        assert!(identity.warnings[0].contains("\"no-such-user\" does not exist"));
        assert!(identity.warnings[1].contains("\"no-such-group\" does not exist"));
        assert_is(&identity);
    });
}

#[test]
fn a_group_alone_comes_with_the_fallback_user() {
    in_a_process("a_group_alone_comes_with_the_fallback_user", || {
        let identity = drop(None, Some("mail")).unwrap();
        let mail = group_by_name("mail").unwrap().unwrap();
        assert_eq!((identity.user.as_str(), identity.gid), ("daemon", mail.gid));
        assert!(identity.groups.contains(&mail.gid));
        assert_is(&identity);
    });
}

#[test]
fn a_number_needs_no_entry() {
    in_a_process("a_number_needs_no_entry", || {
        with_groups(&[0, 4]);
        let identity = drop(Some(NOBODY_AT_ALL), Some("3999999997")).unwrap();
        assert_eq!((identity.uid, identity.gid), (3_999_999_998, 3_999_999_997));
        assert_eq!(
            (identity.user.as_str(), identity.group.as_str()),
            (NOBODY_AT_ALL, "3999999997")
        );
        assert_eq!((&identity.home, &identity.shell), (&None, &None));
        assert_eq!(identity.groups, [0; 0]);
        assert_is(&identity);
    });
}

#[test]
fn a_number_without_an_entry_gets_the_fallback_group() {
    in_a_process("a_number_without_an_entry_gets_the_fallback_group", || {
        let identity = drop(Some(NOBODY_AT_ALL), None).unwrap();
        assert_eq!(identity.group, "daemon");
        assert_eq!(identity.groups, [0; 0]);
        assert_is(&identity);
    });
}

#[test]
fn a_number_with_an_entry_is_as_good_as_the_name() {
    in_a_process("a_number_with_an_entry_is_as_good_as_the_name", || {
        let nobody = user_by_name("nobody").unwrap().unwrap();
        let identity = drop(Some(&nobody.uid.to_string()), None).unwrap();
        assert_eq!((identity.user.as_str(), identity.gid), ("nobody", nobody.gid));
        assert_eq!(identity.home, Some(nobody.home));
        assert_is(&identity);
    });
}

#[test]
fn the_groups_are_those_that_id_lists() {
    in_a_process("the_groups_are_those_that_id_lists", || {
        // Somebody who is a member of more than the primary group.
        let member = fs::read_to_string("/etc/group").unwrap().lines().find_map(|line| {
            let name = line.rsplit(':').next()?.split(',').next()?;
            user_by_name(name).ok()?.filter(|user| user.uid != 0)
        });
        let Some(user) = member else {
            eprintln!("skipped: no group has a member here");
            return;
        };
        let id = Command::new("id").args(["-G", &user.name]).output().unwrap();
        let mut groups: Vec<u32> = String::from_utf8(id.stdout)
            .unwrap()
            .split_whitespace()
            .map(|gid| gid.parse().unwrap())
            .collect();
        groups.sort_unstable();
        with_groups(&[54321]);
        let identity = drop(Some(&user.name), None).unwrap();
        assert!(identity.groups.len() > 1);
        assert_eq!(identity.groups, groups);
        assert_is(&identity);
    });
}

#[test]
fn root_may_be_asked_for() {
    in_a_process("root_may_be_asked_for", || {
        with_groups(&[54321]);
        let identity = drop(Some("root"), None).unwrap();
        assert_eq!((identity.uid, identity.gid), (0, 0));
        assert!(!identity.groups.contains(&54321));
        assert_is(&identity);
    });
}

#[test]
fn ids_that_change_nothing_are_refused() {
    in_a_process("ids_that_change_nothing_are_refused", || {
        for id in ["-1", "4294967295", "4294967296", "18446744073709551615"] {
            assert!(!drop(Some(id), None).unwrap_err().partial);
            assert!(!drop(Some("nobody"), Some(id)).unwrap_err().partial);
        }
        assert_eq!(status("Uid"), [0; 4]);
    });
}

#[test]
fn every_thread_is_the_new_user() {
    in_a_process("every_thread_is_the_new_user", || {
        let barrier = Arc::new(Barrier::new(9));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let barrier = Arc::clone(&barrier);
                thread::spawn(move || {
                    barrier.wait();
                    barrier.wait();
                    (status("Uid"), status("Gid"), status("Groups"), status("CapEff"))
                })
            })
            .collect();
        barrier.wait();
        let identity = drop(Some("nobody"), None).unwrap();
        barrier.wait();
        for thread in threads {
            let (uids, gids, groups, capabilities) = thread.join().unwrap();
            assert_eq!(uids, [identity.uid; 4]);
            assert_eq!(gids, [identity.gid; 4]);
            assert_eq!(groups, identity.groups);
            assert_eq!(capabilities, [0]);
        }
    });
}

/// Inheritable CAP_CHOWN, which the kernel leaves alone when ids change.
fn keep_a_capability() {
    let mut data = [0_u32; 6];
    let header: [u32; 2] = [0x2008_0522, 0];
    // SAFETY: version 3 of capget(2) and capset(2) takes these two arrays.
    unsafe {
        assert_eq!(libc::syscall(libc::SYS_capget, header.as_ptr(), data.as_mut_ptr()), 0);
        data[2] |= 1;
        assert_eq!(libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()), 0);
    }
}

#[test]
fn capabilities_of_the_calling_thread_are_given_up() {
    in_a_process("capabilities_of_the_calling_thread_are_given_up", || {
        keep_a_capability();
        // SAFETY: takes numbers alone.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0) }, 0);
        assert_is(&drop(Some("nobody"), None).unwrap());
    });
}

#[test]
fn a_thread_that_keeps_a_capability_is_told() {
    in_a_process("a_thread_that_keeps_a_capability_is_told", || {
        let barrier = Arc::new(Barrier::new(2));
        let theirs = Arc::clone(&barrier);
        let other = thread::spawn(move || {
            keep_a_capability();
            theirs.wait();
            theirs.wait();
        });
        barrier.wait();
        let error = drop(Some("nobody"), None).unwrap_err();
        assert!(error.partial);
        assert!(error.message.contains("capabilities 0x1 still"), "{error}");
        assert!(error.message.ends_with("this process must end."), "{error}");
        barrier.wait();
        other.join().unwrap();
    });
}

#[test]
fn who_is_not_root_is_refused() {
    in_a_process("who_is_not_root_is_refused", || {
        become_without_help(3_999_999_998, 3_999_999_998, &[]);
        for user in ["nobody", "root", "0"] {
            let error = drop(Some(user), None).unwrap_err();
            assert_eq!((error.errno, error.partial), (Some(libc::EPERM), false));
            assert!(error.message.starts_with("Not permitted"), "{error}");
        }
        // The right user, but not the group.
        assert!(drop(Some(NOBODY_AT_ALL), Some("nogroup")).is_err());
        assert_eq!(status("Uid"), [3_999_999_998; 4]);
    });
}

#[test]
fn who_is_that_user_already_stays_it() {
    in_a_process("who_is_that_user_already_stays_it", || {
        let nobody = user_by_name("nobody").unwrap().unwrap();
        become_without_help(nobody.uid, nobody.gid, &[]);
        let identity = drop(Some("nobody"), None).unwrap();
        assert_eq!(identity.groups, [0; 0]);
        assert_eq!(identity.warnings, [""; 0]);
        assert_is(&identity);
    });
}

#[test]
fn groups_that_cannot_be_given_up_are_a_warning() {
    in_a_process("groups_that_cannot_be_given_up_are_a_warning", || {
        let nobody = user_by_name("nobody").unwrap().unwrap();
        become_without_help(nobody.uid, nobody.gid, &[54321]);
        let identity = drop(Some("nobody"), None).unwrap();
        assert_eq!(identity.groups, [54321]);
        assert!(identity.warnings[0].ends_with("keeps them: 54321."), "{:?}", identity.warnings);
    });
}

#[test]
fn a_saved_id_of_root_is_not_that_user() {
    in_a_process("a_saved_id_of_root_is_not_that_user", || {
        let nobody = user_by_name("nobody").unwrap().unwrap();
        let (uid, gid) = (Uid::from_raw(nobody.uid), Gid::from_raw(nobody.gid));
        setresgid(gid, gid, gid).unwrap();
        setresuid(uid, uid, Uid::from_raw(0)).unwrap();
        assert!(!drop(Some("nobody"), None).unwrap_err().partial);
    });
}

#[test]
fn io_uring_is_refused() {
    in_a_process_with("io_uring_is_refused", &[("UV_USE_IO_URING", "1")], || {
        let error = drop(Some("nobody"), None).unwrap_err();
        assert!(error.message.contains("UV_USE_IO_URING=0"), "{error}");
        assert!(!error.partial);
        assert_eq!(status("Uid"), [0; 4]);
    });
}

#[test]
fn io_uring_that_is_off_is_no_matter() {
    in_a_process_with("io_uring_that_is_off_is_no_matter", &[("UV_USE_IO_URING", "0")], || {
        assert_is(&drop(Some("nobody"), None).unwrap());
    });
}

fn thread_names() -> impl Iterator<Item = String> {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok())
}

#[test]
fn a_thread_that_polls_for_io_uring_is_refused() {
    in_a_process("a_thread_that_polls_for_io_uring_is_refused", || {
        // struct io_uring_params: the flags are the third of 30 words.
        let mut parameters = [0_u32; 30];
        parameters[2] = 1 << 1; // IORING_SETUP_SQPOLL
        // SAFETY: io_uring_setup(2) takes a number and these 120 bytes.
        let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
        if ring < 0 {
            eprintln!("skipped: no io_uring here: {}", std::io::Error::last_os_error());
            return;
        }
        // The thread gives itself its name, a moment after it is there.
        while !thread_names().any(|name| name.starts_with("iou-sqp-")) {
            std::thread::yield_now();
        }
        let error = drop(Some("nobody"), None).unwrap_err();
        assert!(error.message.contains("io_uring's thread"), "{error}");
        assert_eq!(status("Uid"), [0; 4]);
    });
}

#[test]
fn without_proc_nothing_is_dropped() {
    in_a_process("without_proc_nothing_is_dropped", || {
        let text = |text: &str| CString::new(text).unwrap();
        let (none, root, proc, tmpfs) = (text("none"), text("/"), text("/proc"), text("tmpfs"));
        // SAFETY: the strings end with a NUL, and no mount here takes data.
        unsafe {
            if libc::unshare(libc::CLONE_NEWNS) != 0 {
                eprintln!("skipped: {}", std::io::Error::last_os_error());
                return;
            }
            let private = libc::MS_REC | libc::MS_PRIVATE;
            let null: *const libc::c_void = std::ptr::null();
            assert_eq!(libc::mount(none.as_ptr(), root.as_ptr(), null.cast(), private, null), 0);
            let kind = tmpfs.as_ptr();
            assert_eq!(libc::mount(none.as_ptr(), proc.as_ptr(), kind, 0, null), 0);
        }
        let error = drop(Some("nobody"), None).unwrap_err();
        assert!(error.message.contains("Mount /proc"), "{error}");
        assert!(!error.partial);
        assert!(nix::unistd::geteuid().is_root());
        // Files of the same names prove nothing either.
        fs::create_dir_all("/proc/self/task/1").unwrap();
        assert!(drop(Some("nobody"), None).is_err());
        assert!(nix::unistd::geteuid().is_root());
    });
}
