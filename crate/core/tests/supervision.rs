//! Starts whose guardian becomes the supervisor, with real processes: this program is launcher, daemon, foreign program
//! and supervisor, as its first argument says.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test may panic, and tells what it does"
)]

use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io::{PipeReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, getpid, getppid, getsid};

use tsdaemonize_core::daemon::{self, LIFE};
use tsdaemonize_core::instance::places::Candidate;
use tsdaemonize_core::pidfile::{PidFile, Place, State, look, read_state};
use tsdaemonize_core::start::arguments::Executable;
use tsdaemonize_core::start::children::{
    NO_SUPERVISOR, RELEASE, STOOD_DOWN, SUPERVISOR_LOCK, SUPERVISOR_PLAN, SUPERVISOR_SOCKET,
};
use tsdaemonize_core::start::{
    Failure, Launch, Look, Outcome, Plan, Readiness, Supervision, hand_over, launch,
};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the daemon says of itself.
const STATE: &str = r#"{"said":"by the daemon"}"#;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["--daemon", mode] => be_daemon(mode),
        ["--stage", mode] => be_stage(mode),
        ["--program", mode] => be_program(mode),
        ["--launcher", what] => be_launcher(what),
        ["--supervisor", daemon] => be_supervisor(daemon.trim().parse().unwrap()),
        _ => return run_tests(),
    }
    ExitCode::SUCCESS
}

const TESTS: [(&str, fn()); 15] = [
    ("a_guardian_becomes_the_supervisor_of_a_daemon_that_asks", becomes_the_supervisor),
    ("a_daemon_that_does_not_ask_is_alone", alone),
    ("a_daemon_that_asks_where_there_is_no_supervisor_does_not_start", no_supervision),
    ("a_supervisor_that_is_no_program_fails_the_start_with_its_errno", no_program),
    ("a_supervisor_that_refuses_or_crashes_fails_the_start", refuses),
    ("a_foreign_program_is_ready_when_its_front_says_so", foreign),
    ("a_foreign_program_that_is_not_executed_says_why", foreign_missing),
    ("a_foreign_program_that_ends_early_does_not_start", foreign_ends),
    ("sigterm_to_the_guardian_ends_a_foreign_start", foreign_terminated),
    ("a_front_can_give_a_start_up", foreign_given_up),
    ("a_daemon_that_gives_its_name_locks_its_pidfile_with_its_launcher", nameless),
    ("a_daemon_that_gives_its_name_is_supervised_as_any", nameless_supervised),
    ("a_daemon_that_gives_the_name_of_one_that_runs_does_not_start", nameless_twice),
    ("a_launcher_that_is_killed_leaves_nothing_of_a_daemon_that_gave_its_name", nameless_killed),
    ("a_launcher_that_is_killed_leaves_nothing_of_a_foreign_start", launcher_killed),
];

