//! The service manager that has started the daemon.

pub mod notify;
