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
//! is up. Child 2 becomes the daemon. Where the daemon is supervised, the guardian executes the supervisor
//! in its own place when the daemon is ready.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::{FromRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_char, c_int, pid_t};

use super::prepared::{Prepared, Supervisor};
use crate::pidfile::take_all_quietly;
use crate::signal_safe::{close_all_but, errno, now_ms, repeat, write_decimal};
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
/// Child 2 was forked; with its pid. Said where the program takes no hand-over.
pub const BORN: u8 = b'B';
/// The supervisor could not be executed, or says that it cannot stand; with an errno.
pub const NO_SUPERVISOR: u8 = b'S';
/// How long child 2 may take to end after SIGKILL, in milliseconds.
const KILLED: i64 = 2000;
/// How long the locks of a launcher that has ended may last, in milliseconds.
const RELEASED: i64 = 1000;
/// The launcher asks the guardian to stand down.
pub const COMMIT: u8 = b'C';
/// The launcher asks the guardian to become the supervisor, and sends what that is to know.
pub const SUPERVISE: u8 = b'S';
/// The launcher tells the supervisor that the start is done.
pub const RELEASE: u8 = b'G';

/// The supervisor's descriptor of its socket to the launcher.
pub const SUPERVISOR_SOCKET: RawFd = 3;
/// The locked pidfile; /dev/null where there is none.
pub const SUPERVISOR_LOCK: RawFd = 4;
/// What the launcher's front says, a newline, and what the daemon says. The extra descriptors come behind it.
pub const SUPERVISOR_PLAN: RawFd = 5;
/// How many extra descriptors there may be.
pub const MOST_EXTRA: usize = 4;
/// What the guardian needs has at least this number, where nothing of the supervisor's overwrites it.
pub const ABOVE: RawFd = SUPERVISOR_PLAN + 1 + MOST_EXTRA as RawFd;

/// A frame from child 2 on the hand-over socket: [`STEP_FAILED`], the step, the errno (4 bytes).
pub const STEP_FRAME: usize = 10;
/// The kind of that frame; the daemon's own frames have others (see [`crate::start::hand_over`]).
pub const STEP_FAILED: u8 = b'X';

/// The calls of child 2 that can fail, in their order.
pub const STEPS: [&str; 8] =
    ["setpgid", "prctl", "write", "dup2", "fcntl", "close_range", "sigprocmask", "execve"];

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
        if p.guardian_holds {
            action.sa_sigaction = on_sigterm as *const () as usize;
            libc::sigaction(libc::SIGTERM, &action, std::ptr::null_mut());
            if write_pid(p) != 0 {
                let error = errno();
                remove_pidfile(p);
                *sys::errno_location() = error;
                check(p, 2, -1);
            }
        }

        let mut fresh = Child2 { prepared: p, guardian: libc::getpid() };
        let child = sys::fork_until_exec(run_child_2, (&raw mut fresh).cast());
        if child < 0 {
            let error = errno();
            remove_pidfile(p);
            verdict(p, NO_CHILD, error);
            libc::_exit(1);
        }
        if p.guardian_holds {
            verdict(p, BORN, child);
        }
        be_guardian(p, child)
    }
}

extern "C" fn on_sigchld(_: c_int) {}

/// SIGTERM has come to the guardian, whose memory is its own.
static TERMINATED: AtomicBool = AtomicBool::new(false);

