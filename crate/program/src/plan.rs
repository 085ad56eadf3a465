//! What `start`, `run` and `ensure` are asked to start: their options, checked, with their defaults.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tsdaemonize_core::instance::places::Candidate;
use tsdaemonize_core::pidfile::is_name;

use crate::command_line::Call;
use crate::durations;
use crate::env_file;
use crate::error::{FAILED, Failure, NO_RIGHT, USAGE};
use crate::foreign::refused::{self, Refused};
use crate::names::{self, Kind};
use crate::scripts;

/// How long a start may take.
pub const START_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an end may take.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// So much later SIGKILL comes.
pub const KILL_AFTER: Duration = Duration::from_secs(1);
/// How long a program lives until it is ready, where nobody says more.
const ALIVE: Duration = Duration::from_millis(200);
/// The value of an output that goes to the logger.
const SYSLOG: &str = "syslog";
/// What runs a script.
const RUNTIME: &str = "node";
/// Variables that a manager has set for its own child, which is the caller or above it.
const OF_MANAGERS: [&str; 7] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "READY_FD",
];

/// What to start.
#[derive(Debug, Clone)]
pub struct Start {
    /// The daemon's name.
    pub name: String,
    /// Whether `--name` was given.
    pub is_named: bool,
    /// Where a daemon of this name may be, the place of a start first.
    pub places: Vec<Candidate>,
    /// The directory that `--pid-file-path` names.
    pub pid_file_path: Option<PathBuf>,
    /// The file that is executed: the program, or what runs the script.
    pub file: PathBuf,
    /// Its arguments, its own name first.
    pub argv: Vec<OsString>,
    /// Its environment.
    pub env: Vec<(OsString, OsString)>,
    /// As whom it runs.
    pub user: Option<String>,
    /// The same for its group.
    pub group: Option<String>,
    /// Its working directory.
    pub cwd: Option<PathBuf>,
    /// Its file mode creation mask.
    pub umask: Option<u32>,
    /// Where its standard output and its standard error go.
    pub outputs: [Option<Output>; 2],
    /// How long it may take until it is ready.
    pub start_timeout: Duration,
    /// How long it may take to end.
    pub stop_timeout: Option<Duration>,
    /// When it is ready.
    pub ready: Ready,
}

/// Where an output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Line by line to the logger.
    Syslog,
    /// To the end of this file.
    File(PathBuf),
}

impl Output {
    /// As the options and the state file have it.
    pub fn shown(&self) -> String {
        match self {
            Self::Syslog => SYSLOG.to_owned(),
            Self::File(path) => path.to_string_lossy().into_owned(),
        }
    }
}

/// When a daemon is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// When it says so by the hand-over.
    HandOver,
    /// At the first of `READY=1`, a newline, and a while.
    Any,
    /// When it sends `READY=1` to `$NOTIFY_SOCKET`.
    Notify,
    /// When it writes a newline to `$READY_FD`.
    Fd,
    /// When it listens, at this TCP port or at any.
    Listen(Option<u16>),
    /// When it has lived for so long.
    Alive(Duration),
}

impl Start {
    /// Reads a command line.
    pub fn read(call: &Call) -> Result<Self, Failure> {
        let [program, args @ ..] = call.operands.as_slice() else {
            return Err(Failure::new(USAGE, "no program was given"));
        };
        let env = environment(call)?;
        let is_script = scripts::is_script(Path::new(program));
        let file = if is_script { script(program) } else { find(program, &env) };
        let not_executed = |refused| not_executed(call, refused);
        let file = file.map_err(not_executed)?;
        let ready = ready(call, is_script && scripts::has_library(&file))?;
        let kind = if ready == Ready::HandOver { Kind::Library } else { Kind::Foreign };
        let (name, is_named) = match call.value("name") {
            Some(name) => (named(name)?, true),
            None => (scripts::default_name(&file), false),
        };
        let pid_file_path = call.value(names::PID_FILE_PATH);
        let places = names::places_of(&name, pid_file_path, kind)?;
        let (file, argv) = if is_script {
            let runtime = call.value("runtime").unwrap_or(OsStr::new(RUNTIME));
            let runtime = find(runtime, &env).map_err(not_executed)?;
            (runtime.clone(), vec![runtime.into(), file.into()])
        } else {
            (file, vec![program.clone()])
        };
        Ok(Self {
            name,
            is_named,
            places,
            pid_file_path: pid_file_path.map(names::directory).transpose()?,
            file,
            argv: argv.into_iter().chain(args.iter().cloned()).collect(),
            env,
            user: text(call, "user")?,
            group: text(call, "group")?,
            cwd: path(call, "cwd")?,
            umask: call.value("umask").map(umask).transpose()?,
            outputs: [output(call, "stdout")?, output(call, "stderr")?],
            start_timeout: duration(call, "start-timeout")?.unwrap_or(START_TIMEOUT),
            stop_timeout: duration(call, "stop-timeout")?,
            ready,
        })
    }

    /// What `ps` would show of its program.
    pub fn program(&self) -> Vec<String> {
        self.argv.iter().map(|argument| argument.to_string_lossy().into_owned()).collect()
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let status = if refused.lacks_right { NO_RIGHT } else { refused.status };
        Self::new(status, refused.message)
    }
}

/// A daemon that cannot be started has failed; `run` has the statuses of a shell.
fn not_executed(call: &Call, refused: Refused) -> Failure {
    let failure = Failure::from(refused);
    if is_run(call) { failure } else { Failure { status: FAILED, ..failure } }
}

