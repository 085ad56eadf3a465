//! What the supervisor logs: what the program prints, and how it ends. Nothing waits for the logger: what it does not
//! take is kept up to a limit, and what is beyond that is counted.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use tsdaemonize_core::output::log_file;
use tsdaemonize_core::signal_safe::now_ms;
use tsdaemonize_core::syslog::direct::Direct;
use tsdaemonize_core::syslog::message::severity;

/// So many bytes of messages wait at most.
const MOST: usize = 256 << 10;
/// In the middle of a stream's message it waits for so many milliseconds.
const STREAM: i64 = 200;
/// The first and the longest pause before the logger is tried again.
const RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// The way to the logger, and what waits for it.
#[derive(Debug)]
pub struct Log {
    name: String,
    /// Where there is no logger, what the supervisor itself has to say goes to this file.
    file: Option<PathBuf>,
    logger: Option<Direct>,
    waiting: VecDeque<(i32, SystemTime, Vec<u8>)>,
    bytes: usize,
    dropped: u64,
    /// The logger has no room: it can be waited for.
    is_full: bool,
    /// When it is tried again.
    next: Option<Instant>,
    pause: Duration,
}

impl Log {
    /// Under this name.
    pub fn new(name: &str, file: Option<PathBuf>) -> Self {
        Self {
            name: name.to_owned(),
            file,
            logger: Direct::to_local_logger(name),
            waiting: VecDeque::new(),
            bytes: 0,
            dropped: 0,
            is_full: false,
            next: None,
            pause: RETRY,
        }
    }

    /// Adds a message.
    pub fn add(&mut self, priority: i32, text: &[u8]) {
        if self.bytes + text.len() > MOST {
            self.dropped += 1;
            return;
        }
        self.bytes += text.len();
        self.waiting.push_back((priority, SystemTime::now(), text.to_vec()));
    }

    /// Adds what the supervisor itself has to say. It stands in the program's log file as well.
    pub fn say(&mut self, priority: i32, text: &str) {
        self.add(priority, text.as_bytes());
        if let Some(path) = &self.file
            && let Ok((file, _)) = log_file::open(path)
        {
            let _ = File::from(file).write_all(format!("{}: {text}\n", self.name).as_bytes());
        }
    }

    /// Sends what can be sent at once.
    pub fn send(&mut self) {
        self.is_full = false;
        if self.next.is_some_and(|next| Instant::now() < next) {
            return;
        }
        self.next = None;
        let Some(logger) = &mut self.logger else { return };
        loop {
            let Some((priority, time, text)) = self.waiting.front() else {
                if self.dropped == 0 {
                    return;
                }
                let text =
                    format!("{} messages were dropped: the logger was too slow", self.dropped);
                self.dropped = 0;
                self.add(libc::LOG_WARNING, text.as_bytes());
                return self.send();
            };
            logger.look_at_zone(*time);
            logger.compose(severity(*priority), *time, text);
            let mut sent = logger.try_to_send(now_ms() + STREAM);
            while sent == Err(Errno::EMSGSIZE) && logger.shorten() {
                sent = logger.try_to_send(now_ms() + STREAM);
            }
            match sent {
                // What is too long even now is nobody's to send.
                Ok(()) | Err(Errno::EMSGSIZE) => {
                    self.bytes -= text.len();
                    self.waiting.pop_front();
                    self.pause = RETRY;
                }
                Err(Errno::EAGAIN) => {
                    self.is_full = true;
                    return;
                }
                Err(_) => {
                    logger.disconnect();
                    self.next = Some(Instant::now() + self.pause);
                    self.pause = (self.pause * 2).min(LONGEST_RETRY);
                    return;
                }
            }
        }
    }

    /// The connection, where its room is waited for.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.logger.as_ref().filter(|_| self.is_full)?.descriptor()
    }

    /// When to send again.
    pub fn due(&self) -> Option<Instant> {
        self.next.filter(|_| !self.waiting.is_empty())
    }

    /// At the end: sends what waits, for a while. A logger that is not there is not waited for.
    pub fn finish(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        self.next = None;
        self.send();
        while !self.waiting.is_empty() && self.is_full && Instant::now() < deadline {
            if let Some(logger) = &self.logger {
                logger.wait_for_room();
            }
            self.send();
        }
    }
}
