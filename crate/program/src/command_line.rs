//! The command line, in one table: help, the check of what was given, hints for what is misspelt, completions and the
//! man page come from it.

use std::ffi::{OsStr, OsString};

use lexopt::Arg;

use crate::error::{Failure, USAGE};
use crate::nearest::nearest;
use crate::verbs::kill;

/// A verb of the command line.
#[derive(Debug)]
pub struct Verb {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub does: &'static str,
    /// What else a user must know: sentences.
    pub more: &'static str,
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

impl Operands {
    /// How the help writes them.
    pub fn shown(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Program => " PROGRAM [ARGUMENT...]",
            Self::Names => " NAME...",
            Self::Shell => " SHELL",
        }
    }
}

impl Opt {
    /// How the help writes it: `-s, --signal SIGNAL`.
    pub fn shown(&self) -> String {
        let short = self.short.map_or_else(String::new, |letter| format!("-{letter}, "));
        let value = self.value.map_or_else(String::new, |value| format!(" {value}"));
        format!("{short:4}--{}{value}", self.name)
    }

    /// Whether it is written so, with its hyphens.
    fn is(&self, given: &str) -> bool {
        let short = self.short.map(|letter| format!("-{letter}"));
        given.strip_prefix("--") == Some(self.name) || short.as_deref() == Some(given)
    }
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
const JSON: &[Opt] = &[flag("json", "For programs: a JSON object a line")];
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
];
const ENDING: &[Opt] = &[
    valued("stop-timeout", "TIME", "How long it may take to end: milliseconds, or `10s`"),
    valued("runtime", "PROGRAM", "What runs a script; `node`, where it is left out"),
];
const READINESS: &[Opt] = &[
    valued(
        "start-timeout",
        "TIME",
        "How long it may take until it is ready: milliseconds, or `30s`",
    ),
    valued("ready", "HOW", "When it is ready: handover, notify, fd, listen[=PORT], alive[=TIME]"),
];
const LIST: &[Opt] = &[
    flag("all", "Those that have ended, too, and why"),
    flag("names", "Only their names"),
    flag("watch", "Renew the list until it is interrupted"),
    valued("pid-file-path", "DIRECTORY", "Look in this directory, too; may be given several times"),
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
        more: "Options come before the program: what follows its name is its own. A script is run by Node, anything else as it is. Either there is a daemon afterwards, which is ready, or the reason why not is told and nothing is left.",
        options: &[STARTING, READINESS, ENDING],
        operands: Operands::Program,
    },
    Verb {
        name: "run",
        does: "run a program in the foreground, under a manager or as PID 1",
        more: "It takes the options of start, without those about being ready: a manager hears of that from the program itself. It passes signals on, reaps orphans where it is PID 1, and ends as the program ends: with its status, with 128 + n after the signal n, with 127 where it was not found, with 126 where it could not be executed.",
        options: &[STARTING, ENDING],
        operands: Operands::Program,
    },
    Verb {
        name: "ensure",
        does: "print the pid of the daemon that runs; start it where none does",
        more: "It takes the options of start. Where another one is just starting the daemon, it waits until that is ready.",
        options: &[STARTING, READINESS, ENDING],
        operands: Operands::Program,
    },
    Verb {
        name: "stop",
        does: "end daemons, and wait for their end",
        more: "A daemon that has not ended one second after its stop timeout is killed. Nothing of it is left. To stop one that does not run is no failure.",
        options: &[PLACE],
        operands: Operands::Names,
    },
    Verb {
        name: "restart",
        does: "stop daemons, then start them again",
        more: "A daemon that cannot be started again in the same way is not stopped.",
        options: &[PLACE],
        operands: Operands::Names,
    },
    Verb {
        name: "reload",
        does: "have daemons read their configuration again (SIGHUP)",
        more: "A daemon that would end by SIGHUP, or ignores it, gets none.",
        options: &[PLACE],
        operands: Operands::Names,
    },
    Verb {
        name: "kill",
        does: "send daemons a signal",
        more: "Only the daemon gets it, and not the one that supervises it.",
        options: &[SIGNAL, PLACE],
        operands: Operands::Names,
    },
    Verb {
        name: "status",
        does: "say whether daemons run",
        more: "The exit status is 0 if all run, 3 if one does not run or is just starting, 1 if one was killed and has left its pidfile, 4 if that is not known.",
        options: &[JSON, PLACE],
        operands: Operands::Names,
    },
    Verb {
        name: "list",
        does: "list the daemons of this user, for root those of all users",
        more: "It looks in all directories where daemons of this user are kept, and in those that are named.",
        options: &[LIST, JSON],
        operands: Operands::None,
    },
    Verb {
        name: "logs",
        does: "show what daemons have logged",
        more: "It reads the log files, or the messages in the journal or in the log file of the system. Of several daemons the lines are in the order of their times.",
        options: &[LOGS, PLACE],
        operands: Operands::Names,
    },
    Verb {
        name: "completions",
        does: "print the completions of a shell: bash, zsh or fish",
        more: "bash: source <(tsdaemonize completions bash). zsh: to the file _tsdaemonize in a directory of $fpath. fish: to ~/.config/fish/completions/tsdaemonize.fish.",
        options: &[],
        operands: Operands::Shell,
    },
];

