//! What the program prints, line by line to the logger.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use tsdaemonize_core::output::line::Line;
use tsdaemonize_core::signal_safe::now_ms;
use tsdaemonize_core::sys;

use super::log::Log;

/// A line without its end is sent after so many milliseconds.
const IDLE: i64 = 1000;
/// It reads so many bytes at a time.
const CHUNK: usize = 4 << 10;
/// So many times in a row: then it is the others' turn.
const TURNS: usize = 16;

/// A pipe to which the program prints.
#[derive(Debug)]
pub struct Pipe {
    reader: OwnedFd,
    is_open: bool,
    priority: i32,
    line: Box<Line>,
}

impl Pipe {
    /// Standard output's, 1, or standard error's, 2.
    pub fn new(number: usize, reader: OwnedFd) -> Self {
        let priority = if number == 1 { libc::LOG_INFO } else { libc::LOG_ERR };
        Self { reader, is_open: true, priority, line: Box::new(Line::new()) }
    }

    /// What the launcher has read from it.
    pub fn go_on_from(&mut self, kept: &File, lost: u64, log: &mut Log) {
        let mut chunk = [0; CHUNK];
        let mut at = 0;
        while let Ok(count @ 1..) = kept.read_at(&mut chunk, at) {
            self.take(chunk.get(..count).unwrap_or(&[]), log);
            at += count as u64;
        }
        if lost > 0 {
            self.end_line(log);
            let text = format!("{lost} bytes that were printed during the start were lost here");
            log.say(libc::LOG_WARNING, &text);
        }
    }

    fn take(&mut self, bytes: &[u8], log: &mut Log) {
        for byte in bytes {
            self.line.push(*byte, &mut |text, _| log.add(self.priority, text));
        }
    }

    /// Ends a line that has no end yet.
    pub fn end_line(&mut self, log: &mut Log) {
        self.line.end(&mut |text, _| log.add(self.priority, text));
    }

    /// To be polled, while somebody can print to it.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.is_open.then(|| self.reader.as_fd())
    }

    /// Reads what there is, or a part, and ends a line that has waited long enough.
    pub fn read(&mut self, log: &mut Log) {
        let mut chunk = [0; CHUNK];
        for _ in 0..TURNS {
            if !self.is_open {
                break;
            }
            match sys::again(|| nix::unistd::read(&self.reader, &mut chunk)) {
                Ok(0) => {
                    self.is_open = false;
                    self.end_line(log);
                }
                Ok(count) => self.take(chunk.get(..count).unwrap_or(&[]), log),
                Err(_) => break,
            }
        }
        if self.line.is_idle(now_ms() - IDLE) {
            self.end_line(log);
        }
    }

    /// When to look at a line without its end.
    pub fn due(&self) -> Option<Instant> {
        let waits = !self.line.is_empty();
        let left = (self.line.since + IDLE - now_ms()).max(0);
        waits.then(|| Instant::now() + Duration::from_millis(left.unsigned_abs()))
    }
}
