//! A start: the launcher's side ([`launch`]), all that runs between fork and exec ([`children`]), and the
//! hand-over that the daemon takes ([`hand_over`]).

pub mod arguments;
pub mod children;
mod deferred;
pub mod frames;
mod guardian;
pub mod hand_over;
mod handshake;
mod launch;
mod plan;
mod prepare;

pub use self::launch::{Launch, cancel_latest, launch};
pub use self::plan::{Failure, Outcome, Plan};
