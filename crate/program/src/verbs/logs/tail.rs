//! A log file: what it has, and what is appended to it, through rotation.
//!
//! A file that is renamed may be written to for a while, until its daemon has opened the new one, so it is read on
//! beside that. A file that is cut (`copytruncate` in logrotate(8)) begins anew.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tsdaemonize_core::sys::{FileId, Watch};

use super::lines::{HEAD, Lines, Piece, Wanted, last_lines};
use super::moment::{Clock, SECOND, stamp};

/// A file that is read.
#[derive(Debug)]
struct Open {
    lines: Lines,
    id: FileId,
    watch: Option<Watch>,
}

/// A log file by its path, whatever is there now.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    wanted: Wanted,
    open: Option<Open>,
    /// The one before, which was renamed.
    before: Option<Open>,
    /// Tells of new files in the directory.
    directory: Option<Watch>,
    /// Which directory that is.
    watched: Option<FileId>,
    /// Where the file ended when it was opened; as it grows, where it is followed.
    end: u64,
    /// Which of the two the piece is of that comes next.
    is_of_before: bool,
    /// What went wrong with a new file, once it was said.
    said: Option<io::ErrorKind>,
}

/// What is there of a log before it is followed.
#[derive(Debug, Default)]
pub struct Begun {
    /// How many lines will be shown, where that was asked.
    pub lines: u64,
    /// No line says when it was written, so that nobody can tell which are newer than asked.
    pub is_timeless: bool,
    /// The file was written to since then.
    pub is_newer: bool,
}

/// Opens a regular file, and no other: to open a FIFO, or a device, can have effects, and would have no end.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::Unsupported, "it is not a regular file"))
}

fn id_of(stat: &std::fs::Metadata) -> FileId {
    FileId { dev: stat.dev(), ino: stat.ino() }
}

impl Tail {
    /// The log at a path. `file` is what is there; `None`: nothing yet.
    pub fn new(path: PathBuf, file: Option<File>, wanted: Wanted) -> io::Result<Self> {
        let mut tail = Self {
            path,
            wanted,
            open: None,
            before: None,
            directory: None,
            watched: None,
            end: 0,
            is_of_before: false,
            said: None,
        };
        if let Some(file) = file {
            let stat = file.metadata()?;
            tail.end = stat.len();
            let lines = Lines::from(file, stat.len(), tail.wanted.clone());
            tail.open = Some(Open { lines, id: id_of(&stat), watch: None });
        }
        Ok(tail)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Goes to where the reader begins: to the first line that was written since then, and to the last lines.
    pub fn begin(
        &mut self,
        since: Option<i64>,
        last: Option<u64>,
        clock: &mut Clock,
    ) -> io::Result<Begun> {
        let mut begun = Begun::default();
        let Some(open) = &self.open else { return Ok(begun) };
        let file = open.lines.file.try_clone()?;
        let mut start = 0;
        if let Some(since) = since {
            let at = first_since(&file, self.end, since, &self.wanted, clock)?;
            begun.is_timeless = at.is_none();
            begun.is_newer =
                file.metadata()?.mtime().saturating_add(1).saturating_mul(SECOND) > since;
            start = at.unwrap_or(if begun.is_newer { 0 } else { self.end });
        }
        if let Some(last) = last {
            let (at, count) = last_lines(&file, self.end, last, &self.wanted, clock)?;
            begun.lines = count;
            if at < start {
                begun.lines = lines_between(&file, start, self.end, &self.wanted, clock)?;
            }
            start = start.max(at);
        }
        if let Some(open) = &mut self.open {
            open.lines = Lines::from(file, start, self.wanted.clone());
        }
        Ok(begun)
    }

    /// The next line, or piece of one. `follow`: beyond where the file ended when it was opened.
    pub fn next(&mut self, follow: bool, clock: &mut Clock) -> io::Result<Option<Piece>> {
        let whole = follow && self.wanted.ident.is_some();
        let end = if follow { u64::MAX } else { self.end };
        if let Some(before) = &mut self.before
            && let Some(piece) = before.lines.next(u64::MAX, whole, clock)?
        {
            self.is_of_before = true;
            return Ok(Some(piece));
        }
        self.is_of_before = false;
        match &mut self.open {
            Some(open) => open.lines.next(end, whole, clock),
            None => Ok(None),
        }
    }

    fn current(&mut self) -> Option<&mut Open> {
        if self.is_of_before { self.before.as_mut() } else { self.open.as_mut() }
    }

    /// Its bytes.
    pub fn bytes(&self, piece: Piece) -> &[u8] {
        let open = if self.is_of_before { &self.before } else { &self.open };
        open.as_ref().map_or(&[], |open| open.lines.bytes(piece))
    }

    /// It was shown.
    pub fn take(&mut self, piece: Piece) {
        if let Some(open) = self.current() {
            open.lines.take(piece);
        }
    }

    /// Looks again at where the path leads, when all that was written so far has been read. Returns what hinders, if that
    /// has not been said.
    pub fn look_again(&mut self) -> Option<io::Error> {
        for watch in self.watches() {
            watch.clear();
        }
        let found = match std::fs::metadata(&self.path) {
            Ok(stat) => id_of(&stat),
            // It was renamed, and the new one is not there yet; or its directory is another one now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.watch_directory();
                return None;
            }
            Err(error) => return self.hindered(error),
        };
        if self.open.as_ref().is_some_and(|open| open.id == found) {
            return None;
        }
        match self.open_new() {
            Ok(new) => {
                self.said = None;
                self.before = self.open.replace(new);
                None
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => self.hindered(error),
        }
    }

    fn open_new(&self) -> io::Result<Open> {
        let file = open(&self.path)?;
        let id = id_of(&file.metadata()?);
        let lines = Lines::from(file, 0, self.wanted.clone());
        let mut new = Open { lines, id, watch: None };
        new.watch(&self.path);
        Ok(new)
    }

    fn hindered(&mut self, error: io::Error) -> Option<io::Error> {
        let is_new = self.said.replace(error.kind()) != Some(error.kind());
        is_new.then_some(error)
    }

    /// Asks the system to tell of changes.
    pub fn follow(&mut self) {
        if let Some(open) = &mut self.open {
            open.watch(&self.path);
        }
        self.directory = Watch::new();
        self.watch_directory();
    }

    /// Watches the directory, if that is another one than before.
    fn watch_directory(&mut self) {
        let Some(dir) = self.path.parent() else { return };
        let found = std::fs::metadata(dir).ok().map(|stat| id_of(&stat));
        if let Some(watch) = &mut self.directory
            && (found.is_none() || found != self.watched)
        {
            watch.set_directory(dir);
            self.watched = found.filter(|_| watch.has_file());
        }
    }

    fn watches(&self) -> impl Iterator<Item = &Watch> {
        let files = [&self.open, &self.before];
        let of_files = files.into_iter().flatten().filter_map(|open| open.watch.as_ref());
        of_files.chain(&self.directory)
    }

    /// To be polled: there is something to read when something has changed.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.watches().map(Watch::descriptor)
    }

