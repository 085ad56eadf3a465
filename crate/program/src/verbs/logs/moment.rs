//! Moments in text: what a line of a log begins with, and what `--since` is given.
//!
//! All are microseconds since the epoch.

use tsdaemonize_core::zone;

/// A second.
pub const SECOND: i64 = 1_000_000;

/// What a text without a year, a zone or a date leaves open.
#[derive(Debug)]
pub struct Clock {
    /// The second in which this process looked at the clock.
    pub now: i64,
    /// Today: year, month (1 to 12) and day.
    pub today: (i64, i64, i64),
    /// An hour of local time, and how far it is from UTC: most lines are of the same hour as the one before.
    hour: Option<(Date, i64, i64)>,
}

type Date = (i64, i64, i64);
type Time = (i64, i64, i64);

impl Clock {
    /// Looks at the clock.
    pub fn new() -> Self {
        let passed = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        Self::at(i64::try_from(passed).unwrap_or(0))
    }

    /// The clock as it is at this second.
    pub fn at(now: i64) -> Self {
        let local = zone::Zone::fixed(zone::offset(now)).local(now);
        Self { now, today: (local.year, local.month as i64 + 1, local.day), hour: None }
    }

    /// The second of a local time.
    pub fn local(&mut self, date: Date, time: Time) -> Option<i64> {
        let utc = zone::utc_of(date, time)?;
        let (hour, _, _) = time;
        if let Some((known, its_hour, ahead)) = self.hour
            && (known, its_hour) == (date, hour)
        {
            return Some(utc - ahead);
        }
        let second = zone::second_of(date, time)?;
        self.hour = Some((date, hour, utc - second));
        Some(second)
    }

    /// The second of a local time whose year is not given: the last such time that is not in the future. A clock that is
    /// a day ahead is not last year's.
    fn without_year(&mut self, month: i64, day: i64, time: Time) -> Option<i64> {
        let (year, _, _) = self.today;
        let this = self.local((year, month, day), time);
        match this {
            Some(second) if second <= self.now + 86_400 => this,
            _ => self.local((year - 1, month, day), time),
        }
    }
}

/// The rest of a text that is read.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a>(pub &'a [u8]);

