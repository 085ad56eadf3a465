//! How a thread that polls learns that a file has changed.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use crate::sys::again;

/// Tells by inotify(7) when a file is removed, renamed, written to or changed in its attributes.
#[derive(Debug)]
pub struct Watch {
    inotify: Inotify,
    file: Option<WatchDescriptor>,
}

impl Watch {
    /// Makes one that watches nothing yet; `None` where the system gives no more (fs.inotify.max_user_instances).
    pub fn new() -> Option<Self> {
        let flags = InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK;
        Some(Self { inotify: Inotify::init(flags).ok()?, file: None })
    }

    /// The descriptor to poll.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }

    /// Whether it watches a file.
    pub fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// Takes away what it told, so that the next poll waits again.
    pub fn clear(&self) {
        let _ = self.inotify.read_events();
    }

    /// Watches a directory for what gets a name in it, and the file before no more.
    pub fn set_directory(&mut self, path: &Path) {
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        if let Some(old) = self.file.take() {
            let _ = self.inotify.rm_watch(old);
        }
        self.file = again(|| self.inotify.add_watch(path, flags)).ok();
    }

    /// Watches this open file, and the one before no more. It watches the file itself and not its directory, so
    /// that nothing else in a busy /run wakes the thread; and it names the file by its descriptor, since the
    /// path may be out of reach, or by the path where /proc is not mounted.
    pub fn set_file(&mut self, file: BorrowedFd<'_>, path: &Path) {
        let flags = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_DELETE_SELF;
        if let Some(old) = self.file.take() {
            let _ = self.inotify.rm_watch(old);
        }
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        let watched = again(|| self.inotify.add_watch(link.as_str(), flags));
        let by_path = || self.inotify.add_watch(path, flags | AddWatchFlags::IN_DONT_FOLLOW);
        self.file = watched.or_else(|_| again(by_path)).ok();
    }
}
