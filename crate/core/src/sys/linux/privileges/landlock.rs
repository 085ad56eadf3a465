//! Landlock: which files and TCP ports stay within reach (landlock(7)). What is
//! open already stays open.
//!
//! Three system calls do it, and not the crate `landlock`: its `restrict_self`
//! acts on the calling thread alone, and it does not say what a kernel lacks in
//! the words of our options.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag};

use super::all_threads::{Call, Expected, Order};
use crate::error::{Error, Result};
use crate::privileges::Landlock;
use crate::privileges::errors::{failed, refused};
use crate::sys::again;
use crate::walk::{Failure, Found, Last, Trusted, kind, walk};

// LANDLOCK_ACCESS_FS_*
const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
/// The rights REMOVE_DIR, REMOVE_FILE, and MAKE_CHAR to MAKE_SYM.
const CHANGE_DIR: u64 = 0x1ff0;
const MAKE_CHAR: u64 = 1 << 6;
const MAKE_BLOCK: u64 = 1 << 11;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
/// The rights that make sense for a file; the others are for directories.
const OF_A_FILE: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;

// LANDLOCK_ACCESS_NET_*
const BIND_TCP: u64 = 1 << 0;
const CONNECT_TCP: u64 = 1 << 1;

// LANDLOCK_RULE_*
const PATH_BENEATH: libc::c_int = 1;
const NET_PORT: libc::c_int = 2;

/// LANDLOCK_CREATE_RULESET_VERSION
const VERSION: libc::c_uint = 1;

const READ: u64 = READ_FILE | READ_DIR;
/// All rights to write; an older kernel knows fewer of them ([`known_by`]).
const WRITE: u64 = WRITE_FILE | CHANGE_DIR | REFER | TRUNCATE | IOCTL_DEV;
/// What `write` allows: nobody may make devices anywhere.
const ALLOWED_TO_WRITE: u64 = WRITE & !(MAKE_CHAR | MAKE_BLOCK);
/// What `execute` allows: execve(2) reads what it executes.
const ALLOWED_TO_EXECUTE: u64 = EXECUTE | READ_FILE;

/// The rights on files that an ABI version knows.
fn known_by(abi: i32) -> u64 {
    let first = EXECUTE | WRITE_FILE | READ | CHANGE_DIR;
    [(2, REFER), (3, TRUNCATE), (5, IOCTL_DEV)]
        .into_iter()
        .filter(|(since, _)| abi >= *since)
        .fold(first, |known, (_, right)| known | right)
}

/// `struct landlock_ruleset_attr`; older kernels take its first half.
#[repr(C)]
struct RulesetAttr {
    files: u64,
    ports: u64,
}

/// `struct landlock_path_beneath_attr`
#[repr(C, packed)]
struct PathBeneathAttr {
    allowed: u64,
    parent: i32,
}

/// `struct landlock_net_port_attr`
#[repr(C)]
struct NetPortAttr {
    allowed: u64,
    port: u64,
}

/// Rules that are ready to be enforced.
#[derive(Debug)]
pub struct Ruleset {
    fd: OwnedFd,
    /// Whether the rules can be proven: the root directory can no longer be read.
    probe: bool,
}

impl Ruleset {
    /// Makes the rules; nothing is restricted yet. `None` where the kernel has
    /// no Landlock, and that is a warning.
    pub fn make(asked: &Landlock, warnings: &mut Vec<String>) -> Result<Option<Self>> {
        Self::make_for(abi(), asked, warnings)
    }

