//! One message as syslog(3) writes it: RFC 3164 with local time and without a host name.
//!
//! `<30>Nov 24 09:22:01 clock[4711]: text`. Control characters of the text are escaped as `#012`,
//! so that no message can forge another; a long one is cut at [`LONGEST`] bytes, between two
//! characters.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use ::syslog::{Facility, LogFormat, Severity};

use super::Config;

/// The longest text of a message, in bytes after escaping.
pub const LONGEST: usize = 8 << 10;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// What a message is made of, beside its severity.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The facility's bits, or 0 for the configured one.
    pub facility: i32,
    /// When it was logged.
    pub time: SystemTime,
    /// The text; not necessarily UTF-8.
    pub text: &'a [u8],
}

/// The formatter, with the time of day as it was last written out.
#[derive(Debug, Clone)]
pub struct Rfc3164 {
    ident: String,
    tag: String,
    facility: i32,
    pid: Option<u32>,
    second: u64,
    stamp: String,
}

impl Rfc3164 {
    /// A formatter for a configuration.
    pub fn new(config: &Config) -> Self {
        let pid = (config.options & libc::LOG_PID != 0).then(std::process::id);
        let ident: String = config.ident.chars().filter(|c| !c.is_control()).collect();
        let tag = pid.map_or_else(|| format!("{ident}: "), |pid| format!("{ident}[{pid}]: "));
        Self { ident, tag, facility: config.facility, pid, second: u64::MAX, stamp: String::new() }
    }

    /// Looks up the local time; once a second is enough.
    pub fn set_time(&mut self, time: SystemTime) {
        let second = time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        if second == self.second {
            return;
        }
        self.second = second;
        let seconds = second as libc::time_t;
        // SAFETY: localtime_r writes the struct that it is given, and reads the time.
        let tm = unsafe {
            let mut tm: libc::tm = std::mem::zeroed();
            libc::localtime_r(&seconds, &mut tm);
            tm
        };
        let month = MONTHS.get(tm.tm_mon as usize).copied().unwrap_or("Jan");
        let (day, hour, minute, second) = (tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
        self.stamp = format!("{month} {day:2} {hour:02}:{minute:02}:{second:02} ");
    }

    /// As stderr and the console get it: without priority and time.
    pub fn plain(&self, text: &[u8]) -> Vec<u8> {
        let mut line = match self.pid {
            Some(_) => self.tag.clone().into_bytes(),
            None => format!("{}: ", self.ident).into_bytes(),
        };
        escape(&mut line, text);
        line.push(b'\n');
        line
    }
}

impl LogFormat<Record<'_>> for Rfc3164 {
    fn format<W: Write>(
        &self,
        w: &mut W,
        severity: Severity,
        record: Record<'_>,
    ) -> ::syslog::Result<()> {
        let facility = if record.facility == 0 { self.facility } else { record.facility };
        let mut line = Vec::with_capacity(record.text.len() + 64);
        write!(line, "<{}>{}{}", facility | severity as i32, self.stamp, self.tag)?;
        escape(&mut line, record.text);
        w.write_all(&line)?;
        Ok(())
    }
}

/// The severity of a priority: its low three bits.
pub fn severity(priority: i32) -> Severity {
    match priority & 7 {
        0 => Severity::LOG_EMERG,
        1 => Severity::LOG_ALERT,
        2 => Severity::LOG_CRIT,
        3 => Severity::LOG_ERR,
        4 => Severity::LOG_WARNING,
        5 => Severity::LOG_NOTICE,
        6 => Severity::LOG_INFO,
        _ => Severity::LOG_DEBUG,
    }
}

/// The bits of a priority above its severity.
pub fn facility(priority: i32) -> i32 {
    priority & !7 & (Facility::LOG_LOCAL7 as i32 | 7)
}

/// Appends the text, cut and escaped. What is not UTF-8 is passed on as it is: it has no control
/// characters, and the logger has its own way with it.
fn escape(line: &mut Vec<u8>, text: &[u8]) {
    let begin = line.len();
    let mut rest = text;
    while !rest.is_empty() {
        let plain = rest.iter().position(|b| is_control(*b)).unwrap_or(rest.len());
        let room = LONGEST - (line.len() - begin);
        let (head, tail) = rest.split_at(plain);
        if head.len() > room {
            line.extend_from_slice(head.get(..boundary(head, room)).unwrap_or(head));
            return;
        }
        line.extend_from_slice(head);
        rest = tail;
        if let Some((control, tail)) = tail.split_first() {
            if line.len() - begin + 4 > LONGEST {
                return;
            }
            line.push(b'#');
            line.extend([control >> 6, (control >> 3) & 7, control & 7].map(|digit| b'0' + digit));
            rest = tail;
        }
    }
}

fn is_control(byte: u8) -> bool {
    byte < 0x20 || byte == 0x7f
}

/// The last place at or before `at` where a UTF-8 character begins.
fn boundary(text: &[u8], at: usize) -> usize {
    let mut at = at;
    while at > 0 && text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80) {
        at -= 1;
    }
    at
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn formatter(options: i32) -> Rfc3164 {
        Rfc3164::new(&Config {
            ident: "clock".into(),
            options,
            facility: libc::LOG_DAEMON,
            path: PathBuf::new(),
            attached: false,
        })
    }

    fn format(text: &[u8]) -> Vec<u8> {
        let mut line = Vec::new();
        let record = Record { facility: 0, time: UNIX_EPOCH, text };
        formatter(0).format(&mut line, Severity::LOG_INFO, record).unwrap();
        line
    }

    #[test]
    fn has_priority_time_tag_and_text() {
        let mut formatter = formatter(libc::LOG_PID);
        formatter.set_time(UNIX_EPOCH + std::time::Duration::from_secs(86_400 * 5 + 3600 * 12));
        let mut line = Vec::new();
        let record = Record { facility: libc::LOG_USER, time: UNIX_EPOCH, text: b"tick" };
        formatter.format(&mut line, Severity::LOG_ERR, record).unwrap();
        let line = String::from_utf8(line).unwrap();
        let pid = std::process::id();
        assert!(line.starts_with("<11>Jan  6 ") || line.starts_with("<11>Jan  5 "), "{line}");
        assert!(line.ends_with(&format!(" clock[{pid}]: tick")), "{line}");
    }

    #[test]
    fn control_characters_cannot_forge_a_line() {
        let line = format(b"a\n<0>Jan  1 00:00:00 root: b\0c\x1b[2J\x7f\t");
        assert_eq!(line, b"<30>clock: a#012<0>Jan  1 00:00:00 root: b#000c#033[2J#177#011");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let cut = |text: &str| String::from_utf8(format(text.as_bytes())).unwrap();
        let euros = cut(&"\u{20ac}".repeat(LONGEST));
        assert_eq!(euros.len(), "<30>clock: ".len() + LONGEST / 3 * 3);
        assert_eq!(cut(&"x".repeat(1 << 20)).len(), "<30>clock: ".len() + LONGEST);
        assert!(cut(&"\n".repeat(1 << 20)).ends_with("#012"));
    }

    #[test]
    fn what_is_not_utf8_is_passed_on() {
        assert_eq!(format(b"\xff\xfe%s\n"), b"<30>clock: \xff\xfe%s#012");
    }
}
