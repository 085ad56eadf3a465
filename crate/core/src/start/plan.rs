//! What a start is asked for, and what becomes of it.

use std::ffi::CString;
use std::os::fd::{OwnedFd, RawFd};
use std::time::Duration;

use super::arguments::Executable;
use super::children;
use super::frames::Frame;
use crate::instance::places::Candidate;
use crate::pidfile::Place;

/// What to start.
#[derive(Debug)]
pub struct Plan {
    /// The program: Node.
    pub executable: Executable,
    /// The directory to start in; `None`: the launcher's.
    pub cwd: Option<CString>,
    /// Where a daemon of the name may be; the pidfile goes into the first. None: no pidfile.
    pub places: Vec<Candidate>,
    /// Descriptors that stay open.
    pub keep_fds: Vec<RawFd>,
    /// How long the daemon may take until it is ready.
    pub timeout: Duration,
    /// The daemon gives its name, and locks its pidfile itself. There are no places then.
    pub nameless: bool,
    /// What the daemon is to know, as JSON.
    pub hello: String,
    /// What the state file of a daemon without a supervisor says beside what the daemon says itself, and rather than
    /// that: an object of JSON.
    pub state: Option<String>,
    /// What stays beside the daemon, where it asks for that.
    pub supervision: Option<Supervision>,
}

/// What is to stay beside a daemon.
#[derive(Debug)]
pub struct Supervision {
    /// The path of the program `tsdaemonize`.
    pub executable: CString,
    /// The daemon's name, for the process's title.
    pub name: CString,
    /// What it is to know, as JSON in one line.
    pub plan: Vec<u8>,
    /// Further descriptors for it, by the numbers from 6 on: no more than [`children::MOST_EXTRA`].
    pub extra: Vec<OwnedFd>,
    /// The daemon is a program that knows nothing of a hand-over: the guardian holds the pidfile from the beginning,
    /// and always becomes the supervisor.
    pub foreign: bool,
}

/// What became of a start.
#[derive(Debug)]
pub struct Outcome {
    /// The daemon's pid, or why there is none.
    pub result: Result<i32, Failure>,
    /// The pid of the supervisor that stays beside it.
    pub supervisor: Option<i32>,
    /// Where its pidfile is.
    pub place: Option<Place>,
    /// What it printed while it started.
    pub stdout: Vec<u8>,
    /// The same for standard error.
    pub stderr: Vec<u8>,
}

/// Why a start failed, as far as it is known.
#[derive(Debug, Default)]
pub struct Failure {
    /// The daemon's own error, as it serialised it.
    pub report: Option<String>,
    /// The time was up.
    pub timed_out: bool,
    /// Its launcher gave it up.
    pub cancelled: bool,
    /// Another daemon took its place while it started.
    pub supplanted: bool,
    /// The daemon asks for a supervisor, and there is none: the errno of its execve, or what it said; 0 where the plan
    /// has none.
    pub unsupervised: Option<i32>,
    /// The front gave the start up, for this reason.
    pub unready: Option<String>,
    /// The wait status of child 2.
    pub status: Option<i32>,
    /// A call of the children that failed, and its errno.
    pub step: Option<(&'static str, i32)>,
}

impl Failure {
    /// The status with which child 2 exited.
    pub fn exit_code(&self) -> Option<i32> {
        self.status.filter(|s| libc::WIFEXITED(*s)).map(|s| libc::WEXITSTATUS(s))
    }

    /// The signal that ended child 2.
    pub fn signal(&self) -> Option<i32> {
        self.status.filter(|s| libc::WIFSIGNALED(*s)).map(|s| libc::WTERMSIG(s))
    }

    /// Notes what the daemon, or child 2, says on the hand-over socket.
    pub(super) fn note(&mut self, kind: Frame, payload: &[u8]) {
        match (kind, payload) {
            (Frame::Failed, json) => self.report = Some(String::from_utf8_lossy(json).into_owned()),
            (Frame::StepFailed, &[step, a, b, c, d]) => {
                let name = children::STEPS.get(usize::from(step)).copied().unwrap_or("fork");
                self.step = Some((name, i32::from_ne_bytes([a, b, c, d])));
            }
            _ => {}
        }
    }

    /// Notes the guardian's verdict; `None`, where it was killed before it had one.
    pub(super) fn judge(&mut self, verdict: Option<(u8, i32)>) {
        match verdict {
            Some((children::DIED, status)) => self.status = Some(status),
            Some((children::TIMED_OUT, _)) => self.timed_out = true,
            Some((children::NO_CHILD, errno)) => self.step = Some(("fork", errno)),
            Some((children::NO_SUPERVISOR, errno)) => self.unsupervised = Some(errno),
            // The guardian was killed; the daemon with it (PR_SET_PDEATHSIG).
            _ => {}
        }
    }
}
