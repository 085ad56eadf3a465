//! A supervisor's mark on a pidfile: who looks sees it, and it goes with the supervisor, not with the daemon.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tsdaemonize_core::error::Code;
use tsdaemonize_core::pidfile::{PidFile, Place, State, look};

fn place(dir: &Path) -> Place {
    Place { dir: dir.to_owned(), name: "x".into(), private: false }
}

/// The same open file description by a further descriptor, as the daemon has it.
fn shared(held: &PidFile) -> PidFile {
    PidFile::inherited(held.as_fd().try_clone_to_owned().unwrap(), held.place().clone())
}

fn is_supervised(place: &Place) -> bool {
    look(place).unwrap().supervised
}

#[test]
fn the_mark_is_the_supervisors_alone_and_the_lock_is_the_daemons_too() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let mut supervisor = PidFile::acquire(&place).unwrap();
    assert!(!is_supervised(&place));
    supervisor.supervise().unwrap();
    supervisor.write(4711).unwrap();
    supervisor.ready().unwrap();
    let daemon = shared(&supervisor);
    let seen = look(&place).unwrap();
    assert!(seen.supervised);
    assert_eq!(seen.state, State::Running { pid: Some(4711) });
    // The daemon takes the lock again, to see that it has it.
    assert!(daemon.is_held());
    daemon.ready().unwrap();
    assert!(is_supervised(&place));
    drop(supervisor);
    let seen = look(&place).unwrap();
    assert!(!seen.supervised);
    assert_eq!(seen.state, State::Running { pid: Some(4711) });
    drop(daemon);
    assert_eq!(look(&place).unwrap().state, State::Stopped { stale: true });
}

#[test]
fn a_daemon_has_one_supervisor() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = PidFile::acquire(&place(dir.path())).unwrap();
    let mut second = shared(&first);
    first.supervise().unwrap();
    let error = second.supervise().unwrap_err();
    assert_eq!(error.code, Code::AlreadyRunning, "{error:?}");
    drop(first);
    second.supervise().unwrap();
}

#[test]
fn only_the_file_that_is_held_is_marked() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let path = place.path();
    let mut held = PidFile::acquire(&place).unwrap();
    fs::rename(&path, dir.path().join("y.pid")).unwrap();
    assert_eq!(held.supervise().unwrap_err().code, Code::PidFile);
    fs::write(&path, "1\n").unwrap();
    let error = held.supervise().unwrap_err();
    assert!(error.message.contains("exchanged"), "{error:?}");
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("y.pid", &path).unwrap();
    assert_eq!(held.supervise().unwrap_err().code, Code::UnsafePidFile);
    fs::remove_file(&path).unwrap();
    fs::rename(dir.path().join("y.pid"), &path).unwrap();
    fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    assert_eq!(held.supervise().unwrap_err().code, Code::UnsafePidFile);
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    held.supervise().unwrap();
    assert!(is_supervised(&place));
}

#[test]
fn a_file_that_is_put_back_is_marked_before_it_is_ready() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let mut held = PidFile::acquire(&place).unwrap();
    held.supervise().unwrap();
    held.ready().unwrap();
    fs::remove_file(place.path()).unwrap();
    assert!(held.put_back(4711).unwrap());
    let seen = look(&place).unwrap();
    assert!(seen.supervised);
    assert_eq!(seen.state, State::Running { pid: Some(4711) });
    drop(held);
    assert!(!is_supervised(&place));
}

#[test]
fn a_mark_without_the_lock_means_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path());
    let mut held = PidFile::acquire(&place).unwrap();
    held.supervise().unwrap();
    held.write(4711).unwrap();
    unlock(&held);
    let seen = look(&place).unwrap();
    assert!(!seen.supervised);
    assert_eq!(seen.state, State::Stopped { stale: true });
}

/// Lets go of all locks of the description that is shared.
fn unlock(held: &PidFile) {
    use std::os::fd::AsRawFd;
    // SAFETY: `struct flock` is plain integers; the descriptor is open.
    unsafe {
        let mut all: libc::flock = std::mem::zeroed();
        all.l_type = libc::F_UNLCK as libc::c_short;
        assert_eq!(libc::fcntl(held.as_fd().as_raw_fd(), libc::F_OFD_SETLK, &all), 0);
        assert_eq!(libc::flock(held.as_fd().as_raw_fd(), libc::LOCK_UN), 0);
    }
}
