//! Points in time as JSON has them.

/// ISO 8601 in UTC, as JavaScript's `toISOString`, of milliseconds since the epoch.
pub fn iso(millis: f64) -> String {
    let millis = millis as i64;
    let (days, rest) = (millis.div_euclid(DAY), millis.rem_euclid(DAY));
    let (year, month, day) = date(days);
    let (seconds, fraction) = (rest / 1000, rest % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:03}Z")
}

/// The milliseconds of a day.
const DAY: i64 = 86_400_000;

/// The date in the Gregorian calendar, of days since the epoch. The year is counted from March, so that the day
/// that is sometimes there is its last one.
fn date(days: i64) -> (i64, i64, i64) {
    /// From 0000-03-01 to the epoch.
    const EPOCH: i64 = 719_468;
    /// The days of 400 years, after which the calendar repeats.
    const ERA: i64 = 146_097;
    let (era, day) = ((days + EPOCH).div_euclid(ERA), (days + EPOCH).rem_euclid(ERA));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let next = i64::from(month >= 10);
    (era * 400 + year + next, month + 3 - 12 * next, day - (153 * month + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_is_told_as_javascript_tells_it() {
        for (millis, expected) in [
            (0.0, "1970-01-01T00:00:00.000Z"),
            (-1.0, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000.0, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999.0, "2000-02-29T23:59:59.999Z"),
            (951_868_800_000.0, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800_000.0, "2024-02-29T00:00:00.000Z"),
            (1_735_689_599_001.0, "2024-12-31T23:59:59.001Z"),
            (1_735_689_600_000.0, "2025-01-01T00:00:00.000Z"),
            (4_107_542_400_000.0, "2100-03-01T00:00:00.000Z"),
            (4_107_456_000_000.0, "2100-02-28T00:00:00.000Z"),
        ] {
            assert_eq!(iso(millis), expected);
        }
    }
}
