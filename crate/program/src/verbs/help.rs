//! `--help`: what the table says, as wide as the terminal.

use std::io;

use crate::command_line::{GENERAL, Opt, VERBS, Verb};
use crate::output;

/// The columns, where no terminal says how many there are.
const WIDTH: usize = 80;
/// Fewer columns are not counted with, and more are hard to read.
const WIDTHS: (usize, usize) = (40, 100);
/// Before a row of a list.
const INDENT: &str = "  ";

/// The exit statuses, those of the Linux Standard Base for init scripts.
pub const STATUSES: &[(&str, &str)] = &[
    ("0", "It is done, or runs"),
    ("1", "It failed; status: it was killed, and has left its pidfile"),
    ("2", "The command line is wrong"),
    ("3", "status: it does not run, or is just starting"),
    ("4", "The caller lacks the right; status: it is not known whether it runs"),
    ("7", "reload, kill: it does not run"),
    ("126, 127", "run: the program could not be executed, was not found"),
];

/// The help of a verb, or of all.
pub fn help(verb: Option<&Verb>) -> String {
    let width = output::width(&io::stdout()).unwrap_or(WIDTH).clamp(WIDTHS.0, WIDTHS.1);
    match verb {
        None => of_all(width),
        Some(verb) => of_verb(verb, width),
    }
}

fn of_all(width: usize) -> String {
    let verbs: Vec<_> = VERBS.iter().map(|verb| (verb.name.to_owned(), verb.does)).collect();
    let statuses: Vec<_> =
        STATUSES.iter().map(|(status, what)| ((*status).to_owned(), *what)).collect();
    format!(
        "{}\n{}\
         \nCommands:\n{}\
         \nOptions:\n{}\
         \nExit status, the highest of all NAMEs:\n{}\
         \n{}",
        wrapped(
            "Usage: ",
            "tsdaemonize COMMAND [OPTION...] [NAME... | PROGRAM [ARGUMENT...]]",
            width
        ),
        wrapped("", "Makes any program a daemon, and finds it again by its name.", width),
        list(&verbs, width),
        list(&rows(GENERAL), width),
        list(&statuses, width),
        wrapped("", "`tsdaemonize COMMAND --help` tells the options of a command.", width),
    )
}

fn of_verb(verb: &Verb, width: usize) -> String {
    let Verb { name, does, more, operands, .. } = verb;
    let options: Vec<&Opt> = verb.options().chain(&GENERAL[..1]).collect();
    format!(
        "{}\n{}\n{}\nOptions:\n{}",
        wrapped("Usage: ", &format!("tsdaemonize {name} [OPTION...]{}", operands.shown()), width),
        wrapped("", &sentence(does), width),
        wrapped("", more, width),
        list(&rows(options), width),
    )
}

/// What a verb does, as a sentence.
pub fn sentence(does: &str) -> String {
    let (first, rest) = does.split_at(1);
    format!("{}{rest}.", first.to_ascii_uppercase())
}

fn rows<'a>(options: impl IntoIterator<Item = &'a Opt>) -> Vec<(String, &'a str)> {
    options.into_iter().map(|option| (option.shown(), option.help)).collect()
}

/// Rows of two columns.
fn list(rows: &[(String, &str)], width: usize) -> String {
    // What is longer has a line of its own.
    let most = width * 3 / 8;
    let longest = rows.iter().map(|(left, _)| left.len()).filter(|length| *length <= most).max();
    let left_width = longest.unwrap_or(most);
    let blank = " ".repeat(left_width);
    let lines = rows.iter().map(|(left, right)| {
        let is_long = left.len() > left_width;
        let head = if is_long { &blank } else { left };
        let lines = wrapped(&format!("{INDENT}{head:left_width$}  "), right, width);
        if is_long { format!("{INDENT}{left}\n{lines}") } else { lines }
    });
    lines.collect()
}

/// Lines of a text that begins behind a head, and goes on below itself.
pub fn wrapped(head: &str, text: &str, width: usize) -> String {
    let indent = " ".repeat(head.len());
    let (mut lines, mut line) = (String::new(), head.to_owned());
    let mut is_empty = true;
    for word in text.split(' ') {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > width {
            lines.extend([line.as_str(), "\n"]);
            line.clone_from(&indent);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines + line.trim_end() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_the_terminal_and_no_word_is_lost() {
        for width in [40, 57, 80, 100] {
            let texts = VERBS.iter().map(|verb| of_verb(verb, width)).chain([of_all(width)]);
            for text in texts {
                for line in text.lines() {
                    let is_one = line.split_whitespace().count() <= 1;
                    assert!(line.chars().count() <= width || is_one, "{width}: {line}");
                    assert_eq!(line, line.trim_end());
                }
            }
        }
        for verb in VERBS {
            let words = |text: &str| {
                text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
            };
            let help = words(&of_verb(verb, 57));
            for option in verb.options() {
                assert!(help.contains(&words(&option.shown())), "{} in {help}", option.shown());
                assert!(help.contains(&words(option.help)), "{} in {help}", option.help);
            }
            assert!(help.contains(&words(verb.more)), "{help}");
            assert!(words(&of_all(57)).contains(verb.does), "{}", verb.does);
        }
    }
}
