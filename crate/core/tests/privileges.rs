//! Dropping privileges for real. The test runner keeps its own: each test runs
//! itself once more as a process of its own, and drops them there.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use tsdaemonize_core::accounts::{group_by_name, user_by_name};
use tsdaemonize_core::error::Error;
use tsdaemonize_core::privileges::{
    self, Capability, Confinement, Dropped, Identity, Landlock, Limit, Whom,
};

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
    drop_warned(user, group, "no-such-daemon").map(|(identity, _)| identity)
}

/// Drops privileges, with nobody to tell of a new root directory.
fn drop_privileges(whom: Option<&Whom>, confinement: &Confinement) -> Result<Dropped, Error> {
    privileges::drop(whom, confinement, &|enter| enter())
}

/// The new identity, and the warnings.
fn drop_warned(
    user: Option<&str>,
    group: Option<&str>,
    daemon_name: &str,
) -> Result<(Identity, Vec<String>), Error> {
    let whom = Whom {
        user: user.map(str::to_owned),
        group: group.map(str::to_owned),
        daemon_name: daemon_name.to_owned(),
        files: Vec::new(),
    };
    let dropped = drop_privileges(Some(&whom), &Confinement::default())?;
    Ok((dropped.identity.unwrap(), dropped.warnings))
}

/// A line of the calling thread's status.
fn status_text(key: &str) -> String {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(&format!("{key}:"))).unwrap();
    line.trim().to_owned()
}

/// The numbers of that line.
fn status(key: &str) -> Vec<u32> {
    status_text(key).split_whitespace().map(|number| number.parse().unwrap()).collect()
}

fn assert_is(identity: &Identity) {
    assert_eq!(status("Uid"), [identity.uid; 4]);
    assert_eq!(status("Gid"), [identity.gid; 4]);
    assert_eq!(status("Groups"), identity.groups);
    if identity.uid != 0 {
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(status(set), [0], "{set}");
        }
        assert_eq!(status("NoNewPrivs"), [1]);
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
        let (identity, warnings) = drop_warned(Some("nobody"), None, "no-such-daemon").unwrap();
        assert_eq!((identity.user.as_str(), identity.uid), ("nobody", nobody.uid));
        assert_eq!((identity.gid, &identity.home), (nobody.gid, &Some(nobody.home)));
        assert_eq!(identity.shell, Some(nobody.shell));
        assert!(identity.groups.contains(&nobody.gid));
        assert!(!identity.groups.contains(&54321));
        assert_eq!(warnings, [""; 0]);
        assert_is(&identity);
    });
}

#[test]
fn without_a_name_it_is_daemon() {
    in_a_process("without_a_name_it_is_daemon", || {
        let (identity, warnings) = drop_warned(None, None, "no-such-daemon").unwrap();
        assert_eq!((identity.user.as_str(), identity.group.as_str()), ("daemon", "daemon"));
        assert_eq!(warnings, [""; 0]);
        assert_is(&identity);
    });
}

#[test]
fn without_a_name_it_is_the_user_named_like_the_daemon() {
    in_a_process("without_a_name_it_is_the_user_named_like_the_daemon", || {
        let identity = drop_warned(None, None, "nobody").unwrap().0;
        assert_eq!(identity.user, "nobody");
        assert_eq!(identity.gid, user_by_name("nobody").unwrap().unwrap().gid);
        assert_is(&identity);
    });
}

#[test]
fn a_daemon_called_root_does_not_stay_root() {
    in_a_process("a_daemon_called_root_does_not_stay_root", || {
        let identity = drop_warned(None, None, "root").unwrap().0;
        assert_eq!(identity.user, "daemon");
        assert_is(&identity);
    });
}

