//! io_uring: the kernel's thread of a ring does what it is asked to with the ids
//! that it had in the beginning, and no signal reaches it.
//!
//! Not every ring has a thread: Node's own, for epoll_ctl(2), have none, and do
//! what they do as whoever asks.

use std::path::Path;
use std::{fs, io};

use super::threads::Credentials;
use crate::error::{Error, Result};
use crate::privileges::errors::{failed, refused};
use crate::sys::{errno_of, procfs};

/// Refuses to go on where there is such a thread: there may be one although
/// UV_USE_IO_URING is gone from the environment.
pub fn refuse(threads: &[Credentials]) -> Result<()> {
    let thread = threads.iter().find(|thread| thread.name.starts_with("iou-"));
    let found = match thread {
        Some(thread) => format!("thread {:?} ({})", thread.name, thread.tid),
        // A thread gets its name a moment after it begins, and it may be another
        // process's.
        None => match ring_with_a_thread().map_err(unreadable)? {
            Some(ring) => format!("thread of descriptor {ring}"),
            None => return Ok(()),
        },
    };
    Err(refused(format!(
        "Cannot drop privileges: io_uring's {found} would keep them. Start the daemon with \
         UV_USE_IO_URING=0, and use no io_uring before privileges are dropped."
    )))
}

/// The descriptor of a ring that a thread polls (IORING_SETUP_SQPOLL).
fn ring_with_a_thread() -> io::Result<Option<String>> {
    for entry in fs::read_dir("/proc/self/fd")? {
        let fd = entry?.file_name();
        // One that was closed meanwhile is no ring. What cannot be seen may be one.
        let link = match fs::read_link(Path::new("/proc/self/fd").join(&fd)) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
            link => link?,
        };
        if link.as_os_str() != "anon_inode:[io_uring]" {
            continue;
        }
        let info = match fs::read(Path::new("/proc/self/fdinfo").join(&fd)) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
            info => info?,
        };
        let thread = procfs::field(&info, "SqThread").and_then(|mut words| words.next());
        if thread.is_some_and(|thread| thread != b"-1") {
            return Ok(Some(fd.to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

fn unreadable(error: io::Error) -> Error {
    let what = "Cannot drop privileges: /proc/self/fd, which tells of io_uring, cannot be read";
    failed("open", errno_of(&error), what, "Mount /proc where the daemon runs.")
}