    fn make_for(
        abi: std::result::Result<i32, Errno>,
        asked: &Landlock,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Self>> {
        let lacking = lacking(abi, asked);
        if let Some((what, errno)) = lacking {
            let message = format!("Landlock cannot restrict all that was asked for: {what}");
            if !asked.best_effort {
                let message = format!(
                    "{message}. Use a newer kernel, or allow it with `bestEffort: true` in `landlock`."
                );
                return Err(refused(message).with(Some("landlock_create_ruleset"), errno as i32));
            }
            warnings.push(format!("{message}. Going on without."));
        }
        let Ok(abi) = abi else { return Ok(None) };
        let attr = handled(abi, asked);
        if attr.files == 0 && attr.ports == 0 {
            return Ok(None);
        }
        let size = if abi >= 4 { size_of::<RulesetAttr>() } else { size_of::<u64>() };
        // SAFETY: landlock_create_ruleset(2) reads `size` bytes of the structure.
        let fd =
            unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attr, size, 0) };
        let fd = Errno::result(fd).map_err(|error| no_rules("landlock_create_ruleset", error))?;
        // SAFETY: the kernel has just given us this descriptor.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let probe = attr.files & READ_DIR != 0;
        let mut ruleset = Self { fd, probe };
        ruleset.allow(asked, &attr)?;
        // The probe needs a root directory that can be read now.
        ruleset.probe &= again(|| open("/", probe_flags(), Mode::empty())).is_ok();
        Ok(Some(ruleset))
    }

    fn allow(&mut self, asked: &Landlock, handled: &RulesetAttr) -> Result<()> {
        for (paths, allowed) in [
            (&asked.read, READ),
            (&asked.write, ALLOWED_TO_WRITE),
            (&asked.execute, ALLOWED_TO_EXECUTE),
        ] {
            for path in paths.iter().flatten() {
                let root = self.allow_path(path, allowed & handled.files)?;
                self.probe &= !(root && allowed & READ_DIR != 0);
            }
        }
        if asked.write.is_none() && handled.files & REFER != 0 {
            // Renaming from one directory into another is denied unless it is
            // allowed, and nobody has asked for that.
            self.allow_path("/".as_ref(), REFER)?;
        }
        for (ports, allowed) in [(&asked.bind, BIND_TCP), (&asked.connect, CONNECT_TCP)] {
            if handled.ports & allowed == 0 {
                continue;
            }
            for port in ports.iter().flatten() {
                let rule = NetPortAttr { allowed, port: u64::from(*port) };
                self.add(NET_PORT, (&raw const rule).cast())
                    .map_err(|error| no_rules("landlock_add_rule", error))?;
            }
        }
        Ok(())
    }

    /// Keeps a path within reach. Returns whether it is the root directory.
    fn allow_path(&self, path: &Path, allowed: u64) -> Result<bool> {
        let fail = |syscall, error: Errno| {
            let what = format!("Cannot keep {} within reach", path.display());
            let advice = "Create it, or leave it out of `landlock`.";
            failed(syscall, error, &what, advice).at(path)
        };
        // By a link, another user could widen at will what is within reach.
        let walked = walk(path, Trusted::caller(), Last::Followed);
        let Found { fd: parent, stat: found, .. } = walked.map_err(|failure| match failure {
            Failure::Os(call, error) => fail(call, error),
            Failure::Link(link) => {
                let (shown, why, advice) = (path.display(), link.why(), link.advice(None));
                let text = format!("Refusing to keep {shown} within reach: {why}. {advice}.");
                refused(text).at(path)
            }
        })?;
        let is_directory = kind(&found) == SFlag::S_IFDIR;
        let allowed = if is_directory { allowed } else { allowed & OF_A_FILE };
        if allowed != 0 {
            let rule = PathBeneathAttr { allowed, parent: parent.as_raw_fd() };
            self.add(PATH_BENEATH, (&raw const rule).cast())
                .map_err(|error| fail("landlock_add_rule", error))?;
        }
        let root = nix::sys::stat::stat("/").map_err(|error| fail("stat", error))?;
        Ok((root.st_dev, root.st_ino) == (found.st_dev, found.st_ino))
    }

    fn add(&self, kind: libc::c_int, rule: *const libc::c_void) -> std::result::Result<(), Errno> {
        let fd = self.fd.as_raw_fd();
        // SAFETY: `rule` points to the structure of that kind of rule.
        let result = unsafe { libc::syscall(libc::SYS_landlock_add_rule, fd, kind, rule, 0) };
        Errno::result(result).map(drop)
    }

    /// What every thread has to do.
    pub fn enforce(&self) -> Order {
        let mut order = Order::default();
        order.call(Call {
            name: "landlock_restrict_self",
            purpose: "enforce Landlock's rules".to_owned(),
            number: libc::SYS_landlock_restrict_self,
            arguments: [self.fd.as_fd().as_raw_fd() as usize, 0, 0, 0, 0],
            expected: Expected::Result(0),
        });
        order
    }

    /// What no thread can do any more: read a root directory that is not among
    /// the paths to be read. Nothing where it is, or where it could not be read
    /// before.
    pub fn try_to_break(&self) -> Order {
        let mut order = Order::default();
        if self.probe {
            let root = order.memory(&[u32::from_ne_bytes(*b"/\0\0\0")]);
            order.call(Call {
                name: "openat",
                purpose: "prove that Landlock's rules hold".to_owned(),
                number: libc::SYS_openat,
                arguments: [libc::AT_FDCWD as usize, root, probe_flags().bits() as usize, 0, 0],
                expected: Expected::Errno(libc::EACCES),
            });
        }
        order
    }
}

fn probe_flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC
}

fn no_rules(syscall: &'static str, errno: Errno) -> Error {
    failed(syscall, errno, "Cannot make Landlock's rules", "Look at `landlock`.")
}

