//! One run: the program under trace up to the point, and then without.

use std::ffi::CString;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use libc::{c_int, pid_t};

use crate::calls;
use crate::ptrace::{self, Call, Stop};
use crate::roles::{Cast, Phase};

/// How long the processes that the first one leaves behind are traced on, where the point was not reached.
const LINGER: Duration = Duration::from_millis(400);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    Errno(c_int),
}

#[derive(Debug, Default)]
struct Options {
    out: String,
    dir: String,
    first: String,
    at: Option<String>,
    fault: Option<Fault>,
    pid: Option<pid_t>,
    command: Vec<String>,
}

fn options() -> Option<Options> {
    let mut options = Options { first: "launcher".into(), ..Options::default() };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--out" => options.out = args.next()?,
            "--dir" => options.dir = args.next()?,
            "--first" => options.first = args.next()?,
            "--at" => options.at = Some(args.next()?),
            "--kill" => options.fault = Some(Fault::Kill),
            "--errno" => options.fault = Some(Fault::Errno(args.next()?.parse().ok()?)),
            "--pid" => options.pid = Some(args.next()?.parse().ok()?),
            "--" => options.command = args.by_ref().collect(),
            _ => return None,
        }
    }
    (options.pid.is_some() == options.command.is_empty()).then_some(options)
}

/// Runs what the command line says.
pub fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!(
            "Usage: faults --out FILE --dir RUN [--at POINT (--kill | --errno N)] (--pid PID | -- PROGRAM ARGS...)"
        );
        return ExitCode::from(2);
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("faults: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> std::io::Result<()> {
    let held = match options.pid {
        Some(_) => None,
        None => Some(spawn(&options.command)?),
    };
    let pid = held.as_ref().map(|(pid, _)| *pid).or(options.pid).unwrap_or(0);
    // The tracer is a thread: with its end the kernel lets all go, in whatever stop they are.
    let told = std::thread::scope(|scope| {
        let thread = scope.spawn(|| Tracer::attach(options, pid, held.map(|(_, go)| go))?.trace());
        thread.join().unwrap_or_else(|_| Err(std::io::Error::other("the tracer failed")))
    })?;
    let mut status = told.status;
    if options.pid.is_none() && status.is_none() {
        let mut raw = 0;
        // SAFETY: our own child, which was not waited for.
        if unsafe { libc::waitpid(pid, &mut raw, 0) } == pid {
            status = Some(raw);
        }
    }
    let number = |n: Option<c_int>| n.map_or_else(|| "null".to_owned(), |n| n.to_string());
    let exit = status.filter(|s| libc::WIFEXITED(*s)).map(|s| libc::WEXITSTATUS(s));
    let signal = status.filter(|s| libc::WIFSIGNALED(*s)).map(|s| libc::WTERMSIG(s));
    let seen: Vec<String> =
        told.seen.iter().map(|(role, pid)| format!("[\"{role}\",{pid}]")).collect();
    println!(
        "{{\"reached\":{},\"status\":{},\"signal\":{},\"seen\":[{}]}}",
        told.reached,
        number(exit),
        number(signal),
        seen.join(",")
    );
    Ok(())
}

/// Forks the program; it waits for the end of file on the descriptor that comes with it.
fn spawn(command: &[String]) -> std::io::Result<(pid_t, OwnedFd)> {
    let nul = |_| std::io::Error::other("an argument with a NUL byte");
    let strings: Vec<CString> =
        command.iter().map(|s| CString::new(s.as_str()).map_err(nul)).collect::<Result<_, _>>()?;
    let mut argv: Vec<_> = strings.iter().map(|s| s.as_ptr()).collect();
    argv.push(std::ptr::null());
    let (read, write) = std::io::pipe()?;
    // SAFETY: the only thread so far; the child makes system calls alone, and then execs or exits.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::close(write.as_raw_fd());
            libc::dup2(2, 1);
            let mut byte = 0u8;
            libc::read(read.as_raw_fd(), (&raw mut byte).cast(), 1);
            libc::execvp(argv[0], argv.as_ptr());
            libc::_exit(127);
        }
        if pid < 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok((pid, write.into()))
    }
}

