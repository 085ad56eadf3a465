//! Dropping privileges: who to become ([`drop`] says by which rules), becoming
//! it, and the proof that there is no way back.
//!
//! The order is that of every careful daemon: the lists are made while nothing
//! has changed yet; then the supplementary groups, the group ids, the user ids,
//! since each step takes away the right to the one before. The calls are the C
//! library's, which act on every thread (nptl(7)); the system calls would act
//! on the calling one alone. Ids are then read back from the kernel, thread by
//! thread: a call that returned 0 is no proof.

#[cfg(target_os = "linux")]
mod threads;

use std::fmt;
use std::path::PathBuf;

use nix::errno::Errno;

use crate::accounts::{self, Account, Group, LookupError};

/// Whom the process is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's name; the number, where it has no entry.
    pub user: String,
    /// The user id: real, effective, saved and file system.
    pub uid: u32,
    /// The group's name; the number, where it has no entry.
    pub group: String,
    /// The group id: real, effective, saved and file system.
    pub gid: u32,
    /// The supplementary groups, sorted, each once. With a user that has an
    /// entry, `gid` is among them, as with initgroups(3).
    pub groups: Vec<u32>,
    /// The user's home directory; `None` for a number without an entry. For
    /// `HOME`: where there is none, `/`.
    pub home: Option<PathBuf>,
    /// The user's shell; `None` for a number without an entry. For `SHELL`,
    /// which, as `USER` and `LOGNAME`, is to be unset where there is none.
    pub shell: Option<PathBuf>,
    /// What the daemon's owner should know (LOG_WARNING), a sentence each.
    pub warnings: Vec<String>,
}

/// Why privileges were not dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What happened, to what, and what to do about it.
    pub message: String,
    /// The error number (positive), where a system call failed.
    pub errno: Option<i32>,
    /// The call that failed.
    pub syscall: Option<&'static str>,
    /// Some of it was done, so that the process is neither who it was nor who
    /// it should be, or it kept what it should have lost. It must end.
    pub partial: bool,
}