#[test]
fn who_does_not_exist_is_daemon_with_a_warning() {
    in_a_process("who_does_not_exist_is_daemon_with_a_warning", || {
        let (identity, warnings) =
            drop_warned(Some("no-such-user"), Some("no-such-group"), "no-such-daemon").unwrap();
        assert_eq!((identity.user.as_str(), identity.group.as_str()), ("daemon", "daemon"));
        assert_eq!(warnings.len(), 2);
        assert!(warnings[0].contains("\"no-such-user\" does not exist"));
        assert!(warnings[1].contains("\"no-such-group\" does not exist"));
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

#[test]
fn threads_that_begin_and_end_meanwhile_are_no_exception() {
    in_a_process("threads_that_begin_and_end_meanwhile_are_no_exception", || {
        static DONE: AtomicBool = AtomicBool::new(false);
        static WRONG: AtomicU32 = AtomicU32::new(0);
        static BEGUN: AtomicU32 = AtomicU32::new(0);
        fn look_after_the_drop() {
            BEGUN.fetch_add(1, Ordering::SeqCst);
            while !DONE.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
            let (uids, set) = (status("Uid"), status_text("NoNewPrivs"));
            if uids.contains(&0) || set != "1" {
                WRONG.fetch_add(1, Ordering::SeqCst);
            }
        }
        // Two that have threads begin: most end at once, each hundredth stays to look.
        let others: Vec<_> = (0..2)
            .map(|_| {
                thread::spawn(|| {
                    let mut stay = Vec::new();
                    for count in 0.. {
                        if DONE.load(Ordering::SeqCst) {
                            break;
                        }
                        if count % 100 == 0 && stay.len() < 100 {
                            stay.push(thread::spawn(look_after_the_drop));
                        } else {
                            thread::spawn(|| {}).join().unwrap();
                        }
                    }
                    stay.into_iter().for_each(|other| other.join().unwrap());
                })
            })
            .collect();
        while BEGUN.load(Ordering::SeqCst) < 10 {
            thread::yield_now();
        }
        let identity = drop(Some("nobody"), None).unwrap();
        DONE.store(true, Ordering::SeqCst);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(WRONG.load(Ordering::SeqCst), 0);
        assert_is(&identity);
    });
}

/// From now on a system call of the calling thread alone, and of threads that it
/// makes, does nothing: it fails with `errno`, or, where that is 0, lies that it
/// worked. With `first`: where that is its first argument.
fn spoil(call: libc::c_long, first: Option<libc::c_int>, errno: u32) {
    spoil_with(0, call, first, errno);
}

/// The same, of every thread.
fn spoil_everywhere(call: libc::c_long, first: Option<libc::c_int>, errno: u32) {
    spoil_with(libc::SECCOMP_FILTER_FLAG_TSYNC, call, first, errno);
}

fn spoil_with(flags: libc::c_ulong, call: libc::c_long, first: Option<libc::c_int>, errno: u32) {
    // offsetof(struct seccomp_data, nr), and the lower half of args[0].
    const NUMBER: u32 = 0;
    const FIRST: u32 = if cfg!(target_endian = "big") { 20 } else { 16 };
    let line = |code, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |at| line(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, at);
    let skip_unless = |value, by| line(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, by, value);
    let end = |with| line(libc::BPF_RET | libc::BPF_K, 0, 0, with);
    let mut filter =
        vec![load(NUMBER), skip_unless(call as u32, if first.is_some() { 3 } else { 1 })];
    if let Some(first) = first {
        filter.extend([load(FIRST), skip_unless(first as u32, 1)]);
    }
    filter.extend([end(libc::SECCOMP_RET_ERRNO | errno), end(libc::SECCOMP_RET_ALLOW)]);
    let program =
        libc::sock_fprog { len: filter.len() as libc::c_ushort, filter: filter.as_mut_ptr() };
    // SAFETY: seccomp(2) reads the filter. Root needs no no_new_privs for it.
    let done = unsafe {
        let set = libc::SECCOMP_SET_MODE_FILTER;
        libc::syscall(libc::SYS_seccomp, set, flags, &raw const program)
    };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Drops privileges beside a thread that was spoiled.
fn drop_beside_a_spoiled_thread(
    confinement: &Confinement,
    spoil: impl FnOnce() + Send + 'static,
) -> Error {
    let barrier = Arc::new(Barrier::new(2));
    let theirs = Arc::clone(&barrier);
    let other = thread::spawn(move || {
        spoil();
        theirs.wait();
        theirs.wait();
    });
    barrier.wait();
    let error = drop_privileges(Some(&nobody()), confinement).unwrap_err();
    barrier.wait();
    other.join().unwrap();
    error
}

/// Calls `case` in a process of its own for each number up to `cases`.
fn in_processes(name: &str, cases: usize, case: fn(usize)) {
    const NUMBER: &str = "TSDAEMONIZE_TEST_CASE";
    if let Some(number) = std::env::var_os(NUMBER) {
        case(number.to_str().unwrap().parse().unwrap());
        return;
    }
    for number in 0..cases {
        in_a_process_with(name, &[(NUMBER, &number.to_string())], || {});
    }
}

#[test]
fn one_thread_alone_that_keeps_what_it_has_is_found() {
    in_processes("one_thread_alone_that_keeps_what_it_has_is_found", 7, |number| {
        let restrict = Confinement {
            landlock: Some(Landlock { read: Some(vec![]), ..Landlock::default() }),
            ..Confinement::default()
        };
        let bounded = Confinement { capabilities: Some(vec![]), ..Confinement::default() };
        let plain = Confinement::default();
        let (set_nnp, drop_bound) = (libc::PR_SET_NO_NEW_PRIVS, libc::PR_CAPBSET_DROP);
        let (confinement, call, option, words) = match number {
            0 => (plain, libc::SYS_setresuid, None, "it has the user ids [0, 0, 0, 0]"),
            1 => (plain, libc::SYS_setresgid, None, "it has the group ids [0, 0, 0, 0]"),
            2 => (plain, libc::SYS_setgroups, None, "it has the supplementary groups [4, 54321]"),
            3 => (plain, libc::SYS_capset, None, "it has the inheritable capabilities 0x1"),
            4 => (plain, libc::SYS_prctl, Some(set_nnp), "it has no no_new_privs"),
            5 => (bounded, libc::SYS_prctl, Some(drop_bound), "it has the bounding capabilities"),
            _ => (restrict, libc::SYS_landlock_restrict_self, None, "prove that Landlock's rules"),
        };
        if number == 6 && !has_landlock() {
            return;
        }
        with_groups(&[4, 54321]);
        keep_a_capability();
        let error = drop_beside_a_spoiled_thread(&confinement, move || spoil(call, option, 0));
        assert!(error.partial && error.message.contains(words), "{number}: {error}");
    });
}

#[test]
fn a_thread_that_cannot_give_up_what_it_has_is_named() {
    in_processes("a_thread_that_cannot_give_up_what_it_has_is_named", 3, |number| {
        let (call, option, words) = match number {
            0 => (libc::SYS_capset, None, "Cannot give up capabilities on thread"),
            1 => {
                let option = Some(libc::PR_SET_NO_NEW_PRIVS);
                (libc::SYS_prctl, option, "Cannot set no_new_privs on thread")
            }
            _ => (
                libc::SYS_landlock_restrict_self,
                None,
                "Cannot enforce Landlock's rules on thread",
            ),
        };
        let mut confinement = Confinement::default();
        if number == 2 {
            if !has_landlock() {
                return;
            }
            confinement.landlock = Some(Landlock { read: Some(vec![]), ..Landlock::default() });
        }
        let errno = libc::E2BIG;
        let error =
            drop_beside_a_spoiled_thread(&confinement, move || spoil(call, option, errno as u32));
        assert!(error.partial && error.message.contains(words), "{number}: {error}");
        assert_eq!(error.errno, Some(errno));
    });
}

#[test]
fn a_way_back_to_root_is_found_by_trying_it() {
    in_processes("a_way_back_to_root_is_found_by_trying_it", 6, |number| {
        let (call, first, errno, words) = match number {
            0 => (libc::SYS_setresuid, -1, 0, "but setresuid brought root's back"),
            1 => (libc::SYS_setuid, 0, 0, "but setuid brought root's back"),
            2 => (libc::SYS_setgid, 0, 0, "but setgid brought root's back"),
            3 => (libc::SYS_setresgid, -1, 0, "but setegid brought root's back"),
            4 => (libc::SYS_setuid, 0, libc::EAGAIN, "EPERM was to be expected"),
            // Who keeps the right to it may have it.
            _ => (libc::SYS_setuid, 0, 0, ""),
        };
        spoil_everywhere(call, Some(first), errno as u32);
        let keep = Capability { name: "CAP_SETUID".to_owned(), bit: 7 };
        let capabilities = (number == 5).then(|| vec![keep]);
        let confinement = Confinement { capabilities, ..Confinement::default() };
        let dropped = drop_privileges(Some(&nobody()), &confinement);
        if number == 5 {
            dropped.unwrap();
            return;
        }
        let error = dropped.unwrap_err();
        assert!(error.partial && error.message.contains(words), "{number}: {error}");
    });
}

#[test]
fn no_new_privs_comes_with_whatever_is_given_up() {
    in_processes("no_new_privs_comes_with_whatever_is_given_up", 5, |number| {
        let mut confinement = Confinement::default();
        let expected = match number {
            0 => {
                confinement.nice = Some(1);
                0
            }
            1 => {
                confinement.no_new_privileges = Some(true);
                1
            }
            2 => {
                confinement.capabilities = Some(vec![]);
                1
            }
            3 => {
                confinement.capabilities = Some(vec![]);
                confinement.no_new_privileges = Some(false);
                0
            }
            _ if !has_landlock() => return,
            _ => {
                confinement.landlock = Some(Landlock { read: Some(vec![]), ..Landlock::default() });
                1
            }
        };
        let own = fs::File::open("/proc/thread-self/status").unwrap();
        drop_privileges(None, &confinement).unwrap();
        let status = std::io::read_to_string(own).unwrap();
        assert!(status.contains(&format!("NoNewPrivs:\t{expected}\n")), "{number}: {status}");
    });
}

#[test]
fn what_this_kernel_lacks_is_refused() {
    in_processes("what_this_kernel_lacks_is_refused", 3, |number| {
        let keep = Capability { name: "CAP_NET_RAW".to_owned(), bit: 13 };
        let capabilities = Some(vec![keep]);
        let kept = Confinement { capabilities, ..Confinement::default() };
        let asked = Confinement { no_new_privileges: Some(true), ..Confinement::default() };
        let (confinement, option, words) = match number {
            0 => (kept, libc::PR_CAP_AMBIENT, "this kernel has no ambient capabilities"),
            1 => (kept, libc::PR_CAPBSET_READ, "this kernel does not know CAP_NET_RAW"),
            _ => (asked, libc::PR_SET_NO_NEW_PRIVS, "Cannot set no_new_privs"),
        };
        spoil(libc::SYS_prctl, Some(option), libc::EINVAL as u32);
        let error = drop_privileges(None, &confinement).unwrap_err();
        assert!(error.message.contains(words), "{error}");
        assert_eq!((error.errno, error.syscall), (Some(libc::EINVAL), Some("prctl")));
        // Of ids and capabilities, nothing has changed then.
        assert_eq!((status("Uid"), status_text("CapEff")), (vec![0; 4], status_text("CapPrm")));
    });
}

fn has_landlock() -> bool {
    // SAFETY: without a structure, the call tells the version.
    let version = unsafe {
        let none: *const u8 = std::ptr::null();
        libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, 1)
    };
    if version < 1 {
        eprintln!("skipped: no Landlock here");
    }
    version >= 1
}

fn nobody() -> Whom {
    Whom { user: Some("nobody".to_owned()), ..Whom::default() }
}

/// Permitted, effective and inheritable capabilities of the calling thread.
fn set_capabilities(set: u32) {
    let header: [u32; 2] = [0x2008_0522, 0];
    let data = [set, set, set, 0, 0, 0];
    // SAFETY: version 3 of capset(2) takes these two arrays.
    let done = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()) };
    assert_eq!(done, 0);
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

/// Runs `meanwhile` on this thread while two others wait: each after `before`,
/// and then each does `after`.
fn beside_others(before: fn(), meanwhile: impl FnOnce(), after: fn()) {
    let barrier = Arc::new(Barrier::new(3));
    let others: Vec<_> = (0..2)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || {
                before();
                barrier.wait();
                barrier.wait();
                after();
            })
        })
        .collect();
    barrier.wait();
    meanwhile();
    barrier.wait();
    for other in others {
        other.join().unwrap();
    }
}

