//! The daemon's side of a start: a fresh Node finds the hand-over, takes it, and leaves no trace.
//!
//! The environment variable [`VARIABLE`] names this process's pid, the descriptors of the hand-over
//! socket and of the locked pidfile, and a random number that the first message on the socket must
//! repeat. Where the variable was set by hand, inherited or copied, some of that is wrong, and nothing is
//! taken. Nor is anything taken where all of it is imitated, in a process that a launch did not put where it
//! is: its parent, its session and its process group show that.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{
    AddressFamily, SockType, SockaddrLike, UnixAddr, getsockname, getsockopt, sockopt,
};

use super::frames::{Frame, Ready, SUPERVISED, place_payload, receive, send, send_with};
use crate::error::{Code, Error, Result};
use crate::pidfile::{PidFile, Place};
use crate::process::lock_holder::Process;
use crate::process::own::{close_on_exec, is_open};
use crate::{poll, sys};

/// The environment variable of the hand-over.
pub const VARIABLE: &str = "TSDAEMONIZE_HANDOVER";

/// Instead of a descriptor of the locked pidfile: this process is to lock it.
pub const TO_BE_LOCKED: RawFd = -2;

/// The hand-over, taken.
#[derive(Debug)]
pub struct HandOver {
    socket: UnixStream,
    lock: Option<OwnedFd>,
    /// The launcher does not know the name: this process locks its pidfile itself.
    pub locks_itself: bool,
    /// What the launcher says, as JSON.
    pub hello: String,
}

/// How the wait for "go" ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The launcher said "go".
    Go {
        /// The pidfile is the supervisor's from now on.
        supervised: bool,
    },
    /// The launcher died or gave up.
    Gone,
}

/// Takes the hand-over, if this process was started by one, and removes it from the environment,
/// from the bytes that /proc/PID/environ shows too.
pub fn take() -> Option<HandOver> {
    let value = take_variable()?;
    let mut words = value.split_ascii_whitespace();
    let pid: i32 = words.next()?.parse().ok()?;
    let socket: RawFd = words.next()?.parse().ok()?;
    let lock: RawFd = words.next()?.parse().ok()?;
    let nonce = words.next()?;
    let mine = pid == nix::unistd::getpid().as_raw() && nonce.len() == 32 && socket > 2;
    let elsewhere = Standing::of_this() == Standing::Elsewhere;
    if !mine || elsewhere || !is_unix_stream(socket) {
        return None;
    }
    // SAFETY: the descriptor is open (it was just asked) and, if the nonce proves it below, ours.
    let mut socket = UnixStream::from(unsafe { OwnedFd::from_raw_fd(socket) });
    let hello = first_frame(&mut socket, nonce);
    let Some(hello) = hello else {
        // Somebody else's socket: leave it open.
        std::mem::forget(socket);
        return None;
    };
    sys::keep_dying_with_parent();
    // Between the exec and now the guardian may have been killed, and nothing told this process.
    if Standing::of_this() != Standing::Child2 {
        // SAFETY: ends the process group that it leads, itself included: a start leaves no process.
        unsafe { libc::kill(0, libc::SIGKILL) };
    }
    close_on_exec(socket.as_fd());
    let locks_itself = lock == TO_BE_LOCKED;
    let lock = (lock > 2 && is_open(lock)).then(|| {
        // SAFETY: the launcher, proven by the nonce, left this descriptor for us.
        unsafe { OwnedFd::from_raw_fd(lock) }
    });
    if let Some(lock) = &lock {
        close_on_exec(lock.as_fd());
    }
    Some(HandOver { socket, lock, locks_itself, hello })
}

fn first_frame(socket: &mut UnixStream, nonce: &str) -> Option<String> {
    // The bytes in a stranger's socket are not for us: look before reading.
    let mut head = [0u8; 37];
    // SAFETY: the buffer is ours and its length is given.
    let peek = || unsafe {
        use std::os::fd::AsRawFd;
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        let (fd, to) = (socket.as_raw_fd(), head.as_mut_ptr().cast());
        nix::errno::Errno::result(libc::recv(fd, to, 37, flags))
    };
    if sys::again(peek) != Ok(37)
        || head.first() != Some(&b'H')
        || head.get(5..) != Some(nonce.as_bytes())
    {
        return None;
    }
    let (_, payload) = receive(socket).ok()?;
    String::from_utf8(payload.get(32..)?.to_vec()).ok()
}

/// Whether this process stands where a launch puts child 2 (see [`crate::start::children`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Its parent, the guardian, leads its session, and it leads its own process group.
    Child2,
    /// The same, but nobody leads its session any more.
    Orphan,
    /// Anywhere else: a shell's job does, and whatever a shell or an init has started.
    Elsewhere,
}

