//! How long the end of a process, and a pidfile that changes hands, are waited for.

use std::time::Duration;

/// How long a lock may belong to nobody who is found, while a start or an end is under way.
pub const SETTLE: Duration = Duration::from_secs(2);

/// How long to wait between two looks at a file that is changing hands.
pub const PAUSE: Duration = Duration::from_millis(2);

/// How long a process may take to end after SIGKILL.
pub const KILLED: Duration = Duration::from_secs(10);