fn assert_nothing_is_left() {
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status_text(set), "0000000000000000", "{set}");
    }
    assert_eq!(status("NoNewPrivs"), [1]);
}

#[test]
fn capabilities_that_ids_leave_behind_are_given_up_on_every_thread() {
    in_a_process("capabilities_that_ids_leave_behind_are_given_up_on_every_thread", || {
        fn keep() {
            keep_a_capability();
            let securebits = libc::SECBIT_NO_SETUID_FIXUP as libc::c_ulong;
            // SAFETY: takes numbers alone.
            assert_eq!(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, securebits, 0, 0, 0) }, 0);
        }
        keep();
        let drop = || assert_is(&drop(Some("nobody"), None).unwrap());
        beside_others(keep, drop, assert_nothing_is_left);
    });
}

#[test]
fn files_become_the_new_users_and_one_that_cannot_is_a_warning() {
    in_a_process("files_become_the_new_users_and_one_that_cannot_is_a_warning", || {
        use std::os::fd::AsRawFd;
        let path = std::env::temp_dir().join(format!("tsdaemonize-{}", std::process::id()));
        let file = fs::File::create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let closed = 9999;
        let whom = Whom { files: vec![file.as_raw_fd(), closed], ..nobody() };
        let dropped = drop_privileges(Some(&whom), &Confinement::default()).unwrap();
        let identity = dropped.identity.unwrap();
        let found = file.metadata().unwrap();
        assert_eq!((found.uid(), found.gid()), (identity.uid, identity.gid));
        let [warning] = dropped.warnings.as_slice() else { panic!("{:?}", dropped.warnings) };
        assert!(warning.contains("Cannot give a log file that was made to"), "{warning}");
        assert!(warning.contains("EBADF: bad file number, fchown"), "{warning}");
    });
}

