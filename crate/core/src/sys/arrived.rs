//! A signal that has arrived, and how it goes on to another process.

use nix::errno::Errno;

/// A signal that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Its number.
    pub signal: i32,
    /// A terminal has sent it, to each process of its foreground group.
    pub by_terminal: bool,
    /// What was sent with it (sigqueue(3)).
    pub value: Option<usize>,
}

impl Arrived {
    /// Sends it to a process.
    pub fn pass_on(self, pid: i32) -> Result<(), Errno> {
        match self.value {
            Some(value) => super::queue(pid, self.signal, value),
            // SAFETY: takes integers only.
            None => Errno::result(unsafe { libc::kill(pid, self.signal) }).map(drop),
        }
    }
}
