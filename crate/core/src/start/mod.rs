//! A start: the launcher's side ([`launch`]), all that runs between fork and exec ([`children`]), and the
//! hand-over that the daemon takes ([`hand_over`]).

pub mod children;
pub mod frames;
pub mod hand_over;
pub mod launch;
