//! The life of the daemon beside its event loop: its stages ([`begin`], [`ready`] and others), signals that
//! come too early ([`signals`]), a loop that is blocked ([`BLOCKED_LOOP`]), and what must happen before the
//! end ([`LIFE`]).

mod blocked_loop;
mod farewell;
mod life;
mod pidfile_watch;
pub mod signals;
mod stages;

pub use self::blocked_loop::{BLOCKED_LOOP, BlockedLoop, Settings};
pub use self::farewell::spoken;
pub use self::life::{LIFE, Life};
pub use self::pidfile_watch::PidfileWatch;
pub use self::stages::{
    begin, drop_privileges, flush_log, let_signals_in, open_log, outlive_guardian, print_to_syslog,
    ready, watch_pidfile,
};
