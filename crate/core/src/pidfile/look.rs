//! What anyone can see of a pidfile, without touching it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::fstat;

use super::checks::{Asker, check_file};
use super::directory::Directory;
use super::errors::failed;
use super::locks::{HELD, STARTING, SUPERVISED, SWEEPING, is_decided, is_taken};
use super::place::{Place, TRIES};
use crate::error::{Code, Error, Result};
use crate::process::lock_holder::Locked;
use crate::sys::{again, errno_of};

/// What a pidfile and its locks say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nobody holds the file.
    Stopped {
        /// Whether a file that is not empty was left.
        stale: bool,
    },
    /// A start holds the file, and is not ready yet.
    Starting {
        /// The pid in the file, as soon as there is one.
        pid: Option<i32>,
    },
    /// A daemon holds the file, and is ready.
    Running {
        /// The pid in the file, if it is one.
        pid: Option<i32>,
    },
}

/// What is found at a place.
#[derive(Debug)]
pub struct Look {
    /// The state of the daemon.
    pub state: State,
    /// The file, where there is one, and whose it is.
    pub file: Option<Locked>,
    /// Whether the holder no longer gives way to another start.
    pub decided: bool,
    /// Whether the pid in the file is that of a supervisor, whose child the daemon is.
    pub supervised: bool,
    /// The pid in a file that nobody holds, as any program may write it.
    pub left: Option<i32>,
}

/// Looks without touching: no lock is taken, nothing is created. Any user may ask.
pub fn look(place: &Place) -> Result<Look> {
    let path = place.path();
    let gone = || Look {
        state: State::Stopped { stale: false },
        file: None,
        decided: false,
        supervised: false,
        left: None,
    };
    let mut swept = None;
    for _ in 0..TRIES {
        let Some(dir) = Directory::open(place, Asker::Anyone)? else { return Ok(gone()) };
        let file = dir.open_existing(&place.file_name(), OFlag::O_RDONLY)?;
        let Some(file) = file else { return Ok(gone()) };
        let removed = || again(|| fstat(&file)).is_ok_and(|now| now.st_nlink == 0);
        let found = again(|| fstat(&file)).map_err(|e| failed(&path, "fstat", e))?;
        if found.st_nlink == 0 {
            continue;
        }
        let held = is_taken(&file, HELD)?;
        check_file(&path, &found, if held { Asker::OfHeld } else { Asker::Anyone }, dir.owner())?;
        let locked = Some(Locked::from(&found));
        match state_of(&file)? {
            // A daemon has removed its pidfile and ends: nothing was left.
            Some(State::Stopped { stale: true }) if removed() => continue,
            Some(state) => {
                let held = !matches!(state, State::Stopped { .. });
                let decided = held && is_decided(&file)?;
                let supervised = held && is_taken(&file, SUPERVISED)?;
                let left =
                    if held { None } else { content(&file).ok().and_then(|c| first_pid(&c)) };
                return Ok(Look { state, file: locked, decided, supervised, left });
            }
            None => {}
        }
        let content = content(&file).map_err(|e| failed(&path, "read", e))?;
        swept = Some(Look {
            state: State::Running { pid: parse_pid(&content) },
            file: locked,
            decided: true,
            supervised: false,
            left: None,
        });
        std::thread::sleep(Duration::from_millis(1));
    }
    // To remove a stale file takes less time: somebody has locked the whole file for writing.
    Ok(swept.unwrap_or_else(gone))
}

/// The state of an open pidfile; `None` while a process holds it to remove it.
pub fn state_of(file: &File) -> Result<Option<State>> {
    let held = is_taken(file, HELD)?;
    if held && is_taken(file, SWEEPING)? {
        return Ok(None);
    }
    let starting = is_taken(file, STARTING)?;
    let content = content(file).map_err(|errno| {
        Error::os(Code::PidFile, "Cannot read the pidfile", "read", errno as i32)
    })?;
    let pid = parse_pid(&content);
    Ok(Some(match (held, starting) {
        (false, _) => State::Stopped { stale: !content.is_empty() },
        (true, true) => State::Starting { pid },
        (true, false) => State::Running { pid },
    }))
}

/// The file's first bytes, more than a pid has.
pub fn content(file: &File) -> std::result::Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 32];
    let read = again(|| file.read_at(&mut buffer, 0).map_err(|e| errno_of(&e)))?;
    buffer.truncate(read);
    Ok(buffer)
}

/// The pid, if that in decimal digits and a newline are all there is.
pub fn parse_pid(content: &[u8]) -> Option<i32> {
    let digits = content.strip_suffix(b"\n")?;
    let plain = !digits.is_empty() && digits.len() <= 10 && digits.iter().all(u8::is_ascii_digit);
    let pid = std::str::from_utf8(digits).ok()?.parse::<i32>().ok()?;
    (plain && pid > 0).then_some(pid)
}

/// The pid with which a pidfile of any program begins: other programs leave out the newline, add lines, or put blanks
/// before it.
fn first_pid(content: &[u8]) -> Option<i32> {
    let word = content.split(u8::is_ascii_whitespace).find(|word| !word.is_empty())?;
    parse_pid(&[word, b"\n"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_is_decimal_digits_and_a_newline_and_nothing_else() {
        assert_eq!(parse_pid(b"4711\n"), Some(4711));
        assert_eq!(parse_pid(b"2147483647\n"), Some(i32::MAX));
        for content in [
            &b""[..],
            b"\n",
            b"0\n",
            b"-1\n",
            b"+1\n",
            b" 1\n",
            b"1",
            b"1\n\n",
            b"1\n2\n",
            b"0x10\n",
            b"2147483648\n",
            b"99999999999999999999\n",
            b"\xff\xfe\n",
            b"12\x1c\n",
        ] {
            assert_eq!(parse_pid(content), None, "{content:?}");
        }
    }
    #[test]
    fn another_programs_pidfile_begins_with_its_pid() {
        for content in
            [&b"4711"[..], b"4711\n", b"  4711\n", b"\n4711 ", b"4711\n/var/lib/x\n5432\n"]
        {
            assert_eq!(first_pid(content), Some(4711), "{content:?}");
        }
        for content in [&b""[..], b"  \n", b"x 4711\n", b"-1\n", b"0", b"4711x"] {
            assert_eq!(first_pid(content), None, "{content:?}");
        }
    }
}
