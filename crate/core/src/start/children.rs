//! What runs between fork and exec. All of it stands here.
//!
//! Node has many threads; a child has one, and a copy of the memory, in which every lock that another thread
//! held stays locked for ever. So both children make **only async-signal-safe calls** (signal-safety(7)): no
//! allocation, no formatting, no Rust value with a destructor that does anything, no panic. What they need is in
//! [`Prepared`], which the launcher makes before. On Linux child 2 uses the memory of child 1 until its execve:
//! it writes to its own stack, to errno and to one string of [`Prepared`].
//!
//! Child 1 becomes the session leader, forks child 2, and is then the **guardian** of the start: it
//! says how child 2 died, or ends it with its process group when the launcher is gone or the time
//! is up. Child 2 becomes the daemon.

use std::ffi::CString;
use std::os::fd::RawFd;

use libc::{c_char, c_int, pid_t};

use crate::signal_safe::{close_all_but, errno, now_ms, repeat};
use crate::sys;

/// What the guardian says in one message of [`VERDICT`] bytes: a letter and a wait status.
pub const VERDICT: usize = 5;
/// The guardian stood down: the daemon is the launcher's to release.
pub const STOOD_DOWN: u8 = b'K';
/// Child 2 died; with its wait status.
pub const DIED: u8 = b'D';
/// `startTimeout` has passed; child 2 was killed.
pub const TIMED_OUT: u8 = b'T';
/// Child 1 could not fork child 2, or set itself up; with an errno.
pub const NO_CHILD: u8 = b'N';
/// How long child 2 may take to end after SIGKILL, in milliseconds.
const KILLED: i64 = 2000;
/// The launcher asks the guardian to stand down.
pub const COMMIT: u8 = b'C';

/// A frame from child 2 on the hand-over socket: [`STEP_FAILED`], the step, the errno (4 bytes).
pub const STEP_FRAME: usize = 10;
/// The kind of that frame; the daemon's own frames have others (see [`crate::start::hand_over`]).
pub const STEP_FAILED: u8 = b'X';

/// The calls of child 2 that can fail, in their order.
pub const STEPS: [&str; 8] =
    ["setpgid", "prctl", "write", "dup2", "fcntl", "close_range", "sigprocmask", "execve"];

/// Everything that the children use, prepared before the fork. They read it, and free nothing of it.
#[derive(Debug)]
pub struct Prepared {
    /// The program.
    pub file: CString,
    /// Its arguments.
    pub argv: Strings,
    /// Its environment.
    pub env: Strings,
    /// The working directory to start in.
    pub cwd: Option<CString>,
    /// Ten bytes within a string of `env`: child 2 writes its pid there.
    pub pid_slot: *mut u8,
    /// /dev/null, which becomes standard input.
    pub null: RawFd,
    /// What becomes standard output while the daemon starts.
    pub stdout: RawFd,
    /// What becomes standard error while the daemon starts.
    pub stderr: RawFd,
    /// The daemon's end of the hand-over socket.
    pub hand_over: RawFd,
    /// The number that this end has in the daemon.
    pub hand_over_number: RawFd,
    /// The locked pidfile, or -1.
    pub lock: RawFd,
    /// The number that the locked pidfile has in the daemon.
    pub lock_number: RawFd,
    /// The guardian's end of its socket to the launcher.
    pub guardian: RawFd,
    /// What the daemon keeps, sorted ascending: 0, 1, 2, the two numbers above, and `keepFds`.
    pub keep: Vec<RawFd>,
    /// The pidfile's path.
    pub pidfile: Option<CString>,
    /// The pidfile's `st_dev`.
    pub dev: u64,
    /// The pidfile's `st_ino`.
    pub ino: u64,
    /// When the start has failed: CLOCK_MONOTONIC, in milliseconds.
    pub deadline: i64,
}

/// Strings as execve(2) takes them.
#[derive(Debug)]
pub struct Strings {
    /// The strings that the pointers lead to.
    _strings: Vec<Vec<u8>>,
    /// A pointer to each string, and NULL.
    pointers: Vec<*const c_char>,
}

impl Strings {
    /// From strings that each end with a NUL.
    pub fn new(strings: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let strings: Vec<_> = strings.into_iter().collect();
        let each = strings.iter().map(|s| s.as_ptr().cast());
        let pointers = each.chain([std::ptr::null()]).collect();
        Self { _strings: strings, pointers }
    }

    fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}

