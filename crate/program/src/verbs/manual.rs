//! The manual page, man(7), from the same table as the help.

use super::help::{STATUSES, sentence, wrapped};
use crate::command_line::{GENERAL, Opt, VERBS, Verb};

/// The most columns of a line of the source, so that they are no more than 80 with what [`plain`] adds.
const WIDTH: usize = 72;

/// The page `tsdaemonize.1`.
pub fn page() -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut page = format!(".TH TSDAEMONIZE 1 \"\" \"tsdaemonize {version}\" \"User Commands\"\n");
    page.push_str(HEAD);
    page.push_str(".SH COMMANDS\n");
    for verb in VERBS {
        page.push_str(&of_verb(verb));
    }
    page.push_str(".SH OPTIONS\n");
    page.extend(GENERAL.iter().map(of_option));
    page.push_str(".SH EXIT STATUS\n");
    page.push_str(
        "That of the Linux Standard Base for init scripts, of several NAMEs the highest.\n",
    );
    page.extend(STATUSES.iter().map(|(status, what)| item(&bold(status), what)));
    page.push_str(TAIL);
    page
}

fn of_verb(verb: &Verb) -> String {
    let operands = verb.operands.shown();
    let call = format!("{} [\\fIOPTION\\fR...]{}", bold(verb.name), in_italics(operands));
    let options: String = verb.options().map(of_option).collect();
    format!(".SS \"{call}\"\n{}{}{options}", lines(&sentence(verb.does)), lines(verb.more))
}

/// What stands for something else is in capital letters.
fn in_italics(operands: &str) -> String {
    let word = |word: &str| {
        let letters: String = word.chars().filter(char::is_ascii_uppercase).collect();
        format!(" {}", word.replacen(&letters, &format!("\\fI{letters}\\fR"), 1))
    };
    operands.split_whitespace().map(word).collect()
}

fn of_option(option: &Opt) -> String {
    let short = option
        .short
        .map_or_else(String::new, |letter| format!("{}, ", bold(&format!("-{letter}"))));
    let value = option.value.map_or_else(String::new, |value| format!(" \\fI{}\\fR", plain(value)));
    item(&format!("{short}{}{value}", bold(&format!("--{}", option.name))), option.help)
}

fn item(head: &str, text: &str) -> String {
    format!(".TP\n{head}\n{}", lines(text))
}

/// Text as lines of the source.
fn lines(text: &str) -> String {
    wrapped("", text, WIDTH).lines().map(|line| format!("{}\n", plain(line))).collect()
}

fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", plain(text))
}

/// Text as roff(7) shows it: a backslash, a hyphen and a dot or quote at the beginning of a line mean something else
/// there.
fn plain(text: &str) -> String {
    let text =
        text.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq").replace('`', "\\(ga");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}

const HEAD: &str = r#".SH NAME
tsdaemonize \- make any program a daemon, and find it again by its name
.SH SYNOPSIS
.B tsdaemonize
\fICOMMAND\fR [\fIOPTION\fR...] [\fINAME\fR... | \fIPROGRAM\fR [\fIARGUMENT\fR...]]
.SH DESCRIPTION
It starts a program in the background, waits until it is ready, and says why
if it is not. Later it finds the daemon by its name, which the program's gives
or \fB\-\-name\fR. There is one daemon of a name for each user. It runs as
long as its pidfile is locked, so a pidfile that was left or forged leads to
no other process.
.PP
Programs that use the library of the same name (for Node, Bun and Deno) are
found, stopped and asked in the same way.
"#;

const TAIL: &str = r#".SH ENVIRONMENT
.TP
.B NO_COLOR
If it is set and not empty, nothing is coloured.
.TP
.B RUNTIME_DIRECTORY
If systemd has set it for this process, or somebody by hand: the directory of
the pidfiles.
.TP
.B XDG_RUNTIME_DIR
For users other than root: the directory of the pidfiles, if it is theirs.
.TP
.B NOTIFY_SOCKET\fR, \fBREADY_FD
A program that is started has them: how it may say that it is ready.
.SH FILES
.TP
.I /var/run/NAME.pid\fR, \fI/run/tsdaemonize/NAME.pid
Root's pidfiles; the second is that of a program without the library.
.TP
.I $XDG_RUNTIME_DIR/NAME.pid\fR, \fI/run/user/UID/NAME.pid\fR, \fI/tmp/NAME\-UID/NAME.pid
Those of other users.
.TP
.I .NAME.state
Beside the pidfile: how the daemon was started, and how it ended. A hint: only
the lock on the pidfile says who runs.
.SH EXAMPLES
.TP
.B tsdaemonize start \-\-name files python3 \-m http.server 8000
Start a server; end it with \fBtsdaemonize stop files\fR.
.TP
.B tsdaemonize start \-\-ready listen=80 nginx \-g \(aqdaemon off;\(aq
Start nginx, and wait until it listens.
.TP
.B tsdaemonize ensure ./indexer.js
Start it unless it runs, and print its pid.
.TP
.B tsdaemonize logs \-f files
Follow its log.
.SH SEE ALSO
.BR daemon (7),
.BR sd_notify (3),
.BR systemd.service (5),
.BR kill (1)
"#;
