//! The thread that formats and sends.
//!
//! What comes from the queue stays in a [`Window`] until it has arrived, and is formatted only as it is
//! sent: a message that must go once more, even to another logger, is formatted anew.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ::syslog::{LogFormat, Logger};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::config::Config;
use super::delivery::Installed;
use super::format::{Formatter, plain};
use super::journal_stream::JournalStream;
use super::message::{Fields, Record, TOLD, cut, facility, severity};
use super::queue::{Batch, Entry, Queue};
use super::transport::{self, Connection, PATIENCE};
use crate::sys::Flight;
use crate::thread;

/// The time between two tries to reach a logger: at first, and, as it is doubled, at most.
const RETRY: Duration = Duration::from_millis(10);
const LONGEST_RETRY: Duration = Duration::from_secs(1);
/// While the sender waits for the logger, stderr and the console get a message within this.
const SHOWING: Duration = Duration::from_millis(100);
/// So many messages may be on their way to a logger that acknowledges them, and this often the sender
/// looks whether they have arrived.
const ON_THE_WAY: usize = 4096;
const ARRIVAL: Duration = Duration::from_millis(2);
/// A message that the logger finds too long is cut in halves, down to this.
const SHORTEST_CUT: usize = 480;
/// How much memory is kept for the next messages, whatever a burst has needed.
const KEPT: usize = 256 << 10;

/// Messages in their order, from the first that has not arrived.
#[derive(Debug, Default)]
struct Window {
    batch: Batch,
    /// How many bytes of text at the front are not needed any more.
    begin: usize,
}

impl Window {
    /// The messages up to the next control entry.
    fn messages(&self) -> impl Iterator<Item = (i32, Record<'_>)> {
        let mut at = self.begin;
        self.batch.entries.iter().map_while(move |entry| self.message(entry, &mut at))
    }

    /// All messages, and how each is made: as `config` says at first, and an `openlog` after `ahead` from there.
    fn all<'a>(
        &'a self,
        mut config: &'a Config,
        ahead: u64,
    ) -> impl Iterator<Item = (&'a Config, i32, Record<'a>)> {
        let mut at = self.begin;
        self.batch.entries.iter().filter_map(move |entry| {
            if let Entry::Open(next, number) = entry
                && *number > ahead
            {
                config = next;
            }
            self.message(entry, &mut at).map(|(priority, record)| (config, priority, record))
        })
    }

    /// The message of an entry, if it is one, whose text begins at `at`; then the next text begins there.
    fn message(&self, entry: &Entry, at: &mut usize) -> Option<(i32, Record<'_>)> {
        let Entry::Message { priority, time, text, fields } = *entry else { return None };
        let mut part = |length: usize| {
            *at += length;
            self.batch.text.get(*at - length..*at).unwrap_or(&[])
        };
        let (text, fields) = (part(text), Fields(part(fields)));
        Some((priority, Record { facility: facility(priority), time, text, fields }))
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
    fn refill(&mut self, queue: &Queue) {
        self.begin = 0;
        self.batch.text.clear();
        self.batch.entries.shrink_to(KEPT / size_of::<Entry>());
        self.batch.text.shrink_to(KEPT);
        queue.wait_for_entries(&mut self.batch);
    }
}

/// What the sender has in common with those who log.
#[derive(Debug)]
pub struct Common {
    /// What is to be sent.
    pub(crate) queue: Queue,
    /// Where it is counted for another process.
    pub(crate) installed: Installed,
    /// Whether stderr is where messages go.
    pub(crate) journal_stream: JournalStream,
}

impl Common {
    /// Whether what is written to stderr goes where messages go: to the journal.
    pub fn reaches_stderr(&self, config: &Config) -> bool {
        config.transport.is_journal() && self.journal_stream.reads(2)
    }
}

/// Sends what is in the queue.
pub struct Sender {
    common: &'static Common,
    config: Arc<Config>,
    logger: Logger<Vec<u8>, Formatter>,
    connection: Option<Box<dyn Connection>>,
    /// Something went by this connection.
    proven: bool,
    retry: Duration,
    window: Window,
    /// How many messages at the window's front are on their way.
    on_the_way: usize,
    /// The messages behind them that are formatted: where each begins and ends in the logger's backend.
    lines: VecDeque<(usize, usize)>,
    /// How many messages at the window's front stderr, or the console, has already.
    printed: usize,
    consoled: usize,
    /// The number of an `openlog` whose configuration counts before its turn.
    ahead: u64,
}