struct Told {
    reached: bool,
    status: Option<c_int>,
    seen: Vec<(&'static str, pid_t)>,
}

struct Tracer<'a> {
    options: &'a Options,
    first: pid_t,
    cast: Cast,
    out: Option<BufWriter<File>>,
    /// The thread at whose next exit from a call the errno is put.
    failing: Option<(pid_t, c_int)>,
    /// The process that has just sent "ready" or "go", and the thread.
    sending: Option<pid_t>,
    reached: bool,
    status: Option<c_int>,
    /// How many threads of a process that ran already have still to stop for the first time.
    attaching: usize,
}

impl<'a> Tracer<'a> {
    fn attach(options: &'a Options, pid: pid_t, go: Option<OwnedFd>) -> std::io::Result<Self> {
        let mut cast = Cast::default();
        let mut attaching = 0;
        let role = match (options.pid, options.first.as_str()) {
            (Some(_), _) => "daemon",
            (None, "stop") => "stop",
            (None, _) => "launcher",
        };
        cast.first(pid, role, Phase::Before);
        if options.pid.is_some() {
            let mut tids: Vec<pid_t> = std::fs::read_dir(format!("/proc/{pid}/task"))?
                .flatten()
                .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
                .collect();
            tids.sort_unstable();
            for tid in tids {
                ptrace::seize(tid)?;
                cast.of(tid);
                // It has to stop once, so that its calls are told.
                ptrace::interrupt(tid)?;
                attaching += 1;
            }
        } else {
            ptrace::seize(pid)?;
            cast.of(pid);
        }
        let out = match options.at {
            None => Some(BufWriter::new(File::create(&options.out)?)),
            Some(_) => None,
        };
        drop(go);
        let tracer = Self {
            options,
            first: pid,
            cast,
            out,
            failing: None,
            sending: None,
            reached: false,
            status: None,
            attaching,
        };
        Ok(tracer)
    }

    fn trace(mut self) -> std::io::Result<Told> {
        let mut ended: Option<Instant> = None;
        while !self.is_done() {
            let Some((tid, stop)) = ptrace::wait(ended.is_none()) else {
                match ended {
                    Some(at) if at.elapsed() < LINGER => {
                        std::thread::sleep(Duration::from_millis(1));
                        continue;
                    }
                    _ => break,
                }
            };
            if let Stop::Ended(status) = stop {
                self.cast.ended(tid);
                if tid == self.first {
                    self.status = Some(status);
                    ended = Some(Instant::now());
                }
                continue;
            }
            self.stopped(tid, stop)?;
        }
        if let Some(out) = &mut self.out {
            out.flush()?;
        }
        Ok(Told { reached: self.reached, status: self.status, seen: self.cast.seen })
    }

    fn is_done(&self) -> bool {
        self.reached && self.failing.is_none()
    }

    fn stopped(&mut self, tid: pid_t, stop: Stop) -> std::io::Result<()> {
        let (pid, thread) = self.cast.of(tid);
        match stop {
            Stop::Call => {
                if let Ok(call) = ptrace::call(tid) {
                    self.called(tid, pid, thread, call)?;
                }
                // When the tracer's thread ends, the kernel lets it go on as it is.
                if !self.is_done() {
                    ptrace::go_on(tid, 0);
                }
            }
            Stop::Signal(signal) => {
                if signal == libc::SIGTERM && self.options.pid == Some(pid) {
                    self.cast.process(pid).enter(Phase::Main);
                }
                ptrace::go_on(tid, signal);
            }
            Stop::Group => ptrace::listen(tid),
            Stop::Event(event) => {
                if event == libc::PTRACE_EVENT_EXEC {
                    self.cast.exec(pid);
                }
                ptrace::go_on(tid, 0);
                if event == libc::PTRACE_EVENT_STOP && self.attaching > 0 {
                    self.attaching -= 1;
                    if self.attaching == 0 {
                        // All threads have stopped once: whoever waits for that may go on.
                        std::fs::write(format!("{}.attached", self.options.out), "")?;
                    }
                }
            }
            Stop::Ended(_) => {}
        }
        Ok(())
    }

