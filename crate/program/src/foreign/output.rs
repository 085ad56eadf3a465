//! Where a foreign program prints: into a file, or into a pipe whose lines go to the logger.
//!
//! The launcher reads a pipe while the program starts, and keeps what came in a file without a name; the supervisor
//! reads that, and goes on with the pipe. So a line that is printed in two parts stays one, and what a failed start has
//! printed is the launcher's to show.

use std::fs::{DirBuilder, File, remove_file, symlink_metadata};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tsdaemonize_core::accounts;
use tsdaemonize_core::error::{Code, Error, Result};
use tsdaemonize_core::output::log_file;
use tsdaemonize_core::sys;
use tsdaemonize_core::syslog::direct::has_logger;

use crate::failed::Printed;
use crate::plan::{Output, Start};

/// So many bytes are kept that a program prints while it starts; the rest is counted.
const KEPT: u64 = 16 << 20;
/// Bytes are read in parts of this size.
const CHUNK: usize = 16 << 10;

/// The two outputs of a program.
#[derive(Debug)]
pub struct Outputs {
    stdout: Sink,
    stderr: Sink,
}

#[derive(Debug)]
enum Sink {
    File(LogFile),
    /// The file of the other one.
    Shared,
    Pipe(Pipe),
}

#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    writer: OwnedFd,
    is_made: bool,
    /// What stands before this was not printed by this program.
    from: u64,
}

#[derive(Debug)]
struct Pipe {
    reader: OwnedFd,
    is_open: bool,
    /// The program's end, until the program has it.
    writer: Option<OwnedFd>,
    kept: File,
    size: u64,
    lost: u64,
}

impl Outputs {
    /// Opens what the options say, or else what is best here: the logger, and where there is none a file.
    pub fn open(start: &Start) -> Result<Self> {
        let [stdout, stderr] = &start.outputs;
        let otherwise = match (stdout, stderr) {
            (Some(_), Some(_)) => None,
            _ if has_logger() => Some(Output::Syslog),
            _ => Some(Output::File(default_log(&start.name)?)),
        };
        let chosen = |output: &Option<Output>| output.clone().or_else(|| otherwise.clone());
        let (stdout, stderr) = (chosen(stdout), chosen(stderr));
        let is_shared = stdout == stderr && matches!(stdout, Some(Output::File(_)));
        Ok(Self {
            stdout: if is_shared { Sink::Shared } else { Sink::open(stdout)? },
            stderr: Sink::open(stderr)?,
        })
    }

    fn both(&self) -> [&Sink; 2] {
        let stdout = if matches!(self.stdout, Sink::Shared) { &self.stderr } else { &self.stdout };
        [stdout, &self.stderr]
    }

    fn pipes(&self) -> impl Iterator<Item = (usize, &Pipe)> {
        [(1, &self.stdout), (2, &self.stderr)].into_iter().filter_map(|(number, sink)| match sink {
            Sink::Pipe(pipe) => Some((number, pipe)),
            _ => None,
        })
    }

    fn pipes_mut(&mut self) -> impl Iterator<Item = &mut Pipe> {
        [&mut self.stdout, &mut self.stderr].into_iter().filter_map(|sink| match sink {
            Sink::Pipe(pipe) => Some(pipe),
            _ => None,
        })
    }

    /// What becomes the program's standard output and standard error.
    pub fn numbers(&self) -> [Option<RawFd>; 2] {
        self.both().map(|sink| match sink {
            Sink::File(file) => Some(file.writer.as_raw_fd()),
            Sink::Pipe(pipe) => pipe.writer.as_ref().map(AsRawFd::as_raw_fd),
            Sink::Shared => None,
        })
    }

    /// The files that were made for the program, by their numbers.
    pub fn made(&self) -> Vec<RawFd> {
        let made = [&self.stdout, &self.stderr].into_iter().filter_map(|sink| match sink {
            Sink::File(file) if file.is_made => Some(file.writer.as_raw_fd()),
            _ => None,
        });
        made.collect()
    }

    /// As the state file has them.
    pub fn shown(&self) -> [String; 2] {
        self.both().map(|sink| match sink {
            Sink::File(file) => Output::File(file.path.clone()).shown(),
            _ => Output::Syslog.shown(),
        })
    }

    /// Which outputs are pipes; for each, what the supervisor is given is the pipe, and what was kept.
    pub fn piped(&self) -> Vec<usize> {
        self.pipes().map(|(number, _)| number).collect()
    }

    /// What the supervisor is given.
    pub fn for_supervisor(&self) -> Result<Vec<OwnedFd>> {
        let again = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map_err(io("fcntl"));
        let mut given = Vec::new();
        for (_, pipe) in self.pipes() {
            given.push(again(pipe.reader.as_fd())?);
            given.push(again(pipe.kept.as_fd())?);
        }
        Ok(given)
    }

    /// The program has its ends. From here on they are open nowhere else, so that their end is seen.
    pub fn given_away(&mut self) {
        self.pipes_mut().for_each(|pipe| pipe.writer = None);
    }

