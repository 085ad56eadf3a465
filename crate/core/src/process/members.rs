//! The processes that belong to a daemon, and what they take together.

use std::collections::HashMap;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::{Pid, getpgid, getsid};

use crate::sys;

/// The processes that there are, by their sessions.
#[derive(Debug, Default)]
pub struct Sessions(HashMap<i32, Vec<i32>>);

/// What processes take together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// How many they are.
    pub processes: usize,
    /// The time that they have had a CPU.
    pub cpu: Duration,
    /// Their resident memory in bytes. What they share counts for each of them.
    pub memory: u64,
}

impl Sessions {
    /// Looks at all processes, once. The kernel says who is in which session, as far as our own pid namespace goes
    /// (getsid(2)).
    pub fn look() -> Self {
        let mut sessions = Self::default();
        for pid in sys::visible_pids() {
            if let Ok(session) = getsid(Some(Pid::from_raw(pid))) {
                sessions.0.entry(session.as_raw()).or_default().push(pid);
            }
        }
        sessions
    }

    /// The daemon, and what it has started: the processes of its session, where that is its own. A daemon that did not
    /// detach may share the session of a shell; then its process group counts, if it leads one.
    pub fn of(&self, daemon: i32, supervisor: Option<i32>) -> Vec<i32> {
        let session = getsid(Some(Pid::from_raw(daemon))).map_or(0, Pid::as_raw);
        let empty = Vec::new();
        let all = self.0.get(&session).unwrap_or(&empty);
        let others = all.iter().copied().filter(|&pid| pid != daemon && Some(pid) != supervisor);
        let group = |pid: i32| getpgid(Some(Pid::from_raw(pid))).ok();
        // The leader of a daemon's session is itself, or its supervisor, or has ended when it was ready.
        let is_own = session == daemon
            || Some(session) == supervisor
            || (session > 0 && has_no_leader(session));
        let leads = group(daemon) == Some(Pid::from_raw(daemon));
        let counts = |pid: &i32| is_own || (leads && group(*pid) == Some(Pid::from_raw(daemon)));
        std::iter::once(daemon).chain(others.filter(counts)).collect()
    }
}

/// Whether the first process of a session has ended. Its number is nobody else's for as long as the session lasts.
fn has_no_leader(session: i32) -> bool {
    getsid(Some(Pid::from_raw(session))) == Err(Errno::ESRCH)
}

/// What these processes take; `None` where the first one, the daemon, cannot be seen.
pub fn load(pids: &[i32]) -> Option<Load> {
    let mut load = Load::default();
    for (at, pid) in pids.iter().enumerate() {
        match sys::usage(*pid) {
            Some(usage) => {
                load.processes += 1;
                load.cpu += usage.cpu;
                load.memory += usage.memory;
            }
            None if at == 0 => return None,
            None => {}
        }
    }
    Some(load)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::io::Read;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A shell with a child, each of which ends with the test.
    struct Two(Child, i32);

    impl Two {
        fn new(prepare: fn() -> std::io::Result<()>) -> Self {
            let mut command = Command::new("sh");
            command.args(["-c", "sleep 1000 & echo $!; wait"]).stdout(Stdio::piped());
            // SAFETY: async-signal-safe calls.
            unsafe { command.pre_exec(prepare) };
            let mut shell = command.spawn().unwrap();
            let mut line = Vec::new();
            let mut out = shell.stdout.take().unwrap();
            let mut byte = [0];
            while out.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
                line.push(byte[0]);
            }
            let child = String::from_utf8(line).unwrap().parse().unwrap();
            Self(shell, child)
        }

        fn pid(&self) -> i32 {
            i32::try_from(self.0.id()).unwrap()
        }
    }

    impl Drop for Two {
        fn drop(&mut self) {
            // The shell waits for its child, whose number is its own until then.
            let _ = nix::sys::signal::kill(Pid::from_raw(self.1), nix::sys::signal::SIGKILL);
            let _ = self.0.wait();
        }
    }

    #[test]
    fn the_processes_of_a_session_of_its_own_belong_to_a_daemon() {
        let two = Two::new(|| nix::unistd::setsid().map(drop).map_err(Into::into));
        let found = Sessions::look().of(two.pid(), None);
        assert_eq!(found, [two.pid(), two.1]);
        let load = load(&found).unwrap();
        assert_eq!(load.processes, 2);
        assert!(load.memory > 100_000, "{load:?}");
        assert_eq!(Sessions::look().of(two.1, Some(two.pid())), [two.1]);
    }

    #[test]
    fn in_another_session_only_its_process_group_counts_and_else_it_alone() {
        let two = Two::new(|| {
            nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0)).map_err(Into::into)
        });
        assert_eq!(Sessions::look().of(two.pid(), None), [two.pid(), two.1]);
        let other = Two::new(|| Ok(()));
        assert_eq!(Sessions::look().of(other.pid(), None), [other.pid()]);
    }

    #[test]
    fn who_does_not_exist_takes_nothing() {
        assert_eq!(load(&[i32::MAX]), None);
        assert_eq!(load(&[]), Some(Load::default()));
    }
}