#[test]
fn what_is_kept_is_in_every_set_of_every_thread_and_nothing_else() {
    in_a_process("what_is_kept_is_in_every_set_of_every_thread_and_nothing_else", || {
        fn assert_kept() {
            for set in ["CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"] {
                assert_eq!(status_text(set), "0000000000000400", "{set}");
            }
            assert_eq!(status("NoNewPrivs"), [1]);
        }
        let keep = Capability { name: "CAP_NET_BIND_SERVICE".to_owned(), bit: 10 };
        let confinement = Confinement { capabilities: Some(vec![keep]), ..Confinement::default() };
        let drop = || {
            drop_privileges(Some(&nobody()), &confinement).unwrap();
            assert_kept();
            thread::spawn(assert_kept).join().unwrap();
            // It is a right that one can use, and no other is left to be had.
            assert!(std::net::TcpListener::bind("127.0.0.1:1").is_ok());
            assert!(fs::File::open("/etc/shadow").is_err());
        };
        beside_others(|| {}, drop, assert_kept);
    });
}

#[test]
fn what_one_has_not_got_cannot_be_kept() {
    in_a_process("what_one_has_not_got_cannot_be_kept", || {
        let asked = |name: &str, bit| {
            let keep = Capability { name: name.to_owned(), bit };
            let capabilities = Some(vec![keep]);
            let confinement = Confinement { capabilities, ..Confinement::default() };
            drop_privileges(Some(&nobody()), &confinement).unwrap_err()
        };
        let error = asked("CAP_FUTURE", 63);
        assert_eq!((error.errno, error.partial), (Some(libc::EINVAL), false));
        assert!(error.message.contains("does not know CAP_FUTURE"), "{error}");
        set_capabilities(1 << 6 | 1 << 7 | 1 << 8);
        let error = asked("CAP_SYS_ADMIN", 21);
        assert_eq!((error.errno, error.syscall), (Some(libc::EPERM), Some("capset")));
        assert!(error.message.contains("has not got CAP_SYS_ADMIN"), "{error}");
        assert_eq!(status("Uid"), [0; 4]);
        // Without CAP_SETPCAP the bounding set cannot be emptied.
        set_capabilities(1 << 6 | 1 << 7);
        let confinement = Confinement { capabilities: Some(vec![]), ..Confinement::default() };
        let error = drop_privileges(Some(&nobody()), &confinement).unwrap_err();
        assert!(error.message.contains("takes CAP_SETPCAP"), "{error}");
        assert_eq!(status("Uid"), [0; 4]);
    });
}

