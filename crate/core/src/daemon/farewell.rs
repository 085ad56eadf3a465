//! The last line that a daemon leaves in the log: how long it ran, with which status it ends, and why.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::syslog;

/// What the last line needs to know.
#[derive(Debug)]
pub(super) struct Farewell {
    /// When the daemon began.
    since: OnceLock<Instant>,
    /// Several threads may end the process, and one of them does.
    said: AtomicBool,
}

impl Farewell {
    pub(super) const fn new() -> Self {
        Self { since: OnceLock::new(), said: AtomicBool::new(false) }
    }

    /// The daemon begins.
    pub(super) fn begin(&self) {
        let _ = self.since.set(Instant::now());
    }

    /// Whether there is a daemon that could end.
    pub(super) fn has_begun(&self) -> bool {
        self.since.get().is_some()
    }

    /// Logs the line, once. The end of a start can come before [`Self::begin`].
    pub(super) fn say(&self, status: i32, why: &str) {
        let since = self.since.get_or_init(Instant::now);
        if self.said.swap(true, Ordering::SeqCst) {
            return;
        }
        let text = format!("Ended after {} with status {status}: {why}", spoken(since.elapsed()));
        // systemd logs its services' ends so.
        let priority = if status == 0 { libc::LOG_INFO } else { libc::LOG_NOTICE };
        syslog::log(priority, text.as_bytes());
    }
}

/// A duration in its two largest units.
pub fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let Some(first) = units.iter().position(|(length, _)| seconds >= *length) else {
        return format!("{} ms", duration.as_millis());
    };
    let (length, unit) = units[first];
    let rest = units.get(first + 1).map(|(next, unit)| (seconds % length / next, unit));
    match rest {
        Some((count, next)) if count > 0 => format!("{} {unit} {count} {next}", seconds / length),
        _ => format!("{} {unit}", seconds / length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_in_the_two_greatest_units() {
        for (ms, text) in [
            (0, "0 ms"),
            (999, "999 ms"),
            (1000, "1 s"),
            (59_999, "59 s"),
            (60_000, "1 min"),
            (61_000, "1 min 1 s"),
            (11_520_000, "3 h 12 min"),
            (3_600_000 + 59_000, "1 h"),
            (86_400_000 * 3 + 3_600_000 * 2, "3 d 2 h"),
        ] {
            assert_eq!(spoken(Duration::from_millis(ms)), text);
        }
    }
}