/// The version of Landlock that the kernel has.
fn abi() -> std::result::Result<i32, Errno> {
    let none: *const RulesetAttr = std::ptr::null();
    // SAFETY: without a structure, the call only tells the version.
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, VERSION) };
    Errno::result(abi).map(|abi| abi as i32)
}

/// What was asked for and this version of Landlock cannot restrict.
fn lacking(abi: std::result::Result<i32, Errno>, asked: &Landlock) -> Option<(String, Errno)> {
    let abi = match abi {
        Ok(abi) => abi,
        Err(Errno::EOPNOTSUPP) => {
            let what = "it is in this kernel but was not enabled at boot (`lsm=`)";
            return Some((what.to_owned(), Errno::EOPNOTSUPP));
        }
        Err(error) => {
            return Some(("this kernel has none (Linux 5.13 and newer have)".to_owned(), error));
        }
    };
    let ports = asked.bind.is_some() || asked.connect.is_some();
    let needs = [
        (asked.write.is_some(), 3, "`write` (truncate(2)) needs Linux 6.2"),
        (ports, 4, "`bind` and `connect` need Linux 6.7"),
    ];
    let what: Vec<&str> = needs
        .into_iter()
        .filter(|(wanted, since, _)| *wanted && abi < *since)
        .map(|(_, _, what)| what)
        .collect();
    (!what.is_empty()).then(|| {
        (format!("{}; this kernel has version {abi} of it", what.join(", ")), Errno::EOPNOTSUPP)
    })
}

/// What is denied unless it is allowed.
fn handled(abi: i32, asked: &Landlock) -> RulesetAttr {
    let if_asked = |asked: bool, rights: u64| if asked { rights } else { 0 };
    let files = if_asked(asked.read.is_some(), READ)
        | if_asked(asked.write.is_some(), WRITE)
        | if_asked(asked.execute.is_some(), EXECUTE);
    // It can then be allowed where `write` is left out.
    let files = files | if_asked(files != 0, REFER);
    let ports =
        if_asked(asked.bind.is_some(), BIND_TCP) | if_asked(asked.connect.is_some(), CONNECT_TCP);
    RulesetAttr { files: files & known_by(abi), ports: if_asked(abi >= 4, ports) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn all() -> Landlock {
        Landlock {
            read: Some(Vec::new()),
            write: Some(Vec::new()),
            execute: Some(Vec::new()),
            bind: Some(Vec::new()),
            connect: Some(Vec::new()),
            best_effort: false,
        }
    }

    #[test]
    fn every_version_is_given_what_it_knows() {
        assert_eq!(handled(1, &all()).files, 0x1fff);
        assert_eq!(handled(2, &all()).files, 0x3fff);
        assert_eq!(handled(3, &all()).files, 0x7fff);
        assert_eq!(handled(3, &all()).ports, 0);
        assert_eq!(handled(4, &all()).ports, 3);
        assert_eq!(handled(7, &all()).files, 0xffff);
        let read = Landlock { read: Some(Vec::new()), ..Landlock::default() };
        assert_eq!(handled(7, &read).files, READ | REFER);
        assert_eq!(handled(1, &read).files, READ);
        let ports = Landlock { bind: Some(Vec::new()), ..Landlock::default() };
        assert_eq!((handled(7, &ports).files, handled(7, &ports).ports), (0, BIND_TCP));
    }

    #[test]
    fn what_a_version_lacks_is_refused_unless_that_is_allowed() {
        for (abi, words) in [
            (Err(Errno::ENOSYS), "this kernel has none"),
            (Err(Errno::EOPNOTSUPP), "not enabled at boot"),
            (Ok(2), "`write` (truncate(2)) needs Linux 6.2, `bind`"),
            (Ok(3), "`bind` and `connect` need Linux 6.7; this kernel has version 3"),
        ] {
            let mut warnings = Vec::new();
            let error = Ruleset::make_for(abi, &all(), &mut warnings).unwrap_err();
            assert!(error.message.contains(words), "{error}");
            assert!(error.errno.is_some() && error.syscall.is_some() && warnings.is_empty());
            let lenient = Landlock { best_effort: true, ..all() };
            assert!(lacking(abi, &lenient).unwrap().0.contains(words));
        }
        assert_eq!(lacking(Ok(4), &all()), None);
        let read = Landlock { read: Some(Vec::new()), ..Landlock::default() };
        assert_eq!(lacking(Ok(1), &read), None);
    }

    #[test]
    fn without_landlock_best_effort_is_a_warning() {
        let mut warnings = Vec::new();
        let lenient = Landlock { best_effort: true, ..all() };
        let made = Ruleset::make_for(Err(Errno::ENOSYS), &lenient, &mut warnings).unwrap();
        assert!(made.is_none());
        assert!(warnings[0].ends_with("Going on without."), "{warnings:?}");
    }
}