/// Child 1. Called right after fork, with all signals blocked.
///
/// # Safety
///
/// Only in a fresh child of fork(2), once; every descriptor of `p` must be open.
pub unsafe fn child_1(p: &Prepared) -> ! {
    // SAFETY: async-signal-safe calls on prepared values; see this file's head.
    unsafe {
        reset_dispositions();
        if libc::setsid() < 0 {
            verdict(p, NO_CHILD, errno());
            libc::_exit(1);
        }
        // ppoll(2) must wake when child 2 ends: SIGCHLD needs a handler, and is blocked everywhere else.
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_sigchld as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGCHLD, &action, std::ptr::null_mut());

        let mut fresh = Child2 { prepared: p, guardian: libc::getpid() };
        let child = sys::fork_until_exec(run_child_2, (&raw mut fresh).cast());
        if child < 0 {
            let error = errno();
            remove_pidfile(p);
            verdict(p, NO_CHILD, error);
            libc::_exit(1);
        }
        be_guardian(p, child)
    }
}

extern "C" fn on_sigchld(_: c_int) {}

/// What child 2 is given.
struct Child2<'a> {
    prepared: &'a Prepared,
    guardian: pid_t,
}

extern "C" fn run_child_2(what: *mut libc::c_void) -> c_int {
    // SAFETY: called by `child_1` alone, with a value that outlives the call.
    unsafe {
        let fresh = &*what.cast::<Child2<'_>>();
        child_2(fresh.prepared, fresh.guardian)
    }
}

/// Child 2: becomes the daemon's program, or says which call failed. On Linux it uses the guardian's memory,
/// which stands still meanwhile; no signal handler is set, so that none runs there.
unsafe fn child_2(p: &Prepared, guardian: pid_t) -> ! {
    // SAFETY: async-signal-safe calls on prepared values.
    unsafe {
        // Default again: the guardian's handler for SIGCHLD was inherited.
        reset_dispositions();
        check(p, 0, libc::setpgid(0, 0));
        // Covers a guardian that is killed; the daemon takes it back when it is ready.
        check(p, 1, sys::die_with_parent());
        if libc::getppid() != guardian {
            libc::_exit(1);
        }

        let mut digits = [0u8; 11];
        let length = write_decimal(libc::getpid(), &mut digits);
        std::ptr::copy_nonoverlapping(digits.as_ptr(), p.pid_slot, length);
        std::ptr::write_bytes(p.pid_slot.add(length), b' ', 10 - length);
        if p.lock >= 0 {
            digits[length] = b'\n';
            let wanted = length + 1;
            let write = || libc::pwrite(p.lock, digits.as_ptr().cast(), wanted, 0) as c_int;
            let written = repeat(write);
            if written >= 0 && written as usize != wanted {
                *sys::errno_location() = libc::ENOSPC;
            }
            check(p, 2, if written == wanted as c_int { 0 } else { -1 });
        }

        let dup2 = |from, to| check(p, 3, repeat(|| libc::dup2(from, to)));
        dup2(p.null, 0);
        dup2(p.stdout, 1);
        dup2(p.stderr, 2);
        dup2(p.hand_over, p.hand_over_number);
        if p.lock >= 0 {
            dup2(p.lock, p.lock_number);
        }
        for &fd in &p.keep {
            check(p, 4, repeat(|| libc::fcntl(fd, libc::F_SETFD, 0)));
        }
        if close_all_but(&p.keep) != 0 {
            check(p, 5, -1);
        }

        // Where that directory is gone, the flags that need it fail, in Node's own words.
        if let Some(cwd) = &p.cwd {
            repeat(|| libc::chdir(cwd.as_ptr()));
        }

        // SIGUSR1 stays blocked over the exec: until Node handles it, it would end the process.
        // Node unblocks it, or the daemon does when its signals are wired.
        let mut mask: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut mask);
        libc::sigaddset(&mut mask, libc::SIGUSR1);
        check(p, 6, libc::sigprocmask(libc::SIG_SETMASK, &mask, std::ptr::null_mut()));
        let exec = || libc::execve(p.file.as_ptr(), p.argv.as_ptr(), p.env.as_ptr());
        check(p, 7, repeat(exec));
        libc::_exit(127)
    }
}

/// Reports a failed step with its errno, and ends child 2.
unsafe fn check(p: &Prepared, step: u8, result: c_int) {
    if result >= 0 {
        return;
    }
    // SAFETY: async-signal-safe calls on prepared values. Before the dup2 the socket has its number here,
    // after close_range only that in the daemon: try both.
    unsafe {
        let e = errno().to_ne_bytes();
        let frame = [STEP_FAILED, 5, 0, 0, 0, step, e[0], e[1], e[2], e[3]];
        let (text, flags) = (frame.as_ptr().cast(), libc::MSG_NOSIGNAL);
        let send = |to| repeat(|| libc::send(to, text, STEP_FRAME, flags) as c_int);
        if send(p.hand_over) < 0 {
            send(p.hand_over_number);
        }
        libc::_exit(127)
    }
}