extern "C" fn on_sigterm(_: c_int) {
    TERMINATED.store(true, Ordering::Relaxed);
}

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
        if !p.guardian_holds {
            check(p, 2, write_pid(p));
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

/// Writes this process's pid into the pidfile, if there is one. Returns 0, or -1 with errno.
unsafe fn write_pid(p: &Prepared) -> c_int {
    if p.lock < 0 {
        return 0;
    }
    let mut digits = [0u8; 11];
    // SAFETY: async-signal-safe calls; as many bytes are written as there are.
    unsafe {
        let length = write_decimal(libc::getpid(), &mut digits);
        digits[length] = b'\n';
        let wanted = length + 1;
        let written = repeat(|| libc::pwrite(p.lock, digits.as_ptr().cast(), wanted, 0) as c_int);
        if written >= 0 && written as usize != wanted {
            *sys::errno_location() = libc::ENOSPC;
        }
        if written == wanted as c_int { 0 } else { -1 }
    }
}

/// Reports a failed step with its errno, and ends this child.
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
        let mut own = [p.guardian; 3];
        if p.lock >= 0 {
            own[1] = p.lock;
        }
        if p.supervisor.is_some() {
            own[2] = p.null;
        }
        own.sort_unstable();
        // Nothing of the launcher's stays open here: not its terminal, not a pipe that a reader
        // waits on. Should this fail, they close when the start is over.
        close_all_but(&own);

        let mut is_stopping = false;
        loop {
            if has_ended(child) {
                end(p, child, DIED, None);
            }
            let left = p.deadline - now_ms();
            if left <= 0 {
                end(p, child, TIMED_OUT, None);
            }
            // What the program makes of it is up to the program, until the time is up.
            if TERMINATED.load(Ordering::Relaxed) && !is_stopping {
                is_stopping = true;
                libc::kill(-child, libc::SIGTERM);
            }
            let also = if p.guardian_holds { libc::SIGTERM } else { 0 };
            if !sys::wait_for_word_or_end(p.guardian, child, left, also) {
                continue;
            }
            let Some(word) = hear(p.guardian) else { continue };
            // One who died in between is told by the next turn, not by standing down.
            if word.is_end() || has_ended(child) || is_stopping {
                end(p, child, DIED, None);
            }
            match (word.letter, &p.supervisor) {
                (SUPERVISE, Some(supervisor)) => {
                    let errno = become_supervisor(p, supervisor, child, &word);
                    end(p, child, NO_SUPERVISOR, Some(errno));
                }
                (COMMIT, _) => {
                    verdict(p, STOOD_DOWN, 0);
                    libc::_exit(0);
                }
                _ => {}
            }
        }
    }
}

/// A word of the launcher's, and the descriptors that came with it.
struct Word {
    letter: u8,
    given: [RawFd; 1 + MOST_EXTRA],
    count: usize,
}

impl Word {
    /// Whether the launcher has died, or gave up.
    fn is_end(&self) -> bool {
        self.letter == 0
    }
}

/// The launcher's next word. `None`: there is none yet.
unsafe fn hear(socket: RawFd) -> Option<Word> {
    let mut word = Word { letter: 0, given: [-1; 1 + MOST_EXTRA], count: 0 };
    // Aligned as cmsghdr must be, and with room for as many descriptors as there may be.
    let mut control = [0usize; 16];
    // SAFETY: the buffers are as large as the message says; the descriptors lie within what the kernel has written.
    unsafe {
        let mut part = libc::iovec { iov_base: (&raw mut word.letter).cast(), iov_len: 1 };
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        let flags = libc::MSG_DONTWAIT | sys::CLOSED_ON_EXEC;
        let got = repeat(|| libc::recvmsg(socket, &mut message, flags) as c_int);
        if got < 0 && errno() == libc::EAGAIN {
            return None;
        }
        if got != 1 {
            word.letter = 0;
            return Some(word);
        }
        let head = libc::CMSG_FIRSTHDR(&message);
        // Where there was no room for one of them, none counts.
        let is_whole = message.msg_flags & libc::MSG_CTRUNC == 0;
        if is_whole && !head.is_null() && (*head).cmsg_type == libc::SCM_RIGHTS {
            let length = (*head).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
            let data = libc::CMSG_DATA(head).cast::<RawFd>();
            word.count = (length / size_of::<RawFd>()).min(word.given.len());
            for (index, fd) in word.given.iter_mut().take(word.count).enumerate() {
                *fd = data.add(index).read_unaligned();
            }
        }
        Some(word)
    }
}

