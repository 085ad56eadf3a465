//! Giving up a start while a thread waits for what becomes of it.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The start that was begun last, until it is over: whether it was given up, and its hand-over socket.
static LATEST: Mutex<Option<(Arc<AtomicBool>, UnixStream)>> = Mutex::new(None);

fn latest() -> MutexGuard<'static, Option<(Arc<AtomicBool>, UnixStream)>> {
    LATEST.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives up the start that was begun last: its daemon is ended, and [`super::Launch::wait`] returns when
/// nothing is left. Too late once the daemon was told "go".
pub fn cancel_latest() {
    if let Some((cancelled, hand_over)) = latest().as_ref() {
        cancelled.store(true, Ordering::SeqCst);
        // Wakes the one that waits.
        let _ = hand_over.shutdown(Shutdown::Both);
    }
}

/// A start's right to be given up, which ends with it.
#[derive(Debug)]
pub(super) struct Cancellation(Arc<AtomicBool>);

impl Cancellation {
    /// For a start that has just begun. Where there is no descriptor left for that, nothing gives it up.
    pub(super) fn of(hand_over: &UnixStream) -> Self {
        let cancelled = Arc::new(AtomicBool::new(false));
        *latest() = hand_over.try_clone().ok().map(|socket| (Arc::clone(&cancelled), socket));
        Self(cancelled)
    }

    /// Whether the start was given up.
    pub(super) fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Cancellation {
    fn drop(&mut self) {
        latest().take_if(|(cancelled, _)| Arc::ptr_eq(cancelled, &self.0));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn the_latest_start_can_be_given_up_until_it_is_over_whatever_ends_before() {
        let (first, second) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        let first_start = Cancellation::of(&first.0);
        let second_start = Cancellation::of(&second.0);
        drop(first_start);
        assert!(!second_start.is_requested());
        cancel_latest();
        assert!(second_start.is_requested());
        // End of file, which wakes the one that waits, for the second one alone.
        assert_eq!((&second.1).read(&mut [0]).unwrap(), 0);
        first.1.set_nonblocking(true).unwrap();
        assert_eq!((&first.1).read(&mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        drop(second_start);
        cancel_latest();
        assert!(latest().is_none());
    }
}
