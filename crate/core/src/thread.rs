//! The threads of this module. They take no signals: those are for the main thread, where JavaScript
//! listens to them.

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};

/// Enough for each of them, and little where memory is locked (mlockall(2)).
const STACK: usize = 256 << 10;

/// Starts a thread in which every signal is blocked. Fails with the errno of pthread_create(3).
pub fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Errno> {
    // A thread inherits the mask of the one that starts it.
    let own_mask = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let spawned = std::thread::Builder::new().name(name.into()).stack_size(STACK).spawn(work);
    if let Ok(mask) = own_mask {
        let _ = mask.thread_set_mask();
    }
    let errno = |error: std::io::Error| error.raw_os_error().map_or(Errno::EAGAIN, Errno::from_raw);
    spawned.map(drop).map_err(errno)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;

    #[test]
    fn a_thread_takes_no_signals_and_its_parent_still_does() {
        let before = SigSet::thread_get_mask().unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        spawn("masked", move || tell.send(SigSet::thread_get_mask().unwrap()).unwrap()).unwrap();
        let inside = told.recv().unwrap();
        for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGCHLD] {
            assert!(inside.contains(signal), "{signal}");
        }
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }
}
