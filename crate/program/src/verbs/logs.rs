//! `logs`: what daemons have logged, and what they log from now on.

mod feed;
mod journal;
mod lines;
mod moment;
mod places;
mod screen;
mod since;
mod syslog_file;
mod tail;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, raise};
use tsdaemonize_core::error::reason;
use tsdaemonize_core::poll::timeout;
use tsdaemonize_core::sys;

use self::feed::{Broken, Feed, Log, show_all};
use self::journal::Journal;
use self::lines::Wanted;
use self::moment::Clock;
use self::places::Place;
use self::screen::Screen;
use self::syslog_file::Ident;
use self::tail::Tail;
use crate::command_line::Call;
use crate::error::{FAILED, Failure, USAGE};
use crate::names::{Named, named};
use crate::output;

/// How many lines come before those that are followed, as with tail(1) and journalctl(1).
const BEFORE: u64 = 10;
/// How often a file is looked at where the system does not tell of changes.
const BLIND: Duration = Duration::from_millis(250);

/// What was asked for.
struct Asked {
    follow: bool,
    last: Option<u64>,
    since: Option<i64>,
}

/// Runs the verb.
pub fn run(call: &Call) -> Result<ExitCode, Failure> {
    let mut clock = Clock::new();
    let asked = asked(call, &mut clock)?;
    let mut daemons: Vec<Named> = Vec::new();
    for operand in &call.operands {
        let named = named(call, operand)?;
        if daemons.iter().all(|known| known.name != named.name) {
            daemons.push(named);
        }
    }
    // Nobody reads any more: that ends this process as it ends others.
    sys::set_disposition(libc::SIGPIPE, libc::SIG_DFL);
    let mut status = 0;
    let mut feeds = Vec::new();
    for (daemon, named) in daemons.iter().enumerate() {
        let found = places::find(named, asked.follow, &mut clock)
            .and_then(|found| open(named, found, daemon, &asked, &mut clock));
        match found {
            Ok(found) => feeds.extend(found),
            Err(failure) => status = status.max(failure.tell_of(&named.name)),
        }
    }
    if !feeds.is_empty() {
        let names: Vec<&str> = daemons.iter().map(|named| named.name.as_str()).collect();
        let mut screen = Screen::new(&names).map_err(unwritable)?;
        show(&mut feeds, &asked, &mut screen, &mut clock)?;
    }
    Ok(ExitCode::from(status))
}

fn asked(call: &Call, clock: &mut Clock) -> Result<Asked, Failure> {
    let follow = call.has("follow");
    let since = call.value("since").map(|value| since::parse(value, clock)).transpose()?;
    let count = |value: &std::ffi::OsStr| {
        let digits = value.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| {
            let given = value.display();
            Failure::new(
                USAGE,
                format!("`--lines` takes a whole number, such as 20; got '{given}'"),
            )
        })
    };
    let last = call.value("lines").map(count).transpose()?;
    let last = last.or_else(|| (follow && since.is_none()).then_some(BEFORE));
    Ok(Asked { follow, last, since })
}

/// Opens the logs of a daemon.
fn open(
    named: &Named,
    found: Vec<Place>,
    daemon: usize,
    asked: &Asked,
    clock: &mut Clock,
) -> Result<Vec<Feed>, Failure> {
    let mut feeds = Vec::new();
    for place in found {
        let failed = |what: &str, error: &io::Error| {
            Failure::new(FAILED, format!("Cannot read {what} of '{}': {}", named.name, why(error)))
        };
        let (path, file, ident) = match place {
            Place::Journal => {
                let journal = Journal::begin(&named.name, asked.since, asked.last, clock)
                    .map_err(|error| failed("journalctl(1)", &error))?;
                feeds.push(Feed::new(Log::Journal(journal), daemon));
                continue;
            }
            Place::Syslog(path, file) => (path, Some(file), Some(Ident(named.name.clone()))),
            Place::File { path, file } => (path, file, None),
        };
        let shown = path.display().to_string();
        let tail = Tail::new(path, file, Wanted { ident, time: true });
        let tail = tail.map_err(|error| failed(&shown, &error))?;
        feeds.push(Feed::new(Log::File(Box::new(tail)), daemon));
    }
    Ok(feeds)
}

