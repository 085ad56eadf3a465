//! What `--since` is given.

use std::ffi::OsStr;

use super::moment::{Clock, SECOND, Text};
use crate::error::{Failure, USAGE};

/// The units of a time ago, in seconds.
const UNITS: &[(&[&str], i64)] = &[
    (&["s", "sec", "second", "seconds"], 1),
    (&["m", "min", "minute", "minutes"], 60),
    (&["h", "hr", "hour", "hours"], 3600),
    (&["d", "day", "days"], 86_400),
    (&["w", "week", "weeks"], 604_800),
];

/// Reads the moment, in microseconds since the epoch.
pub fn parse(value: &OsStr, clock: &mut Clock) -> Result<i64, Failure> {
    value.to_str().and_then(|text| moment(text.trim(), clock)).ok_or_else(|| {
        Failure::new(
            USAGE,
            format!(
                "`--since` takes a time ago (10min, 2h, 3d), a time of today (14:30), `today`, `yesterday`, or a date \
                 ('2026-11-28', '2026-11-28 14:30', 2026-11-28T14:30:00Z); got '{}'",
                value.display()
            ),
        )
    })
}

fn moment(text: &str, clock: &mut Clock) -> Option<i64> {
    if let Some(seconds) = text.strip_prefix('@') {
        return plain(seconds)?.checked_mul(SECOND);
    }
    if text == "now" {
        return Some(clock.now * SECOND);
    }
    let days = [("today", 0), ("yesterday", 1)];
    if let Some((rest, back)) =
        days.iter().find_map(|(word, back)| Some((text.strip_prefix(word)?, *back)))
    {
        return on_day(rest, back, clock);
    }
    let mut iso = Text(text.as_bytes());
    if let Some(found) = iso.iso(clock, true).filter(|_| iso.0.is_empty()) {
        return Some(found);
    }
    on_day(&format!(" {text}"), 0, clock).or_else(|| ago(text, clock.now))
}

/// A time of a day, with a space before it; the day's beginning where there is none.
fn on_day(text: &str, back: i64, clock: &mut Clock) -> Option<i64> {
    let (year, month, day) = clock.today;
    // Noon is there on every day, and one only.
    let noon = clock.local((year, month, day), (12, 0, 0))? - back * 86_400;
    let (year, month, day) = Clock::at(noon).today;
    if text.is_empty() {
        return Some(clock.local((year, month, day), (0, 0, 0))? * SECOND);
    }
    let mut rest = Text(text.as_bytes());
    rest.has(b' ').then_some(())?;
    let (time, micros) = rest.time(false)?;
    let second = clock.local((year, month, day), time)?;
    rest.0.is_empty().then_some(second * SECOND + micros)
}

/// `2h`, `1h30min`, `90 minutes ago`, `-2h`.
fn ago(text: &str, now: i64) -> Option<i64> {
    let text = text.strip_prefix('-').unwrap_or(text);
    let mut rest = text.strip_suffix("ago").map_or(text, str::trim_end);
    let mut total: i64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(digits);
        let after = after.trim_start();
        let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, seconds) = UNITS.iter().find(|(names, _)| names.contains(&unit))?;
        total = total.checked_add(plain(number)?.checked_mul(*seconds)?)?;
        rest = after.trim_start();
    }
    now.checked_sub(total)?.checked_mul(SECOND)
}

fn plain(digits: &str) -> Option<i64> {
    let all = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use tsdaemonize_core::zone;

    use super::*;

    /// 2026-11-28 12:00:00 UTC
    const NOW: i64 = 1_795_867_200;

    fn of(text: &str) -> Option<i64> {
        let found = parse(OsStr::new(text), &mut Clock::at(NOW)).ok()?;
        Some(found / SECOND)
    }

    #[test]
    fn since_is_a_time_ago_a_time_of_today_a_day_or_an_iso_time() {
        for (text, ago) in [
            ("10min", 600),
            ("10 min", 600),
            ("2h", 7200),
            ("1h30min", 5400),
            ("1h 30m", 5400),
            ("90 minutes ago", 5400),
            ("-2h", 7200),
            ("30s", 30),
            ("3d", 259_200),
            ("1w", 604_800),
            ("0s", 0),
            ("now", 0),
            ("2026-11-28T11:00:00Z", 3600),
            ("2026-11-28T12:00:00+01:00", 3600),
            ("2026-11-28 11:00Z", 3600),
            ("@1795863600", 3600),
            ("  10min ", 600),
        ] {
            assert_eq!(of(text), Some(NOW - ago), "{text}");
        }
        let (year, month, day) = Clock::at(NOW).today;
        let today = |time| zone::second_of((year, month, day), time);
        assert_eq!(of("today"), today((0, 0, 0)));
        assert_eq!(of("14:30"), today((14, 30, 0)));
        assert_eq!(of("14:30:59"), today((14, 30, 59)));
        assert_eq!(of("today 14:30"), today((14, 30, 0)));
        let (year, month, day) = Clock::at(NOW - 86_400).today;
        assert_eq!(of("yesterday"), zone::second_of((year, month, day), (0, 0, 0)));
        assert_eq!(of("yesterday 14:30"), zone::second_of((year, month, day), (14, 30, 0)));
        assert_eq!(of("2026-11-28"), zone::second_of((2026, 11, 28), (0, 0, 0)));
        assert_eq!(of("2026-11-28 14:30"), zone::second_of((2026, 11, 28), (14, 30, 0)));
        assert_eq!(of("2026-11-28T14:30:01"), zone::second_of((2026, 11, 28), (14, 30, 1)));
    }

    #[test]
    fn a_wrong_one_is_refused_with_examples() {
        for text in [
            "",
            "10",
            "10 parsecs",
            "min",
            "ago",
            "-",
            "tomorrow",
            "todayish",
            "25:00",
            "14:30x",
            "14:3",
            "1.5h",
            "2026-02-30",
            "2026-11-28T",
            "2026-11-28T14:30Zulu",
            "2026-11-28 14:30 oh",
            "99999999999999999999h",
            "9223372036854775807w",
            "@",
            "@-1",
            "@99999999999999999",
            "١٠min",
        ] {
            let failure = parse(OsStr::new(text), &mut Clock::at(NOW)).unwrap_err();
            assert_eq!(failure.status, USAGE, "{text}");
            assert!(failure.message.contains("10min"), "{}", failure.message);
        }
    }
}
