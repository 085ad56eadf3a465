//! The native half of tsdaemonize.
pub mod privileges;
pub mod syslog;
