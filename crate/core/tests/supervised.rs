//! A supervisor's mark on a pidfile: who looks sees it, and it goes with the supervisor, not with the daemon. The other
//! half is about a supervisor that is a process of its own, seen from outside.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::fs;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal, kill as send};
use nix::unistd::Pid;
use tempfile::TempDir;
use tsdaemonize_core::error::Code;
use tsdaemonize_core::instance::{Info, Stopped, kill, status, stop};
use tsdaemonize_core::pidfile::{PidFile, Place, State, look, read_state};

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

/// The role of the process that [`supervised`] starts.
const ROLE: &str = "TSDAEMONIZE_TEST_SUPERVISES";

/// How long a test waits for what is sure to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Not a test: the supervisor of the others. It holds the lock, as its daemon does where that is a library's, and has
/// the mark. It passes SIGTERM on, waits for the daemon, and removes the pidfile.
#[test]
fn the_supervisor_of_the_other_tests() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (kind, dir) = role.split_once(' ').unwrap();
    let place = place(Path::new(dir));
    nix::unistd::setsid().unwrap();
    let mut held = PidFile::acquire(&place).unwrap();
    held.decide().unwrap();
    held.supervise().unwrap();
    let me = std::process::id();
    held.write(i32::try_from(me).unwrap()).unwrap();
    let script = match kind {
        "stubborn" => "trap '' TERM; echo up; while :; do sleep 1; done",
        _ => "trap 'echo got >got' USR1; echo up; while :; do sleep 0.05; done",
    };
    let mut program = Command::new("sh");
    program.args(["-c", script]).current_dir(dir).stdout(Stdio::piped()).stderr(Stdio::null());
    let lock = held.as_fd().as_raw_fd();
    let keeps = kind != "foreign";
    // SAFETY: async-signal-safe calls only.
    unsafe {
        program.pre_exec(move || {
            asked().thread_unblock()?;
            nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
            if keeps && libc::fcntl(lock, libc::F_SETFD, 0) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let mut daemon = (kind != "childless").then(|| program.spawn().unwrap());
    if let Some(daemon) = &mut daemon {
        daemon.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
        let text = format!(r#"{{"pid":{},"supervisor":{me},"stopTimeout":4000}}"#, daemon.id());
        held.write_state(&text).unwrap();
    }
    held.ready().unwrap();
    println!("ready");
    loop {
        let ended = daemon.as_mut().is_some_and(|daemon| daemon.try_wait().unwrap().is_some());
        if ended {
            break;
        }
        if asked().wait() == Ok(Signal::SIGTERM) {
            let Some(daemon) = &daemon else { break };
            send(pid(daemon), Signal::SIGTERM).unwrap();
        }
    }
    held.remove();
    std::process::exit(0);
}

/// What the supervisor waits for.
fn asked() -> SigSet {
    [Signal::SIGTERM, Signal::SIGCHLD].into_iter().collect()
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

/// A supervisor with its daemon. Both end with the test.
struct Supervised {
    dir: TempDir,
    process: Child,
    daemon: i32,
}

impl Supervised {
    fn new(kind: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut program = Command::new(std::env::current_exe().unwrap());
        program
            .args(["--exact", "the_supervisor_of_the_other_tests", "--nocapture"])
            .env(ROLE, format!("{kind} {}", dir.path().display()))
            .stdout(Stdio::piped());
        // Blocked in all of its threads from the beginning. SAFETY: an async-signal-safe call.
        unsafe { program.pre_exec(|| Ok(asked().thread_block()?)) };
        let mut process = program.spawn().unwrap();
        let out = process.stdout.take().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(out));
        assert!(lines.any(|line| line.unwrap().ends_with("ready")));
        let state = read_state(&place(dir.path())).unwrap_or_default();
        let daemon = state.strip_prefix("{\"pid\":").and_then(|s| s.split_once(','));
        let daemon = daemon.map_or(0, |(pid, _)| pid.parse().unwrap());
        Self { dir, process, daemon }
    }

    fn place(&self) -> Place {
        place(self.dir.path())
    }

    fn pid(&self) -> i32 {
        pid(&self.process).as_raw()
    }

    fn status(&self) -> (Option<i32>, Info) {
        match status(&self.place()).unwrap() {
            (State::Running { pid }, info) => (pid, info),
            other => panic!("{other:?}"),
        }
    }

    /// Kills the supervisor, and waits for its end.
    fn kill_supervisor(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// What is left in the directory.
    fn left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn daemon_runs(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.daemon)).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(" Z"))
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // The daemon first: while its parent has not waited for it, its number is its own.
        if self.daemon > 0 && self.daemon_runs() {
            let _ = send(Pid::from_raw(self.daemon), Signal::SIGKILL);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn the_status_of_a_supervised_daemon_is_that_of_the_supervisors_child() {
    for kind in ["library", "foreign"] {
        let it = Supervised::new(kind);
        assert_ne!(it.daemon, it.pid());
        let (pid, info) = it.status();
        assert_eq!((pid, info.supervisor), (Some(it.daemon), Some(it.pid())), "{kind}");
        assert!(!info.unsupervised);
        assert!(info.rss.is_some() && info.started_at.is_some() && info.user.is_some());
        assert!(info.state.is_some_and(|state| state.contains("stopTimeout")));
        let error = PidFile::acquire(&it.place()).unwrap_err();
        assert_eq!((error.code, error.pid), (Code::AlreadyRunning, Some(it.daemon)));
    }
}

#[test]
fn a_signal_reaches_the_daemon_and_not_its_supervisor() {
    let it = Supervised::new("library");
    assert!(kill(&it.place(), libc::SIGUSR1).unwrap());
    until("the daemon got the signal", || it.dir.path().join("got").exists());
    assert_eq!(it.status().0, Some(it.daemon));
}

#[test]
fn stop_ends_both_by_way_of_the_supervisor_and_leaves_nothing() {
    for kind in ["library", "foreign"] {
        let it = Supervised::new(kind);
        let stopped = stop(&it.place(), PATIENCE).unwrap();
        assert_eq!(stopped, Some(Stopped { pid: it.daemon, killed: false }), "{kind}");
        assert!(!it.daemon_runs());
        assert_eq!(it.left(), [""; 0]);
    }
}

#[test]
fn where_the_daemon_must_be_killed_its_supervisor_still_cleans_up() {
    let it = Supervised::new("stubborn");
    let stopped = stop(&it.place(), Duration::from_millis(50)).unwrap();
    assert_eq!(stopped, Some(Stopped { pid: it.daemon, killed: true }));
    assert!(!it.daemon_runs());
    assert_eq!(it.left(), [""; 0]);
}

#[test]
fn a_supervisor_that_is_stopped_is_killed_with_its_daemon() {
    let mut it = Supervised::new("foreign");
    send(pid(&it.process), Signal::SIGSTOP).unwrap();
    let stopped = stop(&it.place(), Duration::from_millis(50)).unwrap();
    assert_eq!(stopped, Some(Stopped { pid: it.daemon, killed: true }));
    assert!(!it.daemon_runs());
    use std::os::unix::process::ExitStatusExt;
    assert_eq!(it.process.wait().unwrap().signal(), Some(libc::SIGKILL));
    assert_eq!(it.left(), [""; 0]);
}

#[test]
fn a_daemon_whose_supervisor_was_killed_is_found_by_its_lock() {
    let mut it = Supervised::new("library");
    it.kill_supervisor();
    let (pid, info) = it.status();
    assert_eq!((pid, info.supervisor, info.unsupervised), (Some(it.daemon), None, true));
    let error = PidFile::acquire(&it.place()).unwrap_err();
    assert_eq!((error.code, error.pid), (Code::AlreadyRunning, Some(it.daemon)));
    assert!(error.message.contains("without its supervisor"), "{}", error.message);
    assert!(kill(&it.place(), libc::SIGUSR1).unwrap());
    until("the daemon got the signal", || it.dir.path().join("got").exists());
    fs::remove_file(it.dir.path().join("got")).unwrap();
    let stopped = stop(&it.place(), PATIENCE).unwrap();
    assert_eq!(stopped, Some(Stopped { pid: it.daemon, killed: false }));
    assert_eq!(it.left(), [""; 0]);
}

#[test]
fn a_foreign_program_whose_supervisor_was_killed_is_no_daemon_any_more() {
    let mut it = Supervised::new("foreign");
    it.kill_supervisor();
    let (state, info) = status(&it.place()).unwrap();
    assert_eq!(state, State::Stopped { stale: true });
    assert!(!info.unsupervised);
    assert_eq!(stop(&it.place(), PATIENCE).unwrap(), None);
    assert!(it.daemon_runs(), "nothing is sent to a process that does not hold the lock");
    assert_eq!(it.left(), [""; 0]);
}

#[test]
fn a_supervisor_without_a_daemon_is_stopped_and_gets_no_other_signal() {
    let it = Supervised::new("childless");
    let error = kill(&it.place(), libc::SIGUSR1).unwrap_err();
    assert_eq!(error.code, Code::StopFailed);
    assert!(error.message.contains("is a supervisor without a daemon"), "{}", error.message);
    let stopped = stop(&it.place(), PATIENCE).unwrap();
    assert_eq!(stopped, Some(Stopped { pid: it.pid(), killed: false }));
    assert_eq!(it.left(), [""; 0]);
}

#[test]
fn neither_a_forged_state_file_nor_a_forged_pidfile_leads_to_a_stranger() {
    let mut it = Supervised::new("library");
    let mut stranger = Command::new("sh").args(["-c", "sleep 1000 & wait"]).spawn().unwrap();
    let state = it.dir.path().join(".x.state");
    let forge = |supervisor: i32| {
        let text = format!(r#"{{"pid":{},"supervisor":{supervisor}}}"#, stranger.id());
        fs::write(&state, text).unwrap();
    };
    let original = fs::read_to_string(&state).unwrap();
    forge(it.pid());
    assert_eq!(it.status().0, Some(it.daemon));
    it.kill_supervisor();
    for supervisor in [it.pid(), 0] {
        forge(supervisor);
        let error = stop(&it.place(), PATIENCE).unwrap_err();
        assert_eq!(error.code, Code::StopFailed);
    }
    fs::write(&state, original).unwrap();
    // Marked as a supervisor's, the file names a stranger who has a child.
    let mut daemon = Supervised::new("library");
    fs::write(daemon.place().path(), format!("{}\n", stranger.id())).unwrap();
    for found in [stop(&daemon.place(), PATIENCE).map(drop), status(&daemon.place()).map(drop)] {
        assert_eq!(found.unwrap_err().code, Code::StopFailed);
    }
    assert!(stranger.try_wait().unwrap().is_none());
    let _ = Command::new("pkill").args(["-9", "-P", &stranger.id().to_string()]).status();
    let _ = stranger.kill();
    stranger.wait().unwrap();
    daemon.kill_supervisor();
}
