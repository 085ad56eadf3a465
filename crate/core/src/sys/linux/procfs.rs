//! What /proc says of processes. It is read as bytes, since a name may have any byte in it.
//!
//! /proc can be that of another pid namespace (`unshare -pf` without a mount): then the same number is a stranger's.
//! So the kernel is asked under which number /proc shows a process.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::sys::{Unseen, errno_of};

/// Most files of /proc are shorter than this.
const USUAL: usize = 4096;

/// Reads a whole file of /proc. The system says that it has no length, so that `fs::read` would begin with little pieces.
pub fn read(path: &(impl AsRef<Path> + ?Sized)) -> Result<Vec<u8>, Errno> {
    let mut content = Vec::with_capacity(USUAL);
    let read = File::open(path).and_then(|mut file| {
        let mut buffer = [0; USUAL];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => content.extend_from_slice(buffer.get(..count).unwrap_or(&[])),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    });
    read.map(|()| content).map_err(|error| errno_of(&error))
}

/// The words of a line `NAME: words`, such as those of /proc/PID/status and fdinfo.
pub fn field<'a>(content: &'a [u8], name: &str) -> Option<impl Iterator<Item = &'a [u8]>> {
    let line = content
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))?;
    Some(words(line))
}

/// The words of a line, with white space between them.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// A word that is a number.
pub fn number<T: std::str::FromStr>(word: &[u8]) -> Option<T> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// How many numbers /proc has for this process: one for each pid namespace from /proc's own to ours
/// (proc_pid_status(5), `NSpid`; not before Linux 4.1). `None` where /proc does not show this process.
pub fn depth() -> Option<usize> {
    let status = read("/proc/self/status").ok()?;
    match field(&status, "NSpid") {
        Some(numbers) => Some(numbers.count()),
        None => (own_number()? == nix::unistd::getpid().as_raw()).then_some(1),
    }
}

/// Whether /proc is that of this process's own pid namespace, so that its numbers are ours.
pub fn is_ours() -> bool {
    depth() == Some(1)
}

/// The number in our pid namespace of a process that /proc shows, if it has one there.
pub fn number_here(shown: i32, depth: usize) -> Option<i32> {
    if depth == 1 {
        return Some(shown);
    }
    let status = read(&format!("/proc/{shown}/status")).ok()?;
    number(field(&status, "NSpid")?.nth(depth - 1)?)
}

/// The entries of a directory in /proc that are numbers.
pub fn listed(dir: &str) -> impl Iterator<Item = i32> + use<> {
    use std::os::unix::ffi::OsStrExt;
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| number(entry.file_name().as_bytes()))
}

/// The number under which /proc shows this process.
pub fn own_number() -> Option<i32> {
    fs::read_link("/proc/self").ok()?.to_str()?.parse().ok()
}

/// The directory of the process that has this number here, without a handle on it.
pub fn directory(pid: i32) -> Result<PathBuf, Unseen> {
    if is_ours() { Ok(PathBuf::from(format!("/proc/{pid}"))) } else { Err(absence()) }
}

/// The directory of the process that a pidfd stands for: beside our own descriptor the kernel says under which
/// number /proc shows that process. `None` where it has ended and was waited for.
pub fn directory_of(pid: i32, pidfd: BorrowedFd<'_>) -> Result<Option<PathBuf>, Unseen> {
    let info = match read(&format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())) {
        Ok(info) => info,
        Err(Errno::ENOENT) => return Err(absence()),
        Err(errno) => return Err(Unseen::Failed("open", errno)),
    };
    match field(&info, "Pid").and_then(|mut words| number::<i32>(words.next()?)) {
        Some(shown) if shown > 0 => Ok(Some(PathBuf::from(format!("/proc/{shown}")))),
        Some(0) => Err(Unseen::Foreign),
        Some(_) => Ok(None),
        // This kernel does not say the number.
        None => directory(pid).map(Some),
    }
}

fn absence() -> Unseen {
    match fs::symlink_metadata("/proc/self").map_err(|error| errno_of(&error)) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => Unseen::Missing,
        _ => Unseen::Foreign,
    }
}
