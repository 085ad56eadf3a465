//! What all formats share: the message, its fields, and how text is escaped and cut.
//!
//! Control characters are escaped as `#012`, so that no message can forge another, and none can send
//! a terminal its commands. A long text is cut between two characters. Nothing here allocates except
//! [`Fields::pack`]: a process that may not do so writes its messages with the same functions.

use std::io::{Result, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use ::syslog::{Facility, Severity};

/// The longest text of a message, in bytes after escaping.
pub const LONGEST: usize = 8 << 10;
/// The fields of a message take no more than this.
pub const LONGEST_FIELDS: usize = LONGEST / 2;
/// In a priority: stderr has this message already, so that it is not shown there again.
pub const TOLD: i32 = 1 << 16;

/// What a message is made of, beside its severity.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The facility's bits, or 0 for the configured one.
    pub facility: i32,
    /// When it was logged.
    pub time: SystemTime,
    /// The text; not necessarily UTF-8.
    pub text: &'a [u8],
    /// Names and values that belong to it.
    pub fields: Fields<'a>,
}

impl Record<'_> {
    /// The facility's bits, where a record may leave them to the configured ones.
    pub fn facility_or(&self, configured: i32) -> i32 {
        if self.facility == 0 { configured } else { self.facility }
    }
}

/// Names and values, packed: a name and a NUL, the value's length in four bytes, the value.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
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
pub fn second(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// A byte as it is written where it is no text: `#012`.
pub fn octal(byte: u8) -> [u8; 4] {
    [b'#', b'0' + (byte >> 6), b'0' + ((byte >> 3) & 7), b'0' + (byte & 7)]
}

/// Writes text with its control characters escaped, and a backslash before each byte of `quoted`, as far
/// as it goes into `room` bytes. Returns how many bytes were written. What is not UTF-8 is passed on as it
/// is: it has no control characters, and the logger has its own way with it.
pub fn write_escaped(
    to: &mut impl Write,
    text: &[u8],
    quoted: &[u8],
    room: usize,
) -> Result<usize> {
    let (mut rest, mut left) = (text, room);
    loop {
        let (plain, special) = rest.split_at(plain_length(rest, quoted));
        let fitting = cut(plain, left);
        to.write_all(fitting)?;
        left -= fitting.len();
        let (bytes, after) = special.split_at(special_length(special, quoted));
        let [first, ..] = bytes else { break };
        let is_quoted = quoted.contains(first);
        let length = if is_quoted { 2 } else { 4 * bytes.len() };
        if fitting.len() < plain.len() || length > left {
            break;
        }
        if is_quoted {
            to.write_all(&[b'\\', *first])?;
        } else {
            bytes.iter().try_for_each(|byte| to.write_all(&octal(*byte)))?;
        }
        (rest, left) = (after, left - length);
    }
    Ok(room - left)
}

/// How many bytes come before the first that is not written as it is.
fn plain_length(text: &[u8], quoted: &[u8]) -> usize {
    let mut at = 0;
    let may_be_special =
        |byte: &u8| *byte < 0x20 || *byte == 0x7f || *byte == 0xc2 || quoted.contains(byte);
    while let Some(found) = text.get(at..).and_then(|rest| rest.iter().position(may_be_special)) {
        at += found;
        if special_length(text.get(at..).unwrap_or(&[]), quoted) > 0 {
            return at;
        }
        at += 1;
    }
    text.len()
}

/// How many bytes the special character has that a text begins with; 0 where it is none. Control
/// characters are those of ASCII, and of Latin 1 (U+0080 to U+009F: a terminal takes U+009B for an escape
/// sequence, and some readers U+0085 for the end of a line).
fn special_length(text: &[u8], quoted: &[u8]) -> usize {
    match text {
        [0xc2, 0x80..=0x9f, ..] => 2,
        [byte, ..] if *byte < 0x20 || *byte == 0x7f || quoted.contains(byte) => 1,
        _ => 0,
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

/// Writes ` name="value"` for each field, with a backslash before each byte of `quoted`. Names are cut to
/// so many bytes, a value where the room ends; a field for which there is no room is left out. Returns how
/// many bytes were written.
pub fn write_fields(
    to: &mut impl Write,
    fields: Fields<'_>,
    longest_name: usize,
    quoted: &[u8],
    room: usize,
) -> Result<usize> {
    let mut left = room;
    for (name, value) in fields {
        let name = name.get(..longest_name).unwrap_or(name);
        let frame = name.len() + b" =\"\"".len();
        let Some(room) = left.checked_sub(frame) else { continue };
        to.write_all(b" ")?;
        to.write_all(name)?;
        to.write_all(b"=\"")?;
        let length = write_escaped(to, value, quoted, room)?;
        to.write_all(b"\"")?;
        left -= frame + length;
    }
    Ok(room - left)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn escaped(text: &[u8]) -> Vec<u8> {
        let mut line = Vec::new();
        let length = write_escaped(&mut line, text, b"", LONGEST).unwrap();
        assert_eq!(length, line.len());
        line
    }

    fn quoted(fields: Fields<'_>, longest: usize) -> Vec<u8> {
        let mut line = Vec::new();
        let length = write_fields(&mut line, fields, usize::MAX, b"\"\\", longest).unwrap();
        assert_eq!(length, line.len());
        line
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
        let written = quoted(Fields(&packed), LONGEST);
        assert_eq!(written, br##" a="x\" b=\"y\\" c="#012""##);
        let packed = Fields::pack([("a", "\\\\\\\\\\\\"), ("b", "left out")]);
        assert_eq!(quoted(Fields(&packed), 10), br#" a="\\\\""#);
    }

    #[test]
    fn a_value_is_not_cut_within_an_escape() {
        let packed = Fields::pack([("a", "xy\n")]);
        for longest in 5..11 {
            let value = &"xy"[..2.min(longest - 5)];
            assert_eq!(quoted(Fields(&packed), longest), format!(" a=\"{value}\"").as_bytes());
        }
        assert_eq!(quoted(Fields(&packed), 11), br##" a="xy#012""##);
        let packed = Fields::pack([("a", "\u{20ac}\"")]);
        assert_eq!(quoted(Fields(&packed), 7), br#" a="""#, "nothing stands behind what was cut");
    }
}
