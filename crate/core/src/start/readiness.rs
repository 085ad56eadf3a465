//! What a front knows of a start that the hand-over socket does not tell: when a program that takes no hand-over is
//! ready, or that the user no longer wants it.

use std::os::fd::BorrowedFd;
use std::time::Instant;

/// What a front sees of the daemon in the making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// It is not ready yet.
    NotYet,
    /// A program that takes no hand-over is ready: with JSON in one line for its supervisor, or nothing.
    Ready(String),
    /// The start is to be given up, for this reason.
    Failed(String),
}

/// A front that looks at the daemon in the making while [`super::Launch::wait_for`] waits. After `Ready` and `Failed`
/// it is not asked again.
pub trait Readiness {
    /// The daemon, with this pid, has executed its program: its end of the hand-over socket is closed. (It may also
    /// have ended: the guardian tells that at once.) A daemon of the library keeps its end until it is ready.
    fn executed(&mut self, _daemon: i32) {}

    /// Descriptors on which to wait for something to read.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    /// When to look at the latest.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Looks. Called when something can be read from one of the descriptors, at the deadline, and now and then.
    fn look(&mut self) -> Look;
}

/// Only the hand-over socket tells.
pub(super) struct HandOverAlone;

impl Readiness for HandOverAlone {
    fn look(&mut self) -> Look {
        Look::NotYet
    }
}
