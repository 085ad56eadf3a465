//! What a signal does to a process.

/// What a signal does to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// The process has a handler for it, or has blocked it and may take it from a descriptor or by sigwait(3).
    Taken,
    /// The process ignores it.
    Ignored,
    /// What the system does with it if nobody says otherwise (signal(7)).
    Default,
}
