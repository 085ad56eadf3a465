//! The launcher's side of a start: everything is prepared, then two forks; then a thread waits for
//! what becomes of it.
//!
//! 1. open and lock the pidfile ([`crate::pidfile`]), and look in the other places ([`crate::instance::places`]);
//! 2. socketpairs for the hand-over and for the guardian, two memfds, /dev/null, a pipe that ends when the
//!    children use this memory no more; every string;
//! 3. fork; the children are in [`crate::start::children`];
//! 4. [`Launch::wait`]: the daemon says "ready"; the guardian is asked to stand down, and does; the
//!    daemon is marked ready in the pidfile; the daemon is told "go". Anything else is a failure,
//!    and then nothing is left.

use std::cell::Cell;
use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use nix::sys::stat::Mode;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::error::{Code, Error, Result};
use crate::instance::places::{self, Candidate};
use crate::pidfile::PidFile;
use crate::process::lock_holder::Process;
use crate::process::{orphans, procfs, session};
use crate::start::children::{self, Prepared, Strings};
use crate::start::frames::{Frame, receive, send};
use crate::start::hand_over::VARIABLE;
use crate::{poll, signal_safe, sys, thread};

/// How much later than the guardian the launcher gives up, should the guardian hang.
const MARGIN: Duration = Duration::from_secs(3);
/// How long the guardian may take to clean up.
const CLEANING: Duration = Duration::from_secs(2);
/// How long the guardian may take to end: by itself, and again when it was killed.
const FAREWELL: Duration = Duration::from_secs(1);
/// How long what a start leaves may take to end, all in all.
const CLEARED: Duration = Duration::from_secs(5);
/// Between two looks at a process for which there is no handle.
const LOOK: Duration = Duration::from_millis(10);
/// Of what the daemon printed while it started, the last bytes that are kept.
const PRINTED: u64 = 16 << 20;

/// What to start.
#[derive(Debug)]
pub struct Plan {
    /// The program: Node.
    pub file: CString,
    /// Its arguments, its own name first.
    pub argv: Vec<CString>,
    /// Its environment.
    pub env: Vec<CString>,
    /// Where it starts; `None`: where the launcher is.
    pub cwd: Option<CString>,
    /// Where a daemon of the name may be; the pidfile goes into the first. None: no pidfile.
    pub places: Vec<Candidate>,
    /// Descriptors that stay open.
    pub keep_fds: Vec<RawFd>,
    /// Until ready.
    pub timeout: Duration,
    /// What the daemon is to know, as JSON.
    pub hello: String,
}

/// A start that is under way. Dropped, it is given up: the guardian ends the daemon.
#[derive(Debug)]
pub struct Launch {
    guardian: Pid,
    hand: UnixStream,
    guard: UnixStream,
    out: File,
    err: File,
    pidfile: Option<PidFile>,
    timeout: Duration,
    cancelled: Arc<AtomicBool>,
}

/// Gives up a start while another thread waits for it.
#[derive(Debug)]
pub struct Cancel {
    hand: UnixStream,
    cancelled: Arc<AtomicBool>,
}

impl Cancel {
    /// The daemon is ended, and [`Launch::wait`] returns when nothing is left. Too late once it was told "go".
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
        // Wakes the one that waits.
        let _ = self.hand.shutdown(std::net::Shutdown::Both);
    }
}

/// What became of a start.
#[derive(Debug)]
pub struct Outcome {
    /// The daemon's pid, or why there is none.
    pub result: std::result::Result<i32, Failure>,
    /// What it printed while it started.
    pub stdout: Vec<u8>,
    /// The same for standard error.
    pub stderr: Vec<u8>,
}