#[test]
fn a_thread_that_blocks_all_signals_is_told_before_anything_changes() {
    in_a_process("a_thread_that_blocks_all_signals_is_told_before_anything_changes", || {
        fn block() {
            let all = u64::MAX;
            let none: *const u64 = std::ptr::null();
            let how = libc::SIG_SETMASK;
            // By the system call: the C library leaves its own signal out.
            // SAFETY: rt_sigprocmask(2) reads a set of 8 bytes.
            let done = unsafe {
                libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const all, none, 8_usize)
            };
            assert_eq!(done, 0);
        }
        let drop = || {
            let error = drop(Some("nobody"), None).unwrap_err();
            assert!(!error.partial);
            assert!(error.message.contains("cannot be reached"), "{error}");
            assert_eq!(status("Uid"), [0; 4]);
        };
        beside_others(block, drop, || {});
    });
}

#[test]
fn the_signal_of_the_c_library_is_its_own_again() {
    in_a_process("the_signal_of_the_c_library_is_its_own_again", || {
        thread::spawn(|| {}).join().unwrap();
        let handler = || {
            let mut action = [0_usize; 4];
            let none: *const usize = std::ptr::null();
            let signal = if cfg!(target_env = "musl") { 34 } else { 33 };
            // SAFETY: rt_sigaction(2) writes the kernel's structure, of 32 bytes.
            let done = unsafe {
                libc::syscall(libc::SYS_rt_sigaction, signal, none, action.as_mut_ptr(), 8_usize)
            };
            assert_eq!(done, 0);
            action
        };
        let before = handler();
        drop(Some("nobody"), None).unwrap();
        assert_eq!(handler(), before);
        beside_others(|| {}, || assert!(setgroups(&[]).is_err()), || {});
    });
}

#[test]
fn limits_and_priorities_are_set_for_every_thread() {
    in_a_process("limits_and_priorities_are_set_for_every_thread", || {
        let limit = |name: &str, soft, hard| Limit { name: name.to_owned(), soft, hard };
        let confinement = Confinement {
            limits: vec![limit("nofile", Some(100), Some(200)), limit("core", Some(0), Some(0))],
            nice: Some(7),
            oom_score_adjust: Some(300),
            ..Confinement::default()
        };
        fn assert_nice() {
            // SAFETY: takes numbers alone.
            assert_eq!(unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) }, 7);
        }
        let drop = || {
            assert_eq!(drop_privileges(None, &confinement).unwrap().identity, None);
            assert_nice();
            let limits = fs::read_to_string("/proc/self/limits").unwrap();
            let of = |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap();
            assert!(of("Max open files").contains(" 100 "), "{limits}");
            assert!(of("Max open files").contains(" 200 "), "{limits}");
            assert!(of("Max core file size").contains(" 0 "), "{limits}");
            assert_eq!(fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim(), "300");
            assert_eq!(status("NoNewPrivs"), [0], "nothing was dropped");
        };
        beside_others(|| {}, drop, assert_nice);
        let above = Confinement {
            limits: vec![limit("nofile", Some(200), Some(100))],
            ..Confinement::default()
        };
        let error = drop_privileges(None, &above).unwrap_err();
        assert_eq!((error.errno, error.syscall), (Some(libc::EINVAL), Some("setrlimit")));
        become_without_help(3_999_999_998, 3_999_999_998, &[]);
        for (confinement, syscall) in [
            (Confinement { nice: Some(0), ..Confinement::default() }, "setpriority"),
            (Confinement { oom_score_adjust: Some(-1), ..Confinement::default() }, "write"),
            (
                Confinement {
                    limits: vec![limit("nofile", None, Some(300))],
                    ..Confinement::default()
                },
                "setrlimit",
            ),
        ] {
            let error = drop_privileges(None, &confinement).unwrap_err();
            assert_eq!(error.syscall, Some(syscall), "{error}");
        }
    });
}

#[test]
fn nothing_leads_out_of_a_new_root() {
    in_a_process("nothing_leads_out_of_a_new_root", || {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        fs::create_dir(&root).unwrap();
        let to = |path: &std::path::Path| Confinement {
            chroot: Some(path.to_owned()),
            ..Confinement::default()
        };
        let refused = |confinement: &Confinement, words: &str| {
            let error = drop_privileges(Some(&nobody()), confinement).unwrap_err();
            assert!(!error.partial && error.message.contains(words), "{error}");
            assert_eq!(status("Uid"), [0; 4]);
        };
        refused(&to(&place.path().join("missing")), "ENOENT: no such file or directory, ");
        refused(&to("/dev/null".as_ref()), "ENOTDIR: not a directory, ");
        let open = place.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
        refused(&to(&open), "writable by root alone");
        let directory = fs::File::open(place.path()).unwrap();
        refused(&to(&root), "through it the new root can be left");
        std::mem::drop(directory);
        // From there ".." leads out as well.
        let proc = fs::File::open("/proc").unwrap();
        refused(&to(&root), "is the directory /proc, and through it");
        std::mem::drop(proc);

        let inside = fs::File::open(&root).unwrap();
        let root_then = fs::metadata(&root).unwrap();
        let drop = || {
            let dropped = drop_privileges(Some(&nobody()), &to(&root)).unwrap();
            assert_eq!(dropped.warnings, [""; 0]);
        };
        beside_others(
            || {},
            drop,
            || {
                assert_eq!(fs::read_dir("/").unwrap().count(), 0);
                assert_eq!(std::env::current_dir().unwrap(), std::path::Path::new("/"));
            },
        );
        let now = fs::metadata("/").unwrap();
        assert_eq!((now.dev(), now.ino()), (root_then.dev(), root_then.ino()));
        // From a directory inside, the way up ends at the root.
        let above = nix::fcntl::openat(
            &inside,
            "../../..",
            nix::fcntl::OFlag::O_PATH,
            nix::sys::stat::Mode::empty(),
        );
        let above = nix::sys::stat::fstat(above.unwrap()).unwrap();
        assert_eq!(above.st_ino, root_then.ino());
    });
}

