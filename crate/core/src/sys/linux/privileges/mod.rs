//! Dropping privileges on Linux, on every thread, and the proof. [`crate::privileges`] says what is asked for.

mod all_threads;
mod capabilities;
mod chroot;
mod io_uring;
mod landlock;
mod limits;
mod memory;
mod parent;
mod proof;
mod sequence;
mod threads;

pub use self::sequence::carry_out;