impl Standing {
    fn of_this() -> Self {
        use nix::unistd::{getpgrp, getpid, getppid, getsid};
        let Ok(leader) = getsid(None) else { return Self::Elsewhere };
        if getpgrp() != getpid() || leader == getpid() {
            Self::Elsewhere
        } else if leader == getppid() {
            Self::Child2
        } else if Process::open(leader.as_raw()).is_none_or(|leader| leader.has_ended()) {
            Self::Orphan
        } else {
            Self::Elsewhere
        }
    }
}

fn is_unix_stream(fd: RawFd) -> bool {
    if !is_open(fd) {
        return false;
    }
    // SAFETY: the descriptor is open, and nothing closes it during these calls.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let family = getsockname::<UnixAddr>(fd).ok().and_then(|a| a.family());
    let kind = getsockopt(&borrowed, sockopt::SockType);
    family == Some(AddressFamily::Unix) && matches!(kind, Ok(SockType::Stream))
}

/// Takes the variable out of the environment, and overwrites its bytes: those that the process was started
/// with are seen in /proc/PID/environ. Not by unsetenv(3), which may free them.
fn take_variable() -> Option<String> {
    // SAFETY: at import, in JavaScript's thread, which alone changes the environment: an array of pointers
    // to strings, with a null behind the last. What is taken out of it stays in memory, which is the
    // process's own and writable.
    unsafe {
        let mut place = sys::environment();
        let mut taken = None;
        while !place.is_null() && !(*place).is_null() {
            let entry = *place;
            let length = CStr::from_ptr(entry).to_bytes().len();
            let bytes = std::slice::from_raw_parts_mut(entry.cast::<u8>(), length);
            let value = bytes.strip_prefix(VARIABLE.as_bytes()).and_then(|b| b.strip_prefix(b"="));
            let Some(value) = value else {
                place = place.add(1);
                continue;
            };
            taken.get_or_insert_with(|| String::from_utf8_lossy(value).into_owned());
            bytes.fill(0);
            let mut hole = place;
            while !(*hole).is_null() {
                *hole = *hole.add(1);
                hole = hole.add(1);
            }
        }
        taken
    }
}

/// From here on the guardian's end is not the daemon's. In the main thread: the signal for a parent's
/// death is a thread's own (PR_SET_PDEATHSIG(2const)).
pub fn outlive_guardian() {
    sys::outlive_parent();
}

impl HandOver {
    /// The locked pidfile, once its place is known.
    pub fn take_pidfile(&mut self, place: Place) -> Result<PidFile> {
        let path = place.path();
        let inherited = self.lock.take().map(|lock| PidFile::inherited(lock, place));
        inherited.filter(PidFile::is_held).ok_or_else(|| {
            let message = format!(
                "The launcher of this process did not hand over the lock on the pidfile {}",
                path.display()
            );
            Error::new(Code::PidFile, message).at(&path)
        })
    }

    /// Tells a launcher that does not know the name where the pidfile will be: it sees to it that nothing is left there.
    pub fn tell_place(&mut self, place: &Place) -> Result<()> {
        let told = send(&self.socket, Frame::Place, &place_payload(place));
        match told.and_then(|()| receive(&mut self.socket)) {
            Ok((Frame::Noted, _)) => Ok(()),
            _ => Err(Error::new(Code::StartFailed, "The launcher of this process is gone")),
        }
    }

    /// Lets it hold the locked pidfile, too.
    pub fn share(&self, pidfile: &PidFile) -> Result<()> {
        send_with(&self.socket, Frame::Lock, pidfile.raw_fd()).map_err(|errno| {
            let message = "Cannot share the pidfile with the launcher of this process";
            Error::os(Code::StartFailed, message, "sendmsg", errno as i32)
        })
    }

    /// The same socket by a second descriptor; `None` where there is no descriptor left for that.
    pub fn again(&self) -> Option<Self> {
        let socket = self.socket.try_clone().ok()?;
        Some(Self { socket, lock: None, locks_itself: false, hello: String::new() })
    }

    /// Tells the launcher why there will be no daemon.
    pub fn fail(&self, report: &str) {
        let _ = send(&self.socket, Frame::Failed, report.as_bytes());
    }

    /// Says "ready": from here on the guardian may go.
    pub fn ready(&self, supervise: bool, state: Option<String>) -> std::io::Result<()> {
        let pid = nix::unistd::getpid().as_raw();
        let ready = Ready { pid, supervise, state };
        send(&self.socket, Frame::Ready, ready.to_payload().as_bytes())
    }

    /// Waits for "go". A launcher that is stopped is waited for until `timeout`: then its "go" is
    /// refused, in one step, so that it never believes in a daemon that gave up. Blocks.
    pub fn answer(mut self, timeout: Duration) -> Answer {
        let deadline = Instant::now() + timeout;
        if !poll::until(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], deadline) {
            // After this the launcher's send fails; what was sent before is still read.
            let _ = self.socket.shutdown(std::net::Shutdown::Read);
        }
        match receive(&mut self.socket) {
            Ok((Frame::Go, said)) => Answer::Go { supervised: said == SUPERVISED },
            _ => Answer::Gone,
        }
    }
}
