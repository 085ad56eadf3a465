//! The supervisor of a daemon: the guardian of its start, which has executed this program in its own place. It holds the
//! pidfile, ends the daemon when it is asked to, and says how the daemon has ended when nobody asked.
//!
//! It is one thread with one poll(2), and sleeps as long as nothing happens.

mod ended;
mod log;
mod plan;
mod printed;

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tsdaemonize_core::daemon::PidfileWatch;
use tsdaemonize_core::error::Result;
use tsdaemonize_core::output::RELAY;
use tsdaemonize_core::pidfile::PidFile;
use tsdaemonize_core::poll;
use tsdaemonize_core::process::own::{close_on_exec, is_open};
use tsdaemonize_core::process::session;
use tsdaemonize_core::start::children::{
    NO_SUPERVISOR, RELEASE, STOOD_DOWN, SUPERVISOR_LOCK, SUPERVISOR_PLAN, SUPERVISOR_SOCKET,
};
use tsdaemonize_core::sys::{self, Arrived, Signals};

use self::ended::Ended;
use self::log::Log;
use self::plan::{Plan, now, started_at};
use self::printed::Pipe;
use crate::failed::signal_name;
use crate::plan::KILL_AFTER;

/// The first argument of a supervisor.
pub const SUPERVISOR: &str = "--supervisor";
/// How long what was killed may take to end.
const KILLED: Duration = Duration::from_secs(10);
/// At the end of the system the daemon may get its SIGTERM a moment before the supervisor.
const OF_ALL: Duration = Duration::from_millis(100);
/// Between two looks at a pidfile that the kernel cannot watch.
const BLIND: Duration = Duration::from_secs(1);
/// How long the launcher may take to let go, if somebody has asked for the end.
const HASTE: Duration = Duration::from_secs(1);
/// How long the last messages may take.
const LAST: Duration = Duration::from_secs(1);

/// A process that supervises. Its only argument is the daemon's pid.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let pid = arguments.next().and_then(|pid| pid.to_str()?.trim().parse::<i32>().ok());
    let standing = pid.filter(|_| is_open(SUPERVISOR_PLAN)).map(Supervisor::stand);
    match standing {
        Some(Some(supervisor)) => supervisor.live(),
        Some(None) => ExitCode::FAILURE,
        None => {
            eprintln!("tsdaemonize: {SUPERVISOR} is for the guardian of a start alone");
            ExitCode::FAILURE
        }
    }
}

struct Supervisor {
    plan: Plan,
    /// `restart` reads it there.
    _plan: File,
    /// The daemon's pid. It is a child of this process that was not waited for, so nobody else has its number.
    daemon: i32,
    /// When it was started, in milliseconds since the epoch.
    started: f64,
    /// For how long it had run then, and since when this process stands beside it.
    age: Duration,
    since: Instant,
    signals: Signals,
    pidfile: Option<PidFile>,
    watch: PidfileWatch,
    pipes: Vec<Pipe>,
    log: Log,
    /// It was asked to end by this signal, and has until then.
    ending: Option<(i32, Instant)>,
}

/// What happened.
enum Event {
    Ended(Ended),
    Nothing,
}

impl Supervisor {
    /// Takes the daemon over, and says so. Where that fails, the daemon is ended.
    fn stand(daemon: i32) -> Option<Self> {
        // It stays for long, and the caller's directory is none of its business.
        let _ = nix::unistd::chdir("/");
        let own = |fd: RawFd| {
            // SAFETY: the guardian has left these descriptors to this process, and nobody else here knows them.
            unsafe { OwnedFd::from_raw_fd(fd) }
        };
        let mut launcher = UnixStream::from(own(SUPERVISOR_SOCKET));
        let (lock, plan_file) = (own(SUPERVISOR_LOCK), File::from(own(SUPERVISOR_PLAN)));
        for fd in [launcher.as_fd(), lock.as_fd(), plan_file.as_fd()] {
            close_on_exec(fd);
        }
        let started = started_at(daemon);
        let mut pidfile = None;
        let taken = Self::take(daemon, started, lock, &plan_file, &mut pidfile);
        let say = |launcher: &mut UnixStream, letter: u8, number: i32| {
            let mut words = vec![letter];
            words.extend(number.to_ne_bytes());
            launcher.write_all(&words).is_ok()
        };
        match taken {
            Ok((plan, signals)) => {
                let pipes = pipes(&plan);
                let log = Log::new(plan.name(), plan.log_file());
                let watch = PidfileWatch::default();
                let supervisor = Self {
                    _plan: plan_file,
                    daemon,
                    started,
                    age: Duration::from_millis((now() - started).max(0.0) as u64),
                    since: Instant::now(),
                    signals,
                    pidfile,
                    watch,
                    pipes: Vec::new(),
                    log,
                    ending: None,
                    plan,
                };
                supervisor.be_released(launcher, pipes, say)
            }
            Err(error) => {
                end_all(daemon);
                if let Some(pidfile) = pidfile {
                    pidfile.remove();
                }
                say(&mut launcher, NO_SUPERVISOR, error.errno.unwrap_or(libc::EINVAL));
                None
            }
        }
    }

