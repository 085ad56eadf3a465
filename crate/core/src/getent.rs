//! Users and groups that only the name service switch knows, asked of getent(1).
//!
//! The switch is a part of glibc, which loads its modules. musl has none, and so a static program neither: it reads
//! /etc/passwd and /etc/group, and asks the system's own getent for all that is not there.

use std::ffi::{CStr, CString};
use std::io::{PipeReader, PipeWriter, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::stat::stat;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::error::{Error, Result};
use crate::process::orphans;
use crate::{poll, sys};

/// Where it is.
const PLACES: [&CStr; 2] = [c"/usr/bin/getent", c"/bin/getent"];
/// Where what it starts is; it gets no other variable.
const PATH: &CStr = c"PATH=/usr/sbin:/usr/bin:/sbin:/bin";
/// How long a directory server may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// A longer answer is none.
const LONGEST: u64 = 4 << 20;

/// The line that getent has for a key; `None` where there is no entry, and where there is no getent.
///
/// # Errors
/// When it cannot be started, or does not answer in time.
pub fn line(database: &CStr, key: &str) -> Result<Option<String>> {
    let is_plain = !key.is_empty() && !key.starts_with('-') && !key.contains([':', '\n', ',']);
    let Some(key) = CString::new(key).ok().filter(|_| is_plain) else { return Ok(None) };
    let Some(getent) = PLACES.into_iter().find(|file| is_roots(file)) else { return Ok(None) };
    let failed = |(call, errno)| Error::call(call, errno as i32);
    let (reader, writer) =
        std::io::pipe().map_err(|error| failed(("pipe", sys::errno_of(&error))))?;
    let child = start(getent, [getent, database, &key], writer).map_err(failed)?;
    orphans::claim(child);
    let answer = answer_of(reader);
    if answer.is_none() {
        let _ = kill(Pid::from_raw(child), Signal::SIGKILL);
    }
    let ended = sys::again(|| waitpid(Pid::from_raw(child), None));
    orphans::release(child);
    let answer = answer.ok_or_else(|| failed(("getent", Errno::ETIMEDOUT)))?;
    // Where somebody else has waited for it, its status is not known.
    if !matches!(ended, Ok(WaitStatus::Exited(_, 0)) | Err(Errno::ECHILD)) {
        return Ok(None);
    }
    let text = String::from_utf8(answer).map_err(|_| failed(("getent", Errno::EILSEQ)))?;
    Ok(text.lines().next().map(str::to_owned))
}

/// Whether only root can change a program, or put another in its place: it is started with the caller's rights.
fn is_roots(file: &CStr) -> bool {
    let Ok(path) = file.to_str() else { return false };
    std::path::Path::new(path).ancestors().all(|part| {
        stat(part).is_ok_and(|found| sys::is_root(found.st_uid) && found.st_mode & 0o022 == 0)
    })
}

/// Starts it with nothing but its output: its signals are as in a fresh process, its environment is `PATH`.
fn start(
    file: &CStr,
    argv: [&CStr; 3],
    output: PipeWriter,
) -> std::result::Result<i32, (&'static str, Errno)> {
    let argv = argv.map(|arg| arg.as_ptr().cast_mut());
    let argv = [argv[0], argv[1], argv[2], ptr::null_mut()];
    let environment = [PATH.as_ptr().cast_mut(), ptr::null_mut()];
    let (none, all) = (SigSet::empty(), SigSet::all());
    let null = c"/dev/null".as_ptr();
    let mut child = 0;
    // SAFETY: all pointers lead to values that live until the end of this block. What is initialised is destroyed,
    // and none of these calls keeps a pointer after that.
    let result = unsafe {
        let mut actions = MaybeUninit::uninit();
        let mut attributes = MaybeUninit::uninit();
        let (actions, attributes) = (actions.as_mut_ptr(), attributes.as_mut_ptr());
        libc::posix_spawn_file_actions_init(actions);
        libc::posix_spawnattr_init(attributes);
        libc::posix_spawn_file_actions_addopen(actions, 0, null, libc::O_RDONLY, 0);
        libc::posix_spawn_file_actions_adddup2(actions, output.as_raw_fd(), 1);
        libc::posix_spawn_file_actions_addopen(actions, 2, null, libc::O_WRONLY, 0);
        let flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        libc::posix_spawnattr_setflags(attributes, flags as libc::c_short);
        libc::posix_spawnattr_setsigmask(attributes, none.as_ref());
        libc::posix_spawnattr_setsigdefault(attributes, all.as_ref());
        let (argv, environment) = (argv.as_ptr(), environment.as_ptr());
        let file = file.as_ptr();
        let result = libc::posix_spawn(&mut child, file, actions, attributes, argv, environment);
        libc::posix_spawn_file_actions_destroy(actions);
        libc::posix_spawnattr_destroy(attributes);
        result
    };
    // It returns the error.
    if result == 0 { Ok(child) } else { Err(("posix_spawn", Errno::from_raw(result))) }
}

/// What it prints; `None` where that does not end in time, or is too long.
fn answer_of(mut reader: PipeReader) -> Option<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    loop {
        if !poll::until(&mut [PollFd::new(reader.as_fd(), PollFlags::POLLIN)], deadline) {
            return None;
        }
        match reader.read(&mut part) {
            Ok(0) => return Some(answer),
            Ok(read) => answer.extend_from_slice(part.get(..read)?),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
        if answer.len() as u64 > LONGEST {
            return None;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn what_the_name_service_knows_is_told_and_nothing_else() {
        if !PLACES.into_iter().any(is_roots) {
            return;
        }
        assert!(line(c"passwd", "root").unwrap().unwrap().starts_with("root:"));
        assert!(line(c"passwd", "0").unwrap().unwrap().starts_with("root:"));
        assert!(line(c"group", "0").unwrap().unwrap().split(':').nth(2) == Some("0"));
        for key in ["no-such-user", "", "-s", "--help", "root:x", "root\nroot", "nul\0", "; id"] {
            assert_eq!(line(c"passwd", key).unwrap(), None, "{key:?}");
        }
        assert_eq!(line(c"no-such-database", "root").unwrap(), None);
    }

    #[test]
    fn a_program_that_others_could_exchange_is_not_started() {
        let dir = tempfile::tempdir().unwrap();
        let path = CString::new(dir.path().join("getent").to_str().unwrap()).unwrap();
        std::fs::write(path.to_str().unwrap(), "").unwrap();
        // Whoever runs this test: /tmp is writable for all.
        assert!(!is_roots(&path));
        assert!(!is_roots(c"/no/such/getent"));
    }
}