    fn called(&mut self, tid: pid_t, pid: pid_t, thread: usize, call: Call) -> std::io::Result<()> {
        let Call::Entry(number, args) = call else {
            if self.sending == Some(tid) {
                self.sending = None;
                self.cast.process(pid).enter(Phase::Sent);
            }
            if let Some((_, errno)) = self.failing.filter(|(failing, _)| *failing == tid) {
                self.failing = None;
                ptrace::fail(tid, errno)?;
            }
            return Ok(());
        };
        let mut name = calls::name(number);
        // Only FUTEX_WAIT and FUTEX_WAIT_BITSET can be interrupted.
        if name == "futex" && !matches!(args[1] & 0x7f, 0 | 9) {
            name.push_str("_wake");
        }
        let path = self.path(tid, &name, &args);
        // What another thread does while one sends may come before it or after.
        if self.sending.is_some_and(|sender| sender != tid && self.cast.of(sender).0 == pid) {
            self.cast.process(pid).enter(Phase::Sent);
        }
        self.advance(tid, pid, &name, &args, &path);
        let process = self.cast.process(pid);
        let (role, phase) = (process.role, process.phase);
        if matches!(role, "other" | "program") {
            return Ok(());
        }
        let comm = comm(pid, tid);
        let thread = match thread {
            number if number == 0 || comm == self::comm(pid, pid) => number.to_string(),
            _ => comm.replace('/', "_"),
        };
        let nth = process.count(&thread, &name);
        if let Some(out) = &mut self.out {
            let [a, b, c, d, ..] = args;
            writeln!(
                out,
                "{role}\t{phase}\t{thread}\t{comm}\t{name}\t{nth}\t{a:x},{b:x},{c:x},{d:x}\t{path}",
            )?;
        }
        let point = format!("{role}/{phase}/{thread}/{name}/{nth}");
        if self.reached || self.options.at.as_ref() != Some(&point) {
            return Ok(());
        }
        self.reached = true;
        match self.options.fault {
            // SAFETY: a process that stands before this call; killed, it never makes it.
            Some(Fault::Kill) => unsafe {
                libc::kill(pid, libc::SIGKILL);
            },
            Some(Fault::Errno(errno)) => {
                // A close(2) that reports an error has closed the descriptor all the same.
                if name != "close" {
                    ptrace::skip(tid)?;
                }
                self.failing = Some((tid, errno));
            }
            None => {}
        }
        Ok(())
    }

    fn path(&self, tid: pid_t, name: &str, args: &[u64; 6]) -> String {
        let Some(index) = calls::path_argument(name) else {
            if !calls::takes_descriptor(name) || self.out.is_none() {
                return String::new();
            }
            let found = std::fs::read_link(format!("/proc/{tid}/fd/{}", args[0]));
            return found.map_or_else(|_| String::new(), |to| to.to_string_lossy().into_owned());
        };
        let mut bytes = ptrace::memory(tid, args[index], 256);
        let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
        bytes.truncate(end);
        let path = String::from_utf8_lossy(&bytes).replace(['\t', '\n'], " ");
        // The path is a name in a directory that is open, or that directory itself.
        let within = (index == 1 && !path.starts_with('/') && args[0] as i32 >= 0)
            .then(|| std::fs::read_link(format!("/proc/{tid}/fd/{}", args[0])).ok());
        let Some(within) = within.flatten() else { return path };
        let full = if path.is_empty() { within } else { within.join(path) };
        full.to_string_lossy().into_owned()
    }

    /// A process comes into its next phase with this call, or after it.
    fn advance(&mut self, tid: pid_t, pid: pid_t, name: &str, args: &[u64; 6], path: &str) {
        let process = self.cast.process(pid);
        let (role, phase) = (process.role, process.phase);
        match (role, phase) {
            ("launcher" | "stop", Phase::Before) if path.starts_with(&self.options.dir) => {
                process.enter(Phase::Main);
            }
            // The take-over asks what kind of socket it was given; Node's boot makes no such call.
            ("daemon" | "stage", Phase::Boot) if name == "getsockname" => {
                process.enter(Phase::Main)
            }
            ("launcher" | "daemon" | "supervisor", Phase::Main) if name == "sendto" => {
                // "Go" to the daemon, or to the supervisor alone; what the supervisor answers when it stands.
                let (letter, least) = match role {
                    "launcher" => (b'G', 1),
                    "supervisor" => (b'K', 5),
                    _ => (b'R', 5),
                };
                if args[2] >= least && ptrace::memory(tid, args[1], 1) == [letter] {
                    self.sending = Some(tid);
                }
            }
            _ => {}
        }
    }
}

/// What a thread is called.
fn comm(pid: pid_t, tid: pid_t) -> String {
    let comm = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/comm"));
    comm.unwrap_or_default().trim_end().to_owned()
}
