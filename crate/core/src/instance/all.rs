//! All daemons of a user; for root, of all users.
//!
//! A directory such as /run can have ten thousand files that are none of ours. So the kernel is asked once which files
//! are locked (proc_locks(5)), and only those are opened whose inode number is among them.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};

use super::places;
use crate::pidfile::{self, HELD, Place, State, is_name};
use crate::sys;

/// What was found.
#[derive(Debug, Default)]
pub struct All {
    /// Where daemons seem to be. Who looks there may find that one has ended, or that it is another file.
    pub found: Vec<Place>,
    /// How many directories, and files in them, may not be read.
    pub unread: usize,
}

/// The daemons, and starts, in all places that the caller has in any environment, and in these directories. For root,
/// those of all users as well. `session` is `$XDG_RUNTIME_DIR`.
/// `ended`: with those that have ended and have left a state file. A pidfile alone may be a foreign program's.
pub fn all(dirs: &[PathBuf], session: Option<PathBuf>, ended: bool) -> All {
    let locked = sys::inodes_locked_at(HELD);
    let mut all = All::default();
    let mut seen = Vec::new();
    let given = dirs.iter().map(|dir| Dir { path: dir.clone(), private: None });
    for dir in given.chain(directories(session)) {
        let Ok((file, _)) = sys::owner_of(&dir.path) else { continue };
        // The same one can have several paths, as /run and /var/run are.
        if !seen.contains(&file) {
            seen.push(file);
            let locked = locked.as_ref().filter(|_| sys::lists_inodes(&dir.path));
            all.add(&dir, locked, ended);
        }
    }
    all.found.sort_by(|a, b| (&a.name, &a.dir).cmp(&(&b.name, &b.dir)));
    all
}

impl All {
    fn add(&mut self, dir: &Dir, locked: Option<&HashSet<u64>>, ended: bool) {
        let Ok(entries) = fs::read_dir(&dir.path) else {
            self.unread += 1;
            return;
        };
        for entry in entries.flatten() {
            let file = entry.file_name();
            let Some(file) = file.to_str() else { continue };
            let of_ended = if ended { pidfile::name_of_state_file(file) } else { None };
            let is_locked = locked.is_none_or(|inodes| inodes.contains(&entry.ino()));
            let pidfile = file.strip_suffix(".pid").filter(|_| is_locked);
            let Some(name) = of_ended.or(pidfile) else { continue };
            if !is_name(name) || dir.private.as_ref().is_some_and(|only| only != name) {
                continue;
            }
            let private = dir.private.is_some();
            let place = Place { dir: dir.path.clone(), name: name.to_owned(), private };
            if locked.is_some() && of_ended.is_none() {
                self.found.push(place);
                continue;
            }
            match pidfile::look(&place) {
                // One that runs is found by its pidfile.
                Ok(look) if matches!(look.state, State::Stopped { .. }) == of_ended.is_some() => {
                    self.found.push(place);
                }
                Ok(_) => {}
                Err(_) => self.unread += 1,
            }
        }
    }
}

/// A directory of pidfiles.
#[derive(Debug)]
struct Dir {
    path: PathBuf,
    /// It is the caller's own in /tmp, for a daemon of this name.
    private: Option<String>,
}

/// Those that the caller has in any environment.
fn directories(session: Option<PathBuf>) -> Vec<Dir> {
    let uid = sys::effective_uid();
    let shared = |path: PathBuf| Dir { path, private: None };
    // Of any name: only one place depends on it, and is found in /tmp below.
    let defaults = places::defaults("", session.clone()).into_iter();
    let mut found: Vec<_> =
        defaults.filter(|c| !c.place.private).map(|c| shared(c.place.dir)).collect();
    if uid == 0 {
        found.extend(session.filter(|dir| dir.is_absolute()).map(shared));
        found.extend(
            listed(places::SESSIONS).filter_map(|(name, path)| {
                is_owned(&path, name.parse().ok()?).then(|| shared(path))
            }),
        );
    }
    found.extend(listed(places::TEMPORARY).filter_map(|(file, path)| {
        let (name, owner) = file.rsplit_once('-')?;
        let owner = owner.parse().ok()?;
        let is_ours = owner == uid;
        let counts = (is_ours || uid == 0) && is_name(name) && is_owned(&path, owner);
        counts.then(|| Dir { path, private: is_ours.then(|| name.to_owned()) })
    }));
    found
}

fn is_owned(path: &Path, uid: u32) -> bool {
    sys::owner_of(path).is_ok_and(|(_, owner)| owner == uid)
}

/// The entries of a directory, with their names.
fn listed(dir: &str) -> impl Iterator<Item = (String, PathBuf)> + use<> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::pidfile::PidFile;

    fn place(dir: &Path, name: &str) -> Place {
        Place { dir: dir.to_owned(), name: name.to_owned(), private: false }
    }

    fn names_in(all: &All, dir: &Path) -> Vec<String> {
        all.found.iter().filter(|p| p.dir == dir).map(|p| p.name.clone()).collect()
    }

    #[test]
    fn only_what_holds_our_lock_is_found_by_the_list_of_locks_and_without_it() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let held: Vec<_> = ["b", "a", "a b"]
            .iter()
            .map(|name| PidFile::acquire(&place(dir, name)).unwrap())
            .collect();
        held.iter().for_each(|pidfile| pidfile.ready().unwrap());
        let gone = PidFile::acquire(&place(dir, "gone")).unwrap();
        gone.write(1).unwrap();
        drop(gone);
        fs::write(dir.join("foreign.pid"), "1\n").unwrap();
        fs::write(dir.join(".pid"), "1\n").unwrap();
        fs::create_dir(dir.join("directory.pid")).unwrap();
        symlink("a.pid", dir.join("link.pid")).unwrap();
        let listed = all(&[dir.to_owned(), dir.join("."), dir.join("none")], None, false);
        assert_eq!(names_in(&listed, dir), ["a", "a b", "b"]);
        let mut asked = All::default();
        asked.add(&Dir { path: dir.to_owned(), private: None }, None, false);
        asked.found.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(names_in(&asked, dir), ["a", "a b", "b"]);
        // The directory and the link.
        assert_eq!(asked.unread, 2);
    }

    #[test]
    fn those_that_have_ended_are_found_by_their_state_files_where_they_are_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let held = PidFile::acquire(&place(dir, "runs")).unwrap();
        held.ready().unwrap();
        held.write_state("{}").unwrap();
        let gone = PidFile::acquire(&place(dir, "gone")).unwrap();
        gone.write(1).unwrap();
        gone.write_state("{}").unwrap();
        drop(gone);
        fs::write(dir.join("foreign.pid"), "1\n").unwrap();
        fs::write(dir.join(".state"), "1\n").unwrap();
        for (ended, expected) in [(false, &["runs"][..]), (true, &["gone", "runs"])] {
            assert_eq!(names_in(&all(&[dir.to_owned()], None, ended), dir), expected);
            let mut asked = All::default();
            asked.add(&Dir { path: dir.to_owned(), private: None }, None, ended);
            asked.found.sort_by(|a, b| a.name.cmp(&b.name));
            assert_eq!(names_in(&asked, dir), expected);
        }
    }

    #[test]
    fn what_may_not_be_read_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let mut all = All::default();
        all.add(&Dir { path: file, private: None }, None, false);
        assert_eq!((all.found.len(), all.unread), (0, 1));
    }
}
