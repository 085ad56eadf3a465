//! A path that the launcher tells the guardian after the fork: that of the pidfile, where the daemon gives its name.

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;

/// A longer path cannot be opened (PATH_MAX).
const LONGEST: usize = 4096;

struct Page {
    is_set: AtomicBool,
    /// Written once, before `is_set`.
    path: UnsafeCell<[u8; LONGEST]>,
}

/// It lies in memory that both share. That is not given back: whoever starts in this way ends soon.
#[derive(Debug, Clone, Copy)]
pub struct SharedPath(NonNull<Page>);

// SAFETY: the page is there as long as the process, and is written by one thread, once, before the flag.
unsafe impl Send for SharedPath {}

impl SharedPath {
    /// No path yet. Fails with the errno of mmap(2).
    pub fn new() -> Result<Self, i32> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let null = std::ptr::null_mut();
        // SAFETY: a new mapping, large enough and aligned; zeroes are a page without a path.
        let page = unsafe { libc::mmap(null, size_of::<Page>(), access, kind, -1, 0) };
        if page == libc::MAP_FAILED {
            return Err(Errno::last_raw());
        }
        NonNull::new(page.cast()).map(Self).ok_or(libc::ENOMEM)
    }

    fn page(&self) -> &Page {
        // SAFETY: see `new`.
        unsafe { self.0.as_ref() }
    }

    /// Tells the path, once. `false`: it is too long, or another was told.
    pub fn set(&self, path: &CStr) -> bool {
        let bytes = path.to_bytes_with_nul();
        if bytes.len() > LONGEST || self.page().is_set.load(Ordering::Acquire) {
            return false;
        }
        // SAFETY: nobody reads it before it is set; it fits.
        unsafe {
            let to = self.page().path.get().cast();
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
        }
        self.page().is_set.store(true, Ordering::Release);
        true
    }

    /// The path, once it was told. Async-signal-safe.
    pub fn get(&self) -> Option<*const c_char> {
        let is_set = self.page().is_set.load(Ordering::Acquire);
        is_set.then(|| self.page().path.get().cast_const().cast())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_once() {
        let shared = SharedPath::new().unwrap();
        assert!(shared.get().is_none());
        let long = std::ffi::CString::new(vec![b'a'; LONGEST]).unwrap();
        assert!(!shared.set(&long));
        assert!(shared.set(c"/run/a.pid"));
        assert!(!shared.set(c"/run/b.pid"));
        // SAFETY: it was set.
        assert_eq!(unsafe { CStr::from_ptr(shared.get().unwrap()) }, c"/run/a.pid");
    }
}