fn run_tests() -> ExitCode {
    let failed = TESTS.iter().filter(|(name, test)| {
        let result = catch_unwind(AssertUnwindSafe(test));
        println!("test {name} ... {}", if result.is_ok() { "ok" } else { "FAILED" });
        result.is_err()
    });
    if failed.count() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

// What the test sees.

/// A directory for a start and what its processes tell. They end with it.
struct World(PathBuf);

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap().keep();
        fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).unwrap();
        fs::create_dir(dir.join("run")).unwrap();
        Self(dir)
    }

    fn plan(&self, args: &[&str], supervision: Option<Supervision>) -> Plan {
        let program = std::env::current_exe().unwrap();
        let argv = [program.as_os_str()].into_iter().chain(args.iter().map(OsStr::new));
        let dir = format!("DIR={}", self.0.display());
        Plan {
            executable: Executable {
                file: c(program.as_os_str()),
                argv: argv.map(c).collect(),
                env: vec![c(OsStr::new(&dir)), c(OsStr::new("TZ=UTC")), c(OsStr::new("A=B"))],
            },
            cwd: None,
            places: vec![place(&self.0)],
            keep_fds: Vec::new(),
            timeout: PATIENCE,
            nameless: false,
            hello: "{}".into(),
            state: None,
            supervision,
        }
    }

    /// `mode` says what the supervisor does.
    fn supervision(&self, mode: &str) -> Supervision {
        Supervision {
            executable: c(std::env::current_exe().unwrap().as_os_str()),
            name: c"sample".to_owned(),
            plan: format!("{mode} {}", self.0.display()).into_bytes(),
            extra: Vec::new(),
            foreign: false,
        }
    }

    fn read(&self, name: &str) -> String {
        await_file(&self.0.join(name));
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn end(&self) {
        fs::write(self.0.join("end"), "").unwrap();
    }

    /// No process and no file of a start is left.
    fn assert_nothing_left(&self, session: i32) {
        until(|| fs::read_dir(self.0.join("run")).unwrap().count() == 0);
        until(|| members(session).is_empty());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Whoever still lives sees that.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn c(text: &OsStr) -> CString {
    CString::new(text.as_bytes()).unwrap()
}

fn place(dir: &Path) -> Candidate {
    let place = Place { dir: dir.join("run"), name: "sample".into(), private: false };
    Candidate { place, variable: None }
}

fn until(mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "it did not come in time");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn await_file(path: &Path) {
    until(|| path.exists());
}

/// The processes of a session that have not ended.
fn members(session: i32) -> Vec<i32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_member =
        |pid: &i32| getsid(Some(Pid::from_raw(*pid))) == Ok(Pid::from_raw(session)) && alive(*pid);
    pids.filter(is_member).collect()
}

fn alive(pid: i32) -> bool {
    stat(pid).is_some_and(|fields| !matches!(fields[0].as_str(), "Z" | "X"))
}

/// The fields of proc_pid_stat(5) from the third on: state, parent, group, session.
fn stat(pid: i32) -> Option<Vec<String>> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = line.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

fn parent(pid: i32) -> i32 {
    stat(pid).unwrap()[1].parse().unwrap()
}

fn failure(outcome: Outcome) -> Failure {
    assert_eq!(outcome.supervisor, None);
    let Err(failure) = outcome.result else { panic!("it started: {outcome:?}") };
    failure
}

fn started(world: &World, args: &[&str], supervision: Option<Supervision>) -> Launch {
    launch(world.plan(args, supervision)).unwrap()
}

fn becomes_the_supervisor() {
    let world = World::new();
    // Nothing of the launcher's is open in the supervisor.
    let inherited = nix::unistd::dup(File::open("/").unwrap()).unwrap();
    let start = started(&world, &["--daemon", "asks"], Some(world.supervision("stand")));
    let supervisor = start.session();
    let outcome = start.wait();
    drop(inherited);
    let daemon = *outcome.result.as_ref().unwrap();
    assert_eq!(outcome.supervisor, Some(supervisor));
    assert_eq!((parent(supervisor), parent(daemon)), (getpid().as_raw(), supervisor));
    assert_eq!(world.read("released"), "");
    assert_eq!(world.read("go"), daemon.to_string());
    let seen = look(&place(&world.0).place).unwrap();
    assert_eq!((seen.state, seen.supervised), (State::Running { pid: Some(supervisor) }, true));
    let report = world.read("report");
    let mode = world.supervision("stand").plan;
    let expected = [
        format!("args tsdaemonize: sample|--supervisor|{daemon:<10}"),
        "env TZ=UTC".to_owned(),
        "fd 0 /dev/null".to_owned(),
        "fd 1 /dev/null".to_owned(),
        "fd 2 /dev/null".to_owned(),
        "fd 3 socket".to_owned(),
        format!("fd 4 {}", world.0.join("run/sample.pid").display()),
        "fd 5 /memfd:plan (deleted)".to_owned(),
        format!("plan {}", String::from_utf8(mode).unwrap()),
        format!("plan {STATE}"),
    ];
    let (lines, blocked): (Vec<&str>, Vec<&str>) =
        report.lines().partition(|line| !line.starts_with("SigBlk:"));
    assert_eq!(lines, expected);
    let mask = u64::from_str_radix(blocked[0].split_whitespace().last().unwrap(), 16).unwrap();
    // All but SIGKILL and SIGSTOP, and those that the C library keeps for itself.
    for signal in (1..=31).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
        assert_ne!(mask & (1 << (signal - 1)), 0, "signal {signal}");
    }
    world.end();
    // The daemon leaves the pidfile to its supervisor.
    assert_eq!(world.read("over"), "file 0");
    world.assert_nothing_left(supervisor);
}

