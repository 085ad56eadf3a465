//! How a daemon has ended, in words.

use std::time::Duration;

use serde_json::{Value, json};
use tsdaemonize_core::daemon::spoken;

use super::plan::now;
use crate::failed::signal_name;
use crate::time::iso;

/// The end of a daemon.
#[derive(Debug, Clone)]
pub struct Ended {
    status: i32,
    at: f64,
}

impl Ended {
    /// By its wait status, now.
    pub fn now(status: i32) -> Self {
        Self { status, at: now() }
    }

    /// Its exit status.
    pub fn code(&self) -> Option<i32> {
        libc::WIFEXITED(self.status).then(|| libc::WEXITSTATUS(self.status))
    }

    /// The signal that ended it.
    pub fn signal(&self) -> Option<i32> {
        libc::WIFSIGNALED(self.status).then(|| libc::WTERMSIG(self.status))
    }

    /// Whether this is how the end of the system looks, where everybody gets SIGTERM at about the same moment.
    pub fn may_be_of_all(&self) -> bool {
        let signals = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGPIPE];
        self.signal().is_some_and(|signal| signals.contains(&signal))
    }

    /// What happened.
    fn reason(&self) -> String {
        match (self.code(), self.signal()) {
            (Some(0), _) => "it ended by itself".to_owned(),
            (Some(code), _) => format!("it exited with status {code}"),
            (_, Some(signal @ libc::SIGKILL)) => format!(
                "it was killed by {}: by somebody, or by the kernel, if memory was short",
                signal_name(signal)
            ),
            (_, Some(signal)) if libc::WCOREDUMP(self.status) => {
                format!("it crashed by {}, and the kernel has kept its memory", signal_name(signal))
            }
            (_, Some(signal)) => format!("it was ended by {}", signal_name(signal)),
            _ => "nobody knows how it ended".to_owned(),
        }
    }

    /// A line for the log: who, how long it ran, status or signal, and why.
    pub fn in_words(&self, pid: i32, age: Duration, was_asked: Option<&str>) -> String {
        let how = match (self.code(), self.signal()) {
            (Some(code), _) => format!("with status {code}"),
            (_, Some(signal)) => format!("by {}", signal_name(signal)),
            _ => "in an unknown way".to_owned(),
        };
        let why = was_asked.map_or_else(|| self.reason(), str::to_owned);
        format!("The program (pid {pid}) ended after {} {how}: {why}", spoken(age))
    }

    /// For the state file.
    pub fn in_json(&self) -> Value {
        json!({
            "at": iso(self.at),
            "code": self.code(),
            "signal": self.signal().map(signal_name),
            "reason": self.reason(),
        })
    }
}