/// Why a start failed, as far as it is known.
#[derive(Debug, Default)]
pub struct Failure {
    /// The daemon's own error, as it serialised it.
    pub report: Option<String>,
    /// `startTimeout` passed.
    pub timed_out: bool,
    /// Its launcher gave it up.
    pub cancelled: bool,
    /// Another daemon took its place while it started.
    pub supplanted: bool,
    /// The wait status of child 2.
    pub status: Option<i32>,
    /// A call of the children that failed, and its errno.
    pub step: Option<(&'static str, i32)>,
}

/// Steps 1 to 3. Takes a few milliseconds; no signal ends the process in between.
pub fn launch(plan: Plan) -> Result<Launch> {
    let _deferred = Deferred::begin();
    for &fd in &plan.keep_fds {
        // SAFETY: asks for flags only; a closed descriptor is an error, not undefined.
        let flags = || Errno::result(unsafe { libc::fcntl(fd, libc::F_GETFD) });
        if sys::again(flags).is_err() {
            let message = format!("`keepFds` names descriptor {fd}, which is not open");
            let mut error = Error::os(Code::StartFailed, message, "fcntl", libc::EBADF);
            error.path = None;
            return Err(error);
        }
    }
    let pidfile = places::acquire(&plan.places)?;
    let timeout = plan.timeout;
    match prepare_and_fork(plan, pidfile.as_ref()) {
        Ok((guardian, hand, guard, out, err)) => {
            let cancelled = Arc::default();
            Ok(Launch { guardian, hand, guard, out, err, pidfile, timeout, cancelled })
        }
        Err(error) => {
            if let Some(pidfile) = pidfile {
                pidfile.remove();
            }
            Err(error)
        }
    }
}

type Forked = (Pid, UnixStream, UnixStream, File, File);

fn prepare_and_fork(plan: Plan, pidfile: Option<&PidFile>) -> Result<Forked> {
    let os =
        |call| move |errno: i32| Error::os(Code::StartFailed, "Cannot start a daemon", call, errno);
    let io = |call| {
        move |e: std::io::Error| {
            Error::os(
                Code::StartFailed,
                "Cannot start a daemon",
                call,
                e.raw_os_error().unwrap_or(0),
            )
        }
    };

    // Two low numbers that `keepFds` leaves free: Node closes low inherited descriptors on exec by
    // itself, even before our module is loaded. Our sources go above all targets.
    let mut free = (3..).filter(|fd| !plan.keep_fds.contains(fd));
    let hand_target = free.next().unwrap_or(3);
    let lock_target = free.next().unwrap_or(4);
    let above = |fd: BorrowedFd<'_>| -> Result<OwnedFd> {
        let raw = sys::again(|| fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(lock_target + 1)))
            .map_err(|e| os("fcntl")(e as i32))?;
        // SAFETY: the kernel has just given us this descriptor.
        Ok(unsafe { OwnedFd::from_raw_fd(raw) })
    };

    let (hand, hand_child) = UnixStream::pair().map_err(io("socketpair"))?;
    let (guard, guard_child) = UnixStream::pair().map_err(io("socketpair"))?;
    let out = sys::memfd(c"stdout").map_err(|e| os("memfd_create")(e as i32))?;
    let err = sys::memfd(c"stderr").map_err(|e| os("memfd_create")(e as i32))?;
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let null = sys::again(|| nix::fcntl::open("/dev/null", flags, Mode::empty()))
        .map_err(|e| os("open")(e as i32).at("/dev/null".as_ref()))?;
    let hand_child = above(hand_child.as_fd())?;
    let guard_child = above(guard_child.as_fd())?;
    let child_out = above(out.as_fd())?;
    let child_err = above(err.as_fd())?;
    let null = above(null.as_fd())?;
    let (gone, here) = std::io::pipe().map_err(io("pipe"))?;
    let here = above(here.as_fd())?;
    let lock = match pidfile {
        Some(pidfile) => Some(above(pidfile.as_fd())?),
        None => None,
    };

    let mut nonce = [0u8; 16];
    File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut nonce)).map_err(io("read"))?;
    let nonce = nonce.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let lock_number = if lock.is_some() { lock_target } else { -1 };
    let mut hand_over =
        format!("{}=0000000000 {hand_target} {lock_number} {nonce}\0", VARIABLE).into_bytes();
    // SAFETY: it lies within the string: it was made with ten digits there.
    let pid_slot = unsafe { hand_over.as_mut_ptr().add(VARIABLE.len() + 1) };
    // The first frame waits in the socket when the daemon boots. Nobody reads before: what does not
    // fit must not block.
    hand.set_nonblocking(true).map_err(io("ioctl"))?;
    send(&hand, Frame::Hello, format!("{nonce}{}", plan.hello).as_bytes()).map_err(io("write"))?;
    hand.set_nonblocking(false).map_err(io("ioctl"))?;

    let named = pidfile.map(PidFile::for_child).transpose()?;
    let (dev, ino) = named.as_ref().map_or((0, 0), |(_, id)| (id.dev, id.ino));
    let mut keep = plan.keep_fds;
    keep.extend([0, 1, 2, hand_target]);
    if lock.is_some() {
        keep.push(lock_target);
    }
    let mut spared = keep.clone();
    spared.push(here.as_raw_fd());
    spared.sort_unstable();
    let bytes = |strings: Vec<CString>| strings.into_iter().map(CString::into_bytes_with_nul);
    let prepared = Prepared {
        file: plan.file,
        argv: Strings::new(bytes(plan.argv)),
        env: Strings::new(bytes(plan.env).chain([hand_over])),
        cwd: plan.cwd,
        pid_slot,
        null: null.as_raw_fd(),
        out: child_out.as_raw_fd(),
        err: child_err.as_raw_fd(),
        hand: hand_child.as_raw_fd(),
        hand_target,
        lock: lock.as_ref().map_or(-1, AsRawFd::as_raw_fd),
        lock_target,
        guard: guard_child.as_raw_fd(),
        here: here.as_raw_fd(),
        keep,
        spared,
        pidfile: named.map(|(path, _)| path),
        dev,
        ino,
        deadline: signal_safe::now_ms()
            + i64::try_from(plan.timeout.as_millis()).unwrap_or(i64::MAX / 2),
    };

    // SAFETY: `child_1` keeps to async-signal-safe calls, and never returns. All signals are blocked in
    // this thread, and so in the child until it has reset them. Its descriptors are open until it is there.
    let guardian = unsafe { sys::fork_beside(prepared, gone, children::child_1) }.map_err(
        |(call, errno)| {
            os(call)(errno as i32).hint(
                "Too many processes, or too little memory (`ulimit -u`, vm.overcommit_memory)",
            )
        },
    )?;
    orphans::claim(guardian);
    Ok((Pid::from_raw(guardian), hand, guard, File::from(out), File::from(err)))
}

