//! Starts that meet, each in a place of its own: exactly one goes on, and the others leave nothing.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Barrier;
use std::time::Duration;

use tsdaemonize_core::error::Code;
use tsdaemonize_core::instance::places::{Candidate, acquire, current, kill, status};
use tsdaemonize_core::pidfile::{PidFile, Place};

fn candidate(dir: &Path) -> Candidate {
    let place = Place { dir: dir.to_owned(), name: "x".into(), private: false };
    Candidate { place, variable: None }
}

/// Directories that only their owner can write to.
fn candidates(root: &Path, names: &[&str]) -> Vec<Candidate> {
    let make = |name: &&str| {
        let dir = root.join(name);
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).unwrap();
        candidate(&dir)
    };
    names.iter().map(make).collect()
}

fn files(candidates: &[Candidate]) -> usize {
    candidates.iter().map(|c| std::fs::read_dir(&c.place.dir).unwrap().count()).sum()
}

#[test]
fn of_starts_in_several_places_exactly_one_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let all = candidates(root.path(), &["a", "b", "c"]);
    for starts in [2, 3, 6] {
        let barrier = Barrier::new(starts);
        for round in 0..200 {
            let start = |index: usize| {
                let mut mine = all.clone();
                mine.rotate_left((index + round) % all.len());
                barrier.wait();
                acquire(&mine).map(Option::unwrap)
            };
            let outcomes: Vec<_> = std::thread::scope(|scope| {
                let starts: Vec<_> = (0..starts).map(|i| scope.spawn(move || start(i))).collect();
                starts.into_iter().map(|start| start.join().unwrap()).collect()
            });
            let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
            assert_eq!(won.len(), 1, "{starts} starts, round {round}: {won:?}");
            for error in lost {
                assert_eq!(error.unwrap_err().code, Code::AlreadyRunning);
            }
            assert_eq!(files(&all), 1);
            won.into_iter().for_each(|pidfile| assert!(pidfile.unwrap().remove()));
            assert_eq!(files(&all), 0);
        }
    }
}

#[test]
fn a_start_that_has_only_locked_is_waited_for_by_one_in_an_earlier_place_and_wins_in_a_later_one() {
    let root = tempfile::tempdir().unwrap();
    let [a, b] = candidates(root.path(), &["a", "b"]).try_into().unwrap();
    // It has locked b, and has not looked around.
    let other = PidFile::acquire(&b.place).unwrap();
    std::thread::scope(|scope| {
        let earlier = scope.spawn(|| acquire(&[a.clone(), b.clone()]));
        while !a.place.path().exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        // Not given way to; it gives way itself.
        other.remove();
        drop(other);
        assert!(earlier.join().unwrap().unwrap().unwrap().remove());
    });
    let other = PidFile::acquire(&a.place).unwrap();
    let later = acquire(&[b.clone(), a.clone()]).unwrap_err();
    assert_eq!(
        (later.code, later.path),
        (Code::AlreadyRunning, Some(a.place.path().display().to_string()))
    );
    assert!(!b.place.path().exists());
    assert_eq!(current(&[b, a]), 1);
    other.remove();
}

#[test]
fn a_place_that_is_not_safe_is_passed_over_unless_a_start_would_go_there() {
    let root = tempfile::tempdir().unwrap();
    let [a, b] = candidates(root.path(), &["a", "b"]).try_into().unwrap();
    let open = |c: &Candidate| {
        std::fs::set_permissions(&c.place.dir, PermissionsExt::from_mode(0o777)).unwrap();
    };
    open(&b);
    let b = Candidate { variable: Some("SOME_DIR".into()), ..b };
    assert!(status(&[a.clone(), b.clone()]).is_ok());
    let held = acquire(&[a.clone(), b.clone()]).unwrap().unwrap();
    // It is not ready yet, and so no daemon that runs.
    assert!(!kill(&[b.clone(), a], 0).unwrap());
    held.remove();
    let b = [b];
    for error in [status(&b).unwrap_err(), acquire(&b).unwrap_err()] {
        assert_eq!(error.code, Code::UnsafePidFile);
        assert!(error.message.ends_with("The variable SOME_DIR names this directory"));
    }
}