    /// Takes what the supervisor is told, and the pidfile, which is there whatever fails after that.
    fn take(
        daemon: i32,
        started: f64,
        lock: OwnedFd,
        plan: &File,
        pidfile: &mut Option<PidFile>,
    ) -> Result<(Plan, Signals)> {
        let length = plan.metadata().map_or(0, |found| found.len());
        let mut text = vec![0; usize::try_from(length).unwrap_or(0)];
        plan.read_exact_at(&mut text, 0).map_err(|_| Errno::EIO)?;
        let plan = Plan::read(&text).ok_or(Errno::EINVAL)?;
        *pidfile = plan.place().map(|place| PidFile::inherited(lock, place));
        let signals = Signals::block_all()?;
        if let Some(pidfile) = pidfile {
            pidfile.supervise()?;
            pidfile.write(nix::unistd::getpid().as_raw())?;
            // It is a hint: no start fails for want of it.
            let _ = pidfile.write_state(&plan.state(daemon, started, None));
        }
        Ok((plan, signals))
    }

    /// Says that it stands, and waits until the launcher lets go. A launcher that dies instead ends the start.
    fn be_released(
        mut self,
        mut launcher: UnixStream,
        pipes: Vec<(Pipe, File, u64)>,
        say: impl Fn(&mut UnixStream, u8, i32) -> bool,
    ) -> Option<Self> {
        if !say(&mut launcher, STOOD_DOWN, 0) || !self.await_release(&launcher) {
            end_all(self.daemon);
            self.remove_pidfile();
            return None;
        }
        for (mut pipe, kept, lost) in pipes {
            pipe.go_on_from(&kept, lost, &mut self.log);
            self.pipes.push(pipe);
        }
        if let Some(pidfile) = &self.pidfile {
            self.watch.begin(pidfile);
        }
        Some(self)
    }

    /// Whether the launcher has said so. Whoever asks for the end meanwhile does not wait for it for long; that the
    /// daemon has ended is seen afterwards.
    fn await_release(&mut self, launcher: &UnixStream) -> bool {
        let mut asked = None;
        loop {
            let fds = [launcher.as_fd(), self.signals.descriptor()];
            let mut fds = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            let until = asked.map_or_else(far_off, |(_, deadline)| deadline);
            if !poll::until(&mut fds, until) && asked.is_some() {
                return false;
            }
            if fds[0].any().unwrap_or(false) {
                let mut word = [0];
                let read = sys::again(|| nix::unistd::read(launcher, &mut word));
                let is_released = read == Ok(1) && word == [RELEASE];
                if let (true, Some((signal, _))) = (is_released, asked) {
                    self.ask_to_end(signal);
                }
                return is_released;
            }
            while let Some(Arrived { signal, .. }) = self.signals.next() {
                if matches!(signal, libc::SIGTERM | libc::SIGINT) {
                    asked.get_or_insert((signal, Instant::now() + HASTE));
                }
            }
        }
    }

    fn live(mut self) -> ExitCode {
        self.tend_pidfile();
        // One that has ended meanwhile has sent its SIGCHLD already.
        let mut event = self.look_at_daemon();
        loop {
            if let Event::Ended(ended) = event {
                return self.finish(ended);
            }
            self.sleep();
            event = self.work();
        }
    }

