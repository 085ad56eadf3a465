//! This process as a daemon: what it has from its launcher, and what it owes before it is gone, whichever
//! way it ends by exit(3): the last messages are sent, and then the pidfile goes.
//!
//! By atexit(3) and not by a listener of JavaScript's `exit` event: this comes after all listeners of the
//! program, so that the lock and the pidfile say "running" for as long as its code runs.

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::farewell::Farewell;
use crate::error::{Code, Result};
use crate::instance::places::{self, Candidate};
use crate::output::{self, standard};
use crate::pidfile::PidFile;
use crate::start::hand_over::{self, Answer, HandOver};
use crate::syslog;

/// How long the last messages may take to reach the logger.
const LAST: Duration = Duration::from_secs(1);
/// How long the last line may take in a process that ends at once.
const HURRIED: Duration = Duration::from_millis(100);

/// What this process is as a daemon.
pub static LIFE: Life = Life {
    hand_over: Mutex::new(None),
    pidfile: Mutex::new(None),
    owner: OnceLock::new(),
    ends_group: AtomicBool::new(false),
    flushed_in_vain: AtomicBool::new(false),
    farewell: Farewell::new(),
};

/// There is one in a process: [`LIFE`].
#[derive(Debug)]
pub struct Life {
    /// What its launcher has handed over, from the import until "go".
    hand_over: Mutex<Option<HandOver>>,
    /// Its pidfile, until that is removed.
    pidfile: Mutex<Option<PidFile>>,
    /// The process that owes an orderly end: not a child that it forked.
    owner: OnceLock<u32>,
    /// The start has failed, and its guardian is gone: the process group ends with this process.
    ends_group: AtomicBool,
    /// The logger did not take the last messages in time.
    flushed_in_vain: AtomicBool,
    farewell: Farewell,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The start.
impl Life {
    /// Takes the hand-over, if this process was started with one. Returns what the launcher says, as JSON.
    pub fn take_over(&self) -> Option<String> {
        let taken = hand_over::take()?;
        let hello = taken.hello.clone();
        *lock(&self.hand_over) = Some(taken);
        Some(hello)
    }

    /// Tells the launcher why there will be no daemon.
    pub fn report_failure(&self, report: &str) {
        if let Some(hand_over) = lock(&self.hand_over).as_ref() {
            hand_over.fail(report);
        }
    }

    /// Takes the pidfile that the launcher has locked, in the first of these places; or locks it, where the launcher
    /// does not know the name.
    pub fn inherit_pidfile(&self, candidates: &[Candidate]) -> Result<()> {
        let mut hand_over = lock(&self.hand_over);
        let (Some(hand_over), Some(own)) = (hand_over.as_mut(), candidates.first()) else {
            return Ok(());
        };
        if hand_over.locks_itself {
            hand_over.tell_place(&own.place)?;
            match self.acquire_pidfile(candidates) {
                Err(error)
                    if error.code == Code::AlreadyRunning && places::await_release(candidates)? =>
                {
                    self.acquire_pidfile(candidates)?;
                }
                acquired => acquired?,
            }
            return self.with_pidfile(|pidfile| hand_over.share(pidfile)).unwrap_or(Ok(()));
        }
        self.keep(own.explain(hand_over.take_pidfile(own.place.clone()))?);
        Ok(())
    }

    /// Locks the pidfile in the first of these places, and writes this process's pid into it.
    pub fn acquire_pidfile(&self, candidates: &[Candidate]) -> Result<()> {
        let (Some(own), Some(pidfile)) = (candidates.first(), places::acquire(candidates)?) else {
            return Ok(());
        };
        if let Err(error) = own.explain(pidfile.write(nix::unistd::getpid().as_raw())) {
            pidfile.remove();
            return Err(error);
        }
        self.keep(pidfile);
        Ok(())
    }

    fn keep(&self, pidfile: PidFile) {
        *lock(&self.pidfile) = Some(pidfile);
        self.prepare_end();
    }