impl Text<'_> {
    /// Whether this byte comes next; then it is passed.
    pub fn has(&mut self, byte: u8) -> bool {
        let found = self.0.first() == Some(&byte);
        if found {
            self.0 = &self.0[1..];
        }
        found
    }

    /// So many digits, at least and at most.
    pub fn digits(&mut self, least: usize, most: usize) -> Option<i64> {
        let count = self.0.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(count);
        (count >= least && count > 0).then(|| {
            self.0 = rest;
            digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
        })
    }

    fn spaces(&mut self) -> bool {
        let mut any = false;
        while self.has(b' ') {
            any = true;
        }
        any
    }

    /// A month's name: its first three letters.
    fn month(&mut self) -> Option<i64> {
        const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let name = self.0.get(..3)?;
        let at = MONTHS.chunks(3).position(|month| month == name)?;
        self.0 = &self.0[3..];
        Some(at as i64 + 1)
    }

    /// `14:30`, or `14:30:59`, and the fraction of the second in microseconds.
    pub fn time(&mut self, needs_seconds: bool) -> Option<(Time, i64)> {
        let hour = self.digits(2, 2)?;
        let minute = self.has(b':').then(|| self.digits(2, 2))??;
        let before = *self;
        if !self.has(b':') {
            return (!needs_seconds).then_some(((hour, minute, 0), 0));
        }
        let Some(second) = self.digits(2, 2) else {
            *self = before;
            return (!needs_seconds).then_some(((hour, minute, 0), 0));
        };
        Some(((hour, minute, second), self.fraction()))
    }

    fn fraction(&mut self) -> i64 {
        let before = *self;
        if !self.has(b'.') && !self.has(b',') {
            return 0;
        }
        let start = self.0;
        let Some(_) = self.digits(1, 9) else {
            *self = before;
            return 0;
        };
        let digits = &start[..start.len() - self.0.len()];
        let six = (0..6).map(|at| digits.get(at).map_or(0, |digit| i64::from(digit - b'0')));
        six.fold(0, |number, digit| number * 10 + digit)
    }

    /// `Z`, `+02:00`, `+0200` or `+02`: how many seconds ahead of UTC; `None` where there is none of these.
    fn zone(&mut self) -> Option<i64> {
        let before = *self;
        let zone = self.zone_if_any();
        if zone.is_none() {
            *self = before;
        }
        zone
    }

    fn zone_if_any(&mut self) -> Option<i64> {
        let apart = self.has(b' ');
        if let Some(rest) = self.0.strip_prefix(b"UTC").or_else(|| self.0.strip_prefix(b"GMT")) {
            self.0 = rest;
            return Some(0);
        }
        if !apart && self.has(b'Z') {
            return Some(0);
        }
        let sign = if self.has(b'+') {
            1
        } else if self.has(b'-') {
            -1
        } else {
            return None;
        };
        let hours = self.digits(2, 2)?;
        let colon = self.has(b':');
        // Apart from the time, a number may be anything, unless it has four digits.
        let minutes = match self.digits(2, 2) {
            Some(minutes) => minutes,
            None if colon || apart => return None,
            None => 0,
        };
        let ends = !self.0.first().is_some_and(u8::is_ascii_digit);
        (ends && hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
    }

    /// `2026-11-28T14:30:59.123+01:00`: with a space for the `T`, and without a zone, which means local time. The time
    /// may be without seconds, or be missing, where `loose`.
    pub fn iso(&mut self, clock: &mut Clock, loose: bool) -> Option<i64> {
        let year = self.digits(4, 4)?;
        let hyphen = if self.has(b'-') { b'-' } else { self.has(b'/').then_some(b'/')? };
        let month = self.digits(2, 2)?;
        let day = self.has(hyphen).then(|| self.digits(2, 2))??;
        let date = (year, month, day);
        if loose && self.0.is_empty() {
            return Some(clock.local(date, (0, 0, 0))? * SECOND);
        }
        if ![b'T', b' ', b't', b'_'].iter().any(|byte| self.has(*byte)) {
            return None;
        }
        let (time, micros) = self.time(!loose)?;
        let second = match self.zone() {
            Some(ahead) => zone::utc_of(date, time)? - ahead,
            None => clock.local(date, time)?,
        };
        Some(second * SECOND + micros)
    }

    /// `Nov 28 14:30:59`, as syslog has it; with a weekday before it, and a year behind, as ctime(3) has it.
    fn named(&mut self, clock: &mut Clock) -> Option<i64> {
        const WEEKDAYS: &[u8] = b"SunMonTueWedThuFriSat";
        let weekday = self.0.get(..3).is_some_and(|name| WEEKDAYS.chunks(3).any(|day| day == name));
        if weekday {
            self.0 = &self.0[3..];
            self.spaces().then_some(())?;
        }
        let month = self.month()?;
        self.spaces().then_some(())?;
        let day = self.digits(1, 2)?;
        self.spaces().then_some(())?;
        let before = *self;
        // `Nov 28 2026 14:30:59`
        let year = self.digits(4, 4).filter(|_| self.spaces());
        if year.is_none() {
            *self = before;
        }
        let (time, micros) = self.time(true)?;
        let before = *self;
        let year = year.or_else(|| {
            let year = self.has(b' ').then(|| self.digits(4, 4)).flatten()?;
            let ends = self.0.first().is_none_or(|byte| matches!(byte, b']' | b' ' | b'\n' | b':'));
            (weekday && ends).then_some(year)
        });
        let second = match year {
            Some(year) => clock.local((year, month, day), time)?,
            None => {
                *self = before;
                clock.without_year(month, day, time)?
            }
        };
        Some(second * SECOND + micros)
    }

    /// `28/Nov/2026:14:30:59 +0100`, as web servers have it.
    fn common(&mut self, clock: &mut Clock) -> Option<i64> {
        let day = self.digits(2, 2)?;
        let month = self.has(b'/').then(|| self.month())??;
        let year = self.has(b'/').then(|| self.digits(4, 4))??;
        (self.has(b':') || self.has(b' ')).then_some(())?;
        let (time, micros) = self.time(true)?;
        let date = (year, month, day);
        let second = match self.zone() {
            Some(ahead) => zone::utc_of(date, time)? - ahead,
            None => clock.local(date, time)?,
        };
        Some(second * SECOND + micros)
    }
}

