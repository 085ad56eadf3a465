//! What the daemon's program is given: its arguments and its environment, in bytes.
//!
//! JavaScript sees this process's own arguments and variables as text, in which all bytes that are not
//! UTF-8 look alike. Those that it hands on are recognised by their places and their names here, and
//! handed on as they are.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;

use crate::error::{Code, Error, Result};
use crate::sys;

/// The program and what it is given, in the text that JavaScript sees.
#[derive(Debug)]
pub struct Command {
    /// The program's path.
    pub file: String,
    /// Its arguments, its own name first.
    pub argv: Vec<String>,
    /// The last of `argv` are the arguments of this process.
    pub own_arguments: bool,
    /// Its environment: `NAME=value`.
    pub env: Vec<String>,
    /// `env` is the environment of this process.
    pub own_env: bool,
}

/// The same as execve(2) takes it.
#[derive(Debug)]
pub struct Executable {
    /// The program's path.
    pub file: CString,
    /// Its arguments, its own name first.
    pub argv: Vec<CString>,
    /// Its environment.
    pub env: Vec<CString>,
}

impl Command {
    /// The bytes that the text stands for. Only the main thread, which alone changes the environment, may look at it:
    /// in another one variables are handed on as the text shows them.
    pub fn into_bytes(self) -> Result<Executable> {
        let own = Own::of_this();
        let file = own.program(self.file).and_then(c_string)?;
        let own_arguments = if self.own_arguments { own.args.len() } else { 0 };
        let argv = self.argv.into_iter().rev().enumerate().rev().map(|(from_end, argument)| {
            let same = own.args.iter().rev().take(own_arguments).nth(from_end);
            match same.filter(|bytes| shows(bytes, &argument)) {
                Some(bytes) => c_string(bytes.clone()),
                None => own.program(argument).and_then(c_string),
            }
        });
        let argv = argv.collect::<Result<_>>()?;
        let mut env = self.env.into_iter().map(|text| own.variable(text)).collect::<Vec<_>>();
        if self.own_env {
            env.extend(own.without_a_name_in_text());
        }
        Ok(Executable { file, argv, env: env.into_iter().map(c_string).collect::<Result<_>>()? })
    }
}

/// A string that ends with a NUL byte, and has no other.
pub fn c_string(bytes: Vec<u8>) -> Result<CString> {
    let nul = |_| Error::new(Code::StartFailed, "An argument has a NUL byte");
    CString::new(bytes).map_err(nul)
}

/// This process's arguments, its own name first.
pub fn command_line() -> Vec<Vec<u8>> {
    let args: Vec<Vec<u8>> = std::env::args_os().map(OsString::into_vec).collect();
    if !args.is_empty() {
        return args;
    }
    // musl does not tell a library its process's arguments.
    let line = sys::arguments();
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}

/// What this process itself was started with.
struct Own {
    program: Vec<u8>,
    args: Vec<Vec<u8>>,
    /// Names and values.
    env: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Own {
    fn of_this() -> Self {
        let bytes = OsString::into_vec;
        let program = std::env::current_exe().unwrap_or_default().into_os_string();
        let env = sys::is_main_thread().then(std::env::vars_os).into_iter().flatten();
        let env = env.map(|(name, value)| (bytes(name), bytes(value))).collect();
        Self { program: bytes(program), args: command_line(), env }
    }

    /// A path or an argument: this process's own one that looks like this text, where it is not UTF-8.
    fn program(&self, text: String) -> Result<Vec<u8>> {
        if !text.contains(char::REPLACEMENT_CHARACTER) {
            return Ok(text.into_bytes());
        }
        let all = self.args.iter().chain([&self.program]);
        let mut shown = all.filter(|bytes| shows(bytes, &text)).collect::<Vec<_>>();
        shown.sort_unstable();
        shown.dedup();
        match shown.as_slice() {
            [] => Ok(text.into_bytes()),
            [one] => Ok((*one).clone()),
            _ => {
                let message = format!(
                    "Several arguments of this process are not UTF-8 and look like '{text}': leave `args` out, which \
                     hands on all of them as they are"
                );
                Err(Error::new(Code::StartFailed, message))
            }
        }
    }

    /// A variable, `NAME=value`: this process's own one, where it looks the same.
    fn variable(&self, text: String) -> Vec<u8> {
        let found = text.split_once('=').and_then(|(name, value)| {
            // When several have one name, the first counts (getenv(3)).
            let (_, own) = self.env.iter().find(|(own, _)| own.as_slice() == name.as_bytes())?;
            shows(own, value).then(|| joined(name.as_bytes(), own))
        });
        found.unwrap_or_else(|| text.into_bytes())
    }

    /// The variables that JavaScript cannot see: their names are not UTF-8.
    fn without_a_name_in_text(&self) -> impl Iterator<Item = Vec<u8>> {
        let of_bytes = self.env.iter().filter(|(name, _)| std::str::from_utf8(name).is_err());
        of_bytes.map(|(name, value)| joined(name, value))
    }
}

/// Whether JavaScript sees these bytes as this text.
fn shows(bytes: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(bytes) == text
}

fn joined(name: &[u8], value: &[u8]) -> Vec<u8> {
    [name, b"=", value].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn own(args: &[&[u8]], env: &[(&[u8], &[u8])]) -> Own {
        let env = env.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        Own { program: b"/node".to_vec(), args: args.iter().map(|a| a.to_vec()).collect(), env }
    }

    #[test]
    fn text_that_stands_for_one_argument_becomes_its_bytes() {
        let own = own(&[b"a\xff", b"b\xfe", b"b\xfd"], &[]);
        assert_eq!(own.program("a\u{fffd}".into()).unwrap(), b"a\xff");
        assert_eq!(own.program("plain".into()).unwrap(), b"plain");
        assert_eq!(own.program("c\u{fffd}".into()).unwrap(), "c\u{fffd}".as_bytes());
        let error = own.program("b\u{fffd}".into()).unwrap_err();
        assert!(error.message.contains("look like 'b\u{fffd}'"), "{}", error.message);
    }

    #[test]
    fn a_variable_keeps_its_bytes_unless_it_was_changed() {
        let own = own(&[], &[(b"A", b"\xff"), (b"A", b"second"), (b"\xfe", b"hidden")]);
        assert_eq!(own.variable("A=\u{fffd}".into()), b"A=\xff");
        assert_eq!(own.variable("A=other".into()), b"A=other");
        assert_eq!(own.variable("NEW".into()), b"NEW");
        assert_eq!(own.without_a_name_in_text().collect::<Vec<_>>(), [b"\xfe=hidden"]);
    }

    #[test]
    fn a_nul_byte_is_refused() {
        assert!(c_string(b"a\0b".to_vec()).is_err());
    }
}
