//! What several logs have, as one: interleaved by time.

use std::io;
use std::os::fd::BorrowedFd;

use super::journal::Journal;
use super::lines::Piece;
use super::moment::Clock;
use super::screen::Screen;
use super::tail::Tail;

/// Where lines come from.
#[derive(Debug)]
pub enum Log {
    /// A file.
    File(Box<Tail>),
    /// The journal.
    Journal(Journal),
}

/// Why no more can be shown.
#[derive(Debug)]
pub enum Broken {
    /// A log cannot be read.
    Log(io::Error),
    /// Nothing can be written to standard output.
    Screen(io::Error),
}

/// A log, and the line of it that comes next.
#[derive(Debug)]
pub struct Feed {
    /// The log.
    pub log: Log,
    /// The index of the daemon that it is of.
    pub daemon: usize,
    next: Option<Piece>,
    /// When the last line was written: a line without a time stamp belongs to the one before.
    time: i64,
    /// The line is not among the last ones, which are asked for.
    is_left_out: bool,
}

impl Feed {
    /// Nothing of it was shown yet.
    pub fn new(log: Log, daemon: usize) -> Self {
        Self { log, daemon, next: None, time: i64::MIN, is_left_out: false }
    }

    fn fill(&mut self, follow: bool, clock: &mut Clock) -> io::Result<()> {
        if self.next.is_none() {
            self.next = match &mut self.log {
                Log::File(tail) => tail.next(follow, clock)?,
                Log::Journal(journal) => journal.next(clock)?,
            };
        }
        Ok(())
    }

    fn show(&mut self, source: usize, screen: &mut Screen, skip: &mut u64) -> io::Result<()> {
        let Some(piece) = self.next.take() else { return Ok(()) };
        self.time = piece.stamp.unwrap_or(self.time);
        if piece.starts {
            self.is_left_out = *skip > 0;
            *skip = skip.saturating_sub(1);
        }
        let bytes = match &self.log {
            Log::File(tail) => tail.bytes(piece),
            Log::Journal(journal) => journal.bytes(piece),
        };
        if !self.is_left_out {
            screen.show(source, self.daemon, bytes, piece.starts)?;
        }
        match &mut self.log {
            Log::File(tail) => tail.take(piece),
            Log::Journal(journal) => journal.take(piece),
        }
        Ok(())
    }

    /// Whether there will be no more.
    pub fn has_ended(&self) -> bool {
        matches!(&self.log, Log::Journal(journal) if journal.has_ended())
    }

    /// To be polled.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        match &self.log {
            Log::File(tail) => tail.descriptors().collect(),
            Log::Journal(journal) => journal.descriptor().into_iter().collect(),
        }
    }
}

/// Shows all that the logs have at the moment, without the first `skip` lines. The oldest line comes first; a line that
/// has begun comes whole.
pub fn show_all(
    feeds: &mut [Feed],
    follow: bool,
    skip: &mut u64,
    screen: &mut Screen,
    clock: &mut Clock,
) -> Result<(), Broken> {
    let mut last: Option<usize> = None;
    loop {
        let mut oldest: Option<(i64, usize)> = None;
        for (at, feed) in feeds.iter_mut().enumerate() {
            feed.fill(follow, clock).map_err(Broken::Log)?;
            let Some(piece) = feed.next else { continue };
            if !piece.starts && last == Some(at) {
                oldest = Some((i64::MIN, at));
                break;
            }
            let time = piece.stamp.unwrap_or(feed.time);
            // Of the same time, the log goes on that was shown last.
            let is_older =
                oldest.is_none_or(|(found, _)| time < found || (time == found && last == Some(at)));
            if is_older {
                oldest = Some((time, at));
            }
        }
        let Some((_, at)) = oldest else { return screen.flush().map_err(Broken::Screen) };
        if let Some(feed) = feeds.get_mut(at) {
            feed.show(at, screen, skip).map_err(Broken::Screen)?;
        }
        last = Some(at);
    }
}
