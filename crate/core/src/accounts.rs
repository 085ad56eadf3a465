//! Users and groups, asked of the name service switch, so that accounts of
//! LDAP, sssd or systemd count as those of `/etc/passwd` do. Where the C library has no such switch, as musl, getent(1) is
//! asked ([`getent`]).
//!
//! The C library is called here instead of `nix::unistd::User`: that one reads the error from
//! `errno`, where getpwnam_r(3) returns it; takes a missing `/etc/passwd` (an
//! image built from scratch) for a failure; and changes names that are not
//! UTF-8, which must never become the name of somebody else.

use std::ffi::{CStr, CString, OsStr};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

use libc::{c_char, c_int, size_t};

use crate::error::{Error, Result};
use crate::{getent, sys};

/// A user's entry in the user database, passwd(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The login name, as the database spells it.
    pub name: String,
    /// The user id.
    pub uid: u32,
    /// The id of the primary group.
    pub gid: u32,
    /// The home directory; `/` where the entry has none.
    pub home: PathBuf,
    /// The login shell; `/bin/sh` where the entry has none (passwd(5)).
    pub shell: PathBuf,
}

/// A group's entry in the group database, group(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The name, as the database spells it.
    pub name: String,
    /// The group id.
    pub gid: u32,
}

/// The user of that name, if there is one.
///
/// # Errors
/// When the user database cannot be read.
#[doc(alias = "getpwnam_r")]
pub fn user_by_name(name: &str) -> Result<Option<Account>> {
    let Ok(c_name) = CString::new(name) else { return Ok(None) };
    let found = look_up("getpwnam_r", account, |entry, buffer, size, found| {
        // SAFETY: `c_name` ends with a NUL; `look_up` gives pointers that are
        // valid for the call, and `size` is the buffer's.
        unsafe { libc::getpwnam_r(c_name.as_ptr(), entry, buffer, size, found) }
    })?;
    or_ask(found, || asked(c"passwd", name, account_in))
}

/// The user with that id, if there is one; of several, the first.
///
/// # Errors
/// When the user database cannot be read.
#[doc(alias = "getpwuid_r")]
pub fn user_by_uid(uid: u32) -> Result<Option<Account>> {
    let found = look_up("getpwuid_r", account, |entry, buffer, size, found| {
        // SAFETY: `look_up` gives pointers that are valid for the call, and
        // `size` is the buffer's.
        unsafe { libc::getpwuid_r(uid, entry, buffer, size, found) }
    })?;
    let is_it = |found: &Account| found.uid == uid;
    or_ask(found, || {
        Ok(getent::line(c"passwd", &uid.to_string())?.and_then(account_in).filter(is_it))
    })
}

/// The group of that name, if there is one.
///
/// # Errors
/// When the group database cannot be read.
#[doc(alias = "getgrnam_r")]
pub fn group_by_name(name: &str) -> Result<Option<Group>> {
    let Ok(c_name) = CString::new(name) else { return Ok(None) };
    let found = look_up("getgrnam_r", group, |entry, buffer, size, found| {
        // SAFETY: `c_name` ends with a NUL; `look_up` gives pointers that are
        // valid for the call, and `size` is the buffer's.
        unsafe { libc::getgrnam_r(c_name.as_ptr(), entry, buffer, size, found) }
    })?;
    or_ask(found, || asked(c"group", name, group_in))
}

/// The group with that id, if there is one; of several, the first.
///
/// # Errors
/// When the group database cannot be read.
#[doc(alias = "getgrgid_r")]
pub fn group_by_gid(gid: u32) -> Result<Option<Group>> {
    let found = look_up("getgrgid_r", group, |entry, buffer, size, found| {
        // SAFETY: `look_up` gives pointers that are valid for the call, and
        // `size` is the buffer's.
        unsafe { libc::getgrgid_r(gid, entry, buffer, size, found) }
    })?;
    let is_it = |found: &Group| found.gid == gid;
    or_ask(found, || Ok(getent::line(c"group", &gid.to_string())?.and_then(group_in).filter(is_it)))
}

/// The groups that initgroups(3) would set for that user: those of which the
/// user is a member, and `gid`. They are sorted, and each is there once.
///
/// # Errors
/// When the group database cannot be read, or the list has no end.
#[doc(alias = "getgrouplist")]
pub fn groups_of(user: &str, gid: u32) -> Result<Vec<u32>> {
    let mut groups = groups_in_files(user, gid)?;
    if !sys::HAS_NAME_SERVICE
        && let Some(line) = getent::line(c"initgroups", user)?
    {
        groups.extend(groups_in(&line));
        groups.sort_unstable();
        groups.dedup();
    }
    Ok(groups)
}

