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

#[cfg(test)]
mod tests {
    use super::*;

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
