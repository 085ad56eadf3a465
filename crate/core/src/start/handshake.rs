//! The end of a start, in a thread of its own: the daemon says "ready" and is told "go", or nothing is
//! left.

use std::ffi::CString;
use std::fs::File;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};

use super::children;
use super::frames::{Frame, Ready, SUPERVISED, place_of, place_payload, receive, send};
use super::guardian::{FAREWELL, Until};
use super::launch::Launch;
use super::plan::{Failure, Outcome, Supervision};
use super::readiness::{HandOverAlone, Look, Readiness};
use crate::pidfile::{PidFile, Place};
use crate::{poll, sys};

/// How much later than the guardian the launcher gives up, should the guardian hang.
const MARGIN: Duration = Duration::from_secs(3);
/// So many of the last bytes are kept that the daemon printed while it started.
const PRINTED: u64 = 16 << 20;

/// What is known of the daemon in the making.
struct Progress {
    /// Its end of the hand-over socket is open.
    is_open: bool,
    /// Its pid, where it takes no hand-over.
    born: Option<i32>,
    /// The front was told that it has executed its program.
    is_executed: bool,
    /// What the front said with "ready", which may come before the guardian has told the pid.
    said: Option<String>,
    /// Where a daemon that gives its name will lock its pidfile.
    place: Option<Place>,
    /// What was said with "ready", by the daemon or for it. Since then the guardian is to stand down.
    ready: Option<Ready>,
}

impl Launch {
    /// Step 4. Blocks; for a thread of its own, in a process that goes on. There, a thread waits for a supervisor.
    pub fn wait(self) -> Outcome {
        self.conclude(&mut HandOverAlone, true)
    }

    /// The same in a process that ends soon, whose front looks at the daemon meanwhile. No thread is made.
    pub fn wait_for(self, front: &mut dyn Readiness) -> Outcome {
        self.conclude(front, false)
    }

    /// The id of the daemon's session, which is the guardian's pid, and later the supervisor's.
    pub fn session(&self) -> i32 {
        self.guardian.pid()
    }

    fn conclude(mut self, front: &mut dyn Readiness, in_thread: bool) -> Outcome {
        let mut failure = Failure::default();
        let ready = self.shake_hands(front, &mut failure);
        let is_supervised = ready.as_ref().is_some_and(|ready| ready.supervise);
        let supervisor = is_supervised.then(|| self.guardian.pid());
        if ready.is_none() {
            failure.cancelled = self.cancellation.is_requested();
            self.clear_up();
        }
        self.guardian.bury(in_thread);
        let result = ready.map(|ready| ready.pid).ok_or(failure);
        let (stdout, stderr) = (printed(&self.stdout), printed(&self.stderr));
        let place = self.pidfile.map(|pidfile| pidfile.place().clone());
        Outcome { result, supervisor, place, stdout, stderr }
    }

    /// What the daemon, or the front, said with "ready", once the daemon was told "go".
    fn shake_hands(&mut self, front: &mut dyn Readiness, failure: &mut Failure) -> Option<Ready> {
        let due = Instant::now() + self.timeout;
        let deadline = due + MARGIN;
        let mut seen = Progress {
            is_open: true,
            born: None,
            is_executed: false,
            said: None,
            place: None,
            ready: None,
        };
        loop {
            if Instant::now() >= deadline {
                failure.timed_out = true;
                return None;
            }
            let is_looking = seen.ready.is_none() && seen.said.is_none();
            let looking = is_looking.then_some(&*front);
            let (heard, judged) = self.wait_readable(deadline, seen.is_open, looking);
            if heard {
                let mut from = Until::new(&self.hand_over, deadline);
                let received = receive(&mut from);
                let given = from.given;
                match received {
                    Ok((Frame::Ready, payload)) => {
                        let ready = Ready::from_payload(&payload)?;
                        seen.ready = Some(self.part(ready, failure)?);
                    }
                    Ok((Frame::Place, payload)) if seen.place.is_none() => {
                        seen.place = Some(self.note_place(&payload)?);
                    }
                    Ok((Frame::Lock, _)) if self.pidfile.is_none() => {
                        let pidfile = PidFile::inherited(given?, seen.place.take()?);
                        self.pidfile = Some(pidfile).filter(PidFile::is_held);
                    }
                    Ok((kind, payload)) => failure.note(kind, &payload),
                    Err(_) if self.cancellation.is_requested() => return None,
                    Err(_) => seen.is_open = false,
                }
            } else if judged {
                match self.guardian.verdict(deadline) {
                    Some((children::BORN, pid)) => seen.born = Some(pid),
                    Some((children::STOOD_DOWN, _)) => {
                        return self.release(seen.ready?, seen.born.is_none(), due, failure);
                    }
                    None if seen.ready.as_ref().is_some_and(|ready| ready.supervise) => {
                        failure.unsupervised = Some(libc::EPIPE);
                        return None;
                    }
                    verdict => {
                        failure.judge(verdict);
                        // What was executed has ended without a word: it is no supervisor, or another version's.
                        let is_asked = seen.ready.is_some_and(|ready| ready.supervise);
                        if verdict.is_none() && is_asked {
                            failure.unsupervised = Some(libc::EPIPE);
                        }
                        return None;
                    }
                }
            }
            if seen.ready.is_none() {
                self.look(front, &mut seen, failure)?;
            }
        }
    }