/// In how many bytes of a line a time stamp is looked for that does not stand at its beginning.
const HEAD: usize = 512;

/// The time stamp that a line begins with, and what follows it. A bracket may stand before it, a colour, or a priority
/// as in `<30>`.
pub fn stamp<'a>(line: &'a [u8], clock: &mut Clock) -> Option<(i64, &'a [u8])> {
    let mut text = Text(past_decoration(line));
    match text.0.first()? {
        b'0'..=b'9' => {
            let mut web = text;
            match text.iso(clock, false) {
                Some(found) => return Some((found, text.0)),
                None => {
                    // An address may come first.
                    let found = bracketed(&mut web, clock)?;
                    return Some((found, web.0));
                }
            }
        }
        b'A'..=b'Z' => {
            let mut named = text;
            if let Some(found) = named.named(clock) {
                return Some((found, named.0));
            }
        }
        b'{' => return in_json(line, clock).map(|found| (found, &b""[..])),
        _ => {}
    }
    bracketed(&mut text, clock).map(|found| (found, text.0))
}

fn past_decoration(line: &[u8]) -> &[u8] {
    let mut rest = line;
    loop {
        let after = match rest.first() {
            Some(b'[') => Some(&rest[1..]),
            Some(b'<') => {
                let digits = rest[1..].iter().take(3).take_while(|b| b.is_ascii_digit()).count();
                (digits > 0 && rest.get(digits + 1) == Some(&b'>')).then(|| &rest[digits + 2..])
            }
            Some(0x1b) if rest.get(1) == Some(&b'[') => {
                let end = rest.iter().take(16).position(|byte| *byte == b'm');
                end.map(|end| &rest[end + 1..])
            }
            _ => None,
        };
        match after {
            Some(after) => rest = after,
            None => return rest,
        }
    }
}

/// `[28/Nov/2026:14:30:59 +0100]` somewhere in the head of a line.
fn bracketed(text: &mut Text<'_>, clock: &mut Clock) -> Option<i64> {
    let head = &text.0[..text.0.len().min(HEAD)];
    let end = head.iter().position(|byte| *byte == b'\n').unwrap_or(head.len());
    for (at, _) in head[..end].iter().enumerate().filter(|(_, byte)| **byte == b'[') {
        let mut rest = Text(&text.0[at + 1..]);
        if let Some(found) = rest.common(clock) {
            *text = rest;
            return Some(found);
        }
    }
    None
}