/// The guardian: waits for the first of child 2's end, the launcher's word, the launcher's end, and
/// the deadline.
unsafe fn be_guardian(p: &Prepared, child: pid_t) -> ! {
    // SAFETY: async-signal-safe calls on prepared values.
    unsafe {
        // As in child 2, so that the group exists for the kill whoever runs first.
        libc::setpgid(child, child);
        let mut own = [p.guardian, if p.lock < 0 { p.guardian } else { p.lock }];
        own.sort_unstable();
        // Nothing of the launcher's stays open here: not its terminal, not a pipe that a reader
        // waits on. Should this fail, they close when the start is over.
        close_all_but(&own);

        loop {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            libc::waitid(libc::P_PID, child as libc::id_t, &mut info, flags);
            if info.si_pid() == child {
                end(p, child, DIED);
            }
            let left = p.deadline - now_ms();
            if left <= 0 {
                end(p, child, TIMED_OUT);
            }
            if !sys::wait_for_word_or_end(p.guardian, child, left) {
                continue;
            }
            let mut word = 0u8;
            let got = libc::recv(p.guardian, (&raw mut word).cast(), 1, libc::MSG_DONTWAIT);
            if got == 1 && word == COMMIT {
                // One who died in between is told by the next turn, not by standing down.
                libc::waitid(libc::P_PID, child as libc::id_t, &mut info, flags);
                if info.si_pid() == child {
                    end(p, child, DIED);
                }
                verdict(p, STOOD_DOWN, 0);
                libc::_exit(0);
            }
            if got == 0 || (got < 0 && errno() != libc::EAGAIN && errno() != libc::EINTR) {
                // The launcher died, or gave up.
                end(p, child, DIED);
            }
        }
    }
}

/// Ends child 2 with its process group, removes the pidfile, and tells the launcher why.
unsafe fn end(p: &Prepared, child: pid_t, what: u8) -> ! {
    // SAFETY: async-signal-safe calls. `child` has not been waited for, so neither its pid nor its
    // process group's id can belong to anyone else.
    unsafe {
        libc::kill(-child, libc::SIGKILL);
        libc::kill(child, libc::SIGKILL);
        let mut status = 0;
        let deadline = now_ms() + KILLED;
        while repeat(|| libc::waitpid(child, &mut status, libc::WNOHANG)) == 0 {
            let left = deadline - now_ms();
            if left <= 0 {
                // It hangs in the kernel, and ends when it comes back from there.
                status = libc::SIGKILL;
                break;
            }
            sys::wait_for_word_or_end(-1, child, left);
        }
        remove_pidfile(p);
        verdict(p, what, status);
        libc::_exit(0)
    }
}

unsafe fn verdict(p: &Prepared, what: u8, number: c_int) {
    let n = number.to_ne_bytes();
    let message: [u8; VERDICT] = [what, n[0], n[1], n[2], n[3]];
    // SAFETY: the buffer is ours. MSG_NOSIGNAL: the launcher may be gone.
    let send = || unsafe {
        libc::send(p.guardian, message.as_ptr().cast(), VERDICT, libc::MSG_NOSIGNAL) as c_int
    };
    repeat(send);
}

/// Unlinks the pidfile while it is locked, and only if the name still leads to it.
unsafe fn remove_pidfile(p: &Prepared) {
    let Some(path) = &p.pidfile else { return };
    // SAFETY: stat and unlink are async-signal-safe; the path was prepared.
    #[allow(clippy::unnecessary_cast, reason = "the types differ between platforms")]
    unsafe {
        let mut found: libc::stat = std::mem::zeroed();
        let there = repeat(|| libc::lstat(path.as_ptr(), &mut found)) == 0;
        let is_ours = there && found.st_dev as u64 == p.dev && found.st_ino as u64 == p.ino;
        // What cannot be seen may be there.
        let is_unseen = !there && errno() != libc::ENOENT && errno() != libc::ENOTDIR;
        let is_removed = is_ours && repeat(|| libc::unlink(path.as_ptr())) == 0;
        if is_unseen || is_ours && !is_removed {
            repeat(|| libc::ftruncate(p.lock, 0));
        }
    }
}

/// Sets every signal to its default; to "ignored" first, which discards what is pending.
fn reset_dispositions() {
    for signal in 1..=64 {
        sys::set_disposition(signal, libc::SIG_IGN);
        sys::set_disposition(signal, libc::SIG_DFL);
    }
}

/// Decimal digits without an allocation; returns their number, at most 10.
fn write_decimal(number: pid_t, into: &mut [u8; 11]) -> usize {
    let mut reversed = [0u8; 10];
    let mut rest = number;
    let mut length = 0;
    while length == 0 || (rest > 0 && length < 10) {
        reversed[length] = b'0' + (rest % 10) as u8;
        rest /= 10;
        length += 1;
    }
    for (to, from) in into.iter_mut().zip(reversed[..length].iter().rev()) {
        *to = *from;
    }
    length
}
