//! Durations on the command line: milliseconds, or a whole number with a unit.

use std::ffi::OsStr;
use std::time::Duration;

use crate::error::{Failure, USAGE};

/// The units, in milliseconds.
const UNITS: &[(&str, u64)] =
    &[("", 1), ("ms", 1), ("s", 1000), ("min", 60_000), ("m", 60_000), ("h", 3_600_000)];
/// The longest, in milliseconds: that of the library.
const LONGEST: u64 = i32::MAX as u64;

/// Reads the value of an option.
pub fn parse(option: &str, value: &OsStr) -> Result<Duration, Failure> {
    value.to_str().and_then(millis).map(Duration::from_millis).ok_or_else(|| {
        Failure::new(
            USAGE,
            format!(
                "`--{option}` must be milliseconds, or a whole number with a unit (500ms, 30s, 2min, 1h), and at most \
                 {LONGEST} ms; got '{}'",
                value.display()
            ),
        )
    })
}

fn millis(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let (_, length) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
    let millis = digits.parse::<u64>().ok()?.checked_mul(*length)?;
    (millis <= LONGEST).then_some(millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_milliseconds_or_has_a_unit() {
        for (text, expected) in [
            ("0", 0),
            ("1500", 1500),
            ("500ms", 500),
            ("30s", 30_000),
            ("30 s", 30_000),
            ("2min", 120_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("2147483647", LONGEST),
        ] {
            assert_eq!(millis(text), Some(expected), "{text}");
        }
        for text in [
            "",
            "s",
            "-1",
            "+1",
            "1.5s",
            "1d",
            "30S",
            "1s30",
            "1e3",
            "0x10",
            " 1",
            "2147483648",
            "597h",
            "infinity",
            "99999999999999999999",
            "18446744073709551615h",
            "٣",
        ] {
            assert_eq!(millis(text), None, "{text}");
        }
    }
}
