//! The way from the root directory to a file, one component after the other, so that nobody can lead root astray.
//!
//! Every directory is opened in the one before, and looked at while it is open. Links are read here, and not
//! followed by the kernel: a link that another user could change is refused, since it may lead to one file when it is
//! judged and to another when it is used. Links that only root or the caller can change, such as `/var/run`, are
//! followed. A real directory of another user's is no danger of this kind: that user can put there only what
//! that user has.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use crate::accounts;
use crate::sys::{self, again};

/// How many links are followed in one path: as many as the kernel follows (path_resolution(7)).
const MOST_LINKS: u32 = 40;

/// The user whose changes are no attack; root's never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trusted(u32);

impl Trusted {
    /// Only root is trusted.
    pub const ROOT: Self = Self(0);

    /// The user as whom this process acts is trusted, too.
    pub fn caller() -> Self {
        Self(nix::unistd::geteuid().as_raw())
    }

    /// Whether a user's changes are no attack.
    pub fn includes(self, uid: u32) -> bool {
        uid == self.0 || sys::is_root(uid)
    }
}

/// What is at the end of a path. It is open, if only to be named (`O_PATH` in open(2)).
#[derive(Debug)]
pub struct Found {
    /// Its descriptor.
    pub fd: OwnedFd,
    /// What fstat(2) says of it.
    pub stat: FileStat,
    /// The path without links.
    pub path: PathBuf,
    /// The first directory above it in which another user could put something else in its place.
    pub unsteady: Option<Unsteady>,
}

/// A directory in which others than the trusted could exchange what lies there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsteady {
    /// The directory's path.
    pub path: PathBuf,
    /// Its owner, if that is who could do it; `None` where the group, or all, can write there.
    pub owner: Option<u32>,
}

/// A symbolic link that another user could change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The path that was asked for.
    asked: PathBuf,
    /// The link's own path.
    path: PathBuf,
    /// The link's owner.
    owner: u32,
    /// The directory in which the link of a trusted user could be exchanged.
    within: Option<Unsteady>,
}

/// Why a path was not walked to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A system call failed.
    Os(&'static str, Errno),
    /// A link may not be followed.
    Link(Box<Link>),
}

/// What the last component may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// It may be anything; a link is followed as the others are.
    Followed,
    /// It may be no link.
    AsItIs,
}

/// Walks along a path.
pub fn walk(asked: &Path, trusted: Trusted, last: Last) -> Result<Found, Failure> {
    let absolute = std::path::absolute(asked).map_err(|error| {
        Failure::Os("getcwd", Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
    })?;
    let mut way = vec![root()?];
    let mut rest = Vec::new();
    push(&mut rest, &absolute);
    let mut links = 0;
    while let Some(name) = rest.pop() {
        // Back to the directory from which this one was reached, wherever that has been moved meanwhile.
        if name == ".." {
            way.truncate((way.len() - 1).max(1));
            continue;
        }
        let Some(here) = way.last() else { break };
        let next = match open_in(here, &name)? {
            Some(next) => next,
            None if last == Last::AsItIs && rest.is_empty() => {
                return Err(Failure::Os("open", Errno::ELOOP));
            }
            None => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Failure::Os("open", Errno::ELOOP));
                }
                match follow(asked, here, &name, trusted)? {
                    Target::Path(target) => {
                        if target.is_absolute() {
                            way.truncate(1);
                        }
                        push(&mut rest, &target);
                        continue;
                    }
                    Target::Opened(found) => found,
                }
            }
        };
        let unsteady = here.unsteady.clone().or_else(|| unsteady(here, trusted));
        way.push(Found { path: here.path.join(&name), unsteady, ..next });
    }
    way.pop().ok_or(Failure::Os("open", Errno::ENOENT))
}

/// The root directory.
fn root() -> Result<Found, Failure> {
    let flags = sys::TO_NAME | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let fd = again(|| open("/", flags, Mode::empty())).map_err(|e| Failure::Os("open", e))?;
    found(fd, PathBuf::from("/"))
}

fn found(fd: OwnedFd, path: PathBuf) -> Result<Found, Failure> {
    let stat = again(|| fstat(&fd)).map_err(|errno| Failure::Os("fstat", errno))?;
    Ok(Found { fd, stat, path, unsteady: None })
}