impl Sender {
    /// One that has sent nothing yet.
    pub fn new(common: &'static Common) -> Self {
        let config = common.queue.newest_config().0;
        let logger = Logger::new(Vec::new(), Formatter::new(&config));
        Self {
            common,
            config,
            logger,
            connection: None,
            proven: false,
            retry: RETRY,
            window: Window::default(),
            on_the_way: 0,
            lines: VecDeque::new(),
            printed: 0,
            consoled: 0,
            ahead: 0,
        }
    }

    /// Starts the thread; `false` where none can be made.
    pub fn start(common: &'static Common) -> bool {
        let run = move || {
            Self::new(common).run(None);
        };
        thread::spawn("syslog", run).is_ok()
    }

    /// Sends for ever; or, with a deadline, until all is sent (`true`) or the time is up. What is not
    /// sent by then is kept for the next time.
    pub fn run(&mut self, deadline: Option<Instant>) -> bool {
        loop {
            self.obey_controls();
            if self.window.batch.entries.is_empty() {
                if deadline.is_some() && self.common.queue.is_drained() {
                    return true;
                }
                self.window.refill(&self.common.queue);
                continue;
            }
            self.show(false);
            match self.send_some() {
                Ok(()) => {}
                Err(Errno::EAGAIN | Errno::EINTR) => {}
                Err(Errno::ENOBUFS | Errno::ENOMEM) => {
                    self.common.queue.pause(PATIENCE);
                }
                Err(Errno::EMSGSIZE) => self.shorten(),
                Err(_) if deadline.is_some_and(|at| Instant::now() >= at) => self.disconnect(),
                Err(errno) => self.lost(errno),
            }
            if deadline.is_some_and(|at| Instant::now() >= at) {
                return self.common.queue.is_drained();
            }
        }
    }

