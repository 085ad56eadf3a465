//! What a start needs before it forks: descriptors for both sides, and every string; and the fork.
//!
//! Every descriptor is closed on exec; what child 2 duplicates stays open in the daemon.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::stat::Mode;

use super::arguments::Executable;
use super::children::{self, ABOVE};
use super::frames::{Frame, send};
use super::hand_over::{TO_BE_LOCKED, VARIABLE};
use super::plan::{Plan, Supervision};
use super::prepared::{Prepared, Strings, Supervisor};
use super::shared_path::SharedPath;
use crate::error::{Code, Error, Result};
use crate::pidfile::PidFile;
use crate::process::orphans;
use crate::{signal_safe, sys};

/// The launcher's ends of what leads to the guardian and to the daemon.
pub(super) struct Ends {
    pub(super) hand_over: UnixStream,
    pub(super) guardian: UnixStream,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    pub(super) shared: Option<SharedPath>,
}

/// Steps 2 and 3 of a start. Returns the guardian's pid, and the launcher's ends.
pub(super) fn prepare_and_fork(
    plan: Plan,
    supervision: Option<&Supervision>,
    pidfile: Option<&PidFile>,
) -> Result<(i32, Ends)> {
    let shared = plan.nameless.then(SharedPath::new).transpose();
    let shared = shared.map_err(|errno| failed_with("mmap", errno))?;
    let numbers = Numbers::beside(&plan.keep_fds);
    let (mut ours, theirs) = open_descriptors(&numbers, pidfile)?;
    let nonce = new_nonce()?;
    let variable =
        Variable::new(lock_in_daemon(&numbers, &theirs, plan.nameless), numbers.hand_over, &nonce);
    greet(&ours.hand_over, &nonce, &plan.hello)?;
    let (path, file) = pidfile.map(PidFile::for_child).transpose()?.unzip();
    let keep = kept(plan.keep_fds, &numbers, theirs.lock.is_some());
    let Executable { file: program, argv, env } = plan.executable;
    let supervisor = supervision.map(|supervision| {
        Supervisor::new(supervision.executable.clone(), &supervision.name, &env)
    });
    let bytes = |strings: Vec<CString>| strings.into_iter().map(CString::into_bytes_with_nul);
    let prepared = Prepared {
        file: program,
        argv: Strings::new(bytes(argv)),
        env: Strings::new(bytes(env).chain([variable.text])),
        cwd: plan.cwd,
        pid_slot: variable.pid_slot,
        null: theirs.null.as_raw_fd(),
        stdout: theirs.stdout.as_raw_fd(),
        stderr: theirs.stderr.as_raw_fd(),
        hand_over: theirs.hand_over.as_raw_fd(),
        hand_over_number: numbers.hand_over,
        lock: theirs.lock.as_ref().map_or(-1, AsRawFd::as_raw_fd),
        lock_number: numbers.lock,
        guardian: theirs.guardian.as_raw_fd(),
        guardian_holds: supervision.is_some_and(|supervision| supervision.foreign),
        supervisor,
        shared,
        keep,
        pidfile: path,
        dev: file.map_or(0, |file| file.dev),
        ino: file.map_or(0, |file| file.ino),
        deadline: signal_safe::now_ms()
            + i64::try_from(plan.timeout.as_millis()).unwrap_or(i64::MAX / 2),
    };
    ours.shared = shared;
    let guardian = fork(&prepared)?;
    Ok((guardian, ours))
}

/// The numbers that two descriptors have in the daemon: low ones that `keepFds` leaves free, since Node
/// closes low inherited descriptors on exec by itself, even before our module is loaded.
struct Numbers {
    hand_over: RawFd,
    lock: RawFd,
}

impl Numbers {
    fn beside(keep_fds: &[RawFd]) -> Self {
        let mut free = (3..).filter(|fd| !keep_fds.contains(fd));
        Self { hand_over: free.next().unwrap_or(3), lock: free.next().unwrap_or(4) }
    }

    /// The same file by a number above both, and above those of a supervisor, where nothing overwrites it.
    fn above(&self, fd: BorrowedFd<'_>) -> Result<OwnedFd> {
        let above = ABOVE.max(self.lock + 1);
        let raw =
            sys::again(|| fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(above))).map_err(failed("fcntl"))?;
        // SAFETY: the kernel has just given us this descriptor.
        Ok(unsafe { OwnedFd::from_raw_fd(raw) })
    }
}

/// The children's ends, by numbers above those of the daemon.
struct ChildrensEnds {
    null: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
    hand_over: OwnedFd,
    guardian: OwnedFd,
    lock: Option<OwnedFd>,
}