/// The components of a path, the first one last.
fn push(rest: &mut Vec<OsString>, path: &Path) {
    rest.extend(path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    }));
}

/// Opens what bears a name in a directory; `None` where it is a link. It is opened as a directory first, so that a file
/// system is mounted that is mounted on demand (autofs(5)).
fn open_in(here: &Found, name: &OsStr) -> Result<Option<Found>, Failure> {
    let flags = sys::TO_NAME | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
    let as_is = |more| again(|| openat(&here.fd, name, flags | more, Mode::empty()));
    let opened = match as_is(OFlag::O_DIRECTORY) {
        Err(Errno::ENOTDIR | Errno::ELOOP) => as_is(OFlag::empty()),
        opened => opened,
    };
    match opened {
        Ok(fd) => {
            let found = found(fd, PathBuf::new())?;
            Ok((kind(&found.stat) != SFlag::S_IFLNK).then_some(found))
        }
        // macOS cannot open a link, only name it.
        Err(Errno::ELOOP) => Ok(None),
        Err(errno) => Err(Failure::Os("open", errno)),
    }
}

/// Where a link leads.
enum Target {
    Path(PathBuf),
    Opened(Found),
}

fn follow(asked: &Path, here: &Found, name: &OsStr, trusted: Trusted) -> Result<Target, Failure> {
    let (stat, target) =
        sys::read_link(&here.fd, name).map_err(|errno| Failure::Os("readlink", errno))?;
    let owner = stat.st_uid;
    let is_trusted = trusted.includes(owner);
    let within = here.unsteady.clone().or_else(|| unsteady(here, trusted));
    if !is_trusted || within.is_some() {
        let (path, within) = (here.path.join(name), within.filter(|_| is_trusted));
        return Err(Failure::Link(Box::new(Link { asked: asked.to_owned(), path, owner, within })));
    }
    // What a link of proc(5) says is for people: it leads to another process's root, for instance
    // (proc_pid_root(5)).
    if sys::is_proc(&here.fd) {
        let flags = sys::TO_NAME | OFlag::O_CLOEXEC;
        let fd = again(|| openat(&here.fd, name, flags, Mode::empty()));
        return found(fd.map_err(|e| Failure::Os("open", e))?, PathBuf::new()).map(Target::Opened);
    }
    Ok(Target::Path(PathBuf::from(target)))
}

/// The directory, if others than the trusted could exchange what lies in it. In a sticky directory they can exchange
/// only what is theirs.
fn unsteady(dir: &Found, trusted: Trusted) -> Option<Unsteady> {
    let FileStat { st_uid: owner, st_mode: mode, .. } = dir.stat;
    let path = || dir.path.clone();
    if !trusted.includes(owner) {
        return Some(Unsteady { path: path(), owner: Some(owner) });
    }
    let is_open = mode & 0o022 != 0 && mode & 0o1000 == 0;
    is_open.then(|| Unsteady { path: path(), owner: None })
}

/// The bits of `st_mode` that say what it is.
pub fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

impl Unsteady {
    /// Who could exchange what lies there.
    pub fn why(&self) -> String {
        let path = self.path.display();
        match self.owner {
            Some(owner) => format!("{path} belongs to {}", user(owner)),
            None => format!("others than its owner can write to {path}"),
        }
    }
}

impl Link {
    /// What is wrong with the link.
    pub fn why(&self) -> String {
        let (path, owner) = (self.path.display(), user(self.owner));
        match &self.within {
            Some(within) => {
                let why = within.why();
                format!("{path} is a symbolic link of {owner} that another could exchange: {why}")
            }
            None => format!("{path} is a symbolic link of {owner}, who could point it elsewhere"),
        }
    }

    /// What to do: give the path to which the link leads now, and `name` there.
    pub fn advice(&self, name: Option<&OsStr>) -> String {
        match std::fs::canonicalize(&self.asked) {
            Ok(real) => {
                let real = name.map_or_else(|| real.clone(), |name| real.join(name));
                format!("Give the real path instead: {}", real.display())
            }
            Err(_) => "Give the real path instead".to_owned(),
        }
    }
}

/// A user's name and number, for a message.
pub fn user(uid: u32) -> String {
    match accounts::user_by_uid(uid) {
        Ok(Some(account)) => format!("the user '{}' ({uid})", account.name),
        _ => format!("the user {uid}"),
    }
}
