//! Local time where localtime(3) may not be called.
//!
//! localtime(3) reads the environment, which JavaScript may change meanwhile, and takes a lock: no thread
//! but JavaScript's may call it, and no child of fork. So the offsets of the coming years are looked up
//! before, and the rest is arithmetic.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock};

use crate::sys;

/// The table is made for so many years. After them the last offset goes on.
const YEARS: i64 = 8;
const DAY: i64 = 86_400;
const WEEK: i64 = 7 * DAY;

/// The zone of this process, as it was last looked up.
static HERE: RwLock<Zone> = RwLock::new(Zone::fixed(0));
/// The second of the last look.
static LOOKED: AtomicI64 = AtomicI64::new(NEVER);
const NEVER: i64 = i64::MIN;

/// Looks, once a second, whether local time is still what it was: TZ may have been changed. Does nothing
/// in a thread that is not the main one, unless none has looked yet.
pub fn look(now: i64) {
    let last = LOOKED.load(Ordering::Relaxed);
    if last != now && (last == NEVER || sys::is_main_thread()) {
        LOOKED.store(now, Ordering::Relaxed);
        let zone = here();
        let quarters = (0..4).map(|quarter| now + quarter * 91 * DAY);
        if last == NEVER || quarters.into_iter().any(|second| zone.offset(second) != offset(second))
        {
            *HERE.write().unwrap_or_else(PoisonError::into_inner) = Zone::look_up(now);
        }
    }
}

/// The zone of this process.
pub fn here() -> Zone {
    *HERE.read().unwrap_or_else(PoisonError::into_inner)
}

/// How many seconds local time is ahead of UTC, and from when on.
#[derive(Debug, Clone, Copy)]
pub struct Zone {
    /// From a second on, the seconds ahead of UTC.
    changes: [(i64, i64); 32],
    count: usize,
}

/// A second of local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local {
    /// The year.
    pub year: i64,
    /// The month, 0 to 11.
    pub month: usize,
    /// The day of the month.
    pub day: i64,
    /// The hour.
    pub hour: i64,
    /// The minute.
    pub minute: i64,
    /// The second.
    pub second: i64,
    /// Seconds ahead of UTC.
    pub offset: i64,
}

impl Zone {
    /// A zone that is always so many seconds ahead of UTC.
    pub const fn fixed(offset: i64) -> Self {
        Self { changes: [(i64::MIN, offset); 32], count: 1 }
    }

