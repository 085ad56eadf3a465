//! The journal of systemd, by journalctl(1): its files have no other stable reader.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tsdaemonize_core::sys;

use super::lines::{HEAD, Piece};
use super::moment::{Clock, SECOND, stamp};

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";
/// What journalctl says last with `--show-cursor`.
const CURSOR: &[u8] = b"-- cursor: ";
const BLOCK: usize = 64 << 10;

/// Whether journald runs here.
pub fn is_here() -> bool {
    Path::new(SOCKET).exists()
}

/// What the journal has of one ident.
#[derive(Debug)]
pub struct Journal {
    ident: String,
    child: Child,
    out: ChildStdout,
    /// What was read and not yet shown, from `taken` on.
    buffer: Vec<u8>,
    taken: usize,
    at_start: bool,
    /// Where the journal was read to.
    cursor: Option<String>,
    /// When that began, for a journal that has nothing yet.
    begun: i64,
    /// journalctl has closed its output.
    ended: bool,
}

impl Journal {
    /// Asks for what is there: all, or since a moment, or the last lines.
    pub fn begin(
        ident: &str,
        since: Option<i64>,
        last: Option<u64>,
        clock: &Clock,
    ) -> io::Result<Self> {
        let mut more = vec!["--show-cursor".to_owned()];
        if let Some(since) = since {
            // Whole seconds: this time stamp is older than all of that second.
            more.push(format!("--since=@{}", since.div_euclid(SECOND)));
        }
        if let Some(last) = last {
            more.push(format!("--lines={last}"));
        }
        let (child, out) = spawn(ident, &more)?;
        Ok(Self {
            ident: ident.to_owned(),
            child,
            out,
            buffer: Vec::new(),
            taken: 0,
            at_start: true,
            cursor: None,
            begun: clock.now,
            ended: false,
        })
    }

    /// Reads all that was asked for, and counts its lines.
    pub fn count(&mut self) -> io::Result<u64> {
        while self.fill()? {}
        let lines = self.buffer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        Ok(lines.filter(|line| !line.starts_with(CURSOR)).count() as u64)
    }

    /// Goes on with what is logged from now on.
    pub fn follow(&mut self) -> io::Result<()> {
        let from = match &self.cursor {
            Some(cursor) => format!("--after-cursor={cursor}"),
            None => format!("--since=@{}", self.begun),
        };
        let _ = self.child.wait();
        let follow = ["--follow".to_owned(), "--no-tail".to_owned(), from];
        (self.child, self.out) = spawn(&self.ident, &follow)?;
        fcntl(&self.out, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        (self.ended, self.at_start) = (false, true);
        Ok(())
    }

    /// The next line, or piece of one; `None` where there is no more at the moment.
    pub fn next(&mut self, clock: &mut Clock) -> io::Result<Option<Piece>> {
        loop {
            let rest = self.buffer.get(self.taken..).unwrap_or_default();
            let newline = rest.iter().position(|byte| *byte == b'\n');
            if newline.is_none() && rest.len() < BLOCK && self.fill()? {
                continue;
            }
            let rest = self.buffer.get(self.taken..).unwrap_or_default();
            let len = newline.map_or(rest.len(), |at| at + 1);
            // journalctl writes whole lines.
            if len == 0 || (newline.is_none() && len < BLOCK && !self.ended) {
                return Ok(None);
            }
            let line = &rest[..len];
            if let Some(cursor) = line.strip_prefix(CURSOR).filter(|_| self.at_start) {
                self.cursor = Some(String::from_utf8_lossy(cursor).trim_end().to_owned());
                self.taken += len;
                continue;
            }
            let starts = std::mem::replace(&mut self.at_start, newline.is_some());
            let head = &line[..len.min(HEAD)];
            let stamp = if starts { stamp(head, clock).map(|(found, _)| found) } else { None };
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

    /// Whether journalctl has ended, and all that it said was taken.
    pub fn has_ended(&self) -> bool {
        self.ended && self.taken == self.buffer.len()
    }

    /// To be polled.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        (!self.ended).then(|| self.out.as_fd())
    }

    /// Reads more; `false` where there is no more at the moment.
    fn fill(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let before = self.buffer.len();
        self.buffer.resize(before + BLOCK, 0);
        let read = self.out.read(&mut self.buffer[before..]);
        self.buffer.truncate(before + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => {
                self.ended = true;
                Ok(false)
            }
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Starts journalctl, which ends when this process does.
fn spawn(ident: &str, more: &[String]) -> io::Result<(Child, ChildStdout)> {
    let mut command = Command::new("journalctl");
    // Without `--all` it leaves out messages with bytes that cannot be printed.
    command.args(["--quiet", "--no-pager", "--all", "--output=short-iso-precise"]);
    command.arg(format!("--identifier={ident}")).args(more);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    // SAFETY: an async-signal-safe call.
    unsafe {
        command.pre_exec(|| match sys::die_with_parent() {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        });
    }
    let mut child = command.spawn()?;
    let out = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    Ok((child, out))
}
