//! The native module of tsdaemonize: what a UNIX daemon needs from the system and Node does not have.
//!
//! This crate alone knows napi. Its functions, a file for each room of the core, turn JavaScript values into
//! the core's and back, and nothing else; a panic becomes a JavaScript error.

pub mod daemon;
mod error;
pub mod instance;
pub mod manager;
pub mod output;
pub mod privileges;
pub mod process;
mod promise;
pub mod start;
pub mod syslog;

use std::time::Duration;

/// Milliseconds, as JavaScript counts time.
fn millis(ms: f64) -> Duration {
    Duration::from_secs_f64((ms / 1e3).clamp(0.0, 1e9))
}
