//! `completions`: what bash, zsh and fish complete, from the table.

mod bash;
mod fish;
mod zsh;

use std::process::ExitCode;

use crate::command_line::{Call, GENERAL, Operands, Opt, VERBS, Verb};
use crate::error::{Failure, USAGE};
use crate::nearest::nearest;
use crate::output;

const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];
/// What prints the names of the daemons that run, one a line.
const NAMES: &str = "list --names 2> /dev/null";
/// What `--ready` takes.
const READY: &str = "handover notify fd listen alive";
/// The signals that people send. The shells know no others on every system.
const SIGNALS: &str = "HUP INT QUIT KILL USR1 USR2 ALRM TERM CONT STOP";

/// Runs the verb.
pub fn run(call: &Call) -> Result<ExitCode, Failure> {
    let given = call.operands.first().map(|shell| shell.to_string_lossy()).unwrap_or_default();
    let text = match given.as_ref() {
        "bash" => bash::script(),
        "zsh" => zsh::script(),
        "fish" => fish::script(),
        other => {
            let hint = nearest(other, SHELLS).map(|shell| format!(": did you mean '{shell}'?"));
            let hint =
                hint.unwrap_or_else(|| ". There are completions for bash, zsh and fish".into());
            return Err(Failure::new(USAGE, format!("unknown shell '{other}'{hint}")));
        }
    };
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// What a shell completes as an option's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Values {
    Directories,
    Files,
    Users,
    Groups,
    Commands,
    /// Files, or `syslog`.
    Outputs,
    Words(&'static str),
    Anything,
}

/// `None` for an option that takes no value.
fn values_of(option: &Opt) -> Option<Values> {
    Some(match option.value? {
        "DIRECTORY" => Values::Directories,
        "FILE" => Values::Files,
        "USER" => Values::Users,
        "GROUP" => Values::Groups,
        "PROGRAM" => Values::Commands,
        "WHERE" => Values::Outputs,
        "HOW" => Values::Words(READY),
        "SIGNAL" => Values::Words(SIGNALS),
        _ => Values::Anything,
    })
}

/// How an option may be written: with two hyphens, and with its letter.
fn spellings(option: &Opt) -> Vec<String> {
    let short = option.short.map(|letter| format!("-{letter}"));
    std::iter::once(format!("--{}", option.name)).chain(short).collect()
}

/// The options of a verb, with those that all of them have.
fn options_of(verb: &'static Verb) -> impl Iterator<Item = &'static Opt> {
    verb.options().chain(GENERAL.iter().take(1))
}

/// Every option of any verb, once.
fn all_options() -> Vec<&'static Opt> {
    let mut found: Vec<&Opt> = Vec::new();
    for option in VERBS.iter().flat_map(Verb::options) {
        if !found.iter().any(|other| other.name == option.name) {
            found.push(option);
        }
    }
    found
}

fn verbs_with(operands: Operands) -> impl Iterator<Item = &'static str> {
    VERBS.iter().filter(move |verb| verb.operands == operands).map(|verb| verb.name)
}

fn joined<T: AsRef<str>>(words: impl IntoIterator<Item = T>, between: &str) -> String {
    let words: Vec<T> = words.into_iter().collect();
    words.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_is_written_and_completed_in_one_way_in_all_verbs() {
        for option in VERBS.iter().flat_map(Verb::options) {
            let one = all_options().into_iter().find(|other| other.name == option.name);
            assert_eq!(one.map(|one| (one.short, one.value)), Some((option.short, option.value)));
        }
    }
}
