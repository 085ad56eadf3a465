//! A start: the launcher's side ([`launch`]), all that runs between fork and exec ([`children`]), and the
//! hand-over that the daemon takes ([`hand_over`]).

pub mod arguments;
mod cancel;
pub mod children;
mod deferred;
pub mod frames;
mod guardian;
pub mod hand_over;
mod handshake;
mod launch;
mod plan;
mod prepare;
mod prepared;
mod readiness;
mod shared_path;

pub use self::cancel::cancel_latest;
pub use self::launch::{Launch, launch};
pub use self::plan::{Failure, Outcome, Plan, Supervision};
pub use self::readiness::{Look, Readiness};