impl Error {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), errno: None, syscall: None, partial: false }
    }

    fn of_call(syscall: &'static str, errno: i32, what: &str, advice: &str) -> Self {
        let reason = std::io::Error::from_raw_os_error(errno);
        Self {
            errno: Some(errno),
            syscall: Some(syscall),
            ..Self::new(format!("{what}: {syscall}: {reason}. {advice}"))
        }
    }

    /// From here on there is no way to go on.
    fn after_a_change(mut self) -> Self {
        self.partial = true;
        self.message.push_str(" Some privileges may be left: this process must end.");
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<LookupError> for Error {
    fn from(error: LookupError) -> Self {
        Self::of_call(
            error.syscall,
            error.errno,
            "Cannot look up whom to drop privileges to",
            "Check the user database (nsswitch.conf, LDAP, sssd), or give user and group as numbers.",
        )
    }
}

/// Makes every thread of this process run as another user and group, for good.
///
/// - The user: `user`, else the one with the daemon's name, else `daemon`.
/// - The group: `group`, else the one with the daemon's name, else `daemon`.
///   Where none is given: the primary group of that user, if it has an entry.
/// - A decimal number is an id, and needs no entry. Without one it brings no
///   supplementary groups, and no primary group; with one it is as good as the
///   name.
/// - That a user or group that was given does not exist, and another one is
///   used, is among [`Identity::warnings`].
/// - What was not asked for is never root: a daemon that happens to be called
///   `root` becomes `daemon`.
///
/// Who has not got the right to do so, but is that user and group already,
/// changes nothing; the proof is the same then, but for supplementary groups
/// beyond the user's, which whoever started the process gave on purpose, and
/// which are a warning.
///
/// # Errors
/// Nothing has changed unless [`Error::partial`] says so: then the process must
/// end.
#[doc(alias("setuid", "setresuid", "setgid", "setresgid", "initgroups", "setgroups"))]
pub fn drop(user: Option<&str>, group: Option<&str>, daemon_name: &str) -> Result<Identity, Error> {
    let target = Target::choose(user, group, daemon_name)?;
    refuse_io_uring()?;
    system::become_target(target)
}

/// Whom to become, with all that must be known before anything is changed.
struct Target {
    account: Option<Account>,
    uid: u32,
    group: Group,
    warnings: Vec<String>,
}

impl Target {
    fn choose(user: Option<&str>, group: Option<&str>, daemon_name: &str) -> Result<Self, Error> {
        let mut warnings = Vec::new();
        let (uid, account) = match user.map(|user| id(user, "user")).transpose()?.flatten() {
            Some(uid) => (uid, accounts::user_by_uid(uid)?),
            None => {
                let account = existing(
                    "user",
                    user,
                    daemon_name,
                    accounts::user_by_name,
                    |account| account.uid,
                    &mut warnings,
                )?;
                (account.uid, Some(account))
            }
        };
        let group = match (group.map(|group| id(group, "group")).transpose()?.flatten(), &account) {
            (Some(gid), _) => group_with(gid)?,
            (None, Some(account)) if group.is_none() => group_with(account.gid)?,
            (None, _) => existing(
                "group",
                group,
                daemon_name,
                accounts::group_by_name,
                |group| group.gid,
                &mut warnings,
            )?,
        };
        for (id, kind) in [(uid, "user"), (group.gid, "group")] {
            if id == u32::MAX {
                return Err(no_id(&id.to_string(), kind));
            }
        }
        Ok(Self { account, uid, group, warnings })
    }

    fn identity(self, groups: Vec<u32>) -> Identity {
        let (user, home, shell) = match self.account {
            Some(account) => (account.name, Some(account.home), Some(account.shell)),
            None => (self.uid.to_string(), None, None),
        };
        Identity {
            user,
            uid: self.uid,
            group: self.group.name,
            gid: self.group.gid,
            groups,
            home,
            shell,
            warnings: self.warnings,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.account {
            Some(account) => write!(f, "user {:?} (uid {})", account.name, self.uid)?,
            None => write!(f, "uid {}", self.uid)?,
        }
        write!(f, ", group {:?} (gid {})", self.group.name, self.group.gid)
    }
}

/// The id, where it is given as a decimal number; `None` where it is a name.
fn id(text: &str, kind: &str) -> Result<Option<u32>, Error> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse() {
        // -1 tells setresuid(2) to change nothing, and to say that it worked.
        Err(_) | Ok(u32::MAX) => Err(no_id(text, kind)),
        Ok(id) => Ok(Some(id)),
    }
}

fn no_id(text: &str, kind: &str) -> Error {
    Error::new(format!("{text} is no {kind} id. Give a number from 0 to 4294967294, or a name."))
}

fn group_with(gid: u32) -> Result<Group, Error> {
    Ok(accounts::group_by_gid(gid)?.unwrap_or_else(|| Group { name: gid.to_string(), gid }))
}

/// The one asked for, else the one with the daemon's name, else `daemon`.
fn existing<T>(
    kind: &str,
    asked: Option<&str>,
    daemon_name: &str,
    look_up: fn(&str) -> Result<Option<T>, LookupError>,
    id: fn(&T) -> u32,
    warnings: &mut Vec<String>,
) -> Result<T, Error> {
    if let Some(name) = asked
        && let Some(found) = look_up(name)?
    {
        return Ok(found);
    }
    for name in [daemon_name, "daemon"] {
        // Nobody asked for root here.
        let Some(found) = look_up(name)?.filter(|found| id(found) != 0) else { continue };
        if let Some(asked) = asked {
            warnings.push(format!("The {kind} {asked:?} does not exist: using {name:?} instead."));
        }
        return Ok(found);
    }
    let asked = asked.map_or_else(String::new, |asked| format!("{asked:?}, "));
    Err(Error::new(format!(
        "Cannot drop privileges: none of the {kind}s {asked}{daemon_name:?}, \"daemon\" exists \
         (root does not count unless asked for). Create one of them ({kind}add --system NAME), \
         or name a {kind} that exists."
    )))
}

/// A kernel thread polls the ring for libuv and does, with the ids that it had
/// in the beginning, what the process asks for: files would go on being opened
/// as root (CVE-2024-22017).
fn refuse_io_uring() -> Result<(), Error> {
    match std::env::var_os("UV_USE_IO_URING") {
        Some(value) if value != "0" => Err(Error::new(
            "Cannot drop privileges while io_uring is enabled in libuv: it would go on opening \
             files as the old user. Start the daemon without UV_USE_IO_URING, or with \
             UV_USE_IO_URING=0.",
        )),
        _ => Ok(()),
    }
}

/// Tries to get root back. Each of these must fail.
fn try_to_regain(target: &Target) -> Result<(), Error> {
    // Whoever asked for uid 0 or gid 0 has it.
    if target.uid == 0 {
        return Ok(());
    }
    // SAFETY: takes numbers alone.
    #[cfg(target_os = "linux")]
    refused("setresuid", unsafe { libc::setresuid(u32::MAX, 0, u32::MAX) })?;
    // SAFETY: takes a number alone.
    refused("setuid", unsafe { libc::setuid(0) })?;
    // SAFETY: takes a number alone.
    refused("seteuid", unsafe { libc::seteuid(0) })?;
    if target.group.gid == 0 {
        return Ok(());
    }
    // SAFETY: takes a number alone.
    refused("setgid", unsafe { libc::setgid(0) })?;
    // SAFETY: takes a number alone.
    refused("setegid", unsafe { libc::setegid(0) })
}

/// Whether an attempt to set an id to 0 failed as it must.
fn refused(syscall: &'static str, result: libc::c_int) -> Result<(), Error> {
    match Errno::result(result) {
        // EINVAL: there is no id 0 in this user namespace.
        Err(Errno::EPERM | Errno::EINVAL) => Ok(()),
        Err(error) => Err(Error::of_call(
            syscall,
            error as i32,
            "Cannot prove that root's privileges are gone",
            "EPERM was to be expected: look for a seccomp filter or a security module.",
        )),
        Ok(_) => Err(Error {
            syscall: Some(syscall),
            ..Error::new(format!("Privileges were dropped, but {syscall} brought root's back."))
        }),
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::collections::BTreeSet;
    use std::io;

    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

    use super::threads::{self, Thread};
    use super::*;

    /// CAP_SETGID and CAP_SETUID of capabilities(7).
    const RIGHT: u64 = 1 << 6 | 1 << 7;

    pub fn become_target(mut target: Target) -> Result<Identity, Error> {
        // Before anything is changed: without /proc there will be no proof.
        let before = threads::all().map_err(unreadable)?;
        refuse_polling_thread(&before)?;
        let mut groups = match &target.account {
            Some(account) => accounts::groups_of(&account.name, target.group.gid)?,
            None => Vec::new(),
        };
        // Of every thread: where one may and another may not, the C library
        // ends the process in the middle of it.
        if before.iter().all(|thread| thread.effective & RIGHT == RIGHT) {
            change(&target, &groups)?;
        } else {
            groups = as_it_is(&mut target, &before, groups)?;
        }
        give_up_capabilities(&target)
            .and_then(|()| prove(&target, &groups, &threads::all().map_err(unreadable)?))
            .and_then(|()| try_to_regain(&target))
            // What the attempts have not changed, if they failed as they must.
            .and_then(|()| prove(&target, &groups, &threads::all().map_err(unreadable)?))
            .map_err(Error::after_a_change)?;
        Ok(target.identity(groups))
    }

    fn unreadable(error: io::Error) -> Error {
        Error::of_call(
            "open",
            error.raw_os_error().unwrap_or(libc::EIO),
            "Cannot drop privileges: /proc/self/task, which proves that every thread has dropped \
             them, cannot be read",
            "Mount /proc where the daemon runs (in its chroot or container too).",
        )
    }

    /// The variable may be gone from the environment, and the thread be there.
    fn refuse_polling_thread(threads: &[Thread]) -> Result<(), Error> {
        match threads.iter().find(|thread| thread.name.starts_with("iou-sqp-")) {
            None => Ok(()),
            Some(thread) => Err(Error::new(format!(
                "Cannot drop privileges: io_uring's thread {:?} ({}) would keep them. Start the \
                 daemon with UV_USE_IO_URING=0, and use no SQPOLL ring before privileges are \
                 dropped.",
                thread.name, thread.tid
            ))),
        }
    }

    /// initgroups(3) is getgrouplist(3) and setgroups(2). In two steps the user
    /// database is asked before anything changes, and what to expect is known.
    fn change(target: &Target, groups: &[u32]) -> Result<(), Error> {
        let what = format!("Cannot drop privileges to {target}");
        let (uid, gid) = (Uid::from_raw(target.uid), Gid::from_raw(target.group.gid));
        let list: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
        let unmapped = "In a user namespace, check that the id is mapped there.";
        setgroups(&list).map_err(|error| {
            let advice = "In a user namespace, check its /proc/self/setgroups and that every \
                group of the user is mapped there.";
            Error::of_call("setgroups", error as i32, &what, advice)
        })?;
        setresgid(gid, gid, gid)
            .map_err(|error| Error::of_call("setresgid", error as i32, &what, unmapped))
            .map_err(Error::after_a_change)?;
        setresuid(uid, uid, uid)
            .map_err(|error| Error::of_call("setresuid", error as i32, &what, unmapped))
            .map_err(Error::after_a_change)
    }

    /// The groups the process has, if it is the right user and group already.
    fn as_it_is(
        target: &mut Target,
        threads: &[Thread],
        expected: Vec<u32>,
    ) -> Result<Vec<u32>, Error> {
        let (uids, gids) = ([target.uid; 4], [target.group.gid; 4]);
        if !threads.iter().all(|thread| thread.uids == uids && thread.gids == gids) {
            return Err(Error {
                errno: Some(libc::EPERM),
                ..Error::new(format!(
                    "Not permitted to drop privileges to {target}: this process runs as uid {}, \
                     gid {}, and has not got CAP_SETUID and CAP_SETGID. Start it as root, or as \
                     that user and group, or leave out user and group.",
                    nix::unistd::geteuid(),
                    nix::unistd::getegid()
                ))
            });
        }
        // Those of any thread; the proof then sees whether all have the same.
        let groups: BTreeSet<u32> =
            threads.iter().flat_map(|thread| thread.groups.iter().copied()).collect();
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
        Ok(groups.into_iter().collect())
    }

    /// The kernel clears capabilities when the last id leaves 0, but not the
    /// inheritable ones, and none where securebits keep them or where the
    /// process was not root (capabilities(7)). This does it for the calling
    /// thread; there is no way to do it for another. Ambient ones go with them.
    fn give_up_capabilities(target: &Target) -> Result<(), Error> {
        if target.uid == 0 {
            return Ok(());
        }
        // _LINUX_CAPABILITY_VERSION_3, and 0 for the calling thread.
        let header: [u32; 2] = [0x2008_0522, 0];
        let none = [0_u32; 6];
        // SAFETY: capset(2) reads a header of two and data of six 32-bit
        // words, which is what version 3 takes.
        let result = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) };
        Errno::result(result).map(|_| ()).map_err(|error| {
            let advice = "Look for a seccomp filter or a security module that forbids it.";
            Error::of_call("capset", error as i32, "Cannot give up capabilities", advice)
        })
    }

    fn prove(target: &Target, groups: &[u32], threads: &[Thread]) -> Result<(), Error> {
        for thread in threads {
            let Some(left) = left_over(target, groups, thread) else { continue };
            return Err(Error::new(format!(
                "Dropping privileges to {target} did not reach thread {} ({:?}): it has {left}.",
                thread.tid, thread.name
            )));
        }
        Ok(())
    }

    /// What a thread has and should not have.
    fn left_over(target: &Target, groups: &[u32], thread: &Thread) -> Option<String> {
        let Thread { uids, gids, .. } = thread;
        if *uids != [target.uid; 4] {
            Some(format!("the user ids {uids:?} (real, effective, saved, file system)"))
        } else if *gids != [target.group.gid; 4] {
            Some(format!("the group ids {gids:?} (real, effective, saved, file system)"))
        } else if thread.groups != groups {
            Some(format!("the supplementary groups {:?} instead of {groups:?}", thread.groups))
        } else if target.uid != 0 && thread.capabilities != 0 {
            Some(format!(
                "capabilities {:#x} still, which only the thread itself can give up. Start the \
                 daemon without inheritable and ambient capabilities and without securebits \
                 (AmbientCapabilities= and SecureBits= of a unit; see capsh --print)",
                thread.capabilities
            ))
        } else {
            None
        }
    }

    #[cfg(test)]
    #[allow(clippy::unwrap_used)]
    mod tests {
        use super::*;

        #[test]
        fn whatever_a_thread_keeps_is_found() {
            let target = |uid| Target {
                account: None,
                uid,
                group: Group { name: "g".to_owned(), gid: 20 },
                warnings: Vec::new(),
            };
            let good =
                Thread { uids: [10; 4], gids: [20; 4], groups: vec![20, 30], ..Thread::default() };
            let left = |thread: Thread| left_over(&target(10), &[20, 30], &thread);
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
                assert!(left(Thread { groups, ..good.clone() }).unwrap().contains("supplementary"));
            }
            let capable = Thread { capabilities: 1 << 10, ..good };
            assert!(left(capable.clone()).unwrap().contains("capabilities 0x400"));
            // Root asked for: it may have them.
            let root = Thread { uids: [0; 4], ..capable };
            assert_eq!(left_over(&target(0), &[20, 30], &root), None);
        }
    }
}