    /// Does what is asked for at the window's front, before the next message.
    fn obey_controls(&mut self) {
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
        if self.config.has(libc::LOG_NDELAY) && self.connect().is_err() {
            self.common.queue.note_connection(false);
        }
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
            let lines: Vec<_> = self.lines.iter().map(line).collect();
            let done = self.common.queue.done.load(Ordering::SeqCst);
            let installed = &self.common.installed;
            sent = installed.in_sight(done, |flight| connection.send(&lines, flight))?;
            self.lines.drain(..sent);
            self.on_the_way += sent;
            self.prove();
        }
        let delivered = self.connection.as_mut().map_or(0, |c| c.delivered(self.on_the_way));
        self.done(delivered);
        if sent == 0 && delivered == 0 {
            self.wait_for_more();
        }
        Ok(())
    }

    fn connect(&mut self) -> Result<(), Errno> {
        if self.connection.is_none() {
            let connection = transport::open(&self.config.transport)?;
            if connection.is_answered() {
                self.common.queue.note_connection(true);
            }
            self.connection = Some(connection);
            self.proven = false;
        }
        Ok(())
    }

    /// Notes that something went.
    fn prove(&mut self) {
        if !self.proven {
            self.proven = true;
            self.retry = RETRY;
            self.common.queue.note_connection(true);
        }
    }

    /// Waits for what is on its way to arrive, or for more to send.
    fn wait_for_more(&mut self) {
        self.common.queue.add_entries(&mut self.window.batch);
        if self.on_the_way >= ON_THE_WAY || self.window.messages().nth(self.on_the_way).is_none() {
            self.common.queue.pause(ARRIVAL);
        }
    }

    /// Shows what stderr, and while the logger cannot be reached the console, is to get. They wait for no
    /// logger, so this takes in what has come meanwhile.
    fn show(&mut self, is_unreachable: bool) {
        let queue = &self.common.queue;
        let done = queue.done.load(Ordering::SeqCst);
        let shown = if is_unreachable { self.printed.min(self.consoled) } else { self.printed };
        if done + shown as u64 >= queue.to_show.load(Ordering::SeqCst) {
            return;
        }
        queue.add_entries(&mut self.window.batch);
        self.print();
        if is_unreachable {
            self.show_on_console();
        }
        queue.note_shown(done + self.printed.min(self.consoled) as u64);
    }

    /// LOG_PERROR: stderr gets each message once.
    fn print(&mut self) {
        let messages = self.window.all(&self.config, self.ahead).enumerate();
        for (index, (config, priority, record)) in messages.skip(self.printed) {
            self.printed = index + 1;
            if self.consoled == index && !config.has(libc::LOG_CONS) {
                self.consoled = index + 1;
            }
            let is_told = priority & TOLD != 0 || self.common.reaches_stderr(config);
            if config.has(libc::LOG_PERROR) && !is_told {
                write_stderr(&plain(config, &record));
            }
        }
    }

    /// Waits before the logger is tried again, at most until somebody flushes.
    fn back_off(&mut self) {
        let end = Instant::now() + self.retry;
        self.retry = (self.retry * 2).min(LONGEST_RETRY);
        loop {
            self.show(true);
            let left = end.saturating_duration_since(Instant::now());
            let shows = self.common.queue.newest_config().0.is_shown();
            if self.common.queue.pause(if shows { left.min(SHOWING) } else { left })
                || Instant::now() >= end
            {
                return;
            }
        }
    }

    /// Formats the next messages.
    fn format(&mut self) {
        self.logger.backend.clear();
        let room = Flight::TOGETHER.min(ON_THE_WAY.saturating_sub(self.on_the_way));
        for (priority, record) in self.window.messages().skip(self.on_the_way).take(room) {
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
            self.on_the_way = self.on_the_way.saturating_sub(count);
            self.printed = self.printed.saturating_sub(count);
            self.consoled = self.consoled.saturating_sub(count);
            let installed = &self.common.installed;
            self.common.queue.note_done(count, bytes, |done| installed.note_sent(done));
        }
    }

    /// Cuts the first message: the logger finds it too long.
    fn shorten(&mut self) {
        let Some((from, to)) = self.lines.front_mut() else { return };
        let line = self.logger.backend.get(*from..*to).unwrap_or(&[]);
        if line.len() / 2 >= SHORTEST_CUT {
            *to = *from + cut(line, line.len() / 2).len();
        } else {
            self.lines.pop_front();
            self.on_the_way += 1;
            let delivered = self.on_the_way;
            self.done(delivered);
        }
    }

    /// Closes the connection. What is on its way and has not arrived goes once more.
    fn disconnect(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            let delivered = connection.delivered(self.on_the_way);
            self.done(delivered);
        }
        self.on_the_way = 0;
        self.lines.clear();
        self.common.queue.note_connection(false);
    }

    /// Does what there is to do where the logger cannot be reached.
    fn lost(&mut self, errno: Errno) {
        let stood = self.connection.is_some() && self.proven;
        self.disconnect();
        let (newest, number) = self.common.queue.newest_config();
        if newest.transport != self.config.transport && self.retry == LONGEST_RETRY {
            // The program has turned to another one since: what waits in vain goes there as well.
            self.open(newest);
            self.ahead = number;
            return;
        }
        let is_local = self.config.transport.path().is_some();
        if is_local
            && errno == Errno::ENOENT
            && self.config.attached
            && !self.common.queue.was_reached()
        {
            return self.show_on_stderr();
        }
        if stood {
            // Once at once: a logger that was restarted may be there already.
            return;
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
                write_stderr(&plain(&self.config, &record));
            }
        }
        self.printed = self.printed.max(count);
        self.done(count);
    }

    /// LOG_CONS. The messages are kept for the logger all the same.
    fn show_on_console(&mut self) {
        let flags = libc::O_NOCTTY | libc::O_NONBLOCK | libc::O_CLOEXEC;
        let mut console = None;
        let messages = self.window.all(&self.config, self.ahead).enumerate();
        for (index, (config, _, record)) in messages.skip(self.consoled) {
            self.consoled = index + 1;
            if config.has(libc::LOG_CONS) {
                let open =
                    || OpenOptions::new().write(true).custom_flags(flags).open("/dev/console");
                if let Ok(console) = console.get_or_insert_with(open) {
                    let _ = console.write_all(&plain(config, &record));
                }
            }
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