    /// Says "ready" to the launcher, and returns whether its "go" came in time. If not, the process group ends
    /// with this process: a start that failed leaves no process. Blocks.
    ///
    /// `supervise`: a supervisor is to stay beside this process. `state` is for the state file.
    pub fn await_go(&self, timeout: Duration, supervise: bool, state: Option<String>) -> bool {
        // What goes wrong until "go" is still told to the launcher, by the other descriptor.
        let asked = lock(&self.hand_over).as_ref().and_then(HandOver::again);
        let asked = asked.filter(|hand_over| hand_over.ready(supervise, state).is_ok());
        let answer = asked.map_or(Answer::Gone, |hand_over| hand_over.answer(timeout));
        drop(lock(&self.hand_over).take());
        if answer == (Answer::Go { supervised: true }) {
            // The supervisor writes the pidfile and removes it. This process holds the locks with it.
            std::mem::forget(lock(&self.pidfile).take());
        }
        let go = matches!(answer, Answer::Go { .. });
        self.ends_group.store(!go, Ordering::SeqCst);
        go
    }
}

/// The pidfile, once it is kept.
impl Life {
    /// Calls with the pidfile, if there is one.
    pub fn with_pidfile<T>(&self, f: impl FnOnce(&mut PidFile) -> T) -> Option<T> {
        lock(&self.pidfile).as_mut().map(f)
    }

    /// Gives the process another root directory, from where the pidfile cannot be reached. Nobody looks
    /// at the pidfile meanwhile.
    pub fn change_root(&self, enter: impl FnOnce() -> Result<()>) -> Result<()> {
        let mut held = lock(&self.pidfile);
        enter()?;
        if let Some(held) = held.as_mut() {
            held.lose_reach();
        }
        Ok(())
    }

    /// Removes the pidfile, once, on the process's last steps.
    fn remove_pidfile(&self) {
        if let Some(held) = lock(&self.pidfile).take() {
            // Where it could only be emptied, it stays locked until this process has ended. A removed one
            // goes now: the inotify that watches it would make the end of the process wait, 10 ms or more.
            if !held.remove() {
                std::mem::forget(held);
            }
        }
    }
}

/// The end.
impl Life {
    /// From now on the log tells how long this daemon ran.
    pub fn begin(&self) {
        self.farewell.begin();
    }

    /// Has the process end in order. Once is enough; more often changes nothing.
    pub fn prepare_end(&self) {
        self.owner.get_or_init(|| {
            // SAFETY: `at_exit` is there for as long as the process: Node never unloads a module of its
            // main thread, and a C library runs the handlers of one that is unloaded before that.
            unsafe { libc::atexit(at_exit) };
            std::process::id()
        });
    }

    /// Logs how long the daemon ran, with which status it ends, and why. The first call counts.
    pub fn say_farewell(&self, status: i32, why: &str) {
        self.farewell.say(status, why);
    }

    /// Sends the last messages, while the event loop still turns; `false` when the time was up first: then
    /// they are not waited for again.
    pub fn flush(&self, timeout: Duration) -> bool {
        let sent = syslog::flush_last(timeout);
        self.flushed_in_vain.store(!sent, Ordering::SeqCst);
        sent
    }

    /// Sends the last messages and removes the pidfile, in a process that was to end in order.
    pub fn finish(&self) {
        if self.owner.get() == Some(&std::process::id()) {
            let _ = catch_unwind(|| {
                output::drain(LAST);
                if !self.flushed_in_vain.load(Ordering::SeqCst) {
                    syslog::flush_last(LAST);
                }
                self.leave();
                standard::let_go_of_terminal();
            });
        }
    }

    /// Ends the process at once, as the program asked: the log tells that, and the pidfile is removed.
    pub fn exit_now(&self, status: i32) -> ! {
        let _ = catch_unwind(|| {
            if self.farewell.has_begun() {
                self.farewell.say(status, "exitNow()");
                syslog::flush_last(HURRIED);
            }
        });
        self.end(status)
    }

    /// Removes the pidfile and ends the process at once, without any of the handlers of exit(3).
    pub fn end(&self, status: i32) -> ! {
        self.leave();
        // SAFETY: ends the process; no destructor is owed anything.
        unsafe { libc::_exit(status) }
    }

    /// The last step before exit(3)'s own.
    fn leave(&self) {
        self.remove_pidfile();
        if self.ends_group.load(Ordering::SeqCst) {
            // SAFETY: signals the daemon's own process group, which it leads, itself included.
            unsafe { libc::kill(0, libc::SIGKILL) };
        }
    }
}

extern "C" fn at_exit() {
    LIFE.finish();
}