#[test]
fn a_directory_that_only_seems_to_be_in_the_new_root_is_found() {
    in_a_process("a_directory_that_only_seems_to_be_in_the_new_root_is_found", || {
        if !in_a_mount_namespace_of_its_own() {
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let (root, elsewhere) = (place.path().join("root"), place.path().join("elsewhere"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&elsewhere).unwrap();
        mount_tmpfs(&elsewhere);
        // Detached, it has the path of a directory in the new root.
        let inner = elsewhere.join(root.strip_prefix("/").unwrap()).join("inner");
        fs::create_dir_all(&inner).unwrap();
        let directory = fs::File::open(&inner).unwrap();
        let path = CString::new(elsewhere.to_str().unwrap()).unwrap();
        // SAFETY: the string ends with a NUL.
        assert_eq!(unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) }, 0);
        let confinement = Confinement { chroot: Some(root), ..Confinement::default() };
        let error = drop_privileges(Some(&nobody()), &confinement).unwrap_err();
        assert!(error.message.contains("through it the new root can be left"), "{error}");
        std::mem::drop(directory);
    });
}

#[test]
fn who_may_leave_the_new_root_is_told() {
    in_a_process("who_may_leave_the_new_root_is_told", || {
        let place = tempfile::tempdir().unwrap();
        let chroot = Some(place.path().to_owned());
        let keep = Capability { name: "CAP_SYS_CHROOT".to_owned(), bit: 18 };
        for (capabilities, warned) in
            [(None, true), (Some(vec![keep]), true), (Some(vec![]), false)]
        {
            let confinement =
                Confinement { chroot: chroot.clone(), capabilities, ..Confinement::default() };
            let confinement = Arc::new(confinement);
            // Each in a child: it is for good.
            // SAFETY: the child only drops and ends.
            match unsafe { nix::unistd::fork() }.unwrap() {
                nix::unistd::ForkResult::Child => {
                    let dropped = drop_privileges(None, &confinement).unwrap();
                    let told =
                        dropped.warnings.iter().any(|w| w.contains("can leave the new root"));
                    std::process::exit(i32::from(told != warned));
                }
                nix::unistd::ForkResult::Parent { child } => {
                    let ended = nix::sys::wait::waitpid(child, None).unwrap();
                    assert_eq!(ended, nix::sys::wait::WaitStatus::Exited(child, 0), "{warned}");
                }
            }
        }
    });
}

#[test]
fn a_thread_with_a_root_of_its_own_is_told() {
    in_a_process("a_thread_with_a_root_of_its_own_is_told", || {
        fn unshare() {
            // SAFETY: takes a number alone.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_FS) }, 0);
        }
        let place = tempfile::tempdir().unwrap();
        let confinement =
            Confinement { chroot: Some(place.path().to_owned()), ..Confinement::default() };
        let drop = || {
            let error = drop_privileges(Some(&nobody()), &confinement).unwrap_err();
            assert!(error.partial && error.message.contains("another root directory"), "{error}");
        };
        beside_others(unshare, drop, || {});
    });
}