/// macOS has neither saved ids to set nor threads to read back; setuid(2) of
/// root sets all three ids of the process.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::ffi::CString;

    use nix::unistd::{Gid, Uid, getegid, geteuid, getgid, getuid, setgid, setuid};

    use super::*;

    pub fn become_target(target: Target) -> Result<Identity, Error> {
        let (uid, gid) = (Uid::from_raw(target.uid), Gid::from_raw(target.group.gid));
        let there = || (getuid(), geteuid(), getgid(), getegid()) == (uid, uid, gid, gid);
        if geteuid().is_root() {
            change(&target, uid, gid)?;
        } else if !there() {
            return Err(Error {
                errno: Some(libc::EPERM),
                ..Error::new(format!(
                    "Not permitted to drop privileges to {target}: this process runs as uid {}. \
                     Start it as root, or as that user and group, or leave out user and group.",
                    geteuid()
                ))
            });
        }
        if !there() {
            return Err(Error::new(format!("The ids are not those of {target}.")).after_a_change());
        }
        try_to_regain(&target).map_err(Error::after_a_change)?;
        let groups = current_groups().map_err(Error::after_a_change)?;
        Ok(target.identity(groups))
    }

    fn change(target: &Target, uid: Uid, gid: Gid) -> Result<(), Error> {
        let failed = |call, error: Errno| {
            let what = format!("Cannot drop privileges to {target}");
            Error::of_call(call, error as i32, &what, "Check that the process runs as root.")
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
        setgid(gid).map_err(|error| failed("setgid", error).after_a_change())?;
        setuid(uid).map_err(|error| failed("setuid", error).after_a_change())
    }

    fn current_groups() -> Result<Vec<u32>, Error> {
        let mut groups = [0; 1024];
        // SAFETY: there is room for 1024 groups.
        let count = unsafe { libc::getgroups(1024, groups.as_mut_ptr()) };
        let count = Errno::result(count).map_err(|error| {
            Error::of_call("getgroups", error as i32, "Cannot read the groups", "")
        })?;
        let mut groups = groups[..usize::try_from(count).unwrap_or(0)].to_vec();
        groups.sort_unstable();
        groups.dedup();
        Ok(groups)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn decimal_numbers_are_ids_and_the_rest_are_names() {
        assert_eq!(id("0", "user"), Ok(Some(0)));
        assert_eq!(id("4294967294", "user"), Ok(Some(4_294_967_294)));
        for name in ["", "-", "nobody", "0x10", "+5", " 5", "1e3", "５"] {
            assert_eq!(id(name, "user"), Ok(None), "{name:?}");
        }
    }

    #[test]
    fn ids_that_change_nothing_are_refused() {
        for text in ["-1", "4294967295", "4294967296", "99999999999999999999", "-0"] {
            assert!(id(text, "user").unwrap_err().message.contains("no user id"), "{text}");
        }
    }
}