/// `run` puts the program into its own place, so that it is what a manager has started.
fn is_run(call: &Call) -> bool {
    call.verb.name == "run"
}

fn find(program: &OsStr, env: &[(OsString, OsString)]) -> Result<PathBuf, Refused> {
    let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    refused::find(program, path)
}

/// A script's file. What runs it is not where it is: its path must not depend on a directory.
fn script(program: &OsStr) -> Result<PathBuf, Refused> {
    let path = if program.as_bytes().contains(&b'/') {
        PathBuf::from(program)
    } else {
        Path::new(".").join(program)
    };
    let file = refused::find(path.as_os_str(), None)?;
    match std::fs::File::open(&file).and_then(|file| file.metadata()) {
        Ok(found) if found.is_dir() => Err(Refused::unreadable(&file, libc::EISDIR)),
        Ok(_) => Ok(file),
        Err(error) => Err(Refused::unreadable(&file, error.raw_os_error().unwrap_or(libc::EIO))),
    }
}

fn wrong(option: &str, expected: &str, got: &OsStr) -> Failure {
    Failure::new(USAGE, format!("`--{option}` must be {expected}; got '{}'", got.display()))
}

fn named(name: &OsStr) -> Result<String, Failure> {
    let expected = "one path component of 1 to 64 bytes without control characters";
    let found = name.to_str().filter(|name| is_name(name));
    found.map(str::to_owned).ok_or_else(|| wrong("name", expected, name))
}

fn text(call: &Call, option: &str) -> Result<Option<String>, Failure> {
    let read = |value: &OsStr| {
        let text = value.to_str().filter(|text| !text.is_empty());
        text.map(str::to_owned).ok_or_else(|| wrong(option, "a name or a number", value))
    };
    call.value(option).map(read).transpose()
}

fn path(call: &Call, option: &str) -> Result<Option<PathBuf>, Failure> {
    let read =
        |value: &OsStr| std::path::absolute(value).map_err(|_| wrong(option, "a path", value));
    call.value(option).map(read).transpose()
}

fn output(call: &Call, option: &str) -> Result<Option<Output>, Failure> {
    match call.value(option) {
        Some(value) if value == SYSLOG => Ok(Some(Output::Syslog)),
        _ => Ok(path(call, option)?.map(Output::File)),
    }
}

fn duration(call: &Call, option: &str) -> Result<Option<Duration>, Failure> {
    call.value(option).map(|value| durations::parse(option, value)).transpose()
}

fn umask(value: &OsStr) -> Result<u32, Failure> {
    let text = value.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let mask =
        text.and_then(|text| u32::from_str_radix(text, 8).ok()).filter(|mask| *mask <= 0o777);
    mask.ok_or_else(|| wrong("umask", "octal digits, at most 777, such as 022", value))
}

fn ready(call: &Call, has_library: bool) -> Result<Ready, Failure> {
    const EXPECTED: &str = "handover, notify, fd, listen, listen=PORT, alive or alive=TIME";
    let Some(value) = call.value("ready") else {
        return Ok(if has_library { Ready::HandOver } else { Ready::Any });
    };
    let text = value.to_str().unwrap_or_default();
    Ok(match text.split_once('=').map_or((text, None), |(how, more)| (how, Some(more))) {
        ("handover", None) => Ready::HandOver,
        ("notify", None) => Ready::Notify,
        ("fd", None) => Ready::Fd,
        ("listen", None) => Ready::Listen(None),
        ("listen", Some(port)) => {
            let port = port.parse().ok().filter(|port| *port > 0);
            Ready::Listen(Some(port.ok_or_else(|| wrong("ready", EXPECTED, value))?))
        }
        ("alive", None) => Ready::Alive(ALIVE),
        ("alive", Some(time)) => Ready::Alive(durations::parse("ready", OsStr::new(time))?),
        _ => return Err(wrong("ready", EXPECTED, value)),
    })
}

/// Whether a variable is this package's own, which no process that it starts gets.
pub fn is_own(variable: &OsStr) -> bool {
    variable.as_bytes().starts_with(b"TSDAEMONIZE_")
}

/// The caller's environment, over that the variables of files, and over those the variables that were given.
fn environment(call: &Call) -> Result<Vec<(OsString, OsString)>, Failure> {
    let mut env: Vec<(OsString, OsString)> = std::env::vars_os().collect();
    env.retain(|(name, _)| is_run(call) || OF_MANAGERS.iter().all(|own| name != own));
    env.retain(|(name, _)| !is_own(name));
    let mut set = |name: OsString, value: OsString| {
        env.retain(|(other, _)| *other != name);
        env.push((name, value));
    };
    for file in call.values("env-file") {
        let text = std::fs::read(file).map_err(|error| {
            let why = tsdaemonize_core::error::reason(error.raw_os_error().unwrap_or(libc::EIO));
            Failure::new(
                FAILED,
                format!("Cannot read the variables in '{}': {why}", file.display()),
            )
        })?;
        for (name, value) in env_file::parse(&text) {
            set(OsString::from_vec(name), OsString::from_vec(value));
        }
    }
    for given in call.values("env") {
        let bytes = given.as_bytes();
        let equals = bytes.iter().position(|byte| *byte == b'=').filter(|at| *at > 0);
        let equals = equals.ok_or_else(|| wrong("env", "NAME=VALUE", given))?;
        set(
            OsStr::from_bytes(&bytes[..equals]).to_owned(),
            OsStr::from_bytes(&bytes[equals + 1..]).to_owned(),
        );
    }
    Ok(env)
}
