//! The one daemon of a name, from outside: where it may be, whether it runs, its signals, its end.

mod errors;
mod find;
pub mod places;
mod status;
mod stop;

use std::time::Duration;

pub use self::find::Daemon;
pub use self::status::{Info, status};
pub use self::stop::{Stopped, kill, stop};

/// How long a lock may belong to nobody who is found, while a start or an end is under way.
const SETTLE: Duration = Duration::from_secs(2);
/// Between two looks at a file that is changing hands.
const PAUSE: Duration = Duration::from_millis(2);
/// How long a process may take to end after SIGKILL.
const KILLED: Duration = Duration::from_secs(10);