fn open_descriptors(numbers: &Numbers, pidfile: Option<&PidFile>) -> Result<(Ends, ChildrensEnds)> {
    let (hand_over, hand_over_end) = UnixStream::pair().map_err(io_failed("socketpair"))?;
    let (guardian, guardian_end) = UnixStream::pair().map_err(io_failed("socketpair"))?;
    let stdout = sys::memfd(c"stdout").map_err(failed("memfd_create"))?;
    let stderr = sys::memfd(c"stderr").map_err(failed("memfd_create"))?;
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let null = sys::again(|| nix::fcntl::open("/dev/null", flags, Mode::empty()))
        .map_err(|errno| failed("open")(errno).at("/dev/null".as_ref()))?;
    let hand_over_end = numbers.above(hand_over_end.as_fd())?;
    let guardian_end = numbers.above(guardian_end.as_fd())?;
    let stdout_end = numbers.above(stdout.as_fd())?;
    let stderr_end = numbers.above(stderr.as_fd())?;
    let null = numbers.above(null.as_fd())?;
    let theirs = ChildrensEnds {
        null,
        stdout: stdout_end,
        stderr: stderr_end,
        hand_over: hand_over_end,
        guardian: guardian_end,
        lock: pidfile.map(|pidfile| numbers.above(pidfile.as_fd())).transpose()?,
    };
    Ok((Ends { hand_over, guardian, stdout, stderr, shared: None }, theirs))
}

/// A random number that nobody else can know.
fn new_nonce() -> Result<String> {
    let mut nonce = [0u8; 16];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut nonce));
    read.map_err(io_failed("read"))?;
    Ok(nonce.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The number of the locked pidfile in the daemon, or what else is to be known of it there.
fn lock_in_daemon(numbers: &Numbers, theirs: &ChildrensEnds, nameless: bool) -> RawFd {
    match (&theirs.lock, nameless) {
        (Some(_), _) => numbers.lock,
        (None, true) => TO_BE_LOCKED,
        (None, false) => -1,
    }
}

/// The environment variable of the hand-over (see [`super::hand_over`]).
struct Variable {
    text: Vec<u8>,
    /// The ten digits in it that become the daemon's pid.
    pid_slot: *mut u8,
}

impl Variable {
    fn new(lock: RawFd, hand_over: RawFd, nonce: &str) -> Self {
        let text = format!("{VARIABLE}=0000000000 {hand_over} {lock} {nonce}\0");
        let mut text = text.into_bytes();
        // SAFETY: it lies within the string: it was made with ten digits there.
        let pid_slot = unsafe { text.as_mut_ptr().add(VARIABLE.len() + 1) };
        Self { text, pid_slot }
    }
}

/// Sends the first frame, which waits in the socket when the daemon boots. Nobody reads it before that:
/// what does not fit must not block.
fn greet(hand_over: &UnixStream, nonce: &str, hello: &str) -> Result<()> {
    hand_over.set_nonblocking(true).map_err(io_failed("ioctl"))?;
    let frame = format!("{nonce}{hello}");
    send(hand_over, Frame::Hello, frame.as_bytes()).map_err(io_failed("write"))?;
    hand_over.set_nonblocking(false).map_err(io_failed("ioctl"))
}

/// What the daemon keeps, sorted.
fn kept(mut keep: Vec<RawFd>, numbers: &Numbers, is_locked: bool) -> Vec<RawFd> {
    keep.extend([0, 1, 2, numbers.hand_over]);
    if is_locked {
        keep.push(numbers.lock);
    }
    keep.sort_unstable();
    keep
}

fn fork(prepared: &Prepared) -> Result<i32> {
    // SAFETY: the child, in which all signals are blocked until it has reset them, keeps to async-signal-safe
    // calls and never returns. The caller has its descriptors open.
    let guardian = unsafe {
        match libc::fork() {
            0 => children::child_1(prepared),
            guardian => guardian,
        }
    };
    if guardian < 0 {
        let hint = "Too many processes, or too little memory (`ulimit -u`, vm.overcommit_memory)";
        return Err(failed_with("fork", signal_safe::errno()).hint(hint));
    }
    orphans::claim(guardian);
    Ok(guardian)
}

/// The error of a call that has failed with an errno.
fn failed(call: &'static str) -> impl Fn(Errno) -> Error {
    move |errno| failed_with(call, errno as i32)
}

fn failed_with(call: &'static str, errno: i32) -> Error {
    Error::os(Code::StartFailed, "Cannot start a daemon", call, errno)
}

fn io_failed(call: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |error| failed_with(call, error.raw_os_error().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_that_has_no_name_is_told_by_its_number() {
        let error = io_failed("socketpair")(std::io::Error::from_raw_os_error(1000));
        assert_eq!((error.errno, error.syscall), (Some(1000), Some("socketpair")));
        assert!(error.message.contains("errno 1000: "), "{}", error.message);
    }
}