    /// Sleeps until something happens.
    fn sleep(&mut self) {
        let watch = self.watch.descriptor();
        let readable = [self.signals.descriptor()].into_iter().chain(watch);
        let readable = readable.chain(self.pipes.iter().filter_map(Pipe::descriptor));
        let readable = readable.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let writable = self.log.descriptor().map(|fd| PollFd::new(fd, PollFlags::POLLOUT));
        let mut fds: Vec<_> = readable.chain(writable).collect();
        let blind = self.pidfile.is_some() && self.watch.is_blind();
        let of_pipes = self.pipes.iter().filter_map(Pipe::due);
        let due = of_pipes
            .chain(self.log.due())
            .chain(self.ending.map(|(_, deadline)| deadline))
            .chain(blind.then(|| Instant::now() + BLIND))
            .min();
        let timeout = due.map_or(PollTimeout::NONE, |due| {
            poll::timeout(due.saturating_duration_since(Instant::now()))
        });
        let _ = poll(&mut fds, timeout);
    }

    fn work(&mut self) -> Event {
        self.watch.clear();
        for pipe in &mut self.pipes {
            pipe.read(&mut self.log);
        }
        let mut event = Event::Nothing;
        while let Some(arrived) = self.signals.next() {
            match arrived.signal {
                libc::SIGTERM | libc::SIGINT => self.ask_to_end(arrived.signal),
                libc::SIGCHLD => event = self.look_at_daemon(),
                // Its own pipes and terminals are none of the daemon's.
                libc::SIGPIPE | libc::SIGTTIN | libc::SIGTTOU => {}
                _ => drop(arrived.pass_on(self.daemon)),
            }
        }
        if self.ending.is_some_and(|(_, deadline)| Instant::now() >= deadline) {
            kill(self.daemon);
            session::kill_session(own_session(), KILLED);
            self.ending = self.ending.map(|(signal, _)| (signal, Instant::now() + KILLED));
        }
        self.tend_pidfile();
        self.log.send();
        event
    }

    fn tend_pidfile(&mut self) {
        let warn = &mut |text: &str| self.log.say(libc::LOG_WARNING, text);
        if let Some(pidfile) = &mut self.pidfile {
            self.watch.tend(pidfile, warn);
        }
    }

    fn look_at_daemon(&self) -> Event {
        status_of(self.daemon).map_or(Event::Nothing, |status| Event::Ended(Ended::now(status)))
    }

    /// Somebody has asked for the daemon's end.
    fn ask_to_end(&mut self, signal: i32) {
        if self.ending.is_none() {
            let deadline = Instant::now() + self.plan.stop_timeout() + KILL_AFTER;
            self.ending = Some((signal, deadline));
            // SAFETY: takes integers; the daemon was not waited for, so its number is its own.
            unsafe {
                libc::kill(self.daemon, libc::SIGTERM);
                // A stopped one could not end.
                libc::kill(self.daemon, libc::SIGCONT);
            }
        }
    }

    /// The daemon has ended, and is a zombie as yet.
    fn finish(mut self, ended: Ended) -> ExitCode {
        if self.ending.is_none() && ended.may_be_of_all() {
            self.await_own_signal(Instant::now() + OF_ALL);
        }
        let is_foreign = self.plan.is_foreign();
        // The relay of a daemon of the library sends the last words.
        let is_relay =
            |pid| sys::name_of(pid).is_some_and(|name| name.as_bytes() == RELAY.to_bytes());
        let is_spared = |pid| !is_foreign && is_relay(pid);
        if let Some((_, deadline)) = self.ending {
            end_rest(deadline, is_spared);
        }
        session::kill_session_but(own_session(), KILLED, is_spared);
        for pipe in &mut self.pipes {
            // A process that is in another session may go on to print.
            pipe.read(&mut self.log);
            pipe.end_line(&mut self.log);
        }
        self.tell(&ended);
        match self.ending {
            Some(_) => self.remove_pidfile(),
            None => {
                if let Some(pidfile) = self.pidfile.take() {
                    let _ = pidfile.write_state(&self.plan.state(
                        self.daemon,
                        self.started,
                        Some(&ended),
                    ));
                    pidfile.remove_and_keep_state();
                }
            }
        }
        reap(self.daemon);
        self.log.finish(LAST);
        ExitCode::from(u8::from(self.ending.is_none()))
    }