impl Launch {
    /// What gives it up; `None` where there is no descriptor left for that.
    pub fn canceller(&self) -> Option<Cancel> {
        let hand = self.hand.try_clone().ok()?;
        Some(Cancel { hand, cancelled: Arc::clone(&self.cancelled) })
    }

    /// Step 4. Blocks; for a thread of its own.
    pub fn wait(mut self) -> Outcome {
        let mut failure = Failure::default();
        let result = match self.shake_hands(&mut failure) {
            Some(pid) => Ok(pid),
            None => {
                failure.cancelled = self.cancelled.load(Ordering::SeqCst);
                self.clean_up();
                Err(failure)
            }
        };
        let guardian = self.guardian;
        let bury = move || {
            let _ = sys::again(|| waitpid(guardian, None));
            orphans::release(guardian.as_raw());
        };
        // It is a zombie by now. Or it hangs in the kernel: that is nothing to wait for here.
        if self.await_guardian(Duration::ZERO) {
            bury();
        } else {
            let _ = thread::spawn("guardian", bury);
        }
        Outcome { result, stdout: printed(&self.out), stderr: printed(&self.err) }
    }

    /// The daemon's pid once it was told "go".
    fn shake_hands(&mut self, failure: &mut Failure) -> Option<i32> {
        let due = Instant::now() + self.timeout;
        let deadline = due + MARGIN;
        let mut ready = None;
        let mut hand_open = true;
        loop {
            if Instant::now() >= deadline {
                failure.timed_out = true;
                return None;
            }
            let (hand, guard) = self.wait_readable(deadline, hand_open);
            if hand {
                match receive(&mut Until { socket: &self.hand, deadline }) {
                    Ok((Frame::Ready, pid)) => {
                        ready = procfs::number(&pid);
                        let _ = self.guard.write_all(&[children::COMMIT]);
                    }
                    Ok((kind, payload)) => failure.note(kind, &payload),
                    Err(_) if self.cancelled.load(Ordering::SeqCst) => return None,
                    Err(_) => hand_open = false,
                }
            }
            if guard && !hand {
                match self.verdict(deadline) {
                    Some((children::STOOD_DOWN, _)) => return self.release(ready?, due, failure),
                    verdict => {
                        failure.judge(verdict);
                        return None;
                    }
                }
            }
        }
    }

