//! The lines of a file, one after the other, in little memory however long they are.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::moment::{Clock, stamp};
use super::syslog_file::Ident;

/// What is read at a time. A longer line comes in pieces.
const BLOCK: usize = 64 << 10;
/// How much of a line says when it was written, and by whom.
pub const HEAD: usize = 1 << 10;
/// So many of the bytes before a place tell whether the file was written anew.
const MARK: usize = 64;

/// A line, or a piece of a long one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// How many bytes it has.
    pub len: usize,
    /// Whether a line begins with it.
    pub starts: bool,
    /// When the line was written, if it says so.
    pub stamp: Option<i64>,
}

/// Which lines are wanted, and what is to be known of them.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Only the lines of this ident.
    pub ident: Option<Ident>,
    /// When they were written.
    pub time: bool,
}

impl Wanted {
    /// Whether this is the beginning of a line that is wanted.
    pub fn includes(&self, head: &[u8], clock: &mut Clock) -> bool {
        self.ident.as_ref().is_none_or(|ident| ident.wrote(head, clock))
    }
}

/// A file from one place on.
#[derive(Debug)]
pub struct Lines {
    /// The file.
    pub file: File,
    wanted: Wanted,
    /// What was read and not yet taken, from `taken` on.
    buffer: Vec<u8>,
    taken: usize,
    /// The place in the file of what is read next.
    next: u64,
    /// The last bytes before it.
    mark: Vec<u8>,
    /// Whether the line before has ended.
    at_start: bool,
    /// Whether the line is wanted that has begun.
    is_wanted: bool,
}

impl Lines {
    /// Reads a file from a place on, at which a line begins.
    pub fn from(file: File, at: u64, wanted: Wanted) -> Self {
        let mut lines = Self {
            file,
            wanted,
            buffer: Vec::new(),
            taken: 0,
            next: at,
            mark: Vec::new(),
            at_start: true,
            is_wanted: true,
        };
        lines.set_mark();
        lines
    }

    /// Notes what stands before the place that was reached.
    fn set_mark(&mut self) {
        let length = self.next.min(MARK as u64);
        let mut mark = vec![0; length as usize];
        let is_read = self.file.read_exact_at(&mut mark, self.next - length).is_ok();
        self.mark = if is_read { mark } else { Vec::new() };
    }

    /// The next line, or piece of one, up to this place in the file, or up to its end (`u64::MAX`), wherever that is by now;
    /// `None` where there is no more at the moment.
    /// `whole`: what has no newline yet is left.
    pub fn next(&mut self, end: u64, whole: bool, clock: &mut Clock) -> io::Result<Option<Piece>> {
        loop {
            let rest = self.buffer.get(self.taken..).unwrap_or_default();
            let newline = rest.iter().position(|byte| *byte == b'\n');
            let len = match newline {
                Some(at) => at + 1,
                None if rest.len() >= BLOCK => cut(rest),
                None => {
                    if self.fill(end)? {
                        continue;
                    }
                    let rest = self.buffer.len() - self.taken;
                    if rest == 0 || (whole && self.at_start) {
                        return Ok(None);
                    }
                    rest
                }
            };
            let starts = std::mem::replace(&mut self.at_start, newline.is_some());
            let piece = self.buffer.get(self.taken..self.taken + len).unwrap_or_default();
            let head = &piece[..piece.len().min(HEAD)];
            if starts {
                self.is_wanted = self.wanted.includes(head, clock);
            }
            if !self.is_wanted {
                self.taken += len;
                continue;
            }
            let time = starts && self.wanted.time;
            let stamp = if time { stamp(head, clock).map(|(found, _)| found) } else { None };
            return Ok(Some(Piece { len, starts, stamp }));
        }
    }

    /// Its bytes.
    pub fn bytes(&self, piece: Piece) -> &[u8] {
        self.buffer.get(self.taken..self.taken + piece.len).unwrap_or_default()
    }

    /// It was shown.
    pub fn take(&mut self, piece: Piece) {
        self.taken += piece.len;
    }