    /// Whether the system does not tell of all changes, so that the file must be looked at now and then.
    pub fn is_blind(&self) -> bool {
        let is_watched = |watch: &Option<Watch>| watch.as_ref().is_some_and(Watch::has_file);
        !is_watched(&self.directory) || self.open.as_ref().is_some_and(|o| !is_watched(&o.watch))
    }
}

impl Open {
    fn watch(&mut self, path: &Path) {
        self.watch = Watch::new();
        if let Some(watch) = &mut self.watch {
            watch.set_file(self.lines.file.as_fd(), path);
        }
    }
}

/// The place of the first line that was written since then; the end, where all are older. What stands before the first
/// line with a time stamp belongs to that. `None`: no line has one.
fn first_since(
    file: &File,
    end: u64,
    since: i64,
    wanted: &Wanted,
    clock: &mut Clock,
) -> io::Result<Option<u64>> {
    let timed = Wanted { time: true, ..wanted.clone() };
    let mut is_first = true;
    let found = each_line(file, 0, end, &timed, clock, |at, stamp| match stamp {
        Some(stamp) if stamp >= since => Some(if is_first { 0 } else { at }),
        Some(_) => {
            is_first = false;
            None
        }
        None => None,
    })?;
    Ok(found.or((!is_first).then_some(end)))
}

fn lines_between(
    file: &File,
    start: u64,
    end: u64,
    wanted: &Wanted,
    clock: &mut Clock,
) -> io::Result<u64> {
    let mut count = 0;
    let untimed = Wanted { time: false, ..wanted.clone() };
    each_line(file, start, end, &untimed, clock, |_, _| -> Option<()> {
        count += 1;
        None
    })?;
    Ok(count)
}

/// Looks at each line that is wanted, until something is found.
fn each_line<T>(
    file: &File,
    start: u64,
    end: u64,
    wanted: &Wanted,
    clock: &mut Clock,
    mut look: impl FnMut(u64, Option<i64>) -> Option<T>,
) -> io::Result<Option<T>> {
    // All lines are read, so that their lengths add up to their places.
    let all = Wanted { ident: None, time: false };
    let mut lines = Lines::from(file.try_clone()?, start, all);
    let mut at = start;
    while let Some(piece) = lines.next(end, false, clock)? {
        let bytes = lines.bytes(piece);
        let length = bytes.len() as u64;
        let head = &bytes[..bytes.len().min(HEAD)];
        if piece.starts && wanted.includes(head, clock) {
            let stamp = if wanted.time { stamp(head, clock).map(|(found, _)| found) } else { None };
            if let Some(found) = look(at, stamp) {
                return Ok(Some(found));
            }
        }
        at += length;
        lines.take(piece);
    }
    Ok(None)
}
