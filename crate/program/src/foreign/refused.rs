//! Why a program cannot be executed: the errno's words, and what that errno means for this very file.

use std::ffi::{CStr, OsStr, OsString};
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tsdaemonize_core::error::reason;
use tsdaemonize_core::sys;

/// The exit status of a shell that cannot execute what it has found.
pub const CANNOT_EXECUTE: u8 = 126;
/// The exit status of a shell that finds no such program.
pub const NOT_FOUND: u8 = 127;
/// Where execvp(3) looks if there is no PATH.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Why there is no process of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The exit status that a shell would have.
    pub status: u8,
    /// What happened, to what, and what to do.
    pub message: String,
    /// Whether the caller lacks the right to become who was asked for.
    pub lacks_right: bool,
}

impl Refused {
    fn new(status: u8, message: String) -> Self {
        Self { status, message, lacks_right: false }
    }

    /// Something that comes before the execve has failed.
    pub fn before(message: impl Into<String>) -> Self {
        Self::new(CANNOT_EXECUTE, message.into())
    }

    /// The program cannot be read.
    pub fn unreadable(file: &Path, errno: i32) -> Self {
        let status = if errno == libc::ENOENT { NOT_FOUND } else { CANNOT_EXECUTE };
        Self::new(status, format!("Cannot run '{}': {}, open", file.display(), reason(errno)))
    }

    /// The execve of this file has failed.
    pub fn by_execve(file: &Path, errno: i32) -> Self {
        let status =
            if errno == libc::ENOENT && !file.exists() { NOT_FOUND } else { CANNOT_EXECUTE };
        let why = explained(file, errno);
        let shown = file.display();
        let message = format!("Cannot execute '{shown}': {}, execve{why}", reason(errno));
        Self::new(status, message)
    }
}

/// What an errno of execve(2) means for this file.
fn explained(file: &Path, errno: i32) -> String {
    let is_there = file.exists();
    match errno {
        libc::ENOENT if is_there => match interpreter(file) {
            Some(name) => format!(
                ". The file is there, but the interpreter that its first line names is not: {}",
                name.display()
            ),
            None => ". The file is there, but the loader that it needs is not: it was built for another system \
                     (`file` and `ldd` tell which)"
                .to_owned(),
        },
        libc::EACCES if file.is_dir() => ". It is a directory".to_owned(),
        libc::EACCES if is_there => match unexecutable(file) {
            Some(why) => why,
            None => match interpreter(file).as_deref().map(|name| (name, unexecutable(name))) {
                Some((name, Some(why))) => {
                    format!(". It is run by {}{}", name.display(), why.replacen(". It", ", which", 1))
                }
                _ => ". A directory above it may not be entered, or a security module forbids it".to_owned(),
            },
        },
        libc::ENOEXEC => {
            ". It is neither a program for this machine nor a script whose first line names an interpreter \
             (`#!/bin/sh`)"
                .to_owned()
        }
        sys::BAD_INTERPRETER => ". Its interpreter is no program for this machine".to_owned(),
        libc::ETXTBSY => ". Another process has it open for writing".to_owned(),
        libc::E2BIG => ". Its arguments and its environment are too long together".to_owned(),
        _ => String::new(),
    }
}

/// Why this file, which is there, has no right to run.
fn unexecutable(file: &Path) -> Option<String> {
    let found = fs::metadata(file).ok()?;
    if found.is_dir() {
        return Some(". It is a directory".to_owned());
    }
    if !found.is_file() {
        return Some(". It is no regular file".to_owned());
    }
    if found.permissions().mode() & 0o111 == 0 {
        return Some(format!(
            ". It has no permission to be executed: `chmod +x {}`",
            file.display()
        ));
    }
    sys::is_noexec(file).then(|| ". Its file system is mounted with `noexec`".to_owned())
}

/// The interpreter that the first line of a script names.
fn interpreter(file: &Path) -> Option<PathBuf> {
    let mut head = Vec::new();
    fs::File::open(file).ok()?.take(256).read_to_end(&mut head).ok()?;
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let name = line.trim_ascii_start().split(u8::is_ascii_whitespace).next()?;
    (!name.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(name)))
}

/// The file of a program, looked up as a shell does: a name with a slash is a path, from this directory on; any other is
/// looked for in the directories of `path`, where the first counts that can be executed.
pub fn find(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, Refused> {
    let shown = name.display();
    if name.is_empty() {
        return Err(Refused::new(NOT_FOUND, "The program's name is empty".to_owned()));
    }
    if name.as_bytes().contains(&b'/') {
        return absolute(Path::new(name));
    }
    let mut found_other = None;
    let path = path.map_or_else(|| OsString::from(DEFAULT_PATH), OsStr::to_owned);
    for dir in std::env::split_paths(&path) {
        // An empty directory of PATH is the current one.
        let dir = if dir.as_os_str().is_empty() { PathBuf::from(".") } else { dir };
        let file = absolute(&dir.join(name))?;
        let Ok(found) = fs::metadata(&file) else { continue };
        if found.is_file() && may_execute(&file) {
            return Ok(file);
        }
        found_other.get_or_insert(file);
    }
    match found_other {
        Some(file) => Err(Refused::by_execve(&file, libc::EACCES)),
        None => {
            let here = if Path::new(name).is_file() {
                format!(". Did you mean './{shown}'?")
            } else {
                String::new()
            };
            let message = format!("'{shown}' is in no directory of PATH{here}");
            Err(Refused::new(NOT_FOUND, message))
        }
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Refused> {
    std::path::absolute(path).map_err(|error| {
        let shown = path.display();
        Refused::before(format!(
            "'{shown}' is relative, and the working directory is not known: {error}"
        ))
    })
}

fn may_execute(file: &Path) -> bool {
    let Ok(file) = std::ffi::CString::new(file.as_os_str().as_bytes()) else { return false };
    is_allowed(&file)
}

fn is_allowed(file: &CStr) -> bool {
    // SAFETY: a string that ends with a NUL.
    unsafe { libc::faccessat(libc::AT_FDCWD, file.as_ptr(), libc::X_OK, libc::AT_EACCESS) == 0 }
}
