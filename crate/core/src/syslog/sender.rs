//! The thread that formats and sends.
//!
//! What it took from the queue stays in a [`Window`] until it has arrived, and is formatted only as
//! it is sent: a message that must go once more, to another place even, is made anew.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ::syslog::{LogFormat, Logger};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::format::journal::Journal;
use super::message::{Fields, Formatter, Record, cut, facility, plain, severity};
use super::queue::{Batch, Entry};
use super::transport::local::{Local, PATIENCE, TOGETHER};
use super::transport::tcp::{Tcp, Udp};
use super::{Config, QUEUE, TOLD, Transport};
use crate::thread;

/// Between two tries to reach a logger: this at first, doubled up to the longest.
const RETRY: Duration = Duration::from_millis(10);
const LONGEST_RETRY: Duration = Duration::from_secs(1);
/// While it waits, LOG_PERROR has messages on stderr within this.
const PRINTING: Duration = Duration::from_millis(100);
/// So many messages may be on their way to a logger that acknowledges them; whether they have
/// arrived is looked at this often.
const ON_THE_WAY: usize = 4096;
const ARRIVAL: Duration = Duration::from_millis(2);
/// A message that the logger finds too long is cut in halves, down to this.
const SHORTEST_CUT: usize = 480;
/// What one burst needed is not kept for ever.
const KEPT: usize = 256 << 10;

/// Starts the thread; `false` where none can be had.
pub fn start() -> bool {
    let run = || {
        Sender::new().run(None);
    };
    thread::spawn("syslog", run).is_ok()
}

/// Without a thread: sends what waits, in the caller's, for as long as `timeout`.
pub fn send_here(timeout: Duration) -> bool {
    static HERE: Mutex<Option<Sender>> = Mutex::new(None);
    let mut here = HERE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    here.get_or_insert_with(Sender::new).run(Some(Instant::now() + timeout))
}

/// Messages in their order, from the first that has not arrived.
#[derive(Debug, Default)]
struct Window {
    batch: Batch,
    /// Bytes of text at the front that are done with.
    begin: usize,
}

impl Window {
    /// The messages up to the next control entry.
    fn messages(&self) -> impl Iterator<Item = (i32, Record<'_>)> {
        let mut at = self.begin;
        let mut part = move |length: usize| {
            at += length;
            self.batch.text.get(at - length..at).unwrap_or(&[])
        };
        self.batch.entries.iter().map_while(move |entry| match *entry {
            Entry::Message { priority, time, text, fields } => {
                let (text, fields) = (part(text), Fields(part(fields)));
                Some((priority, Record { facility: facility(priority), time, text, fields }))
            }
            _ => None,
        })
    }

    /// Removes messages from the front; returns how many bytes they had.
    fn remove(&mut self, count: usize) -> usize {
        let mut bytes = 0;
        for entry in self.batch.entries.drain(..count) {
            if let Entry::Message { text, fields, .. } = entry {
                bytes += text + fields;
            }
        }
        self.begin += bytes;
        if self.begin > KEPT.max(self.batch.text.len() / 2) {
            self.batch.text.drain(..self.begin);
            self.begin = 0;
        }
        bytes
    }

    /// Removes what stands at the front, if it is no message.
    fn remove_control(&mut self) -> Option<Entry> {
        let is_message = matches!(self.batch.entries.front(), None | Some(Entry::Message { .. }));
        if is_message { None } else { self.batch.entries.pop_front() }
    }

    /// Waits for messages. For an empty window.
    fn refill(&mut self) {
        self.begin = 0;
        self.batch.text.clear();
        self.batch.entries.shrink_to(KEPT / size_of::<Entry>());
        self.batch.text.shrink_to(KEPT);
        QUEUE.take_waiting(&mut self.batch);
    }
}

/// A way to the logger.
#[derive(Debug)]
enum Connection {
    Local(Local),
    Udp(Udp),
    Tcp(Tcp),
    Journal(Journal),
}

impl Connection {
    fn open(transport: &Transport) -> Result<Self, Errno> {
        Ok(match transport {
            Transport::Local(path) => Self::Local(Local::connect(path)?),
            Transport::Udp(remote) => Self::Udp(Udp::connect(remote)?),
            Transport::Tcp(remote) => Self::Tcp(Tcp::connect(remote)?),
            Transport::Journal(path) => Self::Journal(Journal::connect(path)?),
        })
    }

    fn send(&mut self, messages: &[&[u8]]) -> Result<usize, Errno> {
        match self {
            Self::Local(local) => local.send(messages),
            Self::Udp(udp) => udp.send(messages),
            Self::Tcp(tcp) => tcp.send(messages),
            Self::Journal(journal) => journal.send(messages),
        }
    }

