//! What a person at a terminal sees while a verb waits for a daemon's end: as ts/command/waiting.ts.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tsdaemonize_core::thread;

use crate::output;
use crate::words::seconds;

/// How often the line is renewed.
const SECOND: Duration = Duration::from_secs(1);
/// The columns of a terminal that does not say how many it has.
const WIDTH: usize = 80;

/// One line on the terminal, from the second second on. It vanishes with this value.
#[derive(Debug)]
pub struct Waiting {
    end: Option<Sender<()>>,
    ended: Option<Receiver<()>>,
}

impl Waiting {
    /// Begins to wait for a daemon's end, which SIGKILL follows after `limit`.
    pub fn begin(name: &str, limit: Duration) -> Self {
        let (end, asked) = channel();
        let (tell, ended) = channel();
        let what = format!("{name}: waiting for the daemon's end");
        let show = move || {
            renew(&what, limit, &asked);
            drop(tell);
        };
        // Without a thread there is no line.
        let is_shown = io::stderr().is_terminal() && thread::spawn("waiting", show).is_ok();
        Self { end: is_shown.then_some(end), ended: is_shown.then_some(ended) }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.end = None;
        if let Some(ended) = &self.ended {
            let _ = ended.recv();
        }
    }
}

fn renew(what: &str, limit: Duration, asked: &Receiver<()>) {
    let begun = Instant::now();
    let mut before = 0;
    let mut show = |line: &str| {
        let columns = output::width(&io::stderr()).unwrap_or(WIDTH);
        // A line that wraps could not be renewed.
        let line: String = line.chars().take(columns - 1).collect();
        let length = line.chars().count();
        // By spaces: not every terminal knows how to erase.
        let home = if length == 0 { "\r" } else { "" };
        let gap = " ".repeat(before.max(length) - length);
        let _ = io::stderr().lock().write_all(format!("\r{line}{gap}{home}").as_bytes());
        before = length;
    };
    while asked.recv_timeout(SECOND) == Err(RecvTimeoutError::Timeout) {
        let passed = (begun.elapsed() + SECOND / 2).as_secs();
        show(&format!("{what}: {passed} s of {} s, then SIGKILL", seconds(limit)));
    }
    if begun.elapsed() >= SECOND {
        show("");
    }
}
