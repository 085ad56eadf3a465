//! What the daemon prints: into log files, to a terminal, or, line by line, to syslog.

#[cfg(target_os = "linux")]
pub mod line;
pub mod log_file;
#[cfg(target_os = "linux")]
pub mod maps;
#[cfg(target_os = "linux")]
mod pipes;
#[cfg(target_os = "linux")]
pub mod relay;
#[cfg(target_os = "linux")]
pub mod ring;
#[cfg(target_os = "linux")]
pub mod shared;
pub mod standard;
#[cfg_attr(not(target_os = "linux"), path = "other.rs")]
pub mod to_syslog;