/// Those that the C library knows.
fn groups_in_files(user: &str, gid: u32) -> Result<Vec<u32>> {
    let failed = |errno| Error::call("getgrouplist", errno);
    let user = CString::new(user).map_err(|_| failed(libc::EINVAL))?;
    let mut room: usize = 64;
    // Twice NGROUPS_MAX of Linux: the list may name a group more than once.
    while room <= 2 * 65536 {
        let mut groups: Vec<u32> = vec![0; room];
        let mut count = c_int::try_from(room).map_err(|_| failed(libc::EOVERFLOW))?;
        // SAFETY: `user` ends with a NUL, and `groups` has room for `count` ids, which are of one size
        // on all systems.
        let done = unsafe {
            libc::getgrouplist(user.as_ptr(), gid as _, groups.as_mut_ptr().cast(), &mut count)
        };
        let count = usize::try_from(count).unwrap_or(0);
        if done >= 0 {
            groups.truncate(count);
            groups.sort_unstable();
            groups.dedup();
            return Ok(groups);
        }
        // That was too small: `count` is now what it takes, with every libc on Linux.
        room = count.max(room * 2);
    }
    Err(failed(libc::E2BIG))
}

/// An entry that the C library has not found is asked of getent(1), where the library knows no name service switch.
fn or_ask<T>(found: Option<T>, ask: impl FnOnce() -> Result<Option<T>>) -> Result<Option<T>> {
    if found.is_none() && !sys::HAS_NAME_SERVICE { ask() } else { Ok(found) }
}

/// The entry of this name. One that is a number could be asked for as an id only.
fn asked<T>(database: &CStr, name: &str, read: fn(String) -> Option<T>) -> Result<Option<T>> {
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    Ok(getent::line(database, name)?.and_then(read))
}

/// A line of passwd(5).
fn account_in(line: String) -> Option<Account> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, _, home, shell] = fields.try_into().ok()?;
    let or =
        |text: &str, default: &str| PathBuf::from(if text.is_empty() { default } else { text });
    Some(Account {
        name: name.to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        home: or(home, "/"),
        shell: or(shell, "/bin/sh"),
    })
}

/// A line of group(5).
fn group_in(line: String) -> Option<Group> {
    let mut fields = line.split(':');
    let (name, gid) = (fields.next()?, fields.nth(1)?);
    Some(Group { name: name.to_owned(), gid: gid.parse().ok()? })
}

/// A line of `getent initgroups`: the name, and the numbers of groups.
fn groups_in(line: &str) -> impl Iterator<Item = u32> {
    line.split_ascii_whitespace().skip(1).filter_map(|gid| gid.parse().ok())
}

/// Calls one of the `get*_r` functions with a buffer that grows until the entry
/// fits: a group of an LDAP directory may have thousands of members.
fn look_up<E, T>(
    syscall: &'static str,
    read: impl FnOnce(&E) -> Option<T>,
    call: impl Fn(*mut E, *mut c_char, size_t, *mut *mut E) -> c_int,
) -> Result<Option<T>> {
    let mut buffer: Vec<c_char> = vec![0; 4096];
    loop {
        let mut entry = MaybeUninit::<E>::uninit();
        let mut found: *mut E = ptr::null_mut();
        match call(entry.as_mut_ptr(), buffer.as_mut_ptr(), buffer.len(), &mut found) {
            0 if found.is_null() => return Ok(None),
            0 => {
                // SAFETY: a result that is not null points to `entry`, filled
                // in, whose strings are in `buffer`; both live until `read` is
                // done.
                return match read(unsafe { &*found }) {
                    Some(value) => Ok(Some(value)),
                    None => Err(Error::call(syscall, libc::EILSEQ)),
                };
            }
            libc::EINTR => {}
            libc::ERANGE if buffer.len() < 1 << 26 => buffer = vec![0; buffer.len() * 2],
            // Some systems say "no such entry" in this way (getpwnam_r(3)). glibc does
            // where there is no /etc/passwd at all.
            libc::ENOENT | libc::ESRCH => return Ok(None),
            errno => return Err(Error::call(syscall, errno)),
        }
    }
}

