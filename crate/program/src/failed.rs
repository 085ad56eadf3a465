//! Why a start has failed, in the words of ts/launch/launch.ts and ts/command/words.ts.

use std::io::Write;

use serde_json::Value;
use tsdaemonize_core::error::reason;
use tsdaemonize_core::start::{self, Outcome};

use crate::error::{FAILED, Failure, NO_RIGHT};
use crate::plan::{Ready, Start};
use crate::report::Report;

/// So many of the last bytes that the daemon printed are quoted in a message.
const QUOTED: usize = 4000;

/// What a daemon has printed while it started.
#[derive(Debug, Default)]
pub struct Printed {
    /// To standard output.
    pub stdout: Vec<u8>,
    /// To standard error.
    pub stderr: Vec<u8>,
}

impl Printed {
    /// Shows it on the outputs to which the daemon would have printed it.
    pub fn show(&self) {
        // A reader that is gone is no failure of the start.
        let _ = std::io::stdout().write_all(&self.stdout).and_then(|()| std::io::stdout().flush());
        let _ = std::io::stderr().write_all(&self.stderr);
    }
}

/// Why a start has failed, and what else its launcher shows.
pub fn told(start: &Start, failure: &start::Failure, printed: &Printed) -> Failure {
    let stderr = String::from_utf8_lossy(&printed.stderr);
    let (status, what, report) = explained(start, failure, &stderr);
    let mut message = format!("The daemon '{}' {what}", start.name);
    let stack = report.as_ref().and_then(Report::stack);
    let is_in_message = message.ends_with(ahead(&stderr, stack));
    let _ = std::io::stdout().write_all(&printed.stdout).and_then(|()| std::io::stdout().flush());
    if !is_in_message {
        let _ = std::io::stderr().write_all(&printed.stderr);
    }
    // An error of this package says all in its message.
    if let Some(report) = report.filter(|report| !report.is_own()) {
        let is_printed =
            !is_in_message && report.stack().is_some_and(|stack| stderr.contains(stack));
        if let Some(shown) = report.in_full().filter(|_| !is_printed) {
            message.push('\n');
            message.push_str(&shown);
        }
    }
    Failure::new(status, message)
}

/// The exit status, what became of the daemon, and its own error.
fn explained(
    start: &Start,
    failure: &start::Failure,
    stderr: &str,
) -> (u8, String, Option<Report>) {
    let failed = |what: String| (FAILED, what, None);
    let said = match stderr.trim() {
        "" => String::new(),
        text => format!(":\n{}", last(text)),
    };
    if failure.supplanted {
        return failed("was not started: another one took its pidfile meanwhile".to_owned());
    }
    if let Some((call, errno)) = failure.step {
        return step(start, call, errno);
    }
    if let Some(report) = &failure.report {
        return reported(start, report, stderr);
    }
    if let Some(errno) = failure.unsupervised {
        let why = reason(errno);
        return failed(format!("did not start: its supervisor could not be executed: {why}{said}"));
    }
    if let Some(why) = &failure.unready {
        return failed(format!("{why}{said}"));
    }
    if failure.timed_out {
        let limit = start.start_timeout.as_millis();
        let hint = missing(start.ready);
        return failed(format!("was not ready within {limit} ms and was ended. {hint}{said}"));
    }
    if let Some(signal) = failure.signal() {
        let signal = signal_name(signal);
        return failed(format!("was killed by {signal} before it was ready{said}"));
    }
    let Some(code) = failure.exit_code() else {
        return failed(format!("did not start: its start was killed from outside{said}"));
    };
    let why = match (start.ready, code) {
        (Ready::HandOver, 0) if said.is_empty() => format!(
            ": its script must reach `start()` of a Daemon named '{}', and `setup` must return",
            start.name
        ),
        (Ready::HandOver, _) => said,
        (_, 0) => format!(
            ": it went into the background by itself, or had nothing to do. Give the option that keeps it in the \
             foreground{said}"
        ),
        _ => said,
    };
    failed(format!("exited with status {code} before it was ready{why}"))
}