    /// A daemon that gives its name says where its pidfile will be: the guardian is told before it may lock it.
    fn note_place(&self, payload: &[u8]) -> Option<Place> {
        let place = place_of(payload)?;
        let path = CString::new(place.path().into_os_string().into_vec()).ok()?;
        let is_noted = self.shared?.set(&path) && send(&self.hand_over, Frame::Noted, b"").is_ok();
        is_noted.then_some(place)
    }

    /// Asks the front what it sees. `None`: the start is given up.
    fn look(
        &mut self,
        front: &mut dyn Readiness,
        seen: &mut Progress,
        failure: &mut Failure,
    ) -> Option<()> {
        let executed = seen.born.filter(|_| !seen.is_open);
        if let Some(pid) = executed.filter(|_| !seen.is_executed) {
            seen.is_executed = true;
            front.executed(pid);
        }
        if seen.said.is_none() {
            match front.look() {
                Look::NotYet => {}
                Look::Ready(state) => seen.said = Some(state),
                Look::Failed(why) => {
                    failure.unready = Some(why);
                    return None;
                }
            }
        }
        if let (Some(pid), Some(state)) = (executed, &seen.said) {
            let state = Some(state.clone()).filter(|state| !state.is_empty());
            seen.ready = Some(self.part(Ready { pid, supervise: true, state }, failure)?);
        }
        Some(())
    }

    /// The daemon is ready: asks the guardian to stand down, or to become the supervisor.
    fn part(&mut self, ready: Ready, failure: &mut Failure) -> Option<Ready> {
        if !ready.supervise {
            self.guardian.ask_to_stand_down();
            return Some(ready);
        }
        let Some(Supervision { plan, extra, .. }) = &self.supervision else {
            failure.unsupervised = Some(0);
            return None;
        };
        // In one line: what comes behind it is the launcher's.
        let state = ready.state.as_deref().unwrap_or_default().replace('\n', " ");
        // Where the launcher did not know the name, it did not know the place, and the guardian has no lock.
        let claimed = self.pidfile.as_ref().filter(|_| self.shared.is_some());
        let place = claimed.map(|pidfile| [b"\n", &*place_payload(pidfile.place())].concat());
        let plan = [plan, b"\n".as_slice(), state.as_bytes(), &place.unwrap_or_default()].concat();
        let asked = memfd_of(&plan).and_then(|plan| {
            let lock = claimed.map(PidFile::as_fd);
            let fds = [plan.as_fd()].into_iter().chain(lock).chain(extra.iter().map(AsFd::as_fd));
            let asked = self.guardian.ask_to_supervise(&fds.collect::<Vec<_>>());
            asked.map_err(|errno| ("sendmsg", errno as i32))
        });
        match asked {
            // One that has ended says why.
            Ok(()) | Err((_, libc::EPIPE)) => Some(ready),
            Err(step) => {
                failure.step = Some(step);
                None
            }
        }
    }

