//! When a foreign program is ready: it says so, or it listens, or it has lived for a while.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use serde_json::json;
use tsdaemonize_core::error::{Code, Error, Result, reason};
use tsdaemonize_core::process::session;
use tsdaemonize_core::start::{Look, Readiness};
use tsdaemonize_core::sys::{self, Notified};

use super::output::Outputs;
use crate::launching::Interrupts;
use crate::plan::Ready;

/// How long a program lives until it is ready, if it says nothing.
const ALIVE: Duration = Duration::from_millis(200);
/// The first and the longest pause between two looks at what listens.
const LOOK: Duration = Duration::from_millis(2);
const LONGEST_LOOK: Duration = Duration::from_millis(100);

/// The ways by which a program can say that it is ready.
#[derive(Debug)]
pub struct Ways {
    ready: Ready,
    notified: Option<Notified>,
    line: Option<Line>,
}

/// A pipe into which a program writes a newline.
#[derive(Debug)]
struct Line {
    reader: OwnedFd,
    /// The program's end, until the program has it.
    writer: Option<OwnedFd>,
}

impl Ways {
    /// Opens those that count.
    pub fn open(ready: Ready) -> Result<Self> {
        let notified = match (ready, Notified::bind()) {
            (Ready::Notify, bound) => Some(bound.map_err(|errno| refused("notify", errno))?),
            (Ready::Any, bound) => bound.ok(),
            _ => None,
        };
        if matches!(ready, Ready::Listen(_)) {
            sys::listening(&[]).map_err(|errno| refused("listen", errno))?;
        }
        let line = matches!(ready, Ready::Any | Ready::Fd).then(Line::open).transpose()?;
        Ok(Self { ready, notified, line })
    }

    /// The variables that tell the program of them.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let socket = self.notified.as_ref().and_then(|notified| notified.address().ok());
        let line = self.writer().map(|fd| fd.to_string());
        let socket = socket.map(|address| ("NOTIFY_SOCKET", address));
        socket.into_iter().chain(line.map(|fd| ("READY_FD", fd))).collect()
    }

    /// The number of the descriptor that the program gets.
    pub fn writer(&self) -> Option<RawFd> {
        self.line.as_ref()?.writer.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// The program has its end.
    pub fn given_away(&mut self) {
        if let Some(line) = &mut self.line {
            line.writer = None;
        }
    }
}

fn refused(how: &str, errno: Errno) -> Error {
    let why = reason(errno as i32);
    let message = format!("`--ready {how}` is not possible here: {why}. Give another `--ready`");
    Error::new(Code::Unsupported, message)
}

impl Line {
    fn open() -> Result<Self> {
        let failed = |error: std::io::Error| {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            Error::os(Code::StartFailed, "Cannot start a daemon", "pipe", errno)
        };
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        let reader = OwnedFd::from(reader);
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(Error::from)?;
        Ok(Self { reader, writer: Some(writer.into()) })
    }

    /// Whether a newline came; `None`: there will be none.
    fn look(&self) -> Option<bool> {
        let mut bytes = [0; 256];
        match sys::again(|| nix::unistd::read(&self.reader, &mut bytes)) {
            Ok(0) => None,
            Ok(count) => Some(bytes.iter().take(count).any(|byte| *byte == b'\n')),
            Err(errno) => (errno == Errno::EAGAIN).then_some(false),
        }
    }
}

/// A program on its way to be ready.
#[derive(Debug)]
pub struct Progress<'a> {
    ways: Ways,
    outputs: &'a mut Outputs,
    interrupts: &'a mut Interrupts,
    /// The id of the program's session.
    session: i32,
    /// Its pid, and since when it lives.
    executed: Option<(i32, Instant)>,
    pause: Duration,
    next: Option<Instant>,
}

impl<'a> Progress<'a> {
    /// It was launched, in this session.
    pub fn new(
        ways: Ways,
        outputs: &'a mut Outputs,
        interrupts: &'a mut Interrupts,
        session: i32,
    ) -> Self {
        Self { ways, outputs, interrupts, session, executed: None, pause: LOOK, next: None }
    }

    /// For how long it must live.
    fn age(&self) -> Option<Duration> {
        match self.ways.ready {
            Ready::Any => Some(ALIVE),
            Ready::Alive(time) => Some(time),
            _ => None,
        }
    }

    fn is_ready(&mut self, pid: i32, since: Instant) -> bool {
        let is_old = self.age().is_some_and(|age| since.elapsed() >= age);
        is_old || self.has_notified(pid) || self.has_written() || self.listens(pid)
    }

    /// Whether one of the daemon's processes has sent READY=1. Anybody can send that: others do not count.
    fn has_notified(&self, pid: i32) -> bool {
        let Some(notified) = &self.ways.notified else { return false };
        let mut has = false;
        while let Some((sender, text)) = notified.next() {
            let says = text.split(|byte| *byte == b'\n').any(|line| line == b"READY=1");
            has |= says && session::belongs(sender, self.session, pid);
        }
        has
    }

    fn has_written(&mut self) -> bool {
        let found = self.ways.line.as_ref().map(Line::look);
        if found == Some(None) {
            self.ways.line = None;
        }
        found.flatten() == Some(true)
    }

    fn listens(&mut self, pid: i32) -> bool {
        let Ready::Listen(port) = self.ways.ready else { return false };
        let mut processes = session::members(self.session);
        processes.retain(|&member| member != self.session && member != pid);
        processes.insert(0, pid);
        let found = sys::listening(&processes).unwrap_or_default();
        self.next = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_LOOK);
        port.map_or(!found.is_empty(), |port| found.contains(&port))
    }
}

impl Readiness for Progress<'_> {
    fn executed(&mut self, daemon: i32) {
        self.executed = Some((daemon, Instant::now()));
    }

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let notified = self.ways.notified.as_ref().map(Notified::descriptor);
        let line = self.ways.line.as_ref().map(|line| line.reader.as_fd());
        // What the program says before it is executed, or another process in its place, waits until then.
        let own = notified.into_iter().chain(line).filter(|_| self.executed.is_some());
        own.chain(self.outputs.descriptors()).chain([self.interrupts.descriptor()]).collect()
    }

    fn deadline(&self) -> Option<Instant> {
        let (_, since) = self.executed?;
        self.age().map(|age| since + age).or(self.next)
    }

    fn look(&mut self) -> Look {
        self.outputs.take_in();
        match self.interrupts.look() {
            Look::NotYet => {}
            given_up => return given_up,
        }
        let executed = self.executed;
        if executed.is_some_and(|(pid, since)| self.is_ready(pid, since)) {
            Look::Ready(json!({ "lost": self.outputs.lost() }).to_string())
        } else {
            Look::NotYet
        }
    }
}