/// What has not come.
fn missing(ready: Ready) -> String {
    match ready {
        Ready::HandOver => "See what `setup` waits for, or raise `--start-timeout`. A script that does not end in \
                            `start()` or `serviced()` of a Daemon never takes the hand-over: give `--ready alive`"
            .to_owned(),
        Ready::Notify => {
            "It has not sent READY=1 to $NOTIFY_SOCKET: raise `--start-timeout`, or give another `--ready`".to_owned()
        }
        Ready::Fd => {
            "It has not written a newline to the descriptor $READY_FD: raise `--start-timeout`, or give another \
             `--ready`"
                .to_owned()
        }
        Ready::Listen(port) => {
            let port = port.map_or_else(|| "any TCP port".to_owned(), |port| format!("TCP port {port}"));
            format!("It does not listen at {port}: raise `--start-timeout`, or give another `--ready`")
        }
        Ready::Any | Ready::Alive(_) => "Raise `--start-timeout`, or give another `--ready`".to_owned(),
    }
}

/// A call between the fork and the execve has failed.
fn step(start: &Start, call: &str, errno: i32) -> (u8, String, Option<Report>) {
    let status = if matches!(errno, libc::EACCES | libc::EPERM) { NO_RIGHT } else { FAILED };
    let path = match (call, start.places.first()) {
        ("write", Some(place)) => format!(" '{}'", place.place.path().display()),
        ("execve", _) => format!(" '{}'", start.file.display()),
        _ => String::new(),
    };
    let hint = if call == "execve" && errno == libc::ENOENT && start.file.exists() {
        ". The file is there, but the interpreter that its first line names is not"
    } else {
        ""
    };
    (status, format!("did not start: {}, {call}{path}{hint}", reason(errno)), None)
}

/// The daemon, or the stage before a foreign program, has said why.
fn reported(start: &Start, json: &str, stderr: &str) -> (u8, String, Option<Report>) {
    if start.ready != Ready::HandOver {
        let found: Value = serde_json::from_str(json).unwrap_or_default();
        let why = found["message"].as_str().unwrap_or(json);
        let status = if found["lacksRight"] == true { NO_RIGHT } else { FAILED };
        return (status, format!("did not start: {why}"), None);
    }
    let report = Report::read(json);
    let status = if report.lacks_right() { NO_RIGHT } else { FAILED };
    // Of an error that nobody caught, Node also prints the line, which the stack has not.
    let line = match report.stack().filter(|stack| stderr.contains(stack)) {
        Some(stack) => ahead(stderr, Some(stack)),
        None => "",
    };
    let place = if line.is_empty() { String::new() } else { format!(":\n{}", last(line)) };
    let what = format!("did not start: {}{place}", report.in_short());
    (status, what, Some(report))
}

/// What was printed before the error.
fn ahead<'a>(printed: &'a str, stack: Option<&str>) -> &'a str {
    let end = stack.and_then(|stack| printed.find(stack)).unwrap_or(printed.len());
    printed[..end].trim()
}

/// The end of a text, of which a character may be cut away.
fn last(text: &str) -> &str {
    let from = text.len().saturating_sub(QUOTED);
    let from = (from..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    &text[from..]
}

/// A signal's name, or its number.
pub fn signal_name(signal: i32) -> String {
    nix::sys::signal::Signal::try_from(signal)
        .map_or_else(|_| format!("signal {signal}"), |signal| signal.as_str().to_owned())
}

/// The daemon's pid, or why there is none; and what it has printed.
pub fn outcome(start: &Start, outcome: Outcome, own: Printed) -> Result<(i32, Printed), Failure> {
    let join = |mut first: Vec<u8>, second: Vec<u8>| {
        first.extend(second);
        first
    };
    let printed = Printed {
        stdout: join(outcome.stdout, own.stdout),
        stderr: join(outcome.stderr, own.stderr),
    };
    match outcome.result {
        Ok(pid) => Ok((pid, printed)),
        Err(failure) => Err(told(start, &failure, &printed)),
    }
}