/// Executes the supervisor in this process's place. All signals stay blocked over that. Returns the
/// errno of what failed, and then the guardian's descriptors are what they were.
unsafe fn become_supervisor(p: &Prepared, s: &Supervisor, child: pid_t, word: &Word) -> c_int {
    if word.count == 0 {
        return libc::EMFILE;
    }
    let mut digits = [0u8; 11];
    let length = write_decimal(child, &mut digits);
    // SAFETY: the slot has ten bytes; descriptors from `ABOVE` on are not overwritten.
    unsafe {
        std::ptr::copy_nonoverlapping(digits.as_ptr(), s.pid_slot, length);
        std::ptr::write_bytes(s.pid_slot.add(length), b' ', 10 - length);

        // What came with the word has the lowest numbers that were free: it goes out of the way first.
        let mut kept = [-1; ABOVE as usize + 2];
        let mut next = 0;
        let mut put = |from: RawFd, to: RawFd| {
            kept[next] = to;
            next += 1;
            repeat(|| libc::dup2(from, to))
        };
        let mut given = word.given;
        for fd in given.iter_mut().take(word.count) {
            *fd = repeat(|| libc::fcntl(*fd, libc::F_DUPFD_CLOEXEC, ABOVE));
            if *fd < 0 {
                return errno();
            }
        }
        // A pidfile that the daemon has locked itself comes behind the plan.
        let is_given = p.shared.is_some() && word.count > 1;
        let lock = match p.lock {
            _ if is_given => given[1],
            -1 => p.null,
            lock => lock,
        };
        for (from, to) in [
            (p.null, 0),
            (p.null, 1),
            (p.null, 2),
            (p.guardian, SUPERVISOR_SOCKET),
            (lock, SUPERVISOR_LOCK),
        ] {
            if put(from, to) < 0 {
                return errno();
            }
        }
        let rest = given.iter().take(word.count).skip(if is_given { 2 } else { 1 });
        for (&from, to) in given.iter().take(1).chain(rest).zip(SUPERVISOR_PLAN..) {
            if put(from, to) < 0 {
                return errno();
            }
        }
        // Where something of the launcher's is still open here: not for as long as the daemon runs.
        kept[next] = p.guardian;
        kept[next + 1] = p.lock;
        let kept = &mut kept[..next + 2];
        kept.sort_unstable();
        if close_all_but(kept) != 0 {
            return errno();
        }
        repeat(|| libc::execve(s.file.as_ptr(), s.argv.as_ptr(), s.env.as_ptr()));
        errno()
    }
}

/// Whether child 2 has ended. It has not been waited for then.
unsafe fn has_ended(child: pid_t) -> bool {
    // SAFETY: zero is a value of siginfo_t, which the call fills in.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        libc::waitid(libc::P_PID, child as libc::id_t, &mut info, flags);
        info.si_pid() == child
    }
}

/// Ends child 2 with its process group, removes the pidfile, and tells the launcher why, with the number that is given
/// or else with the status of child 2.
unsafe fn end(p: &Prepared, child: pid_t, what: u8, number: Option<c_int>) -> ! {
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
            sys::wait_for_word_or_end(-1, child, left, 0);
        }
        if TERMINATED.load(Ordering::Relaxed) {
            // However the program took it.
            status = libc::SIGTERM;
        }
        remove_pidfile(p);
        if let Some(path) = p.shared.and_then(|shared| shared.get()) {
            remove_claimed(p, child, path);
        }
        verdict(p, what, number.unwrap_or(status));
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

/// Removes the pidfile that child 2, which is gone, has locked itself, where the launcher is gone too: else it is the
/// launcher's to remove.
unsafe fn remove_claimed(p: &Prepared, child: pid_t, path: *const c_char) {
    // SAFETY: async-signal-safe calls; the path ends with a NUL.
    unsafe {
        let mut launcher = libc::pollfd { fd: p.guardian, events: 0, revents: 0 };
        libc::poll(&mut launcher, 1, 0);
        if launcher.revents & libc::POLLHUP == 0 {
            return;
        }
        let flags = libc::O_RDWR | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
        let fd = repeat(|| libc::open(path, flags));
        if fd < 0 {
            return;
        }
        let file = ManuallyDrop::new(File::from_raw_fd(fd));
        // Only what child 2 has written.
        let mut expected = [0u8; 11];
        let length = write_decimal(child, &mut expected);
        expected[length] = b'\n';
        let mut found = [0u8; 12];
        let read = repeat(|| libc::pread(fd, found.as_mut_ptr().cast(), found.len(), 0) as c_int);
        let is_ours = usize::try_from(read).is_ok_and(|n| found[..n] == expected[..=length]);
        // The launcher's end of the lock closes with its other descriptors, in any order.
        let deadline = now_ms() + RELEASED;
        while is_ours && now_ms() < deadline {
            if take_all_quietly(&file) {
                let (mut open, mut named): (libc::stat, libc::stat) = std::mem::zeroed();
                let seen = libc::fstat(fd, &mut open) == 0 && libc::lstat(path, &mut named) == 0;
                if seen && (open.st_dev, open.st_ino) == (named.st_dev, named.st_ino) {
                    repeat(|| libc::unlink(path));
                }
                break;
            }
            sys::wait_for_word_or_end(-1, child, 10, 0);
        }
        libc::close(fd);
    }
}

/// Sets every signal to its default; to "ignored" first, which discards what is pending.
fn reset_dispositions() {
    for signal in 1..=64 {
        sys::set_disposition(signal, libc::SIG_IGN);
        sys::set_disposition(signal, libc::SIG_DFL);
    }
}
