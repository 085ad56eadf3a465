//! macOS: nothing of a process's memory is known to be spare, and nobody asks ([`super::CAN_OUTLIVE`]).

/// Memory that can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spare {
    /// Where it begins.
    pub start: usize,
    /// Its length in bytes.
    pub length: usize,
    /// Its content can go, but the memory must stay: a library may look at it.
    pub must_stay: bool,
}

/// No memory is spare.
pub fn spare(_needed: &[usize], _into: &mut [Spare]) -> usize {
    0
}

/// Where the arguments lie is not known.
pub fn arguments() -> Option<(usize, usize)> {
    None
}
