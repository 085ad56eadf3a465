//! The state file, `.NAME.state` beside the pidfile: what is known of a daemon that neither its locks nor its process
//! show, such as how long its end may take, and why an earlier one ended.
//!
//! It is a hint. Who runs is decided by the locks alone, so whatever this file says, nobody is taken for the daemon who
//! does not hold them. The text is JSON, which is the fronts' to understand.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fchmod, fstat};

use super::checks::{Asker, check_file};
use super::directory::Directory;
use super::errors::{errno_of, state_failed};
use super::place::Place;
use crate::error::Result;
use crate::sys::again;

/// A longer file is not read, and not written.
const LONGEST: usize = 64 << 10;

fn name(place: &Place) -> String {
    format!(".{}.state", place.name)
}

/// The path of a daemon's state file.
pub fn state_path(place: &Place) -> PathBuf {
    place.dir.join(name(place))
}

/// The daemon whose state file bears this name, if it is one's.
pub fn name_of_state_file(file: &str) -> Option<&str> {
    file.strip_prefix('.')?.strip_suffix(".state")
}

/// Its name until it is whole.
fn new_name(place: &Place) -> String {
    format!(".{}.state.new", place.name)
}

/// Writes it, as a whole or not at all. The caller holds the pidfile.
pub fn write_state(dir: &Directory, place: &Place, text: &str) -> Result<()> {
    let path = place.dir.join(name(place));
    if text.len() > LONGEST {
        return Err(state_failed(&path, "write", Errno::EFBIG));
    }
    let put = put(dir, place, text);
    if put.is_err() {
        let _ = dir.remove(&new_name(place));
    }
    put.map_err(|(call, errno)| state_failed(&path, call, errno))
}

fn put(
    dir: &Directory,
    place: &Place,
    text: &str,
) -> std::result::Result<(), (&'static str, Errno)> {
    let new = new_name(place);
    let failed = |call| move |errno| (call, errno);
    // A crash may have left one.
    dir.remove(&new).map_err(failed("unlink"))?;
    let file = dir
        .create(&new, 0o600)
        .map_err(|error| ("open", Errno::from_raw(error.errno.unwrap_or(libc::EIO))))?;
    let mut file = file.ok_or(("open", Errno::EEXIST))?;
    file.write_all(text.as_bytes()).map_err(|error| ("write", errno_of(&error)))?;
    again(|| fchmod(&file, Mode::from_bits_truncate(0o644))).map_err(failed("fchmod"))?;
    dir.rename(&new, &name(place)).map_err(failed("rename"))
}

/// What the state file at a place says; nothing where there is none, and where another user could have written it.
pub fn read_state(place: &Place) -> Option<String> {
    let dir = Directory::open(place, Asker::Anyone).ok()??;
    let file = dir.open_existing(&name(place), OFlag::O_RDONLY).ok()??;
    let found = again(|| fstat(&file)).ok()?;
    check_file(&place.dir, &found, Asker::Anyone, dir.owner()).ok()?;
    text_of(&file)
}

fn text_of(file: &File) -> Option<String> {
    let mut text = Vec::new();
    file.take(LONGEST as u64 + 1).read_to_end(&mut text).ok()?;
    (text.len() <= LONGEST).then(|| String::from_utf8(text).ok())?
}

/// Removes the state file, and what a crash may have left beside it. The caller holds the pidfile, so that this is no
/// newer daemon's.
pub fn remove_state(dir: &Directory, place: &Place) {
    for name in [name(place), new_name(place)] {
        let _ = dir.remove(&name);
    }
}

/// The number that follows a key in JSON. In a string the quotes of such a key would have backslashes before them. What
/// is found is a hint all the same.
fn number_in(text: &str, key: &str) -> Option<i32> {
    let (_, rest) = text.split_once(&format!("\"{key}\":"))?;
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok().filter(|&number| number > 0)
}

/// Whether a state file's text is about this process, as a daemon or as a supervisor.
pub fn is_about(text: &str, pid: i32) -> bool {
    ["pid", "supervisor"].iter().any(|key| number_in(text, key) == Some(pid))
}

/// The pid of the daemon that this supervisor had, as the state file says.
pub fn child_of(place: &Place, supervisor: i32) -> Option<i32> {
    let state = read_state(place)?;
    if number_in(&state, "supervisor") == Some(supervisor) {
        number_in(&state, "pid")
    } else {
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_its_key_and_not_in_a_string() {
        let text = r#"{"version":1,"name":"\"pid\":5","pid":4711,"supervisor": 12,"next":null,"x":-1,"y":99999999999}"#;
        assert_eq!(number_in(text, "pid"), Some(4711));
        assert_eq!(number_in(text, "supervisor"), Some(12));
        for key in ["next", "x", "y", "id", "z"] {
            assert_eq!(number_in(text, key), None, "{key}");
        }
        for text in ["", "\"pid\":", "{\"pid\":\"5\"}", "{\"pid\":0}"] {
            assert_eq!(number_in(text, "pid"), None, "{text}");
        }
    }
}
