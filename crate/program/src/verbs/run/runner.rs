//! The process beside a program in the foreground: it waits for the program's end, passes signals on, and waits for
//! every other child, which as PID 1 are the orphans of its pid namespace.
//!
//! The program is in the same process group and session as this process, so that a shell's job control and pipelines
//! are as they would be without it. What a terminal sends reaches the whole group, so that is not passed on; and where
//! the program is stopped by the terminal, this process stops too, so that the shell learns of it.

use std::time::{Duration, Instant};

use libc::c_int;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use tsdaemonize_core::error::reason;
use tsdaemonize_core::poll;
use tsdaemonize_core::process::own;
use tsdaemonize_core::sys::{Arrived, Mask, Signals, again, set_disposition};

use crate::output;
use crate::plan::KILL_AFTER;

/// So many children are waited for before it is looked for signals again.
const BATCH: usize = 1000;
/// Where nothing is due.
const LONG: Duration = Duration::from_secs(1 << 20);
/// What is sent to all of a terminal's foreground group.
const OF_TERMINALS: [c_int; 8] = [
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGWINCH,
    libc::SIGHUP,
    libc::SIGCONT,
];

/// Has children wait for this process to learn of their end, whatever it was started with.
pub fn keep_children() {
    set_disposition(libc::SIGCHLD, libc::SIG_DFL);
}

/// The process beside a program.
#[derive(Debug)]
pub struct Runner {
    signals: Signals,
    /// A child of this process.
    program: i32,
    /// How long the program may take to end after SIGTERM; `None`: as long as it likes.
    patience: Option<Duration>,
    /// When it is killed.
    kill_at: Option<Instant>,
}

enum Children {
    /// The program has ended, with this wait status.
    Ended(c_int),
    /// Others may have ended.
    More,
    /// No other has ended.
    NoMore,
}

impl Runner {
    /// Beside a child of this process, all of whose signals are read here. `patience`: how long it may take to end
    /// after SIGTERM, if anyone has said so; a manager has a patience of its own.
    pub fn new(signals: Signals, program: i32, stop_timeout: Option<Duration>) -> Self {
        let patience = stop_timeout.map(|time| time + KILL_AFTER);
        Self { signals, program, patience, kill_at: None }
    }

    /// Stays until the program ends. Returns its wait status.
    pub fn stay(&mut self) -> c_int {
        loop {
            let more = match self.wait_for_children() {
                Children::Ended(status) => return status,
                Children::More => true,
                Children::NoMore => false,
            };
            let now = Instant::now();
            if self.kill_at.take_if(|due| *due <= now).is_some() {
                self.kill();
            }
            if !more {
                let fds = &mut [PollFd::new(self.signals.descriptor(), PollFlags::POLLIN)];
                poll::until(fds, self.kill_at.unwrap_or(now + LONG));
            }
            while let Some(arrived) = self.signals.next() {
                self.hear(arrived);
            }
        }
    }

    fn wait_for_children(&mut self) -> Children {
        for _ in 0..BATCH {
            match wait(-1, libc::WUNTRACED) {
                Some((pid, status)) if pid == self.program && libc::WIFSTOPPED(status) => {
                    self.stop_too(libc::WSTOPSIG(status));
                }
                Some((pid, status)) if pid == self.program => return Children::Ended(status),
                Some(_) => {}
                None => return Children::NoMore,
            }
        }
        Children::More
    }

    fn hear(&mut self, arrived: Arrived) {
        if arrived.signal == libc::SIGCHLD || self.has_reached_the_program(arrived) {
            return;
        }
        if let Err(errno) = arrived.pass_on(self.program) {
            let (signal, pid, why) = (arrived.signal, self.program, reason(errno as i32));
            output::tell(&format!(
                "tsdaemonize: Cannot pass signal {signal} on to the program (pid {pid}): {why}, kill"
            ));
        }
        if arrived.signal == libc::SIGTERM {
            let patience = self.patience;
            self.kill_at = self.kill_at.or_else(|| patience.map(|time| Instant::now() + time));
        }
    }

    /// The leader of a session alone is told that the terminal is gone (credentials(7)).
    fn has_reached_the_program(&self, arrived: Arrived) -> bool {
        let leaders_alone = matches!(arrived.signal, libc::SIGHUP | libc::SIGCONT);
        arrived.by_terminal
            && OF_TERMINALS.contains(&arrived.signal)
            && !(leaders_alone && own::leads_session())
    }

    /// The program has stopped. If that was by the terminal, this process does the same; it goes on when a shell
    /// continues the whole group, or this process alone.
    fn stop_too(&mut self, signal: c_int) {
        let by_job_control = matches!(signal, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU);
        let is_init = std::process::id() == 1;
        if !by_job_control || is_init || std::fs::File::open("/dev/tty").is_err() {
            return;
        }
        // SAFETY: takes integers only.
        unsafe { libc::kill(libc::getpid(), signal) };
        // It is delivered here. Where nobody could continue this group, nothing happens (setpgid(2)).
        let _ = Mask::ALL.without(signal).set();
        let _ = Mask::ALL.set();
        let goes_on = wait(self.program, libc::WCONTINUED)
            .is_some_and(|(_, status)| libc::WIFCONTINUED(status));
        while let Some(arrived) = self.signals.next() {
            if !(goes_on && arrived.signal == libc::SIGCONT) {
                self.hear(arrived);
            }
        }
    }

    fn kill(&self) {
        let pid = self.program;
        output::tell(&format!(
            "tsdaemonize: The program (pid {pid}) has not ended in time: SIGKILL"
        ));
        // SAFETY: takes integers only; the program has not been waited for, so the pid is its own.
        unsafe { libc::kill(self.program, libc::SIGKILL) };
    }
}

/// Waits for a child whose state has changed, if there is one.
fn wait(pid: i32, flags: c_int) -> Option<(i32, c_int)> {
    let mut status = 0;
    // SAFETY: writes the status.
    let waited =
        || Errno::result(unsafe { libc::waitpid(pid, &mut status, flags | libc::WNOHANG) });
    again(waited).ok().filter(|pid| *pid > 0).map(|pid| (pid, status))
}
