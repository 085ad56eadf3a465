//! The files that a system logger writes, and whose lines they have.

use std::fs;
use std::path::PathBuf;

use super::moment::{Clock, stamp};

/// Where loggers write what daemons tell them, the file that has all of it first.
const FILES: &[&str] =
    &["/var/log/syslog", "/var/log/messages", "/var/log/daemon.log", "/var/log/user.log"];
/// Where some loggers have a file for each severity.
const DIRECTORY: &str = "/var/log/daemon";

/// The files of loggers that may be there.
pub fn candidates() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = FILES.iter().map(PathBuf::from).collect();
    let mut more: Vec<PathBuf> =
        fs::read_dir(DIRECTORY).into_iter().flatten().flatten().map(|e| e.path()).collect();
    more.sort();
    found.extend(more);
    found
}

/// The name under which a program logs.
#[derive(Debug, Clone)]
pub struct Ident(pub String);

impl Ident {
    /// Whether it has written this line: `Nov 28 14:30:59 host NAME[123]: text`. The time stamp may be another, `[123]` may
    /// be missing, and, with BusyBox, the host, or the facility may stand before the name.
    pub fn wrote(&self, line: &[u8], clock: &mut Clock) -> bool {
        let Some((_, rest)) = stamp(line, clock) else { return false };
        let Some(rest) = rest.strip_prefix(b" ") else { return false };
        if self.begins(rest) {
            return true;
        }
        let Some(rest) = past_word(rest).map(|(_, rest)| rest) else { return false };
        self.begins(rest)
            || past_word(rest).is_some_and(|(word, rest)| is_priority(word) && self.begins(rest))
    }

    fn begins(&self, text: &[u8]) -> bool {
        let Some(rest) = text.strip_prefix(self.0.as_bytes()) else { return false };
        let rest = rest.strip_prefix(b"[").map_or(rest, |pid| {
            let digits = pid.iter().take_while(|byte| byte.is_ascii_digit()).count();
            pid.get(digits..).and_then(|rest| rest.strip_prefix(b"]")).unwrap_or_default()
        });
        rest.first() == Some(&b':')
    }
}

fn past_word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.iter().position(|byte| *byte == b' ')?;
    Some((&text[..end], &text[end + 1..]))
}

/// `daemon.info`
fn is_priority(word: &[u8]) -> bool {
    const FACILITIES: &[&str] = &[
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
        "authpriv", "ftp", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
        "local7",
    ];
    const SEVERITIES: &[&str] =
        &["emerg", "alert", "crit", "err", "error", "warn", "warning", "notice", "info", "debug"];
    let parts = std::str::from_utf8(word).ok().and_then(|word| word.split_once('.'));
    parts.is_some_and(|(facility, severity)| {
        FACILITIES.contains(&facility) && SEVERITIES.contains(&severity)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_of_its_ident_are_its_own() {
        let wrote = |name: &str, line: &str| {
            Ident(name.to_owned()).wrote(line.as_bytes(), &mut Clock::at(1_795_867_200))
        };
        for line in [
            "Nov 28 11:00:01 host clock[123]: hello",
            "Nov 28 11:00:01 host clock: hello",
            "2026-11-28T11:00:01.123456+00:00 host clock[123]: hello",
            "Nov 28 11:00:01 host daemon.info clock[123]: hello",
            "Nov 28 11:00:01 clock[123]: hello",
            "Nov  8 11:00:01 10.0.0.1 clock[123]:",
        ] {
            assert!(wrote("clock", line), "{line}");
            assert!(!wrote("cloc", line), "{line}");
            assert!(!wrote("lock", line), "{line}");
        }
        assert!(wrote("my clock", "Nov 28 11:00:01 host my clock[1]: hello"));
        for line in [
            "Nov 28 11:00:01 host evil: clock: hello",
            "Nov 28 11:00:01 host evil[1]: clock[123]: hello",
            "Nov 28 11:00:01 host my clock[1]: hello",
            "Nov 28 11:00:01 host daemon.info evil clock[1]: hello",
            "Nov 28 11:00:01 host evil.info clock[1]: hello",
            "Nov 28 11:00:01 host clock[1x]: hello",
            "Nov 28 11:00:01 host clock[1] hello",
            "Nov 28 11:00:01 host clock",
            "clock[1]: hello",
            "host clock[1]: hello",
            "Nov 28 11:00:01",
            "",
        ] {
            assert!(!wrote("clock", line), "{line}");
        }
    }
}
