//! What is printed, and for whom.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsRawFd;

use crate::error::{FAILED, Failure};

/// Writes to standard output. A reader that is gone is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// Writes lines to standard output.
pub fn print_lines(lines: &[String]) -> Result<(), Failure> {
    print(&lines.iter().map(|line| format!("{line}\n")).collect::<String>())
}

/// The same, for what may not be text.
pub fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(FAILED, format!("Cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes a line to standard error, if that can be done.
pub fn tell(line: &str) {
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// Says on standard error what a caller should know, although nothing has failed.
pub fn warn(message: &str) {
    tell(&format!("tsdaemonize: {message}"));
}

/// How many columns a terminal has; `None` for what is none, or does not say.
pub fn width(terminal: &impl AsRawFd) -> Option<usize> {
    // SAFETY: `struct winsize` is plain integers, for which zero is a value.
    let mut size: libc::winsize = unsafe { std::mem::zeroed() };
    // SAFETY: TIOCGWINSZ fills in the structure that it is given.
    let asked = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (asked == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Whether standard output is a terminal that shows colours, and nobody wants none (<https://no-color.org>).
pub fn has_colours() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    io::stdout().is_terminal()
        && set("NO_COLOR").is_none()
        && set("TERM").is_some_and(|term| term != "dumb")
}