    /// To be polled.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.pipes().filter(|(_, pipe)| pipe.is_open).map(|(_, pipe)| pipe.reader.as_fd())
    }

    /// Takes in what was printed.
    pub fn take_in(&mut self) {
        self.pipes_mut().for_each(Pipe::take_in);
    }

    /// Removes the files that were made for a program that did not start, and that it has not written to.
    pub fn remove_made(&self) {
        for sink in [&self.stdout, &self.stderr] {
            if let Sink::File(file) = sink {
                file.remove_made();
            }
        }
    }

    /// How many bytes of each pipe were lost.
    pub fn lost(&self) -> Vec<u64> {
        self.pipes().map(|(_, pipe)| pipe.lost).collect()
    }

    /// What the program has printed so far.
    pub fn printed(&self) -> Printed {
        Printed { stdout: self.stdout.printed(), stderr: self.stderr.printed() }
    }
}

impl Sink {
    fn open(output: Option<Output>) -> Result<Self> {
        match output {
            Some(Output::File(path)) => {
                let (writer, is_made) = log_file::open(&path)?;
                let file = File::from(writer);
                let from = file.metadata().map_err(io("fstat"))?.len();
                Ok(Self::File(LogFile { path, writer: file.into(), is_made, from }))
            }
            _ => Pipe::open().map(Self::Pipe),
        }
    }

    fn printed(&self) -> Vec<u8> {
        match self {
            Self::File(file) => file.printed(),
            Self::Shared => Vec::new(),
            Self::Pipe(pipe) => read_at(&pipe.kept, 0),
        }
    }
}

impl LogFile {
    fn remove_made(&self) {
        let own = self.writer.try_clone().map(File::from).and_then(|file| file.metadata());
        if let (Ok(own), Ok(found)) = (own, symlink_metadata(&self.path))
            && self.is_made
            && own.len() == 0
            && (own.dev(), own.ino()) == (found.dev(), found.ino())
        {
            let _ = remove_file(&self.path);
        }
    }

    /// What stands in it behind what was there before. It was opened to write; whoever may not read it sees nothing.
    fn printed(&self) -> Vec<u8> {
        let writer = self.writer.try_clone().map(File::from).and_then(|file| file.metadata());
        let reader = File::open(&self.path).and_then(|file| Ok((file.metadata()?, file)));
        match (writer, reader) {
            (Ok(own), Ok((found, file)))
                if (own.dev(), own.ino()) == (found.dev(), found.ino()) && found.is_file() =>
            {
                read_at(&file, self.from)
            }
            _ => Vec::new(),
        }
    }
}

impl Pipe {
    fn open() -> Result<Self> {
        let (reader, writer) = std::io::pipe().map_err(io("pipe"))?;
        let reader = OwnedFd::from(reader);
        fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(Error::from)?;
        let kept = File::from(sys::memfd(c"printed").map_err(Error::from)?);
        let writer = Some(OwnedFd::from(writer));
        Ok(Self { reader, is_open: true, writer, kept, size: 0, lost: 0 })
    }

    fn take_in(&mut self) {
        let mut chunk = [0; CHUNK];
        while self.is_open {
            let count = match sys::again(|| nix::unistd::read(&self.reader, &mut chunk)) {
                Ok(0) => {
                    self.is_open = false;
                    return;
                }
                Ok(count) => count,
                Err(_) => return,
            };
            let part = chunk.get(..count).unwrap_or(&[]);
            let has_room = self.size < KEPT;
            if has_room && self.kept.write_all_at(part, self.size).is_ok() {
                self.size += count as u64;
            } else {
                self.lost += count as u64;
            }
        }
    }
}

fn read_at(file: &File, from: u64) -> Vec<u8> {
    let length = file.metadata().map_or(0, |found| found.len());
    let from = from.max(length.saturating_sub(KEPT));
    let mut bytes = vec![0; usize::try_from(length.saturating_sub(from)).unwrap_or(0)];
    match file.read_exact_at(&mut bytes, from) {
        Ok(()) => bytes,
        Err(_) => Vec::new(),
    }
}

fn io(call: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |error| {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        Error::os(Code::StartFailed, "Cannot start a daemon", call, errno)
    }
}

/// Where a program's output goes if there is no logger.
fn default_log(name: &str) -> Result<PathBuf> {
    let file = format!("{name}.log");
    if sys::effective_uid() == 0 {
        return Ok(Path::new("/var/log").join(file));
    }
    let absolute = |name: &str| {
        let dir = std::env::var_os(name).map(PathBuf::from);
        dir.filter(|dir| dir.is_absolute())
    };
    let of_account = || {
        let account = accounts::user_by_uid(sys::effective_uid()).ok().flatten();
        account.map(|account| account.home).filter(|home| home.is_absolute())
    };
    let in_home = |home: PathBuf| home.join(".local").join("state");
    let state = absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").or_else(of_account).map(in_home))
        .ok_or_else(|| {
            Error::new(
                Code::StartFailed,
                "There is no logger here, and no home directory for a log file: give `--stdout` and `--stderr`",
            )
        })?;
    let dir = state.join("tsdaemonize");
    DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(|error| {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        let what = format!("Cannot make the directory {} for a log file", dir.display());
        Error::os(Code::StartFailed, what, "mkdir", errno)
            .at(&dir)
            .hint("Give `--stdout` and `--stderr`")
    })?;
    Ok(dir.join(file))
}
