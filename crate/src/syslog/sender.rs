//! The thread that formats and sends.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ::syslog::{LogFormat, Logger};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};

use super::format::{Record, Rfc3164, facility, severity};
use super::local::{Local, TOGETHER};
use super::{Batch, Config, Entry, note_connection, note_sent, take_waiting};

/// Between two tries to reach a logger: this at first, doubled up to the longest.
const RETRY: Duration = Duration::from_millis(10);
const LONGEST_RETRY: Duration = Duration::from_secs(1);
/// A logger that is full is looked at again after this, even if poll(2) has not woken us.
const FULL: Duration = Duration::from_millis(50);
/// A message that the logger finds too long is cut in halves, down to this.
const SHORTEST_CUT: usize = 480;

/// Starts the thread; `false` where none can be had.
pub fn start() -> bool {
    // The thread inherits the mask: signals are the main thread's.
    let old = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).ok();
    let thread = std::thread::Builder::new()
        .name("syslog".into())
        .stack_size(128 << 10)
        .spawn(|| Sender::new().run(None));
    if let Some(old) = old {
        let _ = old.thread_set_mask();
    }
    thread.is_ok()
}

/// Without a thread: sends what waits, in the caller's, for as long as `timeout`.
pub fn send_here(timeout: Duration) -> bool {
    static HERE: Mutex<Option<Sender>> = Mutex::new(None);
    let mut here = HERE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    here.get_or_insert_with(Sender::new).run(Some(Instant::now() + timeout))
}

/// A message, formatted.
#[derive(Debug)]
struct Line {
    bytes: Vec<u8>,
    /// Of its text in the queue.
    length: usize,
    /// For stderr and the console.
    plain: Option<Vec<u8>>,
}

struct Sender {
    config: Option<Arc<Config>>,
    logger: Option<Logger<Vec<u8>, Rfc3164>>,
    connection: Option<Local>,
    retry: Duration,
    batch: Batch,
    lines: Vec<Line>,
}

impl Sender {
    fn new() -> Self {
        Self {
            config: None,
            logger: None,
            connection: None,
            retry: RETRY,
            batch: Batch::default(),
            lines: Vec::new(),
        }
    }

    /// Sends for ever; or, with a deadline, until all is sent (`true`) or the time is up. What is not
    /// sent by then is kept, formatted, for the next time.
    fn run(&mut self, deadline: Option<Instant>) -> bool {
        loop {
            if !self.send(deadline) {
                return false;
            }
            if deadline.is_some() && super::stats().queued == 0 {
                return true;
            }
            take_waiting(&mut self.batch);
            let mut batch = std::mem::take(&mut self.batch);
            let mut text = batch.text.as_slice();
            for entry in batch.entries.drain(..) {
                match entry {
                    Entry::Message { priority, time, length } => {
                        let (message, rest) = text.split_at(length.min(text.len()));
                        text = rest;
                        self.format(priority, time, message);
                        if self.lines.len() >= TOGETHER && deadline.is_none() {
                            self.send(None);
                        }
                    }
                    Entry::Open(config) => {
                        self.send(deadline);
                        self.open(config);
                    }
                    Entry::Close => {
                        self.send(deadline);
                        self.connection = None;
                    }
                }
            }
            batch.text.clear();
            // What one burst needed is not kept for ever.
            batch.text.shrink_to(64 << 10);
            self.batch = batch;
        }
    }

    fn open(&mut self, config: Arc<Config>) {
        let same = self.config.as_ref().is_some_and(|old| old.path == config.path);
        if !same {
            self.connection = None;
        }
        self.logger = Some(Logger::new(Vec::new(), Rfc3164::new(&config)));
        let now = config.options & libc::LOG_NDELAY != 0;
        self.config = Some(config);
        if now {
            let _ = self.connected();
        }
    }

