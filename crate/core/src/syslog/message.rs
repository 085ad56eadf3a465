//! What all formats share: the message, its fields, and how text is escaped and cut.
//!
//! Control characters are escaped as `#012`, so that no message can forge another, and none can
//! send a terminal its commands; a long text is cut between two characters.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use ::syslog::{Facility, LogFormat, Severity};

use super::format::journal;
use super::format::rfc3164::Rfc3164;
use super::format::rfc5424::Rfc5424;
use super::{Config, Transport};
use crate::zone::{self, Local};

/// The longest text of a message to a syslog server, in bytes after escaping.
pub const LONGEST: usize = 8 << 10;
/// Of which fields take no more than this.
pub const LONGEST_FIELDS: usize = LONGEST / 2;

/// What a message is made of, beside its severity.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The facility's bits, or 0 for the configured one.
    pub facility: i32,
    /// When it was logged.
    pub time: SystemTime,
    /// The text; not necessarily UTF-8.
    pub text: &'a [u8],
    /// What belongs to it.
    pub fields: Fields<'a>,
}

impl Record<'_> {
    /// The facility's bits, of a record that may leave it to the configured one.
    pub fn facility_or(&self, configured: i32) -> i32 {
        if self.facility == 0 { configured } else { self.facility }
    }
}

/// Names and values, packed: a name and a NUL, the value's length in four bytes, the value.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// Packs them.
    pub fn pack<'b>(fields: impl IntoIterator<Item = (&'b str, &'b str)>) -> Vec<u8> {
        let mut packed = Vec::new();
        for (name, value) in fields {
            packed.extend(name.bytes().filter(|byte| *byte != 0));
            packed.push(0);
            packed.extend((value.len() as u32).to_ne_bytes());
            packed.extend(value.as_bytes());
        }
        packed
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let (name, rest) = self.0.split_at(end);
        let (length, rest) = rest.get(1..)?.split_first_chunk::<4>()?;
        let (value, rest) = rest.split_at_checked(u32::from_ne_bytes(*length) as usize)?;
        self.0 = rest;
        Some((name, value))
    }
}

/// The format that a transport takes.
#[derive(Debug)]
pub enum Formatter {
    /// For the local logger.
    Rfc3164(Rfc3164),
    /// For a remote one.
    Rfc5424(Rfc5424),
    /// For the journal.
    Journal(journal::Format),
}

impl Formatter {
    /// The formatter for a configuration.
    pub fn new(config: &Config) -> Self {
        match &config.transport {
            Transport::Local(_) => Self::Rfc3164(Rfc3164::new(config)),
            Transport::Udp(remote) | Transport::Tcp(remote) => {
                Self::Rfc5424(Rfc5424::new(config, remote))
            }
            Transport::Journal(_) => Self::Journal(journal::Format::new(config)),
        }
    }

    /// Looks up the local time of the next message.
    pub fn set_time(&mut self, time: SystemTime) {
        match self {
            Self::Rfc3164(format) => format.set_time(time),
            Self::Rfc5424(format) => format.set_time(time),
            Self::Journal(format) => format.set_time(time),
        }
    }
}

impl LogFormat<Record<'_>> for Formatter {
    fn format<W: Write>(
        &self,
        w: &mut W,
        severity: Severity,
        record: Record<'_>,
    ) -> ::syslog::Result<()> {
        match self {
            Self::Rfc3164(format) => format.format(w, severity, record),
            Self::Rfc5424(format) => format.format(w, severity, record),
            Self::Journal(format) => format.format(w, severity, record),
        }
    }
}

/// As stderr and the console get it: without priority and time.
pub fn plain(config: &Config, record: Record<'_>) -> Vec<u8> {
    let mut line = tag(config).into_bytes();
    let fields = quoted_fields(record.fields, LONGEST_FIELDS);
    let text = escape(record.text, LONGEST - fields.len());
    line.extend_from_slice(text.as_ref());
    line.extend_from_slice(&fields);
    line.push(b'\n');
    line
}

/// `ident[pid]: `, the pid as LOG_PID asks.
pub fn tag(config: &Config) -> String {
    let ident = without_controls(&config.ident);
    pid(config).map_or_else(|| format!("{ident}: "), |pid| format!("{ident}[{pid}]: "))
}

/// The ident as it is written.
pub fn without_controls(ident: &str) -> String {
    ident.chars().filter(|c| !c.is_control()).collect()
}

