//! Where the lines are shown: as they are on a pipe, escaped on a terminal, with the daemon's name where there are several.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};

use crate::output;

/// The colours of the names, one daemon after the other (console_codes(4)).
const COLOURS: &[u8] = &[36, 33, 32, 35, 34, 31];

/// Standard output.
#[derive(Debug)]
pub struct Screen {
    out: BufWriter<File>,
    /// What stands before a line of each daemon.
    prefixes: Vec<String>,
    is_terminal: bool,
    /// The source whose line has not ended.
    unfinished: Option<usize>,
}

impl Screen {
    /// For these daemons.
    pub fn new(names: &[&str]) -> io::Result<Self> {
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let has_colours = output::has_colours();
        let prefix = |(at, name): (usize, &&str)| match names {
            [_] => String::new(),
            _ if has_colours => {
                let colour = COLOURS[at % COLOURS.len()];
                format!("\x1b[{colour}m{name:width$}\x1b[0m | ")
            }
            _ => format!("{name:width$} | "),
        };
        Ok(Self {
            out: BufWriter::with_capacity(64 << 10, out),
            prefixes: names.iter().enumerate().map(prefix).collect(),
            is_terminal: io::stdout().is_terminal(),
            unfinished: None,
        })
    }

    /// Shows a line, or a piece of one.
    pub fn show(
        &mut self,
        source: usize,
        daemon: usize,
        bytes: &[u8],
        starts: bool,
    ) -> io::Result<()> {
        let goes_on = !starts && self.unfinished == Some(source);
        if !goes_on {
            if self.unfinished.is_some() {
                self.out.write_all(b"\n")?;
            }
            let prefix = self.prefixes.get(daemon).map_or("", String::as_str);
            self.out.write_all(prefix.as_bytes())?;
        }
        if self.is_terminal {
            self.out.write_all(escaped(bytes).as_bytes())?;
        } else {
            self.out.write_all(bytes)?;
        }
        self.unfinished = (!bytes.ends_with(b"\n")).then_some(source);
        Ok(())
    }

    /// Hands on all that was shown.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// To be polled: it is hung up when nobody reads any more.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.out.get_ref().as_fd()
    }
}

/// Text that does nothing to a terminal: control characters and bytes that are no UTF-8 are shown by their numbers.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\n' | '\t' => text.push(letter),
                letter if letter.is_control() => {
                    let _ = write!(text, "\\x{:02x}", u32::from(letter));
                }
                letter => text.push(letter),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_steer_a_terminal_is_shown_by_its_number() {
        assert_eq!(escaped(b"a\tb\n"), "a\tb\n");
        assert_eq!(escaped("grün\n".as_bytes()), "grün\n");
        assert_eq!(escaped(b"\x1b[2J\r\x00\x7f"), "\\x1b[2J\\x0d\\x00\\x7f");
        assert_eq!(escaped("\u{9b}31m".as_bytes()), "\\x9b31m");
        assert_eq!(escaped(b"\xff\xfe\x9b31m"), "\\xff\\xfe\\x9b31m");
        assert_eq!(escaped(b"\xc3"), "\\xc3");
    }
}
