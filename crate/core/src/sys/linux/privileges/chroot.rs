//! Another root directory (chroot(2)), and the proof that nothing leads out of it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use nix::unistd::{chdir, chroot, fchdir};

use crate::error::{Error, Result};
use crate::privileges::errors::{failed, refused};
use crate::sys::{FileId, again};
use crate::walk::{Failure, Found, Last, Trusted, kind, walk};

/// The directory that is to become the root.
pub struct Root {
    path: PathBuf,
    directory: OwnedFd,
    identity: FileId,
    /// /proc/self/fd, which cannot be opened any more in the new root.
    descriptors: Dir,
    /// The descriptors of those two directories and of /proc/self/task, which are closed when privileges were dropped.
    own: [RawFd; 3],
}

impl Root {
    /// Opens and checks the directory; nothing is changed yet.
    pub fn open(asked: &Path, tasks: RawFd) -> Result<Self> {
        let fail = |syscall, error: Errno| cannot_enter(asked, syscall, error);
        // Nobody but root may put another directory there, or a file in it that
        // a privileged program would believe (sshd_config(5), ChrootDirectory).
        let root = walk(asked, Trusted::ROOT, Last::Followed).map_err(|failure| match failure {
            Failure::Os(call, error) => fail(call, error),
            Failure::Link(link) => {
                let (shown, why, advice) = (asked.display(), link.why(), link.advice(None));
                let text = format!("Refusing the new root directory {shown}: {why}. {advice}.");
                refused(text).at(asked)
            }
        })?;
        if kind(&root.stat) != SFlag::S_IFDIR {
            return Err(fail("open", Errno::ENOTDIR));
        }
        let is_others = !Trusted::ROOT.includes(root.stat.st_uid) || root.stat.st_mode & 0o022 != 0;
        let above = root.unsteady.as_ref().map(|unsteady| &unsteady.path);
        if let Some(directory) = above.or(is_others.then_some(&root.path)) {
            let message = format!(
                "Refusing the new root directory {}: others than root could change {}. \
                 Every directory on the way to it must belong to root, and be writable by \
                 root alone (chown root, chmod go-w).",
                asked.display(),
                directory.display()
            );
            return Err(refused(message).at(directory));
        }
        let Found { fd: directory, stat: found, path, .. } = root;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let descriptors = again(|| Dir::open("/proc/self/fd", flags, Mode::empty()))
            .map_err(|error| fail("open", error))?;
        let own = [tasks, directory.as_raw_fd(), descriptors.as_fd().as_raw_fd()];
        let identity = FileId::from(&found);
        let mut root = Self { path, directory, identity, descriptors, own };
        root.refuse_ways_out(|root, fd| root.is_beneath(fd))?;
        Ok(root)
    }

    /// Refuses descriptors of directories outside of the new root: openat(2) with ".." would lead out through them.
    fn refuse_ways_out(
        &mut self,
        is_inside: impl Fn(&Self, &str) -> std::result::Result<bool, Errno>,
    ) -> Result<()> {
        let fail = |path: &Path, errno: Errno| cannot_enter(path, "open", errno);
        let mut fds = Vec::new();
        for entry in self.descriptors.iter() {
            let entry = entry.map_err(|errno| fail(&self.path, errno))?;
            fds.extend(entry.file_name().to_str().ok().and_then(|fd| fd.parse::<RawFd>().ok()));
        }
        for fd in fds.into_iter().filter(|fd| !self.own.contains(fd)) {
            let name = fd.to_string();
            let found = fstatat(&self.descriptors, name.as_str(), AtFlags::empty());
            let inside = match found {
                Ok(found) if kind(&found) == SFlag::S_IFDIR => is_inside(self, &name),
                // It was closed meanwhile.
                Ok(_) | Err(Errno::ENOENT) => Ok(true),
                Err(errno) => Err(errno),
            };
            if !inside.map_err(|errno| fail(&self.path, errno))? {
                let target = readlinkat(&self.descriptors, name.as_str()).unwrap_or_default();
                return Err(refused(format!(
                    "Cannot change the root directory: descriptor {fd} is the directory {}, and \
                     through it the new root can be left. Close it before privileges are dropped, \
                     or leave it out of `keepFds`.",
                    target.display()
                )));
            }
        }
        Ok(())
    }

    /// Whether a directory is inside, by its path, which can be told while nothing has changed.
    fn is_beneath(&self, fd: &str) -> std::result::Result<bool, Errno> {
        match readlinkat(&self.descriptors, fd) {
            Ok(target) => Ok(Path::new(&target).starts_with(&self.path)),
            Err(Errno::ENOENT) => Ok(true),
            Err(Errno::ENAMETOOLONG) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Whether a directory is inside, by going up as far as possible in the new root, so that no path can mislead.
    fn ends_at_the_root(&self, fd: &str) -> std::result::Result<bool, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let identity = |fd: &OwnedFd| fstat(fd).map(|found| FileId::from(&found));
        let mut at = openat(&self.descriptors, fd, flags, Mode::empty())?;
        loop {
            let above = openat(&at, "..", flags, Mode::empty())?;
            if identity(&above)? == identity(&at)? {
                return Ok(identity(&at)? == self.identity);
            }
            at = above;
        }
    }

    /// Proves in the new root that no directory outside is open: one may have been opened meanwhile.
    pub fn prove_that_nothing_leads_out(&mut self) -> Result<()> {
        self.refuse_ways_out(|root, fd| root.ends_at_the_root(fd))
    }

    /// Makes it the root and the working directory of all threads, which share
    /// both (clone(2), CLONE_FS).
    pub fn enter(&self) -> Result<()> {
        let fail = |syscall| move |error: Errno| cannot_enter(&self.path, syscall, error);
        again(|| fchdir(&self.directory)).map_err(fail("fchdir"))?;
        again(|| chroot(".")).map_err(fail("chroot"))?;
        again(|| chdir("/")).map_err(fail("chdir"))
    }

    pub fn identity(&self) -> FileId {
        self.identity
    }
}

fn cannot_enter(path: &Path, syscall: &'static str, errno: Errno) -> Error {
    let what = format!("Cannot make {} the root directory", path.display());
    let advice = match errno {
        Errno::EPERM => "It takes root, or CAP_SYS_CHROOT.",
        Errno::ENOENT => "Create it.",
        _ => "Give a directory with `chroot`.",
    };
    failed(syscall, errno, &what, advice).at(path)
}

/// Reads /etc/localtime while that can be reached: localtime_r(3) does so once.
pub fn load_time_zone() {
    // SAFETY: localtime_r reads the time and writes the structure.
    unsafe {
        let now: libc::time_t = 0;
        let mut tm: libc::tm = std::mem::zeroed();
        libc::localtime_r(&now, &mut tm);
    }
}