/// The time in a line that is a JSON object, as pino and winston write them.
fn in_json(line: &[u8], clock: &mut Clock) -> Option<i64> {
    const KEYS: &[&[u8]] = &[b"\"time\":", b"\"timestamp\":", b"\"@timestamp\":", b"\"ts\":"];
    let head = &line[..line.len().min(HEAD)];
    for (at, _) in head.iter().enumerate().filter(|(_, byte)| **byte == b'"') {
        let Some(key) = KEYS.iter().find(|key| line[at..].starts_with(key)) else { continue };
        let mut value = Text(&line[at + key.len()..]);
        value.spaces();
        if value.has(b'"') {
            return value.iso(clock, false);
        }
        let number = value.digits(10, 13)?;
        // Milliseconds have 13 digits from 2001 on, seconds have 10 until 2286.
        return Some(if number >= 100_000_000_000 {
            number * 1000
        } else {
            number * SECOND + value.fraction()
        });
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// 2026-11-28 12:00:00 UTC
    const NOW: i64 = 1_795_867_200;

    fn of(line: &str) -> Option<i64> {
        stamp(line.as_bytes(), &mut Clock::at(NOW)).map(|(found, _)| found)
    }

    fn local(date: Date, time: Time) -> Option<i64> {
        Some(zone::second_of(date, time)? * SECOND)
    }

    #[test]
    fn a_line_may_begin_with_its_time_in_many_ways() {
        let utc = Some((NOW - 3599) * SECOND);
        for line in [
            "2026-11-28T11:00:01Z hello",
            "2026-11-28T12:00:01+01:00 hello",
            "2026-11-28T12:00:01+0100",
            "2026-11-28T10:00:01-01 hello",
            "2026-11-28 11:00:01 +0000 hello",
            "2026-11-28 11:00:01 UTC [12] LOG:  hello",
            "[2026-11-28T11:00:01Z] hello",
            "\x1b[90m[2026-11-28T11:00:01Z]\x1b[39m hello",
            "<30>2026-11-28T11:00:01Z host x: hello",
            r#"{"level":30,"time":1795863601000,"msg":"hello"}"#,
            r#"{"level":30,"ts":1795863601,"msg":"hello"}"#,
            r#"{"timestamp":"2026-11-28T11:00:01Z","msg":"hello"}"#,
            r#"{"msg":"hello", "@timestamp": "2026-11-28T11:00:01Z"}"#,
            "10.0.0.1 - - [28/Nov/2026:11:00:01 +0000] \"GET / HTTP/1.1\" 200 -",
            "::1 - [x] [28/Nov/2026:12:00:01 +0100] \"GET",
        ] {
            assert_eq!(of(line), utc, "{line}");
        }
        let here = local((2026, 11, 28), (11, 0, 1));
        for line in [
            "2026-11-28T11:00:01 hello",
            "2026-11-28 11:00:01 hello",
            "2026-11-28 11:00:01 -5 hello",
            "2026/11/28 11:00:01 [error] 12#12: hello",
            "Nov 28 11:00:01 host clock[12]: hello",
            "Sat Nov 28 11:00:01 2026 hello",
            "[Sat Nov 28 11:00:01 2026] [error] hello",
            "Nov 28 2026 11:00:01 hello",
            "Nov 28 11:00:01 1234 hello",
            "127.0.0.1 - - [28/Nov/2026 11:00:01] \"GET / HTTP/1.1\" 200 -",
        ] {
            assert_eq!(of(line), here, "{line}");
        }
        assert_eq!(of("2026-11-28T11:00:01.25Z"), utc.map(|t| t + 250_000));
        assert_eq!(of("2026-11-28 11:00:01,123456789 INFO x"), here.map(|t| t + 123_456));
        assert_eq!(of("Nov  8 11:00:01 host x: y"), local((2026, 11, 8), (11, 0, 1)));
        assert_eq!(of("Nov 28 11:00:01.500 host"), here.map(|t| t + 500_000));
    }

    #[test]
    fn a_day_without_a_year_is_not_in_the_future() {
        assert_eq!(of("Dec 31 23:59:59 host x: y"), local((2025, 12, 31), (23, 59, 59)));
        assert_eq!(of("Feb 29 00:00:00 host x: y"), None);
        assert_eq!(of("Nov 28 23:59:59 host x: y"), local((2026, 11, 28), (23, 59, 59)));
    }

    #[test]
    fn what_is_no_time_stamp_is_none() {
        for line in [
            "",
            "hello",
            " 2026-11-28T11:00:01Z",
            "2026",
            "2026-11-28",
            "2026-11-28T11:00 hello",
            "2026-13-28T11:00:01Z",
            "2026-02-30T11:00:01Z",
            "2026-11-28T25:00:01Z",
            "12345678901234567890",
            "Nov",
            "Nov 28",
            "November 28 11:00:01",
            "    at Clock.action (file:///clock.mjs:3:7)",
            "{\"time\":\"now\"}",
            "{\"time\":true}",
            "[28/Nov/2026]",
            "\x1b[",
            "<",
            "[",
            "<30>",
        ] {
            assert_eq!(of(line), None, "{line}");
        }
    }

    #[test]
    fn no_line_makes_it_panic() {
        let whole = b"<30>[2026-11-28T11:00:01.25+01:00 Sat Nov 28 11:00:01 2026 {\"time\":1 [28/Nov/2026:11:00:01 +0100]";
        let mut clock = Clock::at(NOW);
        for start in 0..whole.len() {
            for end in start..=whole.len() {
                for byte in [0, b'9', b' ', 0xff] {
                    let mut line = whole[start..end].to_vec();
                    let _ = stamp(&line, &mut clock);
                    line.push(byte);
                    let _ = stamp(&line, &mut clock);
                }
            }
        }
    }
}