    /// The zone of this process, from now on. By localtime(3).
    pub fn look_up(now: i64) -> Self {
        let mut zone = Self::fixed(offset(now));
        let mut from = now;
        while from < now + YEARS * 366 * DAY && zone.count < zone.changes.len() {
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

    fn offset(&self, second: i64) -> i64 {
        let changes = self.changes.get(..self.count).unwrap_or(&[]);
        changes.iter().rev().find(|(from, _)| *from <= second).map_or(0, |change| change.1)
    }

    /// The local time of a second since the epoch. No allocation, no lock.
    pub fn local(&self, second: i64) -> Local {
        let offset = self.offset(second);
        let local = second + offset;
        let (days, second) = (local.div_euclid(DAY), local.rem_euclid(DAY));
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        Local { year, month, day, hour, minute, second, offset }
    }
}

/// The second since the epoch of a local time whose month counts from 1, by localtime(3): of an hour that the clock
/// shows twice, the first one. `None` where the calendar has no such day, or the day no such second.
pub fn second_of(
    (year, month, day): (i64, i64, i64),
    (hour, minute, second): (i64, i64, i64),
) -> Option<i64> {
    let utc = utc_of((year, month, day), (hour, minute, second))?;
    let (before, after) = (offset(utc - DAY), offset(utc + DAY));
    let is_so = |ahead: &i64| offset(utc - ahead) == *ahead;
    Some(utc - [before, after].into_iter().find(is_so).unwrap_or(before))
}

/// The same for UTC.
pub fn utc_of(
    (year, month, day): (i64, i64, i64),
    (hour, minute, second): (i64, i64, i64),
) -> Option<i64> {
    let is_time =
        (0..24).contains(&hour) && (0..60).contains(&minute) && (0..=60).contains(&second);
    if !is_time
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || !(0..10_000).contains(&year)
    {
        return None;
    }
    let days = day_of(year, month, day);
    let is_day = date(days) == (year, (month - 1) as usize, day);
    is_day.then(|| days * DAY + hour * 3600 + minute * 60 + second)
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

/// How many seconds local time is ahead of UTC, by localtime(3).
pub fn offset(second: i64) -> i64 {
    let seconds = second as libc::time_t;
    // SAFETY: localtime_r writes the struct that it is given, and reads the time.
    let tm = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        libc::localtime_r(&seconds, &mut tm);
        tm
    };
    tm.tm_gmtoff as i64
}

/// Year, month (0 to 11) and day of the month, of a day since the epoch, by the 400 years of the Gregorian
/// calendar, each counted from March.
fn date(day: i64) -> (i64, usize, i64) {
    let era = (day + 719_468).div_euclid(146_097);
    let of_era = (day + 719_468).rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = (from_march + 2) % 12;
    let year = year + era * 400 + i64::from(month < 2);
    (year, month as usize, of_year - (153 * from_march + 2) / 5 + 1)
}

/// The day since the epoch: what [`date`] undoes.
fn day_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_time_leads_back_to_its_second() {
        let mut now = 1_600_000_000;
        while now < 1_900_000_000 {
            let time = by_libc(now);
            let date = (time.year, time.month as i64 + 1, time.day);
            let found = second_of(date, (time.hour, time.minute, time.second));
            // An hour may be there twice.
            assert!(found.is_some_and(|second| by_libc(second).hour == time.hour));
            assert!(found.is_some_and(|second| (now - second).abs() <= 3600), "{time:?}");
            now += 12_345;
        }
    }

    #[test]
    fn what_the_calendar_has_not_is_no_time() {
        assert_eq!(utc_of((1970, 1, 1), (0, 0, 0)), Some(0));
        assert_eq!(utc_of((2000, 2, 29), (12, 0, 1)), Some(951_825_601));
        assert_eq!(utc_of((1969, 12, 31), (23, 59, 59)), Some(-1));
        for (date, time) in [
            ((2026, 2, 29), (0, 0, 0)),
            ((2026, 4, 31), (0, 0, 0)),
            ((2026, 13, 1), (0, 0, 0)),
            ((2026, 0, 1), (0, 0, 0)),
            ((2026, 1, 0), (0, 0, 0)),
            ((2026, 1, 1), (24, 0, 0)),
            ((2026, 1, 1), (0, 60, 0)),
            ((2026, 1, 1), (0, 0, 61)),
            ((2026, 1, 1), (-1, 0, 0)),
            ((i64::MAX, 1, 1), (0, 0, 0)),
        ] {
            assert_eq!(utc_of(date, time), None, "{date:?} {time:?}");
            assert_eq!(second_of(date, time), None, "{date:?} {time:?}");
        }
    }

    fn by_libc(now: i64) -> Local {
        // SAFETY: as in `offset`.
        let tm = unsafe {
            let mut tm: libc::tm = std::mem::zeroed();
            libc::localtime_r(&(now as libc::time_t), &mut tm);
            tm
        };
        Local {
            year: i64::from(tm.tm_year) + 1900,
            month: tm.tm_mon as usize,
            day: tm.tm_mday.into(),
            hour: tm.tm_hour.into(),
            minute: tm.tm_min.into(),
            second: tm.tm_sec.into(),
            offset: tm.tm_gmtoff as i64,
        }
    }

    #[test]
    fn is_what_localtime_says_over_leap_years_and_summers() {
        let begin = 1_700_000_000;
        let zone = Zone::look_up(begin);
        let mut now = begin;
        while now < begin + YEARS * 365 * 86_400 {
            assert_eq!(zone.local(now), by_libc(now));
            now += 12_345;
        }
    }

    #[test]
    fn a_change_of_the_clock_counts_from_its_second_on() {
        let mut zone = Zone::fixed(3600);
        zone.changes[1] = (1_743_296_400, 7200);
        zone.count = 2;
        let time = |second| {
            let local = zone.local(second);
            (local.hour, local.minute, local.second)
        };
        assert_eq!(time(1_743_296_399), (1, 59, 59));
        assert_eq!(time(1_743_296_400), (3, 0, 0));
    }
}
