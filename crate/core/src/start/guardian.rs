//! The guardian, which is child 1 of a start, as its launcher sees it.

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::children;
use crate::process::lock_holder::Process;
use crate::process::{orphans, session};
use crate::{poll, sys, thread};

/// How long it may take to clean up.
const CLEANING: Duration = Duration::from_secs(2);
/// How long it may take to end: by itself, and again when it was killed.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);
/// How long what a start leaves may take to end, all in all.
const CLEARED: Duration = Duration::from_secs(5);
/// Between two looks at a process for which there is no handle.
const LOOK: Duration = Duration::from_millis(10);

/// The guardian. Nobody has waited for it yet, so no other process has its pid.
#[derive(Debug)]
pub struct Guardian {
    pid: Pid,
    socket: UnixStream,
}

impl Guardian {
    /// The child with this pid, which has the other end of the socket.
    pub(super) fn new(pid: i32, socket: UnixStream) -> Self {
        Self { pid: Pid::from_raw(pid), socket }
    }

    /// To be polled: there is something to read when there is a verdict.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Asks it to leave the daemon to the launcher.
    pub(super) fn ask_to_stand_down(&mut self) {
        let _ = self.socket.write_all(&[children::COMMIT]);
    }

    /// Asks it to become the supervisor, which is given these descriptors.
    pub(super) fn ask_to_supervise(&self, fds: &[BorrowedFd<'_>]) -> nix::Result<()> {
        let fds: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let word = [IoSlice::new(&[children::SUPERVISE])];
        let with = [ControlMessage::ScmRights(&fds)];
        let socket = self.socket.as_raw_fd();
        let send = || sendmsg::<()>(socket, &word, &with, sys::NO_SIGNAL, None);
        sys::again(send).map(drop)
    }

    /// Tells the supervisor that the start is done. Where it has ended meanwhile, the daemon goes on without it.
    pub(super) fn release(&mut self) {
        let _ = self.socket.write_all(&[children::RELEASE]);
    }

    /// Its pid, which is the session's id, and later the supervisor's pid.
    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// What became of the daemon: a letter of [`children`], and its number. `None`: the guardian was killed.
    pub(super) fn verdict(&self, deadline: Instant) -> Option<(u8, i32)> {
        let mut message = [0u8; children::VERDICT];
        Until::new(&self.socket, deadline).read_exact(&mut message).ok()?;
        let [what, number @ ..] = message;
        Some((what, i32::from_ne_bytes(number)))
    }

    /// Waits until it has ended; it stays a zombie, so that its pid, which is the session's id, stays its
    /// own. `false` when the time was up first.
    pub(super) fn await_end(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        // Where there is such a handle, its end wakes this thread; else it looks now and then.
        let handle = Process::open(self.pid.as_raw());
        loop {
            let flags = libc::WEXITED | libc::WNOWAIT | libc::WNOHANG;
            // SAFETY: zero is a value of siginfo_t, which the call fills in.
            let (result, ended) = unsafe {
                let mut info: libc::siginfo_t = std::mem::zeroed();
                let id = self.pid.as_raw() as libc::id_t;
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

    /// Ends it, and waits for that a moment.
    pub(super) fn kill(&self) {
        // SAFETY: it is our child and was not waited for; the pid is its own.
        unsafe { libc::kill(self.pid.as_raw(), libc::SIGKILL) };
        self.await_end(FAREWELL);
    }

    /// After a failure: it gives up, and no process of the start is left.
    pub(super) fn clear_up(&self) {
        let _ = self.socket.shutdown(Shutdown::Write);
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::empty())];
        if !poll::until(&mut fds, Instant::now() + CLEANING) || !self.await_end(FAREWELL) {
            self.kill();
        }
        // Whether it has ended or not, its pid, the session's id, is its own.
        session::kill_session(self.pid.as_raw(), CLEARED);
    }

    /// Waits for it, which is a zombie by now. Or it hangs in the kernel, or supervises the daemon: then a thread
    /// waits, if there may be one.
    pub(super) fn bury(self, in_thread: bool) {
        let is_over = self.await_end(Duration::ZERO);
        let pid = self.pid;
        let bury = move || {
            let _ = sys::again(|| waitpid(pid, None));
            orphans::release(pid.as_raw());
        };
        if is_over {
            bury();
        } else if in_thread {
            let _ = thread::spawn("guardian", bury);
        }
    }
}

/// Reads from a socket until a moment: a peer that is stopped in the middle of a frame holds up nobody.
pub(super) struct Until<'a> {
    pub(super) socket: &'a UnixStream,
    pub(super) deadline: Instant,
    /// A descriptor that came meanwhile.
    pub(super) given: Option<OwnedFd>,
}

impl<'a> Until<'a> {
    pub(super) fn new(socket: &'a UnixStream, deadline: Instant) -> Self {
        Self { socket, deadline, given: None }
    }
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        if !poll::until(&mut fds, self.deadline) {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        let mut control = nix::cmsg_space!([RawFd; 1]);
        let mut parts = [IoSliceMut::new(buffer)];
        let socket = self.socket.as_raw_fd();
        let flags = MsgFlags::from_bits_retain(sys::CLOSED_ON_EXEC);
        let message = recvmsg::<()>(socket, &mut parts, Some(&mut control), flags)?;
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(fds) = part {
                for fd in fds {
                    // SAFETY: the kernel has just given us this descriptor.
                    self.given = Some(unsafe { OwnedFd::from_raw_fd(fd) });
                }
            }
        }
        Ok(message.bytes)
    }
}