    /// One line in the log. A daemon of the library has said its own, unless a signal has ended it.
    fn tell(&mut self, ended: &Ended) {
        if !self.plan.is_foreign() && ended.signal().is_none() {
            return;
        }
        let age = self.age + self.since.elapsed();
        let (asked, priority) = match self.ending {
            Some((signal, _)) => {
                (Some(format!("its supervisor got {}", signal_name(signal))), libc::LOG_INFO)
            }
            None => (None, libc::LOG_NOTICE),
        };
        let text = ended.in_words(self.daemon, age, asked.as_deref());
        self.log.say(priority, &text);
    }

    fn await_own_signal(&mut self, deadline: Instant) {
        loop {
            while let Some(arrived) = self.signals.next() {
                if matches!(arrived.signal, libc::SIGTERM | libc::SIGINT) {
                    self.ending = Some((arrived.signal, Instant::now() + KILL_AFTER));
                }
            }
            let mut fds = [PollFd::new(self.signals.descriptor(), PollFlags::POLLIN)];
            if self.ending.is_some() || !poll::until(&mut fds, deadline) {
                return;
            }
        }
    }

    fn remove_pidfile(&mut self) {
        if let Some(pidfile) = self.pidfile.take() {
            pidfile.remove();
        }
    }
}

/// The pipes of a program, with what the launcher has read of each, and lost.
fn pipes(plan: &Plan) -> Vec<(Pipe, File, u64)> {
    let mut next = SUPERVISOR_PLAN + 1;
    let mut own = || {
        let fd = next;
        next += 1;
        is_open(fd).then(|| {
            // SAFETY: the guardian has left this descriptor to this process, and each is taken once.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            close_on_exec(fd.as_fd());
            fd
        })
    };
    let pipes = plan.pipes().into_iter();
    pipes
        .filter_map(|(number, lost)| Some((Pipe::new(number, own()?), File::from(own()?), lost)))
        .collect()
}

/// A moment that never comes.
fn far_off() -> Instant {
    Instant::now() + Duration::from_secs(1 << 30)
}

/// The session that this process leads, with all of the daemon's processes that have no session of their own.
fn own_session() -> i32 {
    nix::unistd::getpid().as_raw()
}

/// CLD_EXITED and CLD_DUMPED of sigaction(2), which the crate libc has not on all systems.
const EXITED: i32 = 1;
const DUMPED: i32 = 3;

/// The wait status of a child that has ended; it stays a zombie.
fn status_of(child: i32) -> Option<i32> {
    // SAFETY: zero is a value of siginfo_t, which the call fills in.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        let result = libc::waitid(libc::P_PID, child as libc::id_t, &mut info, flags);
        if result != 0 || info.si_pid() != child {
            return None;
        }
        Some(match info.si_code {
            EXITED => (info.si_status() & 0xff) << 8,
            DUMPED => info.si_status() | 0x80,
            _ => info.si_status(),
        })
    }
}

fn reap(child: i32) {
    let _ = nix::sys::wait::waitpid(
        nix::unistd::Pid::from_raw(child),
        Some(nix::sys::wait::WaitPidFlag::WNOHANG),
    );
}

/// SIGKILL to a child that was not waited for, and to its process group.
fn kill(child: i32) {
    // SAFETY: takes integers; neither number can belong to anybody else.
    unsafe {
        libc::kill(-child, libc::SIGKILL);
        libc::kill(child, libc::SIGKILL);
    }
}

/// Nothing of a start is left.
fn end_all(daemon: i32) {
    kill(daemon);
    session::kill_session(own_session(), KILLED);
    reap(daemon);
}

/// What the daemon has left of its session is asked to end, too: a shell's child does the shell's work.
fn end_rest(deadline: Instant, is_spared: impl Fn(i32) -> bool) {
    for process in session::signal_session(own_session(), libc::SIGTERM, is_spared) {
        process.await_end(deadline);
    }
}