/// Shows what is there, and what follows.
fn show(
    feeds: &mut [Feed],
    asked: &Asked,
    screen: &mut Screen,
    clock: &mut Clock,
) -> Result<(), Failure> {
    let mut lines = 0;
    for feed in feeds.iter_mut() {
        lines += begin(feed, asked, clock).map_err(unreadable)?;
    }
    let mut skip = asked.last.map_or(0, |last| lines.saturating_sub(last));
    show_all(feeds, false, &mut skip, screen, clock).map_err(broken)?;
    if asked.follow { follow(feeds, screen, clock) } else { Ok(()) }
}

/// Goes to where a log begins to be shown. Returns how many lines that are, where a number was asked for.
fn begin(feed: &mut Feed, asked: &Asked, clock: &mut Clock) -> io::Result<u64> {
    match &mut feed.log {
        Log::Journal(journal) if asked.last.is_some() => journal.count(),
        Log::Journal(_) => Ok(0),
        Log::File(tail) => {
            let begun = tail.begin(asked.since, asked.last, clock)?;
            if begun.is_timeless {
                let path = tail.path().display();
                let so = if begun.is_newer {
                    "all are shown: the file was written to after that time"
                } else {
                    "none is shown: the file was last written to before that time"
                };
                output::warn(&format!(
                    "The lines of {path} have no time stamps by which `--since` could judge them; {so}"
                ));
            }
            Ok(begun.lines)
        }
    }
}

/// Goes on until somebody ends this process, or nobody reads any more.
fn follow(feeds: &mut [Feed], screen: &mut Screen, clock: &mut Clock) -> Result<(), Failure> {
    for feed in feeds.iter_mut() {
        match &mut feed.log {
            Log::File(tail) => tail.follow(),
            Log::Journal(journal) => journal.follow().map_err(unreadable)?,
        }
    }
    loop {
        show_all(feeds, true, &mut 0, screen, clock).map_err(broken)?;
        let mut is_blind = false;
        for feed in feeds.iter_mut() {
            if let Log::File(tail) = &mut feed.log {
                if let Some(error) = tail.look_again() {
                    let path = tail.path().display();
                    output::warn(&format!("Cannot read the new log file {path}: {}", why(&error)));
                }
                is_blind |= tail.is_blind();
            }
        }
        show_all(feeds, true, &mut 0, screen, clock).map_err(broken)?;
        if feeds.iter().all(Feed::has_ended) {
            return Err(Failure::new(FAILED, "journalctl(1) has ended. Look at `journalctl -f`"));
        }
        wait(feeds, screen, is_blind);
    }
}

/// Waits until something is written.
fn wait(feeds: &[Feed], screen: &Screen, is_blind: bool) {
    let logs = feeds.iter().flat_map(Feed::descriptors);
    let mut fds: Vec<_> = logs.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    fds.push(PollFd::new(screen.descriptor(), PollFlags::empty()));
    let patience = if is_blind { timeout(BLIND) } else { PollTimeout::NONE };
    let _ = poll(&mut fds, patience);
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
    if fds.last().and_then(PollFd::revents).is_some_and(|events| events.intersects(gone)) {
        let _ = raise(Signal::SIGPIPE);
    }
}

fn why(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), reason)
}

fn broken(broken: Broken) -> Failure {
    match broken {
        Broken::Log(error) => unreadable(error),
        Broken::Screen(error) => unwritable(error),
    }
}

fn unreadable(error: io::Error) -> Failure {
    Failure::new(FAILED, format!("Cannot read the log: {}", why(&error)))
}

fn unwritable(error: io::Error) -> Failure {
    Failure::new(FAILED, format!("Cannot write to standard output: {}", why(&error)))
}