#[test]
fn landlock_leaves_every_thread_what_was_asked_for() {
    in_a_process("landlock_leaves_every_thread_what_was_asked_for", || {
        // SAFETY: without a structure, the call tells the version.
        let abi = unsafe {
            let none: *const u8 = std::ptr::null();
            libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, 1)
        };
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        for name in ["read", "write", "hidden"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("file"), "text").unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(0o777)).unwrap();
            fs::set_permissions(path(name).join("file"), fs::Permissions::from_mode(0o666))
                .unwrap();
        }
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
        std::env::set_current_dir(place.path()).unwrap();
        let landlock = Landlock {
            read: Some(vec![path("read")]),
            write: Some(vec![path("write")]),
            execute: Some(vec![]),
            bind: Some(vec![0]),
            connect: Some(vec![]),
            best_effort: false,
        };
        let confinement = Confinement { landlock: Some(landlock), ..Confinement::default() };
        if abi < 4 {
            let error = drop_privileges(Some(&nobody()), &confinement).unwrap_err();
            assert!(error.message.contains("Landlock cannot restrict"), "{error}");
            return;
        }
        fn assert_restricted() {
            let denied = |result: std::io::Result<()>| {
                assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EACCES));
            };
            let read = |path: &str| fs::read(path).map(|_| ());
            let append = |path: &str| fs::File::options().append(true).open(path).map(|_| ());
            read("read/file").unwrap();
            denied(append("read/file"));
            denied(fs::remove_file("read/file"));
            denied(read("write/file"));
            append("write/file").unwrap();
            let own = format!("write/{}", nix::unistd::gettid());
            fs::write(&own, "text").unwrap();
            fs::rename(&own, format!("{own}-renamed")).unwrap();
            fs::remove_file(format!("{own}-renamed")).unwrap();
            denied(read("hidden/file"));
            denied(append("hidden/file"));
            denied(fs::read_dir("/").map(|_| ()));
            denied(nix::unistd::truncate("hidden/file", 0).map_err(Into::into));
            denied(Command::new("/bin/true").status().map(|_| ()));
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            denied(std::net::TcpStream::connect(address).map(|_| ()));
            denied(std::net::TcpListener::bind("127.0.0.1:54321").map(|_| ()));
        }
        let drop = || {
            let dropped = drop_privileges(Some(&nobody()), &confinement).unwrap();
            assert_eq!(dropped.warnings, [""; 0]);
            assert_restricted();
            thread::spawn(assert_restricted).join().unwrap();
        };
        beside_others(|| {}, drop, assert_restricted);
    });
}

#[test]
fn a_thread_without_the_right_to_is_told_before_anything_changes() {
    in_a_process("a_thread_without_the_right_to_is_told_before_anything_changes", || {
        let drop = || {
            let error = drop(Some("nobody"), None).unwrap_err();
            assert!(!error.partial && error.message.starts_with("Not permitted"), "{error}");
            assert_eq!(status("Uid"), [0; 4]);
        };
        // The C library would end the process in the middle of it (nptl(7)).
        beside_others(|| set_capabilities(1 << 6), drop, || assert_eq!(status("Uid"), [0; 4]));
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
        assert!(!drop(Some(NOBODY_AT_ALL), Some("nogroup")).unwrap_err().partial);
        assert_eq!(status("Uid"), [3_999_999_998; 4]);
    });
}

#[test]
fn who_is_that_user_already_stays_it() {
    in_a_process("who_is_that_user_already_stays_it", || {
        let nobody = user_by_name("nobody").unwrap().unwrap();
        become_without_help(nobody.uid, nobody.gid, &[]);
        let (identity, warnings) = drop_warned(Some("nobody"), None, "no-such-daemon").unwrap();
        assert_eq!(identity.groups, [0; 0]);
        assert_eq!(warnings, [""; 0]);
        assert_is(&identity);
    });
}

