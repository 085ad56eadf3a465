//! Another root directory (chroot(2)), and that nothing leads out of it.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::{chdir, chroot, fchdir};

use super::Error;
use crate::holder::Identity;

/// The directory that is to become the root.
pub struct Root {
    path: PathBuf,
    directory: OwnedFd,
    identity: Identity,
}

impl Root {
    /// Opens and checks it; nothing is changed yet.
    pub fn open(asked: &Path) -> Result<Self, Error> {
        let fail = |syscall, errno| failed(asked, syscall, errno);
        let path = fs::canonicalize(asked)
            .map_err(|error| fail("realpath", error.raw_os_error().unwrap_or(libc::EIO)))?;
        // Nobody but root may put another directory there, or a file in it that
        // a privileged program would believe (sshd_config(5), ChrootDirectory).
        for directory in path.ancestors() {
            let found = fs::metadata(directory)
                .map_err(|error| fail("stat", error.raw_os_error().unwrap_or(libc::EIO)))?;
            let mode = found.permissions().mode();
            let sticky = mode & 0o1000 != 0 && directory != path;
            if found.uid() != 0 || (mode & 0o022 != 0 && !sticky) {
                return Err(Error {
                    path: Some(directory.display().to_string()),
                    ..Error::new(format!(
                        "Refusing the new root directory {}: others than root could change {}. \
                         Every directory on the way to it must belong to root, and be writable by \
                         root alone (chown root, chmod go-w).",
                        asked.display(),
                        directory.display()
                    ))
                });
            }
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let directory =
            open(&path, flags, Mode::empty()).map_err(|error| fail("open", error as i32))?;
        let found = fstat(&directory).map_err(|error| fail("fstat", error as i32))?;
        let root = Self { path, directory, identity: Identity::from(&found) };
        root.refuse_ways_out(asked)?;
        Ok(root)
    }

    /// openat(2) with "..", from a directory outside, leads out of the root.
    fn refuse_ways_out(&self, asked: &Path) -> Result<(), Error> {
        let fail = |error: std::io::Error| {
            failed(asked, "open", error.raw_os_error().unwrap_or(libc::EIO))
        };
        for entry in fs::read_dir("/proc/self/fd").map_err(fail)? {
            let link = entry.map_err(fail)?.path();
            let Ok(target) = fs::read_link(&link) else { continue };
            if !fs::metadata(&link).is_ok_and(|found| found.is_dir()) {
                continue;
            }
            // This listing, and what is closed before the drop is done.
            let own = target.starts_with("/proc") || target == self.path;
            if !own && !target.starts_with(&self.path) {
                let fd = link.file_name().unwrap_or(OsStr::new("?")).display().to_string();
                return Err(Error::new(format!(
                    "Cannot change the root directory: descriptor {fd} is the directory {}, and \
                     through it the new root can be left. Close it before privileges are dropped, \
                     or leave it out of `keepFds`.",
                    target.display()
                )));
            }
        }
        Ok(())
    }

    /// Makes it the root of all threads, which share it (clone(2), CLONE_FS),
    /// and the working directory.
    pub fn enter(&self) -> Result<(), Error> {
        let fail = |syscall| move |error: Errno| failed(&self.path, syscall, error as i32);
        fchdir(&self.directory).map_err(fail("fchdir"))?;
        chroot(".").map_err(fail("chroot"))?;
        chdir("/").map_err(fail("chdir"))
    }

    pub fn identity(&self) -> Identity {
        self.identity
    }
}

fn failed(path: &Path, syscall: &'static str, errno: i32) -> Error {
    let what = format!("Cannot make {} the root directory", path.display());
    let advice = match Errno::from_raw(errno) {
        Errno::EPERM => "It takes root, or CAP_SYS_CHROOT.",
        Errno::ENOENT => "Create it.",
        _ => "Give a directory with `chroot`.",
    };
    let error = Error::of_call(syscall, errno, &what, advice);
    Error { path: Some(path.display().to_string()), ..error }
}

/// Reads /etc/localtime, as long as it can be: localtime_r(3) does so once.
pub fn load_time_zone() {
    // SAFETY: localtime_r reads the time and writes the structure.
    unsafe {
        let now: libc::time_t = 0;
        let mut tm: libc::tm = std::mem::zeroed();
        libc::localtime_r(&now, &mut tm);
    }
}
