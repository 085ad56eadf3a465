//! `$JOURNAL_STREAM`, by which the journal says which file it reads (systemd.exec(5)).

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sys;

/// What the variable says, once it was looked at. The sender's thread may not read it: JavaScript may
/// change the environment meanwhile (setenv(3)).
#[derive(Debug)]
pub struct JournalStream(Mutex<Option<Option<OsString>>>);

impl JournalStream {
    /// Not looked at yet.
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Option<OsString>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the environment, in JavaScript's main thread: that alone may change it. A worker thread reads
    /// it where nobody has yet.
    pub fn look(&self) {
        let mut value = self.lock();
        if value.is_none() || sys::is_main_thread() {
            *value = Some(std::env::var_os("JOURNAL_STREAM"));
        }
    }

    /// Whether the journal reads what is written to this descriptor.
    pub fn reads(&self, fd: i32) -> bool {
        let Some(value) = self.lock().clone().flatten() else { return false };
        // SAFETY: borrowed for the duplicate only; a closed descriptor is an error of dup(2).
        let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
        let Ok(duplicate) = borrowed.try_clone_to_owned() else { return false };
        let Ok(found) = File::from(duplicate).metadata() else { return false };
        value.to_str() == Some(&format!("{}:{}", found.dev(), found.ino()))
    }
}

impl Default for JournalStream {
    fn default() -> Self {
        Self::new()
    }
}
