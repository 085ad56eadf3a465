//! Puts the pidfile back when somebody removes it, and writes the pid again when somebody changes it.
//!
//! The kernel tells of both (inotify(7)). Where it cannot, the file is looked at now and then.

use std::os::fd::BorrowedFd;

use crate::pidfile::PidFile;
use crate::sys::Watch;

/// Where warnings go.
type Warn<'a> = &'a mut dyn FnMut(&str);

/// The watch on the pidfile of this process. What there is to say goes to whoever tends it.
#[derive(Debug, Default)]
pub struct PidfileWatch {
    /// `None` before it begins, and where the kernel cannot tell.
    watch: Option<Watch>,
    /// The pidfile is not as it should be, and cannot be mended at the moment: that was said.
    uneasy: bool,
    /// The pidfile cannot be mended at all: that was said.
    given_up: bool,
}

impl PidfileWatch {
    /// Asks the kernel to tell of changes.
    pub fn begin(&mut self, pidfile: &PidFile) {
        self.watch = Watch::new();
        self.rewatch(pidfile);
    }

    /// To be polled: there is something to read when the file has changed.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(Watch::descriptor)
    }

    /// What the kernel told has been seen.
    pub fn clear(&self) {
        if let Some(watch) = &self.watch {
            watch.clear();
        }
    }

    /// Whether the pidfile must be looked at unasked.
    pub fn is_blind(&self) -> bool {
        let is_watched = self.watch.as_ref().is_some_and(Watch::has_file);
        !self.given_up && (self.uneasy || !is_watched)
    }

    /// Puts the pidfile back if it is gone, writes the pid again if something else was written, and sees to
    /// it that the kernel tells of both.
    pub fn tend(&mut self, pidfile: &mut PidFile, warn: Warn<'_>) {
        if self.given_up {
            return;
        }
        if self.watch.is_none() {
            self.begin(pidfile);
        }
        // Again, where it was removed before the kernel was asked to tell.
        while pidfile.is_gone() {
            if !self.put_back(pidfile, warn) {
                return;
            }
        }
        self.restore(pidfile, warn);
    }

    /// Whether it is there again.
    fn put_back(&mut self, pidfile: &mut PidFile, warn: Warn<'_>) -> bool {
        let path = pidfile.place().path();
        let place = path.display();
        match pidfile.put_back(nix::unistd::getpid().as_raw()) {
            Ok(true) => {
                self.rewatch(pidfile);
                self.uneasy = false;
                warn(&format!("The pidfile {place} was removed. Put it back."));
                return true;
            }
            Ok(false) => {
                let text = format!(
                    "The pidfile {place} was removed, and another daemon has taken its place"
                );
                self.give_up(&text, warn);
            }
            Err(error) => {
                let why = &error.message;
                let text = format!("The pidfile {place} was removed and cannot be put back: {why}");
                if error.errno.is_some_and(passes) {
                    self.wait(&text, warn);
                } else {
                    self.give_up(&text, warn);
                }
            }
        }
        false
    }

    fn restore(&mut self, pidfile: &PidFile, warn: Warn<'_>) {
        let path = pidfile.place().path();
        let place = path.display();
        match pidfile.restore(nix::unistd::getpid().as_raw()) {
            Ok(false) => self.uneasy = false,
            Ok(true) => {
                self.uneasy = false;
                warn(&format!("The pidfile {place} was changed. Wrote the pid again."));
            }
            Err(error) => {
                let why = &error.message;
                let text = format!("The pidfile {place} was changed and cannot be mended: {why}");
                self.wait(&text, warn);
            }
        }
    }

    /// Says so, once, and tries again in a while.
    fn wait(&mut self, text: &str, warn: Warn<'_>) {
        if !self.uneasy {
            warn(text);
        }
        self.uneasy = true;
    }

    fn give_up(&mut self, text: &str, warn: Warn<'_>) {
        self.given_up = true;
        self.watch = None;
        warn(text);
    }

    fn rewatch(&mut self, pidfile: &PidFile) {
        if let Some(watch) = &mut self.watch {
            watch.set_file(pidfile.as_fd(), &pidfile.place().path());
        }
    }
}

/// Whether what hinders now may soon be over: something is full, or used up.
fn passes(errno: i32) -> bool {
    matches!(
        errno,
        libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOSPC | libc::EDQUOT | libc::EIO
    )
}
