//! Local time without localtime(3), which takes a lock and so may not be called in a child of fork.
//!
//! The offsets of the coming years are looked up before; the rest is arithmetic.

use std::io::Write;

/// Years that the table is made for. After them the last offset goes on.
const YEARS: i64 = 8;
const WEEK: i64 = 7 * 86_400;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// From when on local time is so many seconds ahead of UTC.
#[derive(Debug, Clone, Copy)]
pub struct Zone {
    changes: [(i64, i64); 32],
    count: usize,
}

impl Zone {
    /// Of this process, from now on.
    pub fn look_up(now: i64) -> Self {
        let mut zone = Self { changes: [(i64::MIN, offset(now)); 32], count: 1 };
        let mut from = now;
        while from < now + YEARS * 366 * 86_400 && zone.count < zone.changes.len() {
            let to = from + WEEK;
            let new = offset(to);
            if new != offset(from) {
                if let Some(change) = zone.changes.get_mut(zone.count) {
                    *change = (first_with(new, from, to), new);
                }
                zone.count += 1;
            }
            from = to;
        }
        zone
    }

    /// `Nov 24 09:22:01 `. No allocation, no lock.
    pub fn stamp(&self, now: i64, mut to: &mut [u8]) -> usize {
        let changes = self.changes.get(..self.count).unwrap_or(&[]);
        let offset = changes.iter().rev().find(|(from, _)| *from <= now).map_or(0, |c| c.1);
        let local = now + offset;
        let (day, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
        let (month, date) = month_and_day(day);
        let month = MONTHS.get(month as usize).copied().unwrap_or("Jan");
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let before = to.len();
        let _ = write!(to, "{month} {date:2} {hour:02}:{minute:02}:{second:02} ");
        before - to.len()
    }
}

/// The first second between the two, `to` included, with that offset.
fn first_with(wanted: i64, mut from: i64, mut to: i64) -> i64 {
    while to - from > 1 {
        let middle = from + (to - from) / 2;
        if offset(middle) == wanted {
            to = middle;
        } else {
            from = middle;
        }
    }
    to
}

fn offset(second: i64) -> i64 {
    let seconds = second as libc::time_t;
    // SAFETY: localtime_r writes the struct that it is given, and reads the time.
    let tm = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        libc::localtime_r(&seconds, &mut tm);
        tm
    };
    tm.tm_gmtoff as i64
}

/// Month (0 to 11) and day of the month, of a day since the epoch, by the 400 years of the Gregorian
/// calendar, each counted from March.
fn month_and_day(day: i64) -> (i64, i64) {
    let of_era = (day + 719_468).rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    ((from_march + 2) % 12, of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn text(zone: &Zone, now: i64) -> String {
        let mut buffer = [0u8; 32];
        let length = zone.stamp(now, &mut buffer);
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn by_libc(now: i64) -> String {
        // SAFETY: as in `offset`.
        let tm = unsafe {
            let mut tm: libc::tm = std::mem::zeroed();
            libc::localtime_r(&(now as libc::time_t), &mut tm);
            tm
        };
        let month = MONTHS[tm.tm_mon as usize];
        format!("{month} {:2} {:02}:{:02}:{:02} ", tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec)
    }

    #[test]
    fn is_what_localtime_says_over_leap_years_and_summers() {
        let begin = 1_700_000_000;
        let zone = Zone::look_up(begin);
        let mut now = begin;
        while now < begin + YEARS * 365 * 86_400 {
            assert_eq!(text(&zone, now), by_libc(now));
            now += 12_345;
        }
    }

    #[test]
    fn a_change_of_the_clock_is_found_to_the_second() {
        let zone = Zone { changes: [(i64::MIN, 3600); 32], count: 1 };
        assert_eq!(text(&zone, 1_743_296_399), "Mar 30 01:59:59 ");
        let mut summer = zone;
        summer.changes[1] = (1_743_296_400, 7200);
        summer.count = 2;
        assert_eq!(text(&summer, 1_743_296_399), "Mar 30 01:59:59 ");
        assert_eq!(text(&summer, 1_743_296_400), "Mar 30 03:00:00 ");
    }
}