    /// How many of the `taken` messages have arrived, as far as one can know.
    fn delivered(&mut self, taken: usize) -> usize {
        if let Self::Tcp(tcp) = self { tcp.delivered() } else { taken }
    }

    fn check(&mut self) -> Result<(), Errno> {
        if let Self::Tcp(tcp) = self { tcp.check() } else { Ok(()) }
    }
}

struct Sender {
    config: Arc<Config>,
    logger: Logger<Vec<u8>, Formatter>,
    connection: Option<Connection>,
    /// Something went by this connection.
    proven: bool,
    retry: Duration,
    window: Window,
    /// Messages at the window's front that are on their way.
    taken: usize,
    /// Behind them: messages that are formatted, where each ends in the logger's backend, and the
    /// first that has not been sent.
    lines: VecDeque<(usize, usize)>,
    /// Messages at the window's front that stderr, or the console, has already.
    printed: usize,
    consoled: usize,
    /// The configuration of this `openlog` was put in place before its turn.
    ahead: u64,
}

impl Sender {
    fn new() -> Self {
        let config = super::newest_config();
        let logger = Logger::new(Vec::new(), Formatter::new(&config));
        Self {
            config,
            logger,
            connection: None,
            proven: false,
            retry: RETRY,
            window: Window::default(),
            taken: 0,
            lines: VecDeque::new(),
            printed: 0,
            consoled: 0,
            ahead: 0,
        }
    }

    /// Sends for ever; or, with a deadline, until all is sent (`true`) or the time is up. What is not
    /// sent by then is kept for the next time.
    fn run(&mut self, deadline: Option<Instant>) -> bool {
        loop {
            self.take_controls();
            if self.window.batch.entries.is_empty() {
                if deadline.is_some() && QUEUE.is_drained() {
                    return true;
                }
                self.window.refill();
                continue;
            }
            self.print();
            match self.send_some() {
                Ok(()) => {}
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(Errno::ENOBUFS | Errno::ENOMEM) => QUEUE.pause(PATIENCE),
                Err(Errno::EMSGSIZE) => self.shorten(),
                Err(_) if deadline.is_some_and(|at| Instant::now() >= at) => self.disconnect(),
                Err(errno) => self.lost(errno),
            }
            if deadline.is_some_and(|at| Instant::now() >= at) {
                return QUEUE.is_drained();
            }
        }
    }

    /// What stands at the window's front and is no message.
    fn take_controls(&mut self) {
        while let Some(entry) = self.window.remove_control() {
            match entry {
                Entry::Open(config, number) if number > self.ahead => self.open(config),
                Entry::Close(number) if number >= self.ahead => self.connection = None,
                _ => {}
            }
        }
    }

    fn open(&mut self, config: Arc<Config>) {
        if config.transport != self.config.transport {
            self.connection = None;
            self.retry = RETRY;
        }
        self.logger.formatter = Formatter::new(&config);
        self.config = config;
        if self.has(libc::LOG_NDELAY) && self.connect().is_err() {
            QUEUE.note_connection(false);
        }
    }

    fn has(&self, option: i32) -> bool {
        self.config.options & option != 0
    }

    fn send_some(&mut self) -> Result<(), Errno> {
        self.connect()?;
        if self.lines.is_empty() {
            self.format();
        }
        let Some(connection) = &mut self.connection else { return Err(Errno::ENOTCONN) };
        let mut sent = 0;
        if self.lines.is_empty() {
            connection.check()?;
        } else {
            let bytes = &self.logger.backend;
            let line = |(from, to): &(usize, usize)| bytes.get(*from..*to).unwrap_or(&[]);
            sent = connection.send(&self.lines.iter().map(line).collect::<Vec<_>>())?;
            self.lines.drain(..sent);
            self.taken += sent;
            self.prove();
        }
        let delivered = self.connection.as_mut().map_or(0, |c| c.delivered(self.taken));
        self.done(delivered);
        if sent == 0 && delivered == 0 {
            self.wait_for_more();
        }
        Ok(())
    }

    fn connect(&mut self) -> Result<(), Errno> {
        if self.connection.is_none() {
            let connection = Connection::open(&self.config.transport)?;
            if !matches!(connection, Connection::Udp(_)) {
                QUEUE.note_connection(true);
            }
            self.connection = Some(connection);
            self.proven = false;
        }
        Ok(())
    }

    /// Something went.
    fn prove(&mut self) {
        if !self.proven {
            self.proven = true;
            self.retry = RETRY;
            QUEUE.note_connection(true);
        }
    }

    /// All is on its way: waits for it to arrive, or for more to send.
    fn wait_for_more(&mut self) {
        QUEUE.take_more(&mut self.window.batch);
        if self.taken >= ON_THE_WAY || self.window.messages().nth(self.taken).is_none() {
            QUEUE.pause(ARRIVAL);
        }
    }