fn alone() {
    let world = World::new();
    let start = started(&world, &["--daemon", "alone"], Some(world.supervision("stand")));
    let session = start.session();
    let outcome = start.wait();
    let daemon = *outcome.result.as_ref().unwrap();
    assert_eq!(outcome.supervisor, None);
    assert_ne!(parent(daemon), session);
    let seen = look(&place(&world.0).place).unwrap();
    assert_eq!((seen.state, seen.supervised), (State::Running { pid: Some(daemon) }, false));
    world.end();
    world.assert_nothing_left(session);
    assert!(!world.0.join("report").exists());
}

fn no_supervision() {
    let world = World::new();
    let start = started(&world, &["--daemon", "asks"], None);
    let session = start.session();
    assert_eq!(failure(start.wait()).unsupervised, Some(0));
    world.assert_nothing_left(session);
    assert!(!world.0.join("go").exists());
}

fn no_program() {
    for (path, errno) in [("/nowhere/tsdaemonize", libc::ENOENT), ("/", libc::EACCES)] {
        let world = World::new();
        let supervision =
            Supervision { executable: c(OsStr::new(path)), ..world.supervision("stand") };
        let start = started(&world, &["--daemon", "asks"], Some(supervision));
        let session = start.session();
        assert_eq!(failure(start.wait()).unsupervised, Some(errno));
        world.assert_nothing_left(session);
        assert!(!world.0.join("go").exists());
    }
}

fn refuses() {
    for (mode, told) in
        [("refuse", Some(libc::EXDEV)), ("crash", Some(libc::EPIPE)), ("leave", Some(libc::EPIPE))]
    {
        let world = World::new();
        let start = started(&world, &["--daemon", "asks"], Some(world.supervision(mode)));
        let session = start.session();
        assert_eq!(failure(start.wait()).unsupervised, told, "{mode}");
        world.assert_nothing_left(session);
        assert!(!world.0.join("go").exists());
    }
}

/// A front that waits for a newline from the program, or does something once the program runs.
struct Front {
    pipe: PipeReader,
    session: i32,
    executed: Option<i32>,
    then: Option<fn(&Front) -> Look>,
}

impl Readiness for Front {
    fn executed(&mut self, daemon: i32) {
        assert_eq!(self.executed.replace(daemon), None);
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.pipe.as_fd()]
    }

    fn look(&mut self) -> Look {
        let mut fds = [nix::poll::PollFd::new(self.pipe.as_fd(), nix::poll::PollFlags::POLLIN)];
        if nix::poll::poll(&mut fds, 0u8) != Ok(1) {
            return Look::NotYet;
        }
        let mut word = [0];
        if self.pipe.read(&mut word).unwrap() == 0 {
            // It has ended, which the guardian tells.
            let (reader, writer) = std::io::pipe().unwrap();
            std::mem::forget(writer);
            self.pipe = reader;
            return Look::NotYet;
        }
        match self.then.take() {
            Some(act) => act(self),
            None => Look::Ready(r#"{"said":"by the front"}"#.into()),
        }
    }
}

/// A start of a foreign program whose front does something when the program says that it runs.
fn foreign_start(
    world: &World,
    mode: &str,
    then: Option<fn(&Front) -> Look>,
) -> (i32, Outcome, Option<i32>) {
    let (reader, writer) = std::io::pipe().unwrap();
    let (told, _held) = std::io::pipe().unwrap();
    let supervision =
        Supervision { foreign: true, extra: vec![told.into()], ..world.supervision("stand") };
    let mut plan = world.plan(&["--stage", mode], Some(supervision));
    // A number that a daemon may have.
    let ready = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(50)).unwrap();
    // SAFETY: the kernel has just given us this descriptor.
    let ready = unsafe { OwnedFd::from_raw_fd(ready) };
    plan.keep_fds = vec![ready.as_raw_fd()];
    let variable = format!("READY_FD={}", ready.as_raw_fd());
    plan.executable.env.push(c(OsStr::new(&variable)));
    let start = launch(plan).unwrap();
    drop((writer, ready));
    let session = start.session();
    let mut front = Front { pipe: reader, session, executed: None, then };
    let outcome = start.wait_for(&mut front);
    (session, outcome, front.executed)
}