/// Options that are no verb's.
pub const GENERAL: &[Opt] = &[
    short('h', flag("help", "Print help; after a command, help on that one")),
    short('V', flag("version", "Print the version")),
    flag("where", "Print the path of this executable, for a link to it"),
    flag("man", "Print the manual page: tsdaemonize --man | man -l -"),
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
    /// Nothing: there are no arguments.
    Nothing,
    /// To run a verb.
    Run(Call),
    /// Help: for a verb, or for all.
    Help(Option<&'static Verb>),
    /// The version.
    Version,
    /// The path of this executable.
    Where,
    /// The manual page.
    Manual,
}

/// Reads the arguments of this process.
pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Wanted, Failure> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let mut parser = lexopt::Parser::from_args(arguments.iter().cloned());
    let verb = match parser.next().map_err(|error| misused(None, &error))? {
        None => return Ok(Wanted::Nothing),
        Some(Arg::Long("help") | Arg::Short('h')) => return Ok(Wanted::Help(None)),
        Some(Arg::Long("version") | Arg::Short('V')) => return Ok(Wanted::Version),
        Some(Arg::Long("where")) => return Ok(Wanted::Where),
        Some(Arg::Long("man")) => return Ok(Wanted::Manual),
        Some(Arg::Value(name)) => VERBS
            .iter()
            .find(|verb| name == *verb.name)
            .ok_or_else(|| unknown_verb(&name.to_string_lossy()))?,
        Some(option) => return Err(unknown_option(None, &option, &arguments)),
    };
    let mut call = Call { verb, options: Vec::new(), operands: Vec::new() };
    while let Some(argument) = parser.next().map_err(|error| misused(Some(verb), &error))? {
        let option = match argument {
            Arg::Long("help") | Arg::Short('h') => return Ok(Wanted::Help(Some(verb))),
            Arg::Value(value) => {
                call.operands.push(value);
                if verb.operands == Operands::Program {
                    let rest = parser.raw_args().map_err(|error| misused(Some(verb), &error))?;
                    call.operands.extend(rest);
                }
                continue;
            }
            Arg::Long(name) => verb.options().find(|option| option.name == name),
            Arg::Short(letter) => verb.options().find(|option| option.short == Some(letter)),
        };
        let Some(option) = option else {
            return Err(unknown_option(Some(verb), &argument, &arguments));
        };
        let value = match option.value {
            Some(_) => parser.value().map_err(|error| misused(Some(verb), &error))?,
            None => OsString::new(),
        };
        call.options.push((option.name, value));
    }
    let (most, what) = match verb.operands {
        Operands::None => (0, "nothing but options"),
        Operands::Program => (usize::MAX, "a program"),
        Operands::Names => (usize::MAX, "the name of a daemon"),
        Operands::Shell => (1, "a shell: bash, zsh or fish"),
    };
    let wrong = match call.operands.get(most) {
        Some(surplus) => format!(", and no '{}'", surplus.to_string_lossy()),
        None if most > 0 && call.operands.is_empty() => String::new(),
        None => return Ok(Wanted::Run(call)),
    };
    Err(Failure::new(USAGE, format!("`{}` takes {what}{wrong}. {}", verb.name, more(Some(verb)))))
}

/// Where to read more.
fn more(verb: Option<&Verb>) -> String {
    let verb = verb.map(|verb| format!("{} ", verb.name)).unwrap_or_default();
    format!("`tsdaemonize {verb}--help` tells more")
}

fn misused(verb: Option<&Verb>, error: &lexopt::Error) -> Failure {
    Failure::new(USAGE, format!("{error}. {}", more(verb)))
}

fn unknown_verb(given: &str) -> Failure {
    let verbs = VERBS.iter().map(|verb| verb.name);
    let options = GENERAL.iter().map(|option| option.name);
    let hint = nearest(given, verbs.chain(options.clone())).map(|meant| {
        let hyphens = if options.clone().any(|option| option == meant) { "--" } else { "" };
        format!(": did you mean '{hyphens}{meant}'?")
    });
    let hint = hint.unwrap_or_else(|| format!(". {}", more(None)));
    Failure::new(USAGE, format!("unknown command '{given}'{hint}"))
}

/// Before the verb there are few options, and those of a verb are misplaced.
fn unknown_option(verb: Option<&Verb>, option: &Arg<'_>, arguments: &[OsString]) -> Failure {
    let given = match option {
        Arg::Long(name) => format!("--{name}"),
        // The letters may have been meant as a word: `-name`.
        Arg::Short(letter) => {
            let is_word = |argument: &&OsString| {
                let text = argument.to_string_lossy();
                let letters = text.strip_prefix('-').filter(|rest| !rest.starts_with('-'));
                letters.is_some_and(|rest| rest.len() > 1 && rest.contains(*letter))
            };
            let word = arguments.iter().find(is_word);
            word.map_or(format!("-{letter}"), |word| word.to_string_lossy().into_owned())
        }
        Arg::Value(value) => value.to_string_lossy().into_owned(),
    };
    let known: Vec<&str> = match verb {
        Some(verb) => verb.options().map(|option| option.name).chain(["help"]).collect(),
        None => GENERAL.iter().map(|option| option.name).collect(),
    };
    // As for kill(1): `-9`, `-HUP`.
    let signal = given.strip_prefix('-').filter(|word| kill::number(word).is_some());
    let signal =
        signal.filter(|_| known.contains(&"signal")).map(|signal| format!("signal {signal}"));
    let is_word = given.chars().count() > 2;
    let meant = signal.or_else(|| nearest(&given, known).filter(|_| is_word).map(str::to_owned));
    let hint = match meant {
        Some(meant) => format!(": did you mean '--{meant}'?"),
        None => match VERBS.iter().find(|verb| verb.options().any(|option| option.is(&given))) {
            Some(other) if verb.is_none() => {
                format!(": it comes after a command, `tsdaemonize {} {given}`", other.name)
            }
            Some(other) => format!(": it is one of `{}`. {}", other.name, more(verb)),
            None => format!(". {}", more(verb)),
        },
    };
    Failure::new(USAGE, format!("unknown option '{given}'{hint}"))
}
