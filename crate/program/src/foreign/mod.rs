//! Foreign programs: those that know nothing of this package, and take no hand-over.

pub mod exec_stage;
pub mod refused;
