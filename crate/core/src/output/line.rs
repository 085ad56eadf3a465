//! From what is printed to lines of text: a byte at a time, without allocation.
//!
//! What is no text is escaped (`#033`) as soon as it is read: control characters, those of Latin 1
//! included (U+0080 to U+009F), and bytes that are not UTF-8. So nothing that is printed can ever
//! pass for anything but a line's text. Each text is given out with the number of bytes that it was made
//! of: made of the same bytes once more, it is the same.

use crate::signal_safe::now_ms;
use crate::syslog::message::{LONGEST, octal};

/// A line that is not complete yet.
#[derive(Debug)]
pub struct Line {
    /// When it began, by the monotonic clock in milliseconds.
    pub since: i64,
    text: [u8; LONGEST],
    length: usize,
    /// The beginning of a character of several bytes.
    character: [u8; 4],
    begun: usize,
    /// How many bytes came since the last text, those of `character` not included.
    bytes: usize,
}

impl Line {
    /// An empty line.
    #[allow(clippy::new_without_default, reason = "it is large, and made in one place")]
    pub const fn new() -> Self {
        Self { since: 0, text: [0; LONGEST], length: 0, character: [0; 4], begun: 0, bytes: 0 }
    }

    /// Whether nothing of it came yet.
    pub fn is_empty(&self) -> bool {
        self.length == 0 && self.begun == 0
    }

    /// When the first of these began that is not empty.
    pub fn first_of(lines: &[Self; 2]) -> Option<i64> {
        lines.iter().filter(|line| !line.is_empty()).map(|line| line.since).min()
    }

    /// Whether it is not empty, and began before this time.
    pub fn is_idle(&self, before: i64) -> bool {
        !self.is_empty() && self.since <= before
    }

    /// Adds a byte. A line that is complete, or as long as can be, goes `out`: its text, and of how many
    /// bytes it was made. An empty line is none; its bytes count for the next one.
    pub fn push(&mut self, byte: u8, out: &mut impl FnMut(&[u8], usize)) {
        if self.is_empty() {
            self.since = now_ms();
        }
        if self.begun > 0 {
            if byte & 0xc0 == 0x80 {
                return self.go_on(byte, out);
            }
            self.escape_character(out);
        }
        match byte {
            b'\n' => {
                self.bytes += 1;
                self.flush(out);
            }
            0x20..=0x7e => self.add(&[byte], 1, out),
            0xc2..=0xf4 => {
                self.character = [byte, 0, 0, 0];
                self.begun = 1;
            }
            _ => self.add(&octal(byte), 1, out),
        }
    }

    /// Adds a byte to a character that has begun.
    fn go_on(&mut self, byte: u8, out: &mut impl FnMut(&[u8], usize)) {
        if let Some(next) = self.character.get_mut(self.begun) {
            *next = byte;
            self.begun += 1;
        }
        let character = self.character;
        let so_far = character.get(..self.begun).unwrap_or(&[]);
        match std::str::from_utf8(so_far) {
            Ok(text) if !text.chars().any(char::is_control) => {
                self.begun = 0;
                self.add(so_far, so_far.len(), out);
            }
            Err(error) if error.error_len().is_none() => {}
            _ => self.escape_character(out),
        }
    }

    /// Escapes what began as a character and is none.
    fn escape_character(&mut self, out: &mut impl FnMut(&[u8], usize)) {
        let (character, begun) = (self.character, self.begun);
        self.begun = 0;
        for byte in character.iter().take(begun) {
            self.add(&octal(*byte), 1, out);
        }
    }

    fn add(&mut self, text: &[u8], bytes: usize, out: &mut impl FnMut(&[u8], usize)) {
        if self.length + text.len() > LONGEST {
            self.flush(out);
        }
        for (to, from) in self.text.iter_mut().skip(self.length).zip(text) {
            *to = *from;
        }
        self.length += text.len();
        self.bytes += bytes;
    }

    /// How many bytes came since the last text, where all were those of empty lines. They are not counted
    /// any more.
    pub fn pass_over(&mut self) -> usize {
        if self.is_empty() { std::mem::take(&mut self.bytes) } else { 0 }
    }

    /// Ends the line.
    pub fn end(&mut self, out: &mut impl FnMut(&[u8], usize)) {
        self.escape_character(out);
        self.flush(out);
    }

    fn flush(&mut self, out: &mut impl FnMut(&[u8], usize)) {
        let text = self.text.get(..self.length).unwrap_or(&[]);
        if !text.is_empty() {
            out(text, self.bytes);
            self.length = 0;
            self.bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(printed: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = Line::new();
        let mut out =
            |text: &[u8], _: usize| lines.push(String::from_utf8_lossy(text).into_owned());
        for byte in printed {
            line.push(*byte, &mut out);
        }
        line.end(&mut out);
        assert!(line.is_empty());
        lines
    }

    #[test]
    fn each_line_is_one_and_the_last_needs_no_newline() {
        assert_eq!(lines(b"one\n\n\ntwo\nthree"), ["one", "two", "three"]);
        assert_eq!(lines(b"\n"), [""; 0]);
    }

    #[test]
    fn text_stays_and_all_else_is_escaped() {
        assert_eq!(lines("\u{e9}\u{20ac}\u{1f600} #".as_bytes()), ["\u{e9}\u{20ac}\u{1f600} #"]);
        assert_eq!(lines(b"a\0\x1b[2J\r\t\x7f"), ["a#000#033[2J#015#011#177"]);
        assert_eq!(lines("\u{9b}2J\u{85}".as_bytes()), ["#302#2332J#302#205"]);
        assert_eq!(
            lines(b"\xff\xc3x\xe2\x82\n\xed\xa0\x80\xf0\x9f"),
            ["#377#303x#342#202", "#355#240#200#360#237"]
        );
    }

    #[test]
    fn a_long_line_becomes_several_between_two_characters() {
        let printed = "\u{20ac}".repeat(LONGEST);
        let found = lines(printed.as_bytes());
        assert_eq!(found.concat(), printed);
        assert!(found.iter().all(|line| line.len() <= LONGEST));
        assert_eq!(found.len(), (3 * LONGEST).div_ceil(LONGEST / 3 * 3));
        assert_eq!(lines(&vec![0; LONGEST / 4 + 1]).len(), 2);
    }
}
