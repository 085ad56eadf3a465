//! From what is printed to lines of text: a byte at a time, without allocation.
//!
//! What is no text is escaped (`#033`) as soon as it is read: control characters, those of Latin 1
//! included (U+0080 to U+009F), and bytes that are not UTF-8. So nothing that is printed can ever
//! pass for anything but a line's text.

use crate::fork::now_ms;

/// The longest text of one message, escaped; a longer line becomes several.
pub const LONGEST: usize = 8 << 10;

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
}

impl Line {
    /// There is nothing of it.
    pub fn is_empty(&self) -> bool {
        self.length == 0 && self.begun == 0
    }

    /// Takes a byte. A line that is complete, or as long as can be, goes `out`. An empty line is
    /// none.
    pub fn take(&mut self, byte: u8, out: &mut impl FnMut(&[u8])) {
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
            b'\n' => self.end(out),
            0x20..=0x7e => self.add(&[byte], out),
            0xc2..=0xf4 => {
                self.character = [byte, 0, 0, 0];
                self.begun = 1;
            }
            _ => self.add(&escaped(byte), out),
        }
    }

    /// The next byte of a character.
    fn go_on(&mut self, byte: u8, out: &mut impl FnMut(&[u8])) {
        if let Some(next) = self.character.get_mut(self.begun) {
            *next = byte;
            self.begun += 1;
        }
        let character = self.character;
        let so_far = character.get(..self.begun).unwrap_or(&[]);
        match std::str::from_utf8(so_far) {
            Ok(text) if !text.chars().any(char::is_control) => {
                self.begun = 0;
                self.add(so_far, out);
            }
            Err(error) if error.error_len().is_none() => {}
            _ => self.escape_character(out),
        }
    }

    /// What began as a character and is none.
    fn escape_character(&mut self, out: &mut impl FnMut(&[u8])) {
        let (character, begun) = (self.character, self.begun);
        self.begun = 0;
        for byte in character.iter().take(begun) {
            self.add(&escaped(*byte), out);
        }
    }

    fn add(&mut self, text: &[u8], out: &mut impl FnMut(&[u8])) {
        if self.length + text.len() > LONGEST {
            self.flush(out);
        }
        for (to, from) in self.text.iter_mut().skip(self.length).zip(text) {
            *to = *from;
        }
        self.length += text.len();
    }

    /// The line ends here.
    pub fn end(&mut self, out: &mut impl FnMut(&[u8])) {
        self.escape_character(out);
        self.flush(out);
    }

    fn flush(&mut self, out: &mut impl FnMut(&[u8])) {
        let text = self.text.get(..self.length).unwrap_or(&[]);
        if !text.is_empty() {
            out(text);
        }
        self.length = 0;
    }
}

fn escaped(byte: u8) -> [u8; 4] {
    [b'#', b'0' + (byte >> 6), b'0' + ((byte >> 3) & 7), b'0' + (byte & 7)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(printed: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line =
            Line { since: 0, text: [0; LONGEST], length: 0, character: [0; 4], begun: 0 };
        let mut out = |text: &[u8]| lines.push(String::from_utf8_lossy(text).into_owned());
        for byte in printed {
            line.take(*byte, &mut out);
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
