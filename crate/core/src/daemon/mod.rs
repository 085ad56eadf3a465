//! The life of the daemon beside its event loop: signals that come too early, a loop that is blocked, and
//! what must happen before the end.

pub mod at_exit;
pub mod blocked_loop;
pub mod farewell;
pub mod held_signals;
