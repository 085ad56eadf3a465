//! Which process and thread a stop belongs to, and how far that process has come.
//!
//! A start has four roles: the launcher; its child, the guardian ("child 1"); the guardian's child
//! before its exec ("child 2"), and after it ("daemon"). In a start of a program that has not the library, child 2
//! executes "tsdaemonize" first ("stage"), and that the "program", which is not swept; where child 1 executes
//! "tsdaemonize", it is the "supervisor". Each goes through phases. The main thread is number 0, and the
//! others are numbered in the order in which they come, which varies: one that has a name of its own goes by that.

use std::collections::HashMap;
use std::fmt;

use libc::pid_t;

/// How far a process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The launcher, or `stop`, boots, or a daemon has not been told to end: nothing has begun, and no call of this
    /// phase is swept.
    Before,
    /// The daemon boots, from its exec to the import of our module.
    Boot,
    /// The calls that are swept: from the pidfile's directory on, from the take-over on, or on the way out.
    Main,
    /// "Ready" was sent, or "go", which ends the sweep.
    Sent,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::Boot => "boot",
            Self::Main => "main",
            Self::Sent => "sent",
        })
    }
}

/// One process.
#[derive(Debug)]
pub struct Process {
    /// Its role.
    pub role: &'static str,
    /// How far it has come.
    pub phase: Phase,
    threads: usize,
    /// How often each thread, or the threads of one name, made each call in this phase.
    counts: HashMap<(String, String), u32>,
}

impl Process {
    fn new(role: &'static str, phase: Phase) -> Self {
        Self { role, phase, threads: 1, counts: HashMap::new() }
    }

    /// Begins a new phase, whose calls are counted from the beginning.
    pub fn enter(&mut self, phase: Phase) {
        if self.phase != phase {
            self.phase = phase;
            self.counts.clear();
        }
    }

    /// Counts a call, and says which of its kind it is, of this thread in this phase.
    pub fn count(&mut self, thread: &str, call: &str) -> u32 {
        let count = self.counts.entry((thread.to_owned(), call.to_owned())).or_default();
        *count += 1;
        *count
    }
}

/// All processes and threads that are traced.
#[derive(Debug, Default)]
pub struct Cast {
    processes: HashMap<pid_t, Process>,
    /// The process and the number of each thread.
    threads: HashMap<pid_t, (pid_t, usize)>,
    /// Every process that had a role, in the order of appearance.
    pub seen: Vec<(&'static str, pid_t)>,
}

impl Cast {
    /// The process to begin with.
    pub fn first(&mut self, pid: pid_t, role: &'static str, phase: Phase) {
        self.processes.insert(pid, Process::new(role, phase));
        self.seen.push((role, pid));
    }

    /// The process and the number of a thread, which may be new.
    pub fn of(&mut self, tid: pid_t) -> (pid_t, usize) {
        if let Some(&known) = self.threads.get(&tid) {
            return known;
        }
        let status = std::fs::read_to_string(format!("/proc/{tid}/status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name));
            line.and_then(|l| l.trim().parse::<pid_t>().ok())
        };
        let pid = field("Tgid:").unwrap_or(tid);
        if !self.processes.contains_key(&pid) {
            let parent = field("PPid:").and_then(|p| self.processes.get(&p)).map(|p| p.role);
            let role = match parent {
                Some("launcher") => "child 1",
                Some("child 1") => "child 2",
                _ => "other",
            };
            self.first(pid, role, Phase::Main);
        }
        let mut number = 0;
        if tid != pid {
            number = self.process(pid).threads;
            self.process(pid).threads += 1;
        }
        self.threads.insert(tid, (pid, number));
        (pid, number)
    }

    /// A known process.
    pub fn process(&mut self, pid: pid_t) -> &mut Process {
        self.processes.entry(pid).or_insert_with(|| Process::new("other", Phase::Before))
    }

    /// execve(2) has succeeded.
    pub fn exec(&mut self, pid: pid_t) {
        let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let is_ours =
            exe.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"tsdaemonize"));
        let (role, phase) = match self.process(pid).role {
            "child 1" if is_ours => ("supervisor", Phase::Main),
            "child 2" if is_ours => ("stage", Phase::Boot),
            "child 2" => ("daemon", Phase::Boot),
            "stage" => ("program", Phase::Before),
            _ => return,
        };
        self.first(pid, role, phase);
        self.threads.retain(|_, (of, _)| *of != pid);
    }

    /// Forgets a thread that has ended: its id may come again.
    pub fn ended(&mut self, tid: pid_t) {
        self.threads.remove(&tid);
    }
}