fn foreign() {
    let world = World::new();
    let (supervisor, outcome, executed) = foreign_start(&world, "runs", None);
    let daemon = *outcome.result.as_ref().unwrap();
    assert_eq!((outcome.supervisor, executed), (Some(supervisor), Some(daemon)));
    assert_eq!((parent(daemon), world.read("program")), (supervisor, daemon.to_string()));
    // While it starts, the pidfile names the guardian.
    assert_eq!(world.read("named"), format!("{supervisor}\n"));
    assert_eq!(world.read("released"), "");
    let seen = look(&place(&world.0).place).unwrap();
    assert_eq!((seen.state, seen.supervised), (State::Running { pid: Some(supervisor) }, true));
    let report = world.read("report");
    assert!(report.contains("\nfd 6 pipe\n"), "{report}");
    assert!(report.ends_with("plan {\"said\":\"by the front\"}\n"), "{report}");
    // The locks and the hand-over are not the program's.
    assert_eq!(world.read("fds"), "0 1 2 50");
    world.end();
    assert_eq!(world.read("over"), "file 0");
    world.assert_nothing_left(supervisor);
}

fn foreign_missing() {
    let world = World::new();
    let (session, outcome, _) = foreign_start(&world, "missing", None);
    assert_eq!(failure(outcome).report.as_deref(), Some("no such program"));
    world.assert_nothing_left(session);
}

fn foreign_ends() {
    let world = World::new();
    let (session, outcome, _) = foreign_start(&world, "exits", None);
    assert_eq!(failure(outcome).exit_code(), Some(3));
    world.assert_nothing_left(session);
}

fn foreign_terminated() {
    // The second one ends in order, with 0.
    for mode in ["runs", "obeys"] {
        let world = World::new();
        let terminate = |front: &Front| {
            kill(Pid::from_raw(front.session), Signal::SIGTERM).unwrap();
            Look::NotYet
        };
        let (session, outcome, _) = foreign_start(&world, mode, Some(terminate));
        assert_eq!(failure(outcome).signal(), Some(libc::SIGTERM), "{mode}");
        world.assert_nothing_left(session);
    }
}

fn foreign_given_up() {
    let world = World::new();
    let give_up = |_: &Front| Look::Failed("enough".into());
    let (session, outcome, _) = foreign_start(&world, "runs", Some(give_up));
    assert_eq!(failure(outcome).unready.as_deref(), Some("enough"));
    world.assert_nothing_left(session);
}