    /// LOG_PERROR: stderr gets each message once, and waits for no logger.
    fn print(&mut self) {
        if !self.has(libc::LOG_PERROR) {
            return;
        }
        for (index, (priority, record)) in self.window.messages().enumerate().skip(self.printed) {
            self.printed = index + 1;
            if priority & TOLD == 0 && !self.config.goes_to_stderr() {
                write_stderr(&plain(&self.config, record));
            }
        }
    }

    /// Waits before the logger is tried again.
    fn back_off(&mut self) {
        let end = Instant::now() + self.retry;
        self.retry = (self.retry * 2).min(LONGEST_RETRY);
        while self.has(libc::LOG_PERROR) && Instant::now() + PRINTING < end {
            QUEUE.pause(PRINTING);
            QUEUE.take_more(&mut self.window.batch);
            self.print();
        }
        QUEUE.pause(end.saturating_duration_since(Instant::now()));
    }

    /// Formats the next messages.
    fn format(&mut self) {
        self.logger.backend.clear();
        let room = TOGETHER.min(ON_THE_WAY.saturating_sub(self.taken));
        for (priority, record) in self.window.messages().skip(self.taken).take(room) {
            let from = self.logger.backend.len();
            self.logger.formatter.set_time(record.time);
            let Logger { formatter, backend } = &mut self.logger;
            let _ = formatter.format(backend, severity(priority), record);
            self.lines.push_back((from, backend.len()));
        }
    }

    fn done(&mut self, count: usize) {
        if count > 0 {
            let bytes = self.window.remove(count);
            self.taken = self.taken.saturating_sub(count);
            self.printed = self.printed.saturating_sub(count);
            self.consoled = self.consoled.saturating_sub(count);
            QUEUE.note_done(count, bytes);
        }
    }

    /// The logger takes no message of this size.
    fn shorten(&mut self) {
        let Some((from, to)) = self.lines.front_mut() else { return };
        let line = self.logger.backend.get(*from..*to).unwrap_or(&[]);
        if line.len() / 2 >= SHORTEST_CUT {
            *to = *from + cut(line, line.len() / 2).len();
        } else {
            self.lines.pop_front();
            self.taken += 1;
            let delivered = self.taken;
            self.done(delivered);
        }
    }

    /// What is on its way and has not arrived goes once more.
    fn disconnect(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            let delivered = connection.delivered(self.taken);
            self.done(delivered);
        }
        self.taken = 0;
        self.lines.clear();
        QUEUE.note_connection(false);
    }

    /// The logger cannot be reached.
    fn lost(&mut self, errno: Errno) {
        let stood = self.connection.is_some() && self.proven;
        self.disconnect();
        let (newest, number) = QUEUE.newest_config();
        if newest.transport != self.config.transport && self.retry == LONGEST_RETRY {
            // The program has turned to another one since: what waits in vain goes there as well.
            self.open(newest);
            self.ahead = number;
            return;
        }
        let local = matches!(self.config.transport, Transport::Local(_) | Transport::Journal(_));
        if local && errno == Errno::ENOENT && self.config.attached && !QUEUE.was_reached() {
            return self.show_on_stderr();
        }
        if stood {
            // Once at once: a logger that was restarted may be there already.
            return;
        }
        if self.has(libc::LOG_CONS) {
            QUEUE.take_more(&mut self.window.batch);
            self.show_on_console();
        }
        self.back_off();
    }

    /// There is no logger at all, as in a bare container: whoever started us reads stderr. With
    /// LOG_PERROR it has some of them already.
    fn show_on_stderr(&mut self) {
        let mut count = 0;
        for (index, (priority, record)) in self.window.messages().enumerate() {
            count = index + 1;
            if index >= self.printed && priority & TOLD == 0 {
                write_stderr(&plain(&self.config, record));
            }
        }
        self.printed = count;
        self.done(count);
    }

    /// LOG_CONS. The messages are kept for the logger all the same.
    fn show_on_console(&mut self) {
        let flags = libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_CLOEXEC;
        let console = OpenOptions::new().write(true).custom_flags(flags).open("/dev/console");
        let Ok(mut console) = console else { return };
        for (index, (_, record)) in self.window.messages().enumerate().skip(self.consoled) {
            self.consoled = index + 1;
            let _ = console.write_all(&plain(&self.config, record));
        }
    }
}

/// Writes to stderr, which libuv may have made non-blocking: then it waits for a reader, a while.
pub fn write_stderr(line: &[u8]) {
    let mut rest = line;
    let stderr = std::io::stderr();
    while !rest.is_empty() {
        match stderr.lock().write(rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or(&[]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
                if poll(&mut fds, PollTimeout::from(1000u16)) == Ok(0) {
                    return;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
