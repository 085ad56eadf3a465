//! poll(2) with a moment at which to give up.

use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollTimeout, poll};

/// A timeout for poll(2), which counts whole milliseconds: it ends after `left` has passed, not before.
pub fn timeout(left: Duration) -> PollTimeout {
    let millis = i32::try_from(left.as_millis() + 1).unwrap_or(i32::MAX);
    PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
}

/// Waits until one of these descriptors is ready; `false` when the deadline came first.
pub fn until(fds: &mut [PollFd<'_>], deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match poll(fds, timeout(left)) {
            Ok(ready) if ready > 0 => return true,
            _ if left.is_zero() => return false,
            _ => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use nix::poll::PollFlags;
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn a_timeout_is_never_shorter_than_what_is_left() {
        assert_eq!(timeout(Duration::ZERO), PollTimeout::from(1u16));
        assert_eq!(timeout(Duration::from_micros(1999)), PollTimeout::from(2u16));
        assert_eq!(timeout(Duration::MAX), PollTimeout::MAX);
    }

    #[test]
    fn what_is_ready_is_seen_even_when_the_time_is_up() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        assert!(!until(&mut fds, Instant::now()));
        writer.write_all(b"x").unwrap();
        assert!(until(&mut fds, Instant::now()));
    }
}