    fn format(&mut self, priority: i32, time: SystemTime, text: &[u8]) {
        let Some(logger) = &mut self.logger else { return };
        logger.formatter.set_time(if time < UNIX_EPOCH { UNIX_EPOCH } else { time });
        let record = Record { facility: facility(priority), time, text };
        let _ = logger.formatter.format(&mut logger.backend, severity(priority), record);
        let options = self.config.as_ref().map_or(0, |c| c.options);
        let attached = self.config.as_ref().is_some_and(|c| c.attached);
        let elsewhere = options & (libc::LOG_PERROR | libc::LOG_CONS) != 0 || attached;
        let plain = elsewhere.then(|| logger.formatter.plain(text));
        if let (true, Some(plain)) = (options & libc::LOG_PERROR != 0, &plain) {
            let _ = std::io::stderr().write_all(plain);
        }
        let bytes = std::mem::take(&mut logger.backend);
        self.lines.push(Line { bytes, length: text.len(), plain });
    }

    /// Sends all lines, however long it takes, or until the deadline; `false` then.
    fn send(&mut self, deadline: Option<Instant>) -> bool {
        let mut consoled = false;
        while !self.lines.is_empty() {
            match self.send_some() {
                Ok(count) => {
                    self.retry = RETRY;
                    self.done(count);
                }
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM | Errno::EINTR) => {
                    if let Some(local) = &self.connection {
                        local.await_room(FULL);
                    }
                }
                Err(Errno::EMSGSIZE) => self.shorten(),
                Err(errno) => {
                    self.connection = None;
                    note_connection(false);
                    if errno == Errno::ENOENT && self.is_attached() {
                        self.show_on_stderr();
                        continue;
                    }
                    if !consoled {
                        consoled = true;
                        self.show_on_console();
                    }
                    std::thread::sleep(self.retry);
                    self.retry = (self.retry * 2).min(LONGEST_RETRY);
                }
            }
            if deadline.is_some_and(|at| Instant::now() >= at) && !self.lines.is_empty() {
                return false;
            }
        }
        true
    }

    fn send_some(&mut self) -> Result<usize, Errno> {
        self.connected()?;
        let local = self.connection.as_mut().ok_or(Errno::ENOTCONN)?;
        let messages = self.lines.iter().map(|line| line.bytes.as_slice());
        local.send(&messages.collect::<Vec<_>>())
    }

    fn connected(&mut self) -> Result<(), Errno> {
        if self.connection.is_none() {
            let path = self.config.as_ref().map(|c| c.path.as_path()).ok_or(Errno::ENOENT)?;
            self.connection = Some(Local::connect(path)?);
            note_connection(true);
        }
        Ok(())
    }

    fn done(&mut self, count: usize) {
        let bytes = self.lines.drain(..count.min(self.lines.len())).map(|line| line.length).sum();
        note_sent(count, bytes);
    }

    /// The logger takes no datagram of this size.
    fn shorten(&mut self) {
        let Some(line) = self.lines.first_mut() else { return };
        let mut length = line.bytes.len() / 2;
        if length < SHORTEST_CUT {
            return self.done(1);
        }
        while length > 0 && line.bytes.get(length).is_some_and(|byte| byte & 0xc0 == 0x80) {
            length -= 1;
        }
        line.bytes.truncate(length);
    }

    fn is_attached(&self) -> bool {
        self.config.as_ref().is_some_and(|c| c.attached)
    }

    /// There is no logger at all, as in a bare container: whoever started us reads stderr. With
    /// LOG_PERROR it has them already.
    fn show_on_stderr(&mut self) {
        let shown = self.config.as_ref().is_some_and(|c| c.options & libc::LOG_PERROR != 0);
        if !shown {
            for plain in self.lines.iter().filter_map(|line| line.plain.as_ref()) {
                let _ = std::io::stderr().write_all(plain);
            }
        }
        self.done(self.lines.len());
    }

    /// LOG_CONS: the logger cannot be reached. The messages are kept for it all the same.
    fn show_on_console(&mut self) {
        if self.config.as_ref().is_none_or(|c| c.options & libc::LOG_CONS == 0) {
            return;
        }
        let flags = libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_CLOEXEC;
        let Ok(mut console) =
            OpenOptions::new().write(true).custom_flags(flags).open("/dev/console")
        else {
            return;
        };
        for plain in self.lines.iter().filter_map(|line| line.plain.as_ref()) {
            let _ = console.write_all(plain);
        }
    }
}
