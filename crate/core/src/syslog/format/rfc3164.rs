//! A message to the local logger, as syslog(3) writes it: RFC 3164 with local time and without a
//! host name.
//!
//! `<30>Nov 24 09:22:01 clock[4711]: text`, and behind the text its fields, ` name="value"`.

use std::io::{Result, Write, sink};

use ::syslog::Severity;

use super::header::Header;
use crate::syslog::config::Config;
use crate::syslog::message::{LONGEST, LONGEST_FIELDS, Record, write_escaped, write_fields};

/// Writes `ident[pid]: `, the pid as LOG_PID asks.
pub fn write_tag(to: &mut impl Write, config: &Config) -> Result<()> {
    for letter in config.printable_ident() {
        write!(to, "{letter}")?;
    }
    match config.pid() {
        Some(pid) => write!(to, "[{pid}]: "),
        None => to.write_all(b": "),
    }
}

/// Writes a message.
pub fn write<T: AsRef<[u8]>>(
    to: &mut impl Write,
    header: &Header<T>,
    severity: Severity,
    record: &Record<'_>,
) -> Result<()> {
    write!(to, "<{}>", record.facility_or(header.facility) | severity as i32)?;
    to.write_all(header.stamp.as_ref())?;
    to.write_all(b" ")?;
    to.write_all(header.tag.as_ref())?;
    write_text(to, record)
}

/// Writes the text, and behind it the fields.
pub fn write_text(to: &mut impl Write, record: &Record<'_>) -> Result<()> {
    let fields = quoted_fields(&mut sink(), record)?;
    write_escaped(to, record.text, b"", LONGEST - fields)?;
    quoted_fields(to, record).map(drop)
}

fn quoted_fields(to: &mut impl Write, record: &Record<'_>) -> Result<usize> {
    write_fields(to, record.fields, usize::MAX, b"\"\\", LONGEST_FIELDS)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::header::Stamp;
    use super::*;
    use crate::syslog::config::Transport;
    use crate::syslog::message::Fields;
    use crate::zone::Zone;
    use std::time::SystemTime;

    fn line(options: i32, facility: i32, text: &str, fields: &[(&str, &str)]) -> String {
        let config = Config {
            ident: "clo\nck".into(),
            options,
            facility: libc::LOG_DAEMON,
            transport: Transport::Local("".into()),
            attached: false,
        };
        let (tag, facility_of_all) = (Vec::new(), config.facility);
        let mut header = Header { tag, facility: facility_of_all, stamp: Stamp::UNSET };
        write_tag(&mut header.tag, &config).unwrap();
        header.stamp.set(86_400 * 5 + 3600 * 12, || Zone::fixed(0));
        let packed = Fields::pack(fields.iter().copied());
        let (time, text, fields) = (SystemTime::UNIX_EPOCH, text.as_bytes(), Fields(&packed));
        let mut line = Vec::new();
        let record = Record { facility, time, text, fields };
        write(&mut line, &header, Severity::LOG_ERR, &record).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn has_priority_time_tag_and_text() {
        let pid = std::process::id();
        let line = line(libc::LOG_PID, libc::LOG_USER, "tick", &[]);
        assert_eq!(line, format!("<11>Jan  6 12:00:00 clock[{pid}]: tick"));
    }

    #[test]
    fn has_the_configured_facility_and_the_fields_behind_the_text() {
        let line = line(0, 0, "tick", &[("n", "1"), ("who", "a \"b\"")]);
        assert_eq!(line, "<27>Jan  6 12:00:00 clock: tick n=\"1\" who=\"a \\\"b\\\"\"");
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
