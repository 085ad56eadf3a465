//! `list`: the daemons that there are, and what they take.

mod row;
mod table;

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{Signal, raise};
use tsdaemonize_core::instance::{self, All};
use tsdaemonize_core::poll::timeout;
use tsdaemonize_core::sys;

use self::row::{Machine, Row, is_hidden};
use self::table::{Column, lines};
use crate::command_line::Call;
use crate::error::Failure;
use crate::names::{PID_FILE_PATH, directory};
use crate::output;

/// How often `--watch` renews the list.
const RENEWED: Duration = Duration::from_secs(2);

const fn left(heading: &'static str, shrinks: Option<(u8, usize)>) -> Column {
    Column { heading, right: false, shrinks }
}

const fn right(heading: &'static str) -> Column {
    Column { heading, right: true, shrinks: None }
}

/// What the list is to say.
struct Asked {
    all: bool,
    json: bool,
    names: bool,
    dirs: Vec<PathBuf>,
}

/// What was found.
struct List {
    rows: Vec<Row>,
    /// Directories and pidfiles that may not be read.
    unread: usize,
    /// What is wrong with others.
    wrong: Vec<String>,
}

/// Runs the verb.
pub fn run(call: &Call) -> Result<ExitCode, Failure> {
    let dirs = call.values(PID_FILE_PATH).map(directory).collect::<Result<Vec<_>, _>>()?;
    let asked =
        Asked { all: call.has("all"), json: call.has("json"), names: call.has("names"), dirs };
    if call.has("watch") {
        return watch(&asked);
    }
    if asked.names {
        let places = all(&asked).found;
        output::print_lines(&places.into_iter().map(|place| place.name).collect::<Vec<_>>())?;
        return Ok(ExitCode::SUCCESS);
    }
    let list = find(&asked);
    output::print_lines(&text(&list, &asked))?;
    tell(&list);
    Ok(ExitCode::SUCCESS)
}

/// Renews the list until somebody ends this process, or nobody reads any more.
fn watch(asked: &Asked) -> Result<ExitCode, Failure> {
    sys::set_disposition(libc::SIGPIPE, libc::SIG_DFL);
    let is_terminal = io::stdout().is_terminal();
    let mut is_first = true;
    loop {
        let list = find(asked);
        let mut lines = text(&list, asked);
        if is_terminal && !asked.json {
            // From the corner on, over what is there, so that nothing flickers (console_codes(4)).
            let over: String = lines.iter().map(|line| format!("{line}\x1b[K\n")).collect();
            let clear = if is_first { "\x1b[2J" } else { "" };
            output::print(&format!("{clear}\x1b[H{over}\x1b[J"))?;
        } else {
            if !is_first && !asked.json {
                lines.insert(0, String::new());
            }
            output::print_lines(&lines)?;
        }
        if is_first {
            tell(&list);
        }
        is_first = false;
        let out = io::stdout();
        let mut fds = [PollFd::new(out.as_fd(), PollFlags::empty())];
        if poll(&mut fds, timeout(RENEWED)).is_ok_and(|count| count > 0) {
            let _ = raise(Signal::SIGPIPE);
        }
    }
}

fn all(asked: &Asked) -> All {
    let session = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    instance::all(&asked.dirs, session.map(PathBuf::from), asked.all)
}

fn find(asked: &Asked) -> List {
    let all = all(asked);
    let mut list = List { rows: Vec::new(), unread: all.unread, wrong: Vec::new() };
    let mut machine = Machine::look();
    for place in all.found {
        let name = place.name.clone();
        match Row::of(place, &mut machine) {
            // It has ended meanwhile.
            Ok(row) if row.state == row::STOPPED && !asked.all => {}
            Ok(row) => list.rows.push(row),
            Err(error) if is_hidden(&error) => list.unread += 1,
            Err(error) => list.wrong.push(format!("{name}: {}", error.message)),
        }
    }
    list
}

/// The lines of the list.
fn text(list: &List, asked: &Asked) -> Vec<String> {
    let rows = &list.rows;
    if asked.json {
        return rows.iter().map(Row::as_json).collect();
    }
    let mut columns = vec![
        left("NAME", Some((3, 10))),
        left("STATE", None),
        right("PID"),
        left("USER", Some((4, 6))),
        right("UPTIME"),
        right("RESTARTS"),
        right("CPU"),
        right("MEMORY"),
        left("LISTENS", Some((2, 8))),
    ];
    if asked.all {
        columns.push(left("LAST EXIT", Some((1, 10))));
    }
    columns.push(left("PROGRAM", Some((0, 8))));
    let cells: Vec<_> = rows.iter().map(|row| row.cells(asked.all)).collect();
    lines(&columns, &cells, output::width(&io::stdout()))
}

/// Says on standard error what the list does not have.
fn tell(list: &List) {
    for line in &list.wrong {
        output::tell(line);
    }
    let several = |count: usize, one: &str, many: &str| match count {
        0 => None,
        1 => Some(format!("1 {one}")),
        count => Some(format!("{count} {many}")),
    };
    let sockets = list.rows.iter().filter(|row| row.hides_sockets).count();
    let parts = [
        several(list.unread, "directory or pidfile", "directories or pidfiles"),
        several(sockets, "daemon's sockets", "daemons' sockets"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if !parts.is_empty() {
        let what = parts.join(" and ");
        output::warn(&format!("Could not read {what}. Root can"));
    }
}
