//! The command line, in one table: help, the check of what was given, hints for what is misspelt, completions and the
//! man page come from it.

use std::ffi::{OsStr, OsString};

use lexopt::Arg;

use crate::error::{Failure, USAGE};

/// A verb of the command line.
#[derive(Debug)]
pub struct Verb {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub does: &'static str,
    /// Its options, in the order of the help.
    pub options: &'static [&'static [Opt]],
    /// What it takes besides options.
    pub operands: Operands,
}

/// What a verb takes besides options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operands {
    /// Nothing.
    None,
    /// A program and its arguments: options come before the program's name only.
    Program,
    /// The names of daemons, one at least.
    Names,
    /// The name of a shell.
    Shell,
}

/// An option.
#[derive(Debug)]
pub struct Opt {
    /// Its name, without the hyphens.
    pub name: &'static str,
    /// Its letter.
    pub short: Option<char>,
    /// What its value is; `None` for one that takes none.
    pub value: Option<&'static str>,
    /// What it is for.
    pub help: &'static str,
}

const fn flag(name: &'static str, help: &'static str) -> Opt {
    Opt { name, short: None, value: None, help }
}

const fn valued(name: &'static str, value: &'static str, help: &'static str) -> Opt {
    Opt { name, short: None, value: Some(value), help }
}

const fn short(letter: char, option: Opt) -> Opt {
    Opt { short: Some(letter), ..option }
}

const PLACE: &[Opt] = &[valued("pid-file-path", "DIRECTORY", "Where its pidfile is kept")];
const JSON: &[Opt] = &[flag("json", "For programs")];
const SIGNAL: &[Opt] =
    &[short('s', valued("signal", "SIGNAL", "Its name, with or without SIG, or its number"))];
const STARTING: &[Opt] = &[
    valued("name", "NAME", "The daemon's name; the program's, where it is left out"),
    valued("pid-file-path", "DIRECTORY", "Where its pidfile is kept"),
    valued("user", "USER", "Run it as this user"),
    valued("group", "GROUP", "Run it as this group"),
    valued("cwd", "DIRECTORY", "Its working directory"),
    valued("umask", "MASK", "Its umask, in octal digits"),
    valued("env", "NAME=VALUE", "A variable of its environment; may be given several times"),
    valued("env-file", "FILE", "Variables of its environment, a line each"),
    valued("stdout", "WHERE", "What it prints goes to this file, or to `syslog`"),
    valued("stderr", "WHERE", "Its errors go to this file, or to `syslog`"),
    valued(
        "start-timeout",
        "TIME",
        "How long it may take until it is ready: milliseconds, or `30s`",
    ),
    valued("stop-timeout", "TIME", "How long it may take to end: milliseconds, or `10s`"),
    valued("ready", "HOW", "When it is ready: handover, notify, fd, listen[=PORT], alive[=TIME]"),
    valued("runtime", "PROGRAM", "What runs a script; `node`, where it is left out"),
];
const LIST: &[Opt] = &[
    flag("all", "Those that have ended and left a pidfile, too"),
    flag("watch", "Renew the list until it is interrupted"),
];
const LOGS: &[Opt] = &[
    short('f', flag("follow", "Go on with what is logged from now on")),
    short('n', valued("lines", "N", "Only the last lines")),
    valued("since", "TIME", "Only what was logged since then: 10min, today, an ISO time"),
];

/// All verbs, in the order of the help.
pub const VERBS: &[Verb] = &[
    Verb {
        name: "start",
        does: "start a program as a daemon, and wait until it is ready",
        options: &[STARTING],
        operands: Operands::Program,
    },
    Verb {
        name: "run",
        does: "run a program in the foreground, under a manager or as PID 1",
        options: &[STARTING],
        operands: Operands::Program,
    },
    Verb {
        name: "ensure",
        does: "print the pid of the daemon that runs; start it where none does",
        options: &[STARTING],
        operands: Operands::Program,
    },
    Verb {
        name: "stop",
        does: "end daemons, and wait for their end",
        options: &[PLACE],
        operands: Operands::Names,
    },
    Verb {
        name: "restart",
        does: "stop daemons, then start them again",
        options: &[PLACE],
        operands: Operands::Names,
    },
    Verb {
        name: "reload",
        does: "have daemons read their configuration again (SIGHUP)",
        options: &[PLACE],
        operands: Operands::Names,
    },
    Verb {
        name: "kill",
        does: "send daemons a signal",
        options: &[SIGNAL, PLACE],
        operands: Operands::Names,
    },
    Verb {
        name: "status",
        does: "say whether daemons run",
        options: &[JSON, PLACE],
        operands: Operands::Names,
    },
    Verb {
        name: "list",
        does: "list the daemons of this user, for root those of all users",
        options: &[LIST, JSON, PLACE],
        operands: Operands::None,
    },
    Verb {
        name: "logs",
        does: "show what daemons have logged",
        options: &[LOGS, PLACE],
        operands: Operands::Names,
    },
    Verb {
        name: "completions",
        does: "print the completions of a shell: bash, zsh or fish",
        options: &[],
        operands: Operands::Shell,
    },
];