/// The process's id, if LOG_PID asks for it.
pub fn pid(config: &Config) -> Option<u32> {
    (config.options & libc::LOG_PID != 0).then(std::process::id)
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

/// The seconds since the epoch.
pub fn second(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// The local time of a second.
pub fn local_time(second: u64) -> Local {
    zone::here().local(i64::try_from(second).unwrap_or(0))
}

/// Text as it is written: borrowed where there is nothing to escape.
pub type Escaped<'a> = std::borrow::Cow<'a, [u8]>;

/// The text, escaped, and cut to so many bytes. What is not UTF-8 is passed on as it is: it has no
/// control characters, and the logger has its own way with it.
pub fn escape(text: &[u8], longest: usize) -> Escaped<'_> {
    let Some(first) = next_control(text, 0) else { return cut(text, longest).into() };
    let mut line = Vec::with_capacity((text.len() + text.len() / 8).min(longest));
    let mut from = 0;
    let mut control = Some(first);
    loop {
        let plain = text.get(from..control.unwrap_or(text.len())).unwrap_or(&[]);
        let room = longest - line.len();
        line.extend_from_slice(cut(plain, room));
        let Some(at) = control else { break };
        let bytes = text.get(at..at + control_length(text, at)).unwrap_or(&[]);
        if plain.len() > room || line.len() + 4 * bytes.len() > longest {
            break;
        }
        for byte in bytes {
            line.push(b'#');
            line.extend([byte >> 6, (byte >> 3) & 7, byte & 7].map(|digit| b'0' + digit));
        }
        from = at + bytes.len();
        control = next_control(text, from);
    }
    line.into()
}

/// Where the next control character begins: of ASCII, or of Latin 1 (U+0080 to U+009F: a terminal
/// takes U+009B for an escape sequence, and some readers U+0085 for the end of a line).
fn next_control(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += text.get(at..)?.iter().position(|b| *b < 0x20 || *b == 0x7f || *b == 0xc2)?;
        if control_length(text, at) > 0 {
            return Some(at);
        }
        at += 1;
    }
}

fn control_length(text: &[u8], at: usize) -> usize {
    match (text.get(at), text.get(at + 1)) {
        (Some(0xc2), Some(0x80..=0x9f)) => 2,
        (Some(0xc2), _) => 0,
        _ => 1,
    }
}

/// The text, or as much of it as goes into so many bytes without half a character.
pub fn cut(text: &[u8], longest: usize) -> &[u8] {
    if text.len() <= longest {
        return text;
    }
    let mut at = longest;
    while at > 0 && text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80) {
        at -= 1;
    }
    text.get(..at).unwrap_or(text)
}

/// ` name="value"` for each: as people write fields into a line. Those that do not fit are left out.
pub fn quoted_fields(fields: Fields<'_>, longest: usize) -> Vec<u8> {
    let mut written = Vec::new();
    for (name, value) in fields {
        quoted_field(&mut written, name, value, b"\"\\", longest);
    }
    written
}

/// Appends ` name="value"`, with a backslash before the special characters of the value, which is
/// cut where the room ends.
pub fn quoted_field(to: &mut Vec<u8>, name: &[u8], value: &[u8], special: &[u8], longest: usize) {
    let frame = name.len() + 4;
    let Some(room) = longest.checked_sub(to.len() + frame) else { return };
    let mut quoted = Vec::with_capacity(value.len().min(room));
    for byte in escape(value, room).iter() {
        if special.contains(byte) {
            quoted.push(b'\\');
        }
        quoted.push(*byte);
    }
    if quoted.len() > room {
        quoted.truncate(cut(&quoted, room).len());
        // Not between a backslash and what it escapes.
        let backslashes = quoted.iter().rev().take_while(|byte| **byte == b'\\').count();
        quoted.truncate(quoted.len() - backslashes % 2);
    }
    to.push(b' ');
    to.extend_from_slice(name);
    to.extend_from_slice(b"=\"");
    to.extend_from_slice(&quoted);
    to.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &[u8]) -> Vec<u8> {
        escape(text, LONGEST).into_owned()
    }

    #[test]
    fn control_characters_are_escaped() {
        let line = escaped(b"a\n<0>Jan  1 00:00:00 root: b\0c\x1b[2J\x7f\t");
        assert_eq!(line, b"a#012<0>Jan  1 00:00:00 root: b#000c#033[2J#177#011");
        assert_eq!(
            escaped("\u{9b}2J\u{85}\u{a9}é".as_bytes()),
            "#302#2332J#302#205\u{a9}é".as_bytes()
        );
        assert_eq!(escaped(b"\xc2"), b"\xc2");
    }

    #[test]
    fn what_is_not_utf8_is_passed_on() {
        assert_eq!(escaped(b"\xff\xfe%s%n\n"), b"\xff\xfe%s%n#012");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let euros = "\u{20ac}".repeat(LONGEST);
        assert_eq!(escaped(euros.as_bytes()).len(), LONGEST / 3 * 3);
        assert_eq!(escaped(&[b'x'; 1 << 20]).len(), LONGEST);
        let newlines = escaped(&[b'\n'; 1 << 20]);
        assert!(newlines.len() == LONGEST && newlines.ends_with(b"#012"));
        let mut late = vec![b'x'; LONGEST - 2];
        late.push(b'\n');
        late.push(b'y');
        assert_eq!(escaped(&late).len(), LONGEST - 2);
    }

    #[test]
    fn fields_come_back_as_they_were_packed() {
        let given = [("user", "a\0b"), ("empty", ""), ("n", "1")];
        let packed = Fields::pack(given);
        let read = Fields(&packed).map(|(n, v)| (n.to_vec(), v.to_vec())).collect::<Vec<_>>();
        let expected = given.map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec()));
        assert_eq!(read, expected);
    }

    #[test]
    fn a_value_cannot_end_its_quotes() {
        let packed = Fields::pack([("a", "x\" b=\"y\\"), ("c", "\n")]);
        let written = quoted_fields(Fields(&packed), LONGEST);
        assert_eq!(written, br##" a="x\" b=\"y\\" c="#012""##);
        let packed = Fields::pack([("a", "\\\\\\\\\\\\"), ("b", "left out")]);
        assert_eq!(quoted_fields(Fields(&packed), 10), br#" a="\\\\""#);
    }
}
