//! The end of a start, in a thread of its own: the daemon says "ready" and is told "go", or nothing is
//! left.

use std::fs::File;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use super::children;
use super::frames::{Frame, receive, send};
use super::guardian::{FAREWELL, Until};
use super::launch::Launch;
use super::plan::{Failure, Outcome};
use crate::poll;

/// How much later than the guardian the launcher gives up, should the guardian hang.
const MARGIN: Duration = Duration::from_secs(3);
/// So many of the last bytes are kept that the daemon printed while it started.
const PRINTED: u64 = 16 << 20;

impl Launch {
    /// Step 4. Blocks; for a thread of its own.
    pub fn wait(mut self) -> Outcome {
        let mut failure = Failure::default();
        let result = match self.shake_hands(&mut failure) {
            Some(pid) => Ok(pid),
            None => {
                failure.cancelled = self.cancellation.is_requested();
                self.clear_up();
                Err(failure)
            }
        };
        self.guardian.bury();
        Outcome { result, stdout: printed(&self.stdout), stderr: printed(&self.stderr) }
    }

    /// The daemon's pid once it was told "go".
    fn shake_hands(&mut self, failure: &mut Failure) -> Option<i32> {
        let due = Instant::now() + self.timeout;
        let deadline = due + MARGIN;
        let mut ready = None;
        let mut is_open = true;
        loop {
            if Instant::now() >= deadline {
                failure.timed_out = true;
                return None;
            }
            let (heard, judged) = self.wait_readable(deadline, is_open);
            if heard {
                match receive(&mut Until { socket: &self.hand_over, deadline }) {
                    Ok((Frame::Ready, pid)) => {
                        ready = std::str::from_utf8(&pid).ok().and_then(|pid| pid.parse().ok());
                        self.guardian.ask_to_stand_down();
                    }
                    Ok((kind, payload)) => failure.note(kind, &payload),
                    Err(_) if self.cancellation.is_requested() => return None,
                    Err(_) => is_open = false,
                }
            }
            if judged && !heard {
                match self.guardian.verdict(deadline) {
                    Some((children::STOOD_DOWN, _)) => return self.release(ready?, due, failure),
                    verdict => {
                        failure.judge(verdict);
                        return None;
                    }
                }
            }
        }
    }

    /// Waits until the daemon, as long as its socket is open, or the guardian has something to say. Which of
    /// them has.
    fn wait_readable(&self, deadline: Instant, is_open: bool) -> (bool, bool) {
        let fds = [self.guardian.descriptor(), self.hand_over.as_fd()];
        let mut fds = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        let count = if is_open { 2 } else { 1 };
        if !poll::until(&mut fds[..count], deadline) {
            return (false, false);
        }
        let any = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
        (is_open && any(&fds[1]), any(&fds[0]))
    }

    /// The guardian stood down: only this process decides now. The daemon's parent becomes init
    /// with the guardian's end; so that is waited for before "go", for a moment.
    fn release(&mut self, pid: i32, due: Instant, failure: &mut Failure) -> Option<i32> {
        if !self.guardian.await_end(FAREWELL) {
            // It has done what it had to. Where even this does not end it at once, that is no reason to wait.
            self.guardian.kill();
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
        if send(&self.hand_over, Frame::Go, b"").is_err() {
            self.hear_out(due, failure);
            return None;
        }
        Some(pid)
    }

    /// It died, or gave up, after it was ready; what it had to say may still be here.
    fn hear_out(&self, due: Instant, failure: &mut Failure) {
        let deadline = Instant::now() + FAREWELL;
        while let Ok((kind, payload)) = receive(&mut Until { socket: &self.hand_over, deadline }) {
            failure.note(kind, &payload);
        }
        failure.timed_out = failure.report.is_none() && Instant::now() >= due;
    }

    /// After a failure: the guardian has done all of this already, unless it was killed itself.
    fn clear_up(&mut self) {
        // End of file tells guardian and daemon to give up.
        let _ = self.hand_over.shutdown(Shutdown::Both);
        self.guardian.clear_up();
        if let Some(pidfile) = self.pidfile.take() {
            pidfile.remove();
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