/// A start that is not told where the pidfile will be.
fn nameless_start(world: &World, mode: &str) -> Launch {
    let plan = world.plan(&["--daemon", mode], Some(world.supervision("stand")));
    let state = Some(r#"{"said":"by the launcher"}"#.to_owned());
    launch(Plan { places: Vec::new(), nameless: true, state, ..plan }).unwrap()
}

fn nameless() {
    let world = World::new();
    let start = nameless_start(&world, "alone");
    let session = start.session();
    let outcome = start.wait();
    let daemon = *outcome.result.as_ref().unwrap();
    let place = place(&world.0).place;
    assert_eq!((outcome.supervisor, outcome.place), (None, Some(place.clone())));
    assert_eq!(look(&place).unwrap().state, State::Running { pid: Some(daemon) });
    let state = read_state(&place).unwrap();
    assert_eq!(state, r#"{"said":"by the daemon","said":"by the launcher"}"#);
    world.end();
    world.assert_nothing_left(session);
}

fn nameless_supervised() {
    let world = World::new();
    let start = nameless_start(&world, "asks");
    let supervisor = start.session();
    let outcome = start.wait();
    assert_eq!((outcome.result.is_ok(), outcome.supervisor), (true, Some(supervisor)));
    let seen = look(&place(&world.0).place).unwrap();
    assert_eq!((seen.state, seen.supervised), (State::Running { pid: Some(supervisor) }, true));
    let report = world.read("report");
    let pidfile = world.0.join("run/sample.pid");
    let expected = format!("\nfd 4 {}\nfd 5 /memfd:plan (deleted)\nplan stand ", pidfile.display());
    assert!(report.contains(&expected), "{report}");
    let expected = format!("\nplan {STATE}\nplan 0 sample\0{}\n", world.0.join("run").display());
    assert!(report.ends_with(&expected), "{report}");
    world.end();
    assert_eq!(world.read("over"), "file 0");
    world.assert_nothing_left(supervisor);
}

fn nameless_twice() {
    let world = World::new();
    let first = nameless_start(&world, "alone");
    let session = first.session();
    let daemon = first.wait().result.unwrap();
    let second = nameless_start(&world, "alone");
    let failure = failure(second.wait());
    let running = format!("The daemon 'sample' is already running, with pid {daemon}");
    assert_eq!(failure.report, Some(running));
    assert!(alive(daemon));
    world.end();
    world.assert_nothing_left(session);
}

fn nameless_killed() {
    killed("nameless", "claimed");
}

fn launcher_killed() {
    killed("foreign", "program");
}

/// A launcher is killed when the daemon has come so far.
fn killed(what: &str, far: &str) {
    let world = World::new();
    let mut launcher = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--launcher", what])
        .env("DIR", &world.0)
        .spawn()
        .unwrap();
    let session = world.read("session").parse().unwrap();
    world.read(far);
    assert!(world.0.join("run/sample.pid").exists());
    assert!(!members(session).is_empty());
    launcher.kill().unwrap();
    launcher.wait().unwrap();
    world.assert_nothing_left(session);
}

// What the other processes do.

fn dir() -> PathBuf {
    std::env::var_os("DIR").unwrap().into()
}

/// Whole, for whoever waits for the file.
fn tell(dir: &Path, name: &str, text: &str) {
    fs::write(dir.join(format!(".{name}")), text).unwrap();
    fs::rename(dir.join(format!(".{name}")), dir.join(name)).unwrap();
}

/// Lives until the test lets it end, or has removed the directory.
fn live(dir: &Path) {
    while dir.exists() && !dir.join("end").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn be_daemon(mode: &str) {
    let dir = dir();
    LIFE.take_over().unwrap();
    if let Err(error) = LIFE.inherit_pidfile(&[place(&dir)]) {
        LIFE.report_failure(&error.message);
        LIFE.end(1);
    }
    if mode == "hangs" {
        tell(&dir, "claimed", "");
        live(&dir);
    }
    daemon::outlive_guardian();
    if !daemon::ready(PATIENCE, PATIENCE, mode == "asks", Some(STATE.into())) {
        LIFE.end(1);
    }
    tell(&dir, "go", &getpid().to_string());
    live(&dir);
    LIFE.end(0);
}

fn be_stage(mode: &str) {
    let taken = hand_over::take().unwrap();
    let program = match mode {
        "missing" => PathBuf::from("/nowhere/program"),
        _ => std::env::current_exe().unwrap(),
    };
    let error = std::process::Command::new(program).args(["--program", mode]).exec();
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    taken.fail("no such program");
    std::process::exit(127);
}

fn be_program(mode: &str) {
    if mode == "exits" {
        std::process::exit(3);
    }
    if mode == "obeys" {
        extern "C" fn obey(_: libc::c_int) {
            // SAFETY: ends the process.
            unsafe { libc::_exit(0) };
        }
        // SAFETY: the handler only ends the process.
        unsafe { libc::signal(libc::SIGTERM, obey as *const () as usize) };
    }
    let dir = dir();
    let mut fds = open_descriptors().into_iter().map(|(fd, _)| fd).collect::<Vec<_>>();
    fds.sort_unstable();
    let fds: Vec<_> = fds.iter().map(ToString::to_string).collect();
    tell(&dir, "fds", &fds.join(" "));
    tell(&dir, "named", &fs::read_to_string(dir.join("run/sample.pid")).unwrap_or_default());
    tell(&dir, "program", &getpid().to_string());
    if let Some(ready) = std::env::var("READY_FD").ok().and_then(|fd| fd.parse().ok()) {
        // SAFETY: the launcher has opened it for this process.
        let mut ready = unsafe { File::from_raw_fd(ready) };
        ready.write_all(b"\n").unwrap();
        std::mem::forget(ready);
    }
    live(&dir);
}

/// A launcher of a program that is never ready.
fn be_launcher(what: &str) {
    let dir = dir();
    // Not a directory of its own: the test's.
    let world = std::mem::ManuallyDrop::new(World(dir.clone()));
    let supervision = Supervision { foreign: true, ..world.supervision("stand") };
    let start = match what {
        "nameless" => nameless_start(&world, "hangs"),
        _ => started(&world, &["--stage", "runs"], Some(supervision)),
    };
    tell(&dir, "session", &start.session().to_string());
    start.wait();
}

/// The open descriptors, and what they lead to: without the directory in which they stand.
fn open_descriptors() -> Vec<(i32, String)> {
    let own = format!("/proc/{}/fd", getpid());
    let entries = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let read = |entry: fs::DirEntry| {
        let fd = entry.file_name().to_str()?.parse().ok()?;
        Some((fd, fs::read_link(entry.path()).ok()?.to_str()?.to_owned()))
    };
    entries.filter_map(read).filter(|(_, target)| *target != own).collect()
}

fn be_supervisor(child: i32) {
    // SAFETY: the guardian has left these descriptors to this process.
    let of = |fd| unsafe { OwnedFd::from_raw_fd(fd) };
    let fds = open_descriptors();
    let mut text = String::new();
    File::from(of(SUPERVISOR_PLAN)).read_to_string(&mut text).unwrap();
    let (mode, dir) = text.lines().next().unwrap().split_once(' ').unwrap();
    let dir = Path::new(dir);
    let mut socket = UnixStream::from(of(SUPERVISOR_SOCKET));
    report(dir, &fds, &text);

    match mode {
        "crash" => std::process::abort(),
        "leave" => return,
        "refuse" => {
            let errno = libc::EXDEV.to_ne_bytes();
            socket.write_all(&[[NO_SUPERVISOR].as_slice(), &errno].concat()).unwrap();
            return;
        }
        _ => {}
    }
    let mut pidfile = PidFile::inherited(of(SUPERVISOR_LOCK), place(dir).place);
    pidfile.supervise().unwrap();
    pidfile.write(getpid().as_raw()).unwrap();
    socket.write_all(&[STOOD_DOWN, 0, 0, 0, 0]).unwrap();
    let mut word = [0];
    socket.read_exact(&mut word).unwrap();
    assert_eq!(word, [RELEASE]);
    tell(dir, "released", "");
    waitpid(Pid::from_raw(child), None).unwrap();
    assert_ne!(getppid(), Pid::from_raw(child));
    let status = if dir.join("run/sample.pid").exists() { "file" } else { "none" };
    pidfile.remove();
    tell(dir, "over", &format!("{status} 0"));
}

fn report(dir: &Path, fds: &[(i32, String)], plan: &str) {
    let args: Vec<String> = std::env::args().collect();
    let mut lines = vec![format!("args {}", args.join("|"))];
    lines.extend(std::env::vars().map(|(name, value)| format!("env {name}={value}")));
    let mut fds = fds.to_vec();
    fds.sort_unstable();
    // Without the numbers of sockets and pipes.
    let kind =
        |target: &str| target.split_once(":[").map_or(target.to_owned(), |(k, _)| k.to_owned());
    lines.extend(fds.iter().map(|(fd, target)| format!("fd {fd} {}", kind(target))));
    lines.extend(plan.lines().map(|line| format!("plan {line}")));
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let blocked = status.lines().find(|line| line.starts_with("SigBlk:")).unwrap().to_owned();
    lines.insert(1, blocked);
    tell(dir, "report", &format!("{}\n", lines.join("\n")));
}
