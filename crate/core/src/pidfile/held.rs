//! A pidfile that this process holds.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod, fstat};

use super::directory::Directory;
use super::errors::{errno_of, exchanged, failed};
use super::locks::{STARTING, UNDECIDED, let_go, take_all};
use super::look::{State, content, look};
use super::place::Place;
use super::state_file::{remove_state, write_state};
use super::whereabouts::Whereabouts;
use crate::error::Result;
use crate::process::lock_holder::Locked;
use crate::sys::{FileId, again};

/// How long a daemon may take to put its removed file back, before a start believes that there is none.
const PUT_BACK: Duration = Duration::from_secs(2);

/// A pidfile that this process holds.
#[derive(Debug)]
pub struct PidFile {
    pub(super) file: File,
    pub(super) place: Place,
    /// Whether the process has another root directory now, where the path leads elsewhere, or nowhere.
    pub(super) out_of_reach: bool,
    /// The file by a description of our own, which says that this process is the daemon's supervisor.
    pub(super) mark: Option<File>,
}

impl PidFile {
    /// Takes over the descriptor that was inherited through the forks.
    pub fn inherited(fd: OwnedFd, place: Place) -> Self {
        Self::of(File::from(fd), &place)
    }

    pub(super) fn of(file: File, place: &Place) -> Self {
        Self { file, place: place.clone(), out_of_reach: false, mark: None }
    }

    /// Whether this open file description has all the locks. It takes them to see that, which changes nothing once
    /// the start has said again that it goes on.
    pub fn is_held(&self) -> bool {
        take_all(&self.file, &self.place.path()).unwrap_or(false) && self.decide().is_ok()
    }

    /// Writes the pid and a newline. Where that fails, the file is left empty.
    pub fn write(&self, pid: i32) -> Result<()> {
        let line = format!("{pid}\n");
        let written = self.file.write_all_at(line.as_bytes(), 0);
        written.and_then(|()| self.file.set_len(line.len() as u64)).map_err(|e| {
            let _ = self.file.set_len(0);
            failed(&self.place.path(), "write", errno_of(&e))
        })
    }

    /// Writes the pid again where somebody has written something else, and takes back the right to write
    /// from others. It uses the descriptor, which is still writable where privileges were dropped. Returns whether
    /// there was something to do.
    pub fn restore(&self, pid: i32) -> Result<bool> {
        let path = self.place.path();
        let found = again(|| fstat(&self.file)).map_err(|e| failed(&path, "fstat", e))?;
        let open = found.st_mode & 0o022 != 0;
        if open {
            again(|| fchmod(&self.file, Mode::from_bits_truncate(0o644)))
                .map_err(|e| failed(&path, "fchmod", e))?;
        }
        let content = content(&self.file).map_err(|e| failed(&path, "read", e))?;
        let overwritten = content != format!("{pid}\n").into_bytes();
        if overwritten {
            self.write(pid)?;
        }
        Ok(open || overwritten)
    }

    /// Tells other starts that this one goes on.
    pub fn decide(&self) -> Result<()> {
        self.let_go(UNDECIDED)
    }

    /// Tells all who look that the daemon is ready.
    pub fn ready(&self) -> Result<()> {
        self.let_go(STARTING)
    }

    fn let_go(&self, at: libc::off_t) -> Result<()> {
        let_go(&self.file, at).map_err(|e| failed(&self.place.path(), "fcntl(F_OFD_SETLK)", e))
    }

    /// Empties the file, and lets all read it.
    pub(super) fn clear(&self) -> Result<()> {
        let path = self.place.path();
        let io = |call| move |e: std::io::Error| failed(&path, call, errno_of(&e));
        again(|| fchmod(&self.file, Mode::from_bits_truncate(0o644)))
            .or_else(|e| if e == Errno::EPERM { Ok(()) } else { Err(e) })
            .map_err(|e| failed(&self.place.path(), "fchmod", e))?;
        self.file.set_len(0).map_err(io("ftruncate"))
    }

    /// Tells that the root directory becomes another. No descriptor of the pidfile's directory is kept to reach it all
    /// the same: it would be a way out of the new root.
    pub fn lose_reach(&mut self) {
        self.out_of_reach = true;
    }

    pub(super) fn whereabouts(&self) -> Whereabouts {
        Whereabouts::of(&self.file, &self.place, self.out_of_reach)
    }

    /// Whether the name leads to no file, or to another one.
    pub fn is_gone(&self) -> bool {
        matches!(self.whereabouts(), Whereabouts::Gone)
    }

    /// Whether another file, held by a daemon or a start, now bears the name. Where none does, it may
    /// be about to: a daemon that runs puts its file back when it is removed. Blocks for a moment then.
    pub fn is_supplanted(&self) -> bool {
        let begun = Instant::now();
        while self.is_gone() && begun.elapsed() < PUT_BACK {
            if look(&self.place).is_ok_and(|l| !matches!(l.state, State::Stopped { .. })) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        false
    }

    /// Whether this is the file that was looked at.
    pub fn is_of(&self, file: Locked) -> bool {
        fstat(&self.file).is_ok_and(|mine| FileId::from(&mine) == file.identity)
    }

    /// Writes the state file, as a whole or not at all. A daemon runs without one, too.
    pub fn write_state(&self, text: &str) -> Result<()> {
        match self.whereabouts() {
            Whereabouts::InPlace(dir) => write_state(&dir, &self.place, text),
            Whereabouts::Gone => Err(exchanged(&self.place.path())),
            Whereabouts::Unseen(error) => Err(error),
        }
    }

    /// Removes the file while it is still locked, and only if it is still ours, and the state file with it; where it
    /// cannot be removed or seen (privileges dropped, another root directory), empties it. Returns whether the name is
    /// gone.
    pub fn remove(&self) -> bool {
        self.remove_after(|dir| remove_state(dir, &self.place))
    }

    /// The same, after an end that nobody asked for: the state file stays, so that `status` can say why.
    pub fn remove_and_keep_state(&self) -> bool {
        self.remove_after(|_| {})
    }

    fn remove_after(&self, first: impl FnOnce(&Directory)) -> bool {
        let removed = match self.whereabouts() {
            Whereabouts::Gone => return true,
            Whereabouts::InPlace(dir) => {
                first(&dir);
                dir.remove(&self.place.file_name()).is_ok()
            }
            Whereabouts::Unseen(_) => false,
        };
        if !removed {
            let _ = self.file.set_len(0);
        }
        removed
    }

    /// The place of the file.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The number of its descriptor.
    pub fn raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// Its descriptor.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// What a child of fork needs to remove the file without allocating: its path, and which file it is.
    pub fn for_child(&self) -> Result<(CString, FileId)> {
        let path = self.place.path();
        let found = again(|| fstat(&self.file)).map_err(|e| failed(&path, "fstat", e))?;
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| failed(&path, "open", Errno::EINVAL))?;
        Ok((name, FileId::from(&found)))
    }
}