    /// Reads more; `false` where there is no more.
    fn fill(&mut self, end: u64) -> io::Result<bool> {
        if end == u64::MAX {
            self.begin_anew_if_cut();
        }
        let room = usize::try_from(end.saturating_sub(self.next)).unwrap_or(BLOCK).min(BLOCK);
        if room == 0 {
            return Ok(false);
        }
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let before = self.buffer.len();
        self.buffer.resize(before + room, 0);
        let read = loop {
            match self.file.read_at(&mut self.buffer[before..], self.next) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer.truncate(before + *read.as_ref().unwrap_or(&0));
        let count = read?;
        self.next += count as u64;
        let new = &self.buffer[before..];
        self.mark.extend_from_slice(&new[new.len().saturating_sub(MARK)..]);
        self.mark.drain(..self.mark.len().saturating_sub(MARK));
        Ok(count > 0)
    }

    /// Begins anew where the file was cut, and may have been written to since: then what stood before the place that was
    /// reached is no longer there.
    fn begin_anew_if_cut(&mut self) {
        let mut now = vec![0; self.mark.len()];
        let from = self.next - now.len() as u64;
        let is_same = self.file.read_exact_at(&mut now, from).is_ok() && now == self.mark;
        if !is_same {
            self.buffer.clear();
            (self.taken, self.next, self.at_start) = (0, 0, true);
            self.mark.clear();
        }
    }
}

/// Where to cut a long line: not inside a character.
fn cut(bytes: &[u8]) -> usize {
    let whole = bytes.len().saturating_sub(3);
    let begins = |at: &usize| bytes.get(*at).is_some_and(|byte| byte & 0xc0 != 0x80);
    (whole..bytes.len()).rev().find(begins).filter(|at| *at > 0).unwrap_or(bytes.len())
}

/// Where the last lines of a file begin, and how many there are, read from its end.
pub fn last_lines(
    file: &File,
    size: u64,
    count: u64,
    wanted: &Wanted,
    clock: &mut Clock,
) -> io::Result<(u64, u64)> {
    let (mut start, mut found) = (size, 0);
    let mut block = vec![0; BLOCK];
    let mut from = size;
    while from > 0 && found < count {
        let length = from.min(BLOCK as u64);
        from -= length;
        let block = &mut block[..length as usize];
        file.read_exact_at(block, from)?;
        // A line begins behind each newline that is not the file's last byte, and at the beginning of the file.
        let newlines = block.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
        let begin = newlines.map(|(at, _)| from + at as u64 + 1).chain((from == 0).then_some(0));
        for line in begin.filter(|line| *line < size) {
            if found == count {
                break;
            }
            if wanted.ident.is_none() || wanted.includes(&head(file, block, from, line), clock) {
                (start, found) = (line, found + 1);
            }
        }
    }
    Ok((start, found))
}

/// The beginning of a line: of the block that is there, and where that ends too soon, of the file.
fn head(file: &File, block: &[u8], from: u64, line: u64) -> Vec<u8> {
    let there = block.get((line - from) as usize..).unwrap_or_default();
    let there = &there[..there.len().min(HEAD)];
    if there.len() == HEAD || there.contains(&b'\n') {
        return there.to_vec();
    }
    let mut head = vec![0; HEAD];
    let read = file.read_at(&mut head, line).unwrap_or(0);
    head.truncate(read);
    head
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(content: &[u8]) -> File {
        let path = std::env::temp_dir().join(format!(
            "tsdaemonize-lines-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        let mut file =
            File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        file.write_all(content).unwrap();
        file
    }

    fn all(lines: &mut Lines, whole: bool) -> Vec<(Vec<u8>, bool)> {
        let mut clock = Clock::at(0);
        let mut found = Vec::new();
        while let Some(piece) = lines.next(u64::MAX, whole, &mut clock).unwrap() {
            found.push((lines.bytes(piece).to_vec(), piece.starts));
            lines.take(piece);
        }
        found
    }

    #[test]
    fn lines_come_as_they_are_and_long_ones_in_pieces() {
        let long = "ü".repeat(100_000);
        let content = format!("a\n\n{long}\nlast");
        let mut lines = Lines::from(file(content.as_bytes()), 0, Wanted::default());
        let found = all(&mut lines, false);
        let joined: Vec<u8> = found.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        assert_eq!(joined, content.as_bytes());
        assert_eq!(found.iter().filter(|(_, starts)| *starts).count(), 4);
        assert!(found.iter().all(|(bytes, _)| std::str::from_utf8(bytes).is_ok()));
        assert!(found.iter().all(|(bytes, _)| bytes.len() <= 2 * BLOCK));
    }

    #[test]
    fn a_line_that_is_not_whole_waits_where_it_shall() {
        let mut lines = Lines::from(file(b"a\nb"), 0, Wanted::default());
        assert_eq!(all(&mut lines, true), [(b"a\n".to_vec(), true)]);
        lines.file.write_all(b"c\n").unwrap();
        assert_eq!(all(&mut lines, true), [(b"bc\n".to_vec(), true)]);
        lines.file.write_all(b"d").unwrap();
        assert_eq!(all(&mut lines, false), [(b"d".to_vec(), true)]);
        lines.file.write_all(b"e\n").unwrap();
        assert_eq!(all(&mut lines, false), [(b"e\n".to_vec(), false)]);
    }

    #[test]
    fn a_file_that_was_cut_begins_anew_however_much_was_written_since() {
        for (before, after) in
            [("one\ntwo\n", "3\n"), ("one\n", "three\nfour\nfive\n"), ("a\n", "b\n")]
        {
            let mut lines = Lines::from(file(before.as_bytes()), 0, Wanted::default());
            all(&mut lines, false);
            assert_eq!(all(&mut lines, false), []);
            lines.file.set_len(0).unwrap();
            lines.file.write_all_at(after.as_bytes(), 0).unwrap();
            let found: Vec<u8> = all(&mut lines, false).into_iter().flat_map(|(b, _)| b).collect();
            assert_eq!(found, after.as_bytes());
        }
    }

    #[test]
    fn the_last_lines_are_found_from_the_end() {
        let many: String = (0..50_000).map(|n| format!("line {n}\n")).collect();
        let long = "x".repeat(300_000);
        for (content, count, expected) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\nc", 3, "a\nb\nc"),
            ("a\nb\nc", 9, "a\nb\nc"),
            ("a\nb\n", 0, ""),
            ("\n\n\n", 2, "\n\n"),
            ("", 5, ""),
            ("x", 1, "x"),
            (&many, 2, "line 49998\nline 49999\n"),
            (&many, 50_000, &many),
            (&format!("{long}\n{long}\n"), 1, &format!("{long}\n")),
        ] {
            let file = file(content.as_bytes());
            let size = content.len() as u64;
            let mut clock = Clock::at(0);
            let (start, found) =
                last_lines(&file, size, count, &Wanted::default(), &mut clock).unwrap();
            assert_eq!(&content[start as usize..], expected);
            assert_eq!(found as usize, expected.lines().count());
        }
    }
}
