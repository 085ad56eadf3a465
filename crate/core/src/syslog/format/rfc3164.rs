//! A message to the local logger, as syslog(3) writes it: RFC 3164 with local time and without a
//! host name.
//!
//! `<30>Nov 24 09:22:01 clock[4711]: text`, and behind the text its fields, ` name="value"`.

use std::io::Write;
use std::time::SystemTime;

use ::syslog::{LogFormat, Severity};

use super::super::Config;
use super::super::message::{
    LONGEST, LONGEST_FIELDS, Record, escape, local_time, quoted_fields, second, tag,
};
use crate::zone::{Local, MONTHS};

/// `Nov 24 09:22:01`.
pub fn stamp(local: &Local) -> String {
    let Local { month, day, hour, minute, second, .. } = local;
    let month = MONTHS.get(*month).copied().unwrap_or("Jan");
    format!("{month} {day:2} {hour:02}:{minute:02}:{second:02}")
}

/// The formatter, with the time of day as it was last written out.
#[derive(Debug, Clone)]
pub struct Rfc3164 {
    tag: String,
    facility: i32,
    second: u64,
    stamp: String,
}

impl Rfc3164 {
    /// A formatter for a configuration.
    pub fn new(config: &Config) -> Self {
        let (tag, facility) = (tag(config), config.facility);
        Self { tag, facility, second: u64::MAX, stamp: String::new() }
    }

    /// Looks up the local time; once a second is enough.
    pub fn set_time(&mut self, time: SystemTime) {
        let second = second(time);
        if second != self.second {
            (self.second, self.stamp) = (second, stamp(&local_time(second)));
        }
    }
}

impl LogFormat<Record<'_>> for Rfc3164 {
    fn format<W: Write>(
        &self,
        w: &mut W,
        severity: Severity,
        record: Record<'_>,
    ) -> ::syslog::Result<()> {
        let facility = record.facility_or(self.facility);
        let fields = quoted_fields(record.fields, LONGEST_FIELDS);
        write!(w, "<{}>{} {}", facility | severity as i32, self.stamp, self.tag)?;
        w.write_all(&escape(record.text, LONGEST - fields.len()))?;
        w.write_all(&fields)?;
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::syslog::Transport;
    use crate::syslog::message::Fields;
    use std::time::{Duration, UNIX_EPOCH};

    fn line(options: i32, facility: i32, text: &str, fields: &[(&str, &str)]) -> String {
        let mut formatter = Rfc3164::new(&Config {
            ident: "clo\nck".into(),
            options,
            facility: libc::LOG_DAEMON,
            transport: Transport::Local("".into()),
            attached: false,
        });
        let time = UNIX_EPOCH + Duration::from_secs(86_400 * 5 + 3600 * 12);
        formatter.set_time(time);
        let packed = Fields::pack(fields.iter().copied());
        let record = Record { facility, time, text: text.as_bytes(), fields: Fields(&packed) };
        let mut line = Vec::new();
        formatter.format(&mut line, Severity::LOG_ERR, record).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn has_priority_time_tag_and_text() {
        let line = line(libc::LOG_PID, libc::LOG_USER, "tick", &[]);
        let pid = std::process::id();
        assert!(line.starts_with("<11>Jan  6 ") || line.starts_with("<11>Jan  5 "), "{line}");
        assert!(line.ends_with(&format!(" clock[{pid}]: tick")), "{line}");
    }

    #[test]
    fn has_the_configured_facility_and_the_fields_behind_the_text() {
        let line = line(0, 0, "tick", &[("n", "1"), ("who", "a \"b\"")]);
        assert!(line.starts_with("<27>"), "{line}");
        assert!(line.ends_with(" clock: tick n=\"1\" who=\"a \\\"b\\\"\""), "{line}");
    }

    #[test]
    fn fields_leave_room_for_the_text() {
        let long = "x".repeat(LONGEST);
        let line = line(0, 0, &long, &[("n", &long)]);
        let begin = line.find("clock: ").unwrap() + "clock: ".len();
        assert_eq!(line.len() - begin, LONGEST);
        assert!(line.ends_with("x\""));
    }
}
