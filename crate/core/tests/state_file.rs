//! The state file: whole or not there, believed only where nobody else could have written it, and gone with the pidfile.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tsdaemonize_core::error::Code;
use tsdaemonize_core::instance::{status, stop};
use tsdaemonize_core::pidfile::{PidFile, Place, read_state};

fn place(dir: &Path) -> Place {
    Place { dir: dir.to_owned(), name: "x".into(), private: false }
}

fn state(dir: &Path) -> PathBuf {
    dir.join(".x.state")
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_written_is_read_and_goes_with_the_pidfile() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    assert_eq!(read_state(&place), None);
    let held = PidFile::acquire(&place).unwrap();
    for text in ["{}", "{\"pid\":4711,\"name\":\"ä\"}", ""] {
        // What a crash may have left is in nobody's way.
        fs::write(dir.path().join(".x.state.new"), "half").unwrap();
        held.write_state(text).unwrap();
        assert_eq!(read_state(&place).as_deref(), Some(text));
        assert_eq!(names(dir.path()), [".x.state", "x.pid"]);
        assert_eq!(fs::metadata(state(dir.path())).unwrap().mode() & 0o7777, 0o644);
    }
    assert!(held.remove());
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn after_an_end_that_nobody_asked_for_it_stays_until_the_next_start_or_stop() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    for starts in [true, false] {
        let held = PidFile::acquire(&place).unwrap();
        held.write_state("{}").unwrap();
        assert!(held.remove_and_keep_state());
        drop(held);
        assert_eq!(names(dir.path()), [".x.state"]);
        assert_eq!(status(&place).unwrap().1.state.as_deref(), Some("{}"));
        if starts {
            let next = PidFile::acquire(&place).unwrap();
            assert_eq!(names(dir.path()), ["x.pid"]);
            next.remove();
        } else {
            assert_eq!(stop(&place, Duration::ZERO).unwrap(), None);
        }
        assert_eq!(names(dir.path()), [""; 0]);
    }
}

#[test]
fn stop_removes_what_a_daemon_has_left_that_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let killed = PidFile::acquire(&place).unwrap();
    killed.write(i32::MAX).unwrap();
    killed.write_state("{}").unwrap();
    drop(killed);
    assert_eq!(names(dir.path()), [".x.state", "x.pid"]);
    assert_eq!(stop(&place, Duration::ZERO).unwrap(), None);
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn a_pidfile_that_is_another_ones_now_is_left_alone_with_its_state_file() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let held = PidFile::acquire(&place).unwrap();
    fs::remove_file(place.path()).unwrap();
    fs::write(place.path(), "1\n").unwrap();
    fs::write(state(dir.path()), "theirs").unwrap();
    let error = held.write_state("mine").unwrap_err();
    assert_eq!(error.code, Code::PidFile);
    held.remove();
    assert_eq!(fs::read_to_string(state(dir.path())).unwrap(), "theirs");
}

#[test]
fn what_another_user_could_have_written_is_not_read_and_nothing_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let path = state(dir.path());
    let held = PidFile::acquire(&place).unwrap();
    held.write_state("{}").unwrap();
    for mode in [0o666, 0o664, 0o646] {
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        assert_eq!(read_state(&place), None, "{mode:o}");
    }
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    assert!(read_state(&place).is_some());
    fs::hard_link(&path, dir.path().join("other")).unwrap();
    assert_eq!(read_state(&place), None);
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
    fs::remove_file(dir.path().join("other")).unwrap();
    assert_eq!(read_state(&place), None);
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o700)).unwrap();
    assert!(read_state(&place).is_some());
    // A link, a FIFO and a directory of that name: none is followed, waited for, or in the way of the next one.
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("target");
    fs::write(&target, "{}").unwrap();
    fs::remove_file(&path).unwrap();
    symlink(&target, &path).unwrap();
    symlink(&target, dir.path().join(".x.state.new")).unwrap();
    assert_eq!(read_state(&place), None);
    held.write_state("{\"n\":1}").unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "{}");
    assert_eq!(read_state(&place).as_deref(), Some("{\"n\":1}"));
    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(read_state(&place), None);
    held.write_state("{}").unwrap();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(read_state(&place), None);
    let error = held.write_state("{}").unwrap_err();
    assert!(error.message.starts_with("Cannot write the state file"), "{}", error.message);
    fs::remove_dir(&path).unwrap();
    assert!(held.remove());
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn one_that_is_too_long_or_no_text_is_neither_read_nor_written() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let held = PidFile::acquire(&place).unwrap();
    let longest = "x".repeat(64 << 10);
    held.write_state(&longest).unwrap();
    assert_eq!(read_state(&place).as_deref(), Some(&*longest));
    let error = held.write_state(&format!("{longest}x")).unwrap_err();
    assert_eq!(error.errno, Some(libc::EFBIG));
    assert!(read_state(&place).is_some());
    fs::write(state(dir.path()), format!("{longest}x")).unwrap();
    assert_eq!(read_state(&place), None);
    fs::write(state(dir.path()), b"\xff").unwrap();
    assert_eq!(read_state(&place), None);
}