#[test]
fn groups_that_cannot_be_given_up_are_a_warning() {
    in_a_process("groups_that_cannot_be_given_up_are_a_warning", || {
        let nobody = user_by_name("nobody").unwrap().unwrap();
        become_without_help(nobody.uid, nobody.gid, &[54321]);
        let (identity, warnings) = drop_warned(Some("nobody"), None, "no-such-daemon").unwrap();
        assert_eq!(identity.groups, [54321]);
        assert!(warnings[0].ends_with("keeps them: 54321."), "{:?}", warnings);
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
        if polled_ring().is_none() {
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
fn a_ring_that_a_thread_of_another_process_polls_is_refused() {
    in_a_process("a_ring_that_a_thread_of_another_process_polls_is_refused", || {
        if std::env::var_os("RING").is_some() {
            assert!(!thread_names().any(|name| name.starts_with("iou-")));
            let error = drop(Some("nobody"), None).unwrap_err();
            assert!(error.message.contains("io_uring's thread of descriptor"), "{error}");
            assert_eq!(status("Uid"), [0; 4]);
            return;
        }
        let Some(ring) = polled_ring() else { return };
        // SAFETY: takes numbers alone.
        assert_eq!(unsafe { libc::fcntl(ring, libc::F_SETFD, 0) }, 0);
        let name = "a_ring_that_a_thread_of_another_process_polls_is_refused";
        let heir = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env("RING", "1")
            .status();
        assert!(heir.unwrap().success());
    });
}

#[test]
fn a_ring_without_a_thread_is_no_matter() {
    in_a_process("a_ring_without_a_thread_is_no_matter", || {
        if ring(0).is_some() {
            assert_is(&drop(Some("nobody"), None).unwrap());
        }
    });
}

/// A new io_uring; `None`, and said so, where there is none.
fn ring(flags: u32) -> Option<i32> {
    // struct io_uring_params: the flags are the third of 30 words.
    let mut parameters = [0_u32; 30];
    parameters[2] = flags;
    // SAFETY: io_uring_setup(2) takes a number and these 120 bytes.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()) };
    if ring < 0 {
        eprintln!("skipped: no io_uring here: {}", std::io::Error::last_os_error());
        return None;
    }
    Some(ring as i32)
}

fn polled_ring() -> Option<i32> {
    ring(1 << 1) // IORING_SETUP_SQPOLL
}

fn in_a_mount_namespace_of_its_own() -> bool {
    let (none, root) = (c"none".as_ptr(), c"/".as_ptr());
    let null: *const libc::c_void = std::ptr::null();
    // SAFETY: the strings end with a NUL, and this mount takes no data.
    unsafe {
        if libc::unshare(libc::CLONE_NEWNS) != 0 {
            eprintln!("skipped: {}", std::io::Error::last_os_error());
            return false;
        }
        let private = libc::MS_REC | libc::MS_PRIVATE;
        assert_eq!(libc::mount(none, root, null.cast(), private, null), 0);
    }
    true
}

fn mount_tmpfs(at: &std::path::Path) {
    let at = CString::new(at.to_str().unwrap()).unwrap();
    let (none, null) = (c"none".as_ptr(), std::ptr::null());
    // SAFETY: the strings end with a NUL, and this mount takes no data.
    assert_eq!(unsafe { libc::mount(none, at.as_ptr(), c"tmpfs".as_ptr(), 0, null) }, 0);
}

#[test]
fn without_proc_nothing_is_dropped() {
    in_a_process("without_proc_nothing_is_dropped", || {
        if !in_a_mount_namespace_of_its_own() {
            return;
        }
        mount_tmpfs("/proc".as_ref());
        let error = drop(Some("nobody"), None).unwrap_err();
        assert!(error.message.contains("Mount /proc"), "{error}");
        assert!(!error.partial);
        assert!(nix::unistd::geteuid().is_root());
        // Files of the same names prove nothing either, even if all is in them.
        let user = user_by_name("nobody").unwrap().unwrap();
        let (uid, gid) = (user.uid, user.gid);
        let status = format!(
            "Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{gid}\t{gid}\t{gid}\t{gid}\n\
             Groups:\t{gid}\nCapInh:\t0\nCapPrm:\t0\nCapEff:\t0\nCapBnd:\t0\nNoNewPrivs:\t1\n"
        );
        let me = format!("/proc/self/task/{}", nix::unistd::gettid());
        for directory in [me.as_str(), "/proc/self/fd"] {
            fs::create_dir_all(directory).unwrap();
        }
        fs::write("/proc/self/status", &status).unwrap();
        fs::write(format!("{me}/status"), &status).unwrap();
        assert!(drop(Some("nobody"), None).is_err());
        assert!(nix::unistd::geteuid().is_root());
    });
}

/// A child that uses this process's memory and stands still. `flags` are further ones of clone(2).
fn sharing_child(flags: libc::c_int) -> i32 {
    extern "C" fn stand(_: *mut libc::c_void) -> libc::c_int {
        // SAFETY: it ends with its parent, and waits for a signal.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            loop {
                libc::pause();
            }
        }
    }
    let stack = Box::leak(Box::new([0u128; 4096]));
    // SAFETY: the stack, which grows downwards from its end, is there for ever.
    let child = unsafe {
        let end = stack.as_mut_ptr().add(stack.len()).cast();
        libc::clone(stand, end, libc::CLONE_VM | libc::SIGCHLD | flags, std::ptr::null_mut())
    };
    assert!(child > 0);
    child
}

fn end_child(child: i32) {
    // SAFETY: a child of this process, or of its parent, that nobody has waited for.
    unsafe { libc::kill(child, libc::SIGKILL) };
    let gone =
        || fs::read_to_string(format!("/proc/{child}/stat")).map_or(true, |s| s.contains(") Z "));
    while !gone() {
        // SAFETY: takes numbers, and no status.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), libc::WNOHANG) };
        thread::sleep(Duration::from_millis(1));
    }
}

fn assert_sharer_is_named(child: i32) {
    let error = drop(Some("nobody"), None).unwrap_err();
    let expected = format!("Cannot drop privileges: process {child} (");
    assert!(error.message.starts_with(&expected), "{error}");
    assert!(error.message.contains("uses the memory of this one"), "{error}");
    assert!(!error.partial);
    assert_eq!(status("Uid"), [0; 4]);
    end_child(child);
}

#[test]
fn a_process_that_uses_this_memory_is_named() {
    in_processes("a_process_that_uses_this_memory_is_named", 3, |case| {
        // Its own child, the child of its parent, and one whose memory cannot be compared.
        if case == 2 {
            spoil_everywhere(libc::SYS_kcmp, None, libc::EPERM as u32);
        }
        let flags = if case == 1 { libc::CLONE_PARENT } else { 0 };
        assert_sharer_is_named(sharing_child(flags));
        assert_is(&drop(Some("nobody"), None).unwrap());
    });
}

#[test]
fn a_process_with_a_copy_of_this_memory_is_no_matter() {
    in_processes("a_process_with_a_copy_of_this_memory_is_no_matter", 2, |case| {
        if case == 1 {
            spoil_everywhere(libc::SYS_kcmp, None, libc::EPERM as u32);
        }
        let (mut reader, writer) = std::io::pipe().unwrap();
        // SAFETY: the child makes system calls alone, and ends when this process does, or before.
        unsafe {
            if libc::fork() == 0 {
                std::mem::drop(writer);
                let _ = std::io::Read::read(&mut reader, &mut [0]);
                libc::_exit(0);
            }
        }
        assert_is(&drop(Some("nobody"), None).unwrap());
    });
}
