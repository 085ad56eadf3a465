//! What a person reads of a daemon: the sentences of ts/command/words.ts and ts/pidfile/whereabouts.ts.

use std::time::Duration;

use tsdaemonize_core::instance::places::{self, Candidate};

use crate::error::{DONE, FAILED, Failure, NOT_RUNNING_TO_SIGNAL};
use crate::names::Named;

/// Sentences, without full stops: that `subject` is not running, and one for each daemon of that name which runs in
/// another place.
pub fn not_running(subject: &str, named: &Named) -> Vec<String> {
    let looked = list(named.places.iter().map(path_in).collect());
    let elsewhere = places::elsewhere(&named.name, &named.places, &named.defaults());
    let others = elsewhere.into_iter().map(|other| {
        format!(
            "{}'s {} runs, with pid {}: {}",
            other.user,
            named.name,
            other.pid,
            other.path.display()
        )
    });
    std::iter::once(format!("{subject} is not running (looked for {looked})"))
        .chain(others)
        .collect()
}

fn path_in(candidate: &Candidate) -> String {
    let path = candidate.place.path();
    match &candidate.variable {
        Some(variable) => format!("{}, from {variable}", path.display()),
        None => path.display().to_string(),
    }
}

fn list(mut paths: Vec<String>) -> String {
    let last = paths.pop().unwrap_or_default();
    if paths.is_empty() {
        return last;
    }
    let others = paths.join(", ");
    let comma = if others.contains(", ") { "," } else { "" };
    format!("{others}{comma} and {last}")
}

/// What became of a daemon that had to be killed. One that is supervised need not be of the library.
pub fn killed(pid: i32, patience: Duration, is_supervised: bool) -> String {
    let time = seconds(patience);
    let hint = if is_supervised {
        "If it needs longer, start it with a longer `--stop-timeout`"
    } else {
        "Does its `onSignal` pass SIGTERM to `super.onSignal`?"
    };
    format!(
        "The daemon with pid {pid} did not end within {time} s of SIGTERM and was killed. {hint}"
    )
}

/// Seconds, with a fraction where there is one.
pub fn seconds(time: Duration) -> String {
    let millis = time.as_millis();
    let fraction = format!(".{:03}", millis % 1000);
    format!("{}{}", millis / 1000, fraction.trim_end_matches('0').trim_end_matches('.'))
}

/// Why nothing is done to a name that belongs to another program.
pub fn stranger(named: &Named) -> Option<Failure> {
    let (path, pid) = places::stranger(&named.places)?;
    Some(Failure::new(
        FAILED,
        format!(
            "The pidfile {} is another program's: it names the process {pid}, which does not hold it. Nothing was sent",
            path.display()
        ),
    ))
}

/// The exit status of a signal to the daemon that runs; an error where none does, or the name belongs to another
/// program.
pub fn sent(named: &Named, runs: bool) -> Result<u8, Failure> {
    if runs {
        return Ok(DONE);
    }
    Err(stranger(named).unwrap_or_else(|| {
        let subject = format!("The daemon '{}'", named.name);
        Failure::new(NOT_RUNNING_TO_SIGNAL, not_running(&subject, named).join(". "))
    }))
}