impl Verb {
    /// Its options.
    pub fn options(&self) -> impl Iterator<Item = &'static Opt> {
        self.options.iter().copied().flatten()
    }
}

/// A verb, as it was called.
#[derive(Debug)]
pub struct Call {
    /// The verb.
    pub verb: &'static Verb,
    /// The options that were given, with their values.
    options: Vec<(&'static str, OsString)>,
    /// Names, or a program and its arguments.
    pub operands: Vec<OsString>,
}

impl Call {
    /// Whether an option was given.
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|(name, _)| *name == option)
    }

    /// The value of an option; of several, the last one.
    pub fn value(&self, option: &str) -> Option<&OsStr> {
        self.values(option).next_back()
    }

    /// All values of an option that may be given several times.
    pub fn values(&self, option: &str) -> impl DoubleEndedIterator<Item = &OsStr> {
        self.options
            .iter()
            .filter(move |given| given.0 == option)
            .map(|(_, value)| value.as_os_str())
    }
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Wanted {
    /// To run a verb.
    Run(Call),
    /// Help: for a verb, or for all.
    Help(Option<&'static Verb>),
    /// The version.
    Version,
    /// The path of this executable.
    Where,
}

/// Reads the arguments of this process.
pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Wanted, Failure> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let verb = match next(&mut parser)? {
        None => return Err(Failure::new(USAGE, "no command. `tsdaemonize --help` lists them")),
        Some(Arg::Long("help") | Arg::Short('h')) => return Ok(Wanted::Help(None)),
        Some(Arg::Long("version") | Arg::Short('V')) => return Ok(Wanted::Version),
        Some(Arg::Long("where")) => return Ok(Wanted::Where),
        Some(Arg::Value(name)) => match VERBS.iter().find(|verb| *name == *verb.name) {
            Some(verb) => verb,
            None => {
                let name = name.to_string_lossy();
                return Err(unknown(
                    "command",
                    &name,
                    VERBS.iter().map(|verb| verb.name.to_owned()),
                ));
            }
        },
        Some(argument) => {
            let name = shown(&argument);
            let known = ["--help", "--version", "--where"].map(str::to_owned);
            return Err(unknown("option", &name, known));
        }
    };
    let mut call = Call { verb, options: Vec::new(), operands: Vec::new() };
    while let Some(argument) = next(&mut parser)? {
        let option = match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(Wanted::Help(Some(verb))),
            Arg::Value(value) => {
                call.operands.push(value);
                if verb.operands == Operands::Program {
                    let rest = parser.raw_args().map_err(|error| misused(verb, &error))?;
                    call.operands.extend(rest);
                }
                continue;
            }
            Arg::Long(name) => verb.options().find(|option| option.name == name),
            Arg::Short(letter) => verb.options().find(|option| option.short == Some(letter)),
        };
        let Some(option) = option else {
            let known = verb.options().map(|option| format!("--{}", option.name));
            return Err(unknown("option", &shown(&argument), known));
        };
        let value = match option.value {
            Some(_) => parser.value().map_err(|error| misused(verb, &error))?,
            None => OsString::new(),
        };
        call.options.push((option.name, value));
    }
    match (verb.operands, call.operands.as_slice()) {
        (Operands::None, [surplus, ..]) => {
            let surplus = surplus.to_string_lossy();
            Err(Failure::new(USAGE, format!("`{}` takes no '{surplus}'", verb.name)))
        }
        (Operands::Program, []) => Err(missing(verb, "a program")),
        (Operands::Names, []) => Err(missing(verb, "the name of a daemon")),
        (Operands::Shell, []) => Err(missing(verb, "a shell: bash, zsh or fish")),
        _ => Ok(Wanted::Run(call)),
    }
}

fn next(parser: &mut lexopt::Parser) -> Result<Option<Arg<'_>>, Failure> {
    parser.next().map_err(|error| Failure::new(USAGE, error.to_string()))
}

fn shown(argument: &Arg<'_>) -> String {
    match argument {
        Arg::Long(name) => format!("--{name}"),
        Arg::Short(letter) => format!("-{letter}"),
        Arg::Value(value) => value.to_string_lossy().into_owned(),
    }
}

fn misused(verb: &Verb, error: &lexopt::Error) -> Failure {
    Failure::new(USAGE, format!("{error}. `tsdaemonize {} --help` tells more", verb.name))
}

fn missing(verb: &Verb, what: &str) -> Failure {
    let name = verb.name;
    Failure::new(USAGE, format!("`{name}` takes {what}. `tsdaemonize {name} --help` tells more"))
}

/// The least that two words must have in common for one to be the other, misspelt.
const ALIKE: f64 = 0.7;

fn unknown(kind: &str, given: &str, known: impl IntoIterator<Item = String>) -> Failure {
    let alike = known.into_iter().map(|word| (strsim::jaro_winkler(given, &word), word));
    let nearest = alike.filter(|(alike, _)| *alike >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = nearest.map(|(_, word)| format!(": did you mean '{word}'?")).unwrap_or_default();
    Failure::new(USAGE, format!("unknown {kind} '{given}'{hint}"))
}