    /// Waits until the daemon, as long as its socket is open, the guardian, or the front has something to say. Whether
    /// the daemon has, and the guardian.
    fn wait_readable(
        &self,
        deadline: Instant,
        is_open: bool,
        front: Option<&dyn Readiness>,
    ) -> (bool, bool) {
        let both = [self.guardian.descriptor(), self.hand_over.as_fd()];
        let own = if is_open { &both[..] } else { &both[..1] };
        let of_front = front.map_or(Vec::new(), Readiness::descriptors);
        let all = own.iter().chain(&of_front);
        let mut fds: Vec<_> = all.map(|&fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let look = front.and_then(Readiness::deadline).map_or(deadline, |at| at.min(deadline));
        if !poll::until(&mut fds, look) {
            return (false, false);
        }
        let is_readable = |index: usize| fds[index].any().unwrap_or(false);
        (is_open && is_readable(1), is_readable(0))
    }

    /// The guardian stood down, or has become the supervisor: only this process decides now.
    fn release(
        &mut self,
        ready: Ready,
        takes_hand_over: bool,
        due: Instant,
        failure: &mut Failure,
    ) -> Option<Ready> {
        // The daemon's parent becomes init with the guardian's end; so that is waited for before "go", for a moment.
        if !ready.supervise && !self.guardian.await_end(FAREWELL) {
            // It has done what it had to. Where even this does not end it at once, that is no reason to wait.
            self.guardian.kill();
        }
        // After "ready" they have nothing more to say, unless something went wrong.
        let (heard, judged) = self.wait_readable(Instant::now(), takes_hand_over, None);
        if failure.report.is_some() || heard {
            self.hear_out(due, failure);
            return None;
        }
        if ready.supervise && judged {
            failure.judge(self.guardian.verdict(Instant::now()));
            return None;
        }
        if let Some(pidfile) = &self.pidfile {
            if pidfile.is_supplanted() {
                failure.supplanted = true;
                return None;
            }
            if let Some(state) = ready.state.as_ref().filter(|_| !ready.supervise) {
                // Without it the daemon runs as well.
                let _ = pidfile.write_state(&with_own_words(state, self.state.as_deref()));
            }
            if let Err(error) = pidfile.ready() {
                failure.step = Some(("fcntl", error.errno.unwrap_or(0)));
                return None;
            }
        }
        let go = if ready.supervise { SUPERVISED } else { b"" };
        if takes_hand_over && send(&self.hand_over, Frame::Go, go).is_err() {
            self.hear_out(due, failure);
            return None;
        }
        if ready.supervise {
            self.guardian.release();
        }
        Some(ready)
    }

    /// It died, or gave up, after it was ready; what it had to say may still be here.
    fn hear_out(&self, due: Instant, failure: &mut Failure) {
        let deadline = Instant::now() + FAREWELL;
        while let Ok((kind, payload)) = receive(&mut Until::new(&self.hand_over, deadline)) {
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

/// An object of JSON with all that the launcher says behind it, which counts where both say something: the daemon may
/// have dropped its privileges before it said this. What is no object can only make the whole no JSON.
fn with_own_words(daemon: &str, launcher: Option<&str>) -> String {
    let Some(launcher) = launcher else { return daemon.to_owned() };
    match (daemon.trim_end().strip_suffix('}'), launcher.strip_prefix('{')) {
        (Some(daemon), Some(rest)) => format!("{daemon},{rest}"),
        _ => launcher.to_owned(),
    }
}

/// What stands in a file without a name, or the call that failed and its errno.
fn memfd_of(text: &[u8]) -> Result<OwnedFd, (&'static str, i32)> {
    let file = sys::memfd(c"plan").map_err(|errno| ("memfd_create", errno as i32))?;
    let file = File::from(file);
    let written = file.write_all_at(text, 0);
    written.map_err(|error| ("write", error.raw_os_error().unwrap_or(0)))?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_launchers_words_count() {
        let own = r#"{"program":["node"]}"#;
        let whole = r#"{"pid":1,"program":["evil"],"program":["node"]}"#;
        assert_eq!(with_own_words(r#"{"pid":1,"program":["evil"]}"#, Some(own)), whole);
        assert_eq!(with_own_words("{\"pid\":1,\"program\":[\"evil\"]} \n", Some(own)), whole);
        assert_eq!(with_own_words(r#"["evil"]"#, Some(own)), own);
        assert_eq!(with_own_words(r#"{"pid":1}"#, None), r#"{"pid":1}"#);
    }
}