    fn wait_readable(&self, deadline: Instant, hand_open: bool) -> (bool, bool) {
        let interest = if hand_open { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut fds = [
            PollFd::new(self.guard.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.hand.as_fd(), interest),
        ];
        let count = if hand_open { 2 } else { 1 };
        if !poll::until(&mut fds[..count], deadline) {
            return (false, false);
        }
        let any = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
        (hand_open && any(&fds[1]), any(&fds[0]))
    }

    fn verdict(&mut self, deadline: Instant) -> Option<(u8, i32)> {
        let mut message = [0u8; children::VERDICT];
        Until { socket: &self.guard, deadline }.read_exact(&mut message).ok()?;
        let [what, number @ ..] = message;
        Some((what, i32::from_ne_bytes(number)))
    }

    /// The guardian stood down: only this process decides now. The daemon's parent becomes init
    /// with the guardian's end; so that is waited for before "go", for a moment.
    fn release(&mut self, pid: i32, due: Instant, failure: &mut Failure) -> Option<i32> {
        if !self.await_guardian(FAREWELL) {
            // It has done what it had to. Where even this does not end it at once, that is no reason to wait.
            self.kill_guardian();
            self.await_guardian(FAREWELL);
        }
        // After "ready" it has nothing more to say, unless something went wrong.
        if failure.report.is_some() || self.wait_readable(Instant::now(), true).0 {
            self.hear_out(due, failure);
            return None;
        }
        if let Some(pidfile) = &self.pidfile {
            if pidfile.is_supplanted() {
                failure.supplanted = true;
                return None;
            }
            if let Err(error) = pidfile.ready() {
                failure.step = Some(("fcntl", error.errno.unwrap_or(0)));
                return None;
            }
        }
        if send(&self.hand, Frame::Go, b"").is_err() {
            self.hear_out(due, failure);
            return None;
        }
        Some(pid)
    }

    /// It died, or gave up, after it was ready; what it had to say may still be here.
    fn hear_out(&self, due: Instant, failure: &mut Failure) {
        let deadline = Instant::now() + FAREWELL;
        while let Ok((kind, payload)) = receive(&mut Until { socket: &self.hand, deadline }) {
            failure.note(kind, &payload);
        }
        failure.timed_out = failure.report.is_none() && Instant::now() >= due;
    }

    /// Until the guardian has ended; it stays a zombie, so that its pid, which is the session's id,
    /// stays its own. `false` when the time was up first.
    fn await_guardian(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        // Where there is such a handle, its end wakes this thread; else it looks now and then.
        let handle = Process::open(self.guardian.as_raw());
        loop {
            let flags = libc::WEXITED | libc::WNOWAIT | libc::WNOHANG;
            // SAFETY: zero is a value of siginfo_t, which the call fills in.
            let (result, ended) = unsafe {
                let mut info: libc::siginfo_t = std::mem::zeroed();
                let id = self.guardian.as_raw() as libc::id_t;
                (libc::waitid(libc::P_PID, id, &mut info, flags), info.si_pid() != 0)
            };
            let left = deadline.saturating_duration_since(Instant::now());
            match Errno::result(result) {
                Err(Errno::EINTR) => {}
                Ok(_) if !ended && !left.is_zero() => match &handle {
                    Some(process) if process.handle().is_ok() => {
                        process.await_end(deadline);
                    }
                    _ => std::thread::sleep(left.min(LOOK)),
                },
                result => return result.is_ok() && ended,
            }
        }
    }

    fn kill_guardian(&self) {
        // SAFETY: the guardian is our child and was not waited for; the pid is its own.
        unsafe { libc::kill(self.guardian.as_raw(), libc::SIGKILL) };
    }

    /// After a failure: the guardian has done all of this already, unless it was killed itself.
    fn clean_up(&mut self) {
        // End of file tells guardian and daemon to give up.
        let _ = self.hand.shutdown(std::net::Shutdown::Both);
        let _ = self.guard.shutdown(std::net::Shutdown::Write);
        let mut fds = [PollFd::new(self.guard.as_fd(), PollFlags::empty())];
        if !poll::until(&mut fds, Instant::now() + CLEANING) || !self.await_guardian(FAREWELL) {
            self.kill_guardian();
            self.await_guardian(FAREWELL);
        }
        // Whether it has ended or not, its pid, the session's id, is its own.
        session::kill_session(self.guardian.as_raw(), CLEARED);
        if let Some(pidfile) = self.pidfile.take() {
            pidfile.remove();
        }
    }
}

/// Reads from a socket until a moment: a peer that is stopped in the midst of a frame holds up nobody.
struct Until<'a> {
    socket: &'a UnixStream,
    deadline: Instant,
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        match poll::until(&mut fds, self.deadline) {
            true => (&mut &*self.socket).read(buffer),
            false => Err(std::io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Failure {
    fn note(&mut self, kind: Frame, payload: &[u8]) {
        match (kind, payload) {
            (Frame::Failed, json) => self.report = Some(String::from_utf8_lossy(json).into_owned()),
            (Frame::StepFailed, &[step, a, b, c, d]) => {
                let name = children::STEPS.get(usize::from(step)).copied().unwrap_or("fork");
                self.step = Some((name, i32::from_ne_bytes([a, b, c, d])));
            }
            _ => {}
        }
    }

    fn judge(&mut self, verdict: Option<(u8, i32)>) {
        match verdict {
            Some((children::DIED, status)) => self.status = Some(status),
            Some((children::TIMED_OUT, _)) => self.timed_out = true,
            Some((children::NO_CHILD, errno)) => self.step = Some(("fork", errno)),
            // The guardian was killed; the daemon with it (PR_SET_PDEATHSIG).
            _ => {}
        }
    }
}

fn printed(file: &File) -> Vec<u8> {
    let length = file.metadata().map_or(0, |m| m.len());
    let from = length.saturating_sub(PRINTED);
    let mut buffer = vec![0; usize::try_from(length - from).unwrap_or(0)];
    match file.read_exact_at(&mut buffer, from) {
        Ok(()) => buffer,
        Err(_) => Vec::new(),
    }
}

/// All signals blocked in this thread, and those that could end the process put off, since another
/// thread could take them. Whatever stands there: Node ends by a handler of its own at SIGTERM and
/// SIGINT, to put the terminal in order. Both end with the value.
struct Deferred {
    mask: SigSet,
    actions: [Cell<Option<libc::sigaction>>; 32],
}

static PUT_OFF: AtomicU64 = AtomicU64::new(0);

extern "C" fn put_off(signal: libc::c_int) {
    PUT_OFF.fetch_or(1 << signal, Ordering::SeqCst);
}

impl Deferred {
    fn begin() -> Self {
        let mut mask = SigSet::empty();
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut mask));
        let actions = [const { Cell::new(None) }; 32];
        for signal in Self::signals() {
            // SAFETY: `put_off` only touches an atomic; the old action is kept and put back.
            unsafe {
                let mut old: libc::sigaction = std::mem::zeroed();
                libc::sigaction(signal, std::ptr::null(), &mut old);
                if old.sa_sigaction != libc::SIG_IGN {
                    let mut new: libc::sigaction = std::mem::zeroed();
                    new.sa_sigaction = put_off as *const () as usize;
                    new.sa_flags = libc::SA_RESTART;
                    libc::sigaction(signal, &new, std::ptr::null_mut());
                    actions[signal as usize].set(Some(old));
                }
            }
        }
        Self { mask, actions }
    }

    /// What a user, a terminal or a manager sends, and what ends a process by default.
    fn signals() -> impl Iterator<Item = i32> {
        use libc::{SIGALRM, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
        [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM].into_iter()
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        for signal in Self::signals() {
            if let Some(old) = self.actions[signal as usize].take() {
                // SAFETY: puts back what was there.
                unsafe { libc::sigaction(signal, &old, std::ptr::null_mut()) };
            }
        }
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.mask), None);
        let late = PUT_OFF.swap(0, Ordering::SeqCst);
        for signal in Self::signals().filter(|s| late & (1 << s) != 0) {
            // SAFETY: sends this process a signal that it has been sent.
            unsafe { libc::kill(libc::getpid(), signal) };
        }
    }
}
