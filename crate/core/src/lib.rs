//! What a UNIX daemon needs from the system, without Node: two fronts use it, the native module
//! (crate/node) and the program (crate/program).
//!
//! The rooms follow the life of a daemon. A launcher takes the [`pidfile`], prepares everything and
//! forks ([`start`]); the daemon takes the hand-over, drops its [`privileges`], and lives ([`daemon`]) with
//! what it prints ([`output`]) and logs ([`syslog`]). Others see it through [`instance`]; below all are
//! [`process`] and [`sys`].

pub mod accounts;
pub mod daemon;
pub mod error;
mod getent;
pub mod instance;
pub mod manager;
pub mod output;
pub mod pidfile;
pub mod poll;
pub mod privileges;
pub mod process;
pub mod signal_safe;
pub mod start;
pub mod sync;
pub mod sys;
pub mod syslog;
pub mod thread;
pub mod walk;
pub mod zone;