fn account(entry: &libc::passwd) -> Option<Account> {
    Some(Account {
        name: text(entry.pw_name)?,
        uid: entry.pw_uid,
        gid: entry.pw_gid,
        home: path(entry.pw_dir, "/"),
        shell: path(entry.pw_shell, "/bin/sh"),
    })
}

fn group(entry: &libc::group) -> Option<Group> {
    Some(Group { name: text(entry.gr_name)?, gid: entry.gr_gid })
}

/// The text of a string of an entry; `None` where it is not UTF-8.
fn text(string: *const c_char) -> Option<String> {
    String::from_utf8(bytes(string)).ok()
}

fn path(string: *const c_char, default: &str) -> PathBuf {
    match bytes(string) {
        bytes if bytes.is_empty() => PathBuf::from(default),
        bytes => PathBuf::from(OsStr::from_bytes(&bytes)),
    }
}

fn bytes(string: *const c_char) -> Vec<u8> {
    if string.is_null() {
        return Vec::new();
    }
    // SAFETY: called by `account` and `group` alone, with the strings of an
    // entry that the C library has filled in: each ends with a NUL, and lives
    // as long as the buffer of `look_up`.
    unsafe { CStr::from_ptr(string) }.to_bytes().to_vec()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn root_is_found_by_name_and_by_number() {
        let root = user_by_name("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(user_by_uid(0).unwrap().unwrap().uid, 0);
        assert_eq!(group_by_gid(0).unwrap().unwrap().gid, 0);
    }

    #[test]
    fn who_does_not_exist_is_no_error() {
        assert_eq!(user_by_name("no-such-user").unwrap(), None);
        assert_eq!(user_by_name("nul\0byte").unwrap(), None);
        assert_eq!(user_by_uid(3_999_999_999).unwrap(), None);
        assert_eq!(group_by_name("no-such-group").unwrap(), None);
        assert_eq!(group_by_gid(3_999_999_999).unwrap(), None);
    }

    #[test]
    fn the_buffer_grows_until_the_entry_fits() {
        let found = look_up(
            "test",
            |entry: &u8| Some(*entry),
            |entry, _, size, found| {
                if size < 1 << 20 {
                    return libc::ERANGE;
                }
                // SAFETY: both pointers are `look_up`'s.
                unsafe {
                    entry.write(7);
                    found.write(entry);
                }
                0
            },
        );
        assert_eq!(found, Ok(Some(7)));
    }

    #[test]
    fn a_buffer_that_never_suffices_is_an_error() {
        let found = look_up("test", |entry: &u8| Some(*entry), |_, _, _, _| libc::ERANGE);
        assert_eq!(found, Err(Error::call("test", libc::ERANGE)));
    }

    #[test]
    fn a_database_that_is_not_there_has_no_entries() {
        let found = look_up("test", |entry: &u8| Some(*entry), |_, _, _, _| libc::ENOENT);
        assert_eq!(found, Ok(None));
    }

    #[test]
    fn the_lines_of_getent_are_read_and_what_is_none_is_no_entry() {
        let account = account_in("ada:x:4711:42:Ada, L.:/home/ada:/bin/zsh".into()).unwrap();
        assert_eq!((account.uid, account.gid), (4711, 42));
        assert_eq!((account.home, account.shell), ("/home/ada".into(), "/bin/zsh".into()));
        let account = account_in("ada:*:4711:42:::".into()).unwrap();
        assert_eq!((account.home, account.shell), ("/".into(), "/bin/sh".into()));
        assert_eq!(
            group_in("staff:x:50:ada,bob".into()),
            Some(Group { name: "staff".into(), gid: 50 })
        );
        assert_eq!(
            groups_in("ada                  42 50 4294967294").collect::<Vec<_>>(),
            [42, 50, 4294967294]
        );
        assert_eq!(groups_in("ada").count(), 0);
        for line in ["", ":", "ada:x:no:42:::", "ada:x:-1:42:::", "ada:x:1:2", "ada:x:1:2:::::"] {
            assert_eq!(account_in(line.into()), None, "{line}");
        }
        for line in ["", "staff", "staff:x", "staff:x:", "staff:x:4294967296:"] {
            assert_eq!(group_in(line.into()), None, "{line}");
        }
        for name in ["0", "1000", ""] {
            assert!(matches!(asked(c"passwd", name, account_in), Ok(None)), "{name}");
        }
    }

    #[test]
    fn the_primary_group_is_among_the_groups() {
        assert!(groups_of("nobody", 54321).unwrap().contains(&54321));
    }
}
