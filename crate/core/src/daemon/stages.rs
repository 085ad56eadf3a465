//! The stages of a daemon's life, in their order. Each concerns several of its parts.

use std::time::Duration;

use super::blocked_loop::{self, BLOCKED_LOOP};
use super::life::LIFE;
use super::signals;
use crate::error::{Code, Error, Result};
use crate::output::{self, standard};
use crate::privileges::{self, Confinement, Dropped, Whom};
use crate::start::hand_over;
use crate::syslog::{self, Config};

/// How long the logger may take to accept a connection before the root directory changes.
const LOGGER: Duration = Duration::from_millis(200);

/// openlog(3). The messages are sent before the process ends, and what it prints goes where they go.
pub fn open_log(config: Config) {
    LIFE.prepare_end();
    syslog::open(config);
}

/// Sends what waits in the log; `false` when the time was up first. At the end of a process (`last`) a logger
/// that was never reached is hardly waited for. Blocks.
pub fn flush_log(timeout: Duration, last: bool) -> bool {
    if last { LIFE.flush(timeout) } else { syslog::flush(timeout) }
}

/// The daemon begins: from here on a blocked event loop is noticed, and its end is logged.
pub fn begin(settings: blocked_loop::Settings) -> Result<()> {
    standard::survive_file_size_limit();
    LIFE.begin();
    BLOCKED_LOOP.watch(settings).map_err(|errno| {
        Error::os(Code::StartFailed, "Cannot start the guard", "pthread_create", errno as i32)
    })
}

/// Prepares for what this process prints to become syslog messages.
pub fn print_to_syslog(name: &str) -> Result<()> {
    output::start(name).map_err(|(call, errno)| {
        if errno == libc::ENOTSUP {
            let message =
                "What a daemon prints can become syslog messages on Linux only: name a file";
            return Error::new(Code::Unsupported, message);
        }
        let what = "Cannot send what the daemon prints to syslog";
        Error::os(Code::StartFailed, what, call, errno)
            .hint("Too many processes, descriptors or pipes (`ulimit -u -n`)")
    })
}

/// JavaScript listens: the daemon's signals are seen by the thread that watches the event loop, and let in,
/// those that came too early included. Again and again, as listeners come and go.
pub fn let_signals_in() {
    BLOCKED_LOOP.stand_in_front();
    signals::unblock();
    signals::send_again();
}

/// Becomes the user and the group, and gives up what else was asked for, on every thread. The process that
/// sends the daemon's last words is replaced by one without privileges.
pub fn drop_privileges(whom: Option<&Whom>, confinement: &Confinement) -> Result<Dropped> {
    output::retire();
    let dropped = privileges::drop(whom, confinement, &change_root);
    let revived = output::revive();
    let dropped = dropped?;
    revived.map_err(|errno| {
        let message = "Privileges were dropped, but the process that sends the daemon's last words \
                       cannot be started now";
        Error::os(Code::Privileges, message, "clone", errno)
            .hint("Raise the limit `nproc`, or print to a file instead of 'syslog'")
    })?;
    Ok(dropped)
}

/// Gives the process another root directory by `enter`. The logger and the pidfile are told in time: neither
/// can be reached by its path afterwards.
fn change_root(enter: &dyn Fn() -> Result<()>) -> Result<()> {
    syslog::connect(LOGGER);
    LIFE.change_root(enter)
}

/// The guardian may end from here on. In the main thread, before [`ready`].
pub fn outlive_guardian() {
    hand_over::outlive_guardian();
}

/// Says "ready". Returns whether the launcher said "go" within `timeout`. If not, the way out has begun, for at most
/// `stop_timeout`. Blocks.
///
/// `supervise`: a supervisor is to stay beside this process. `state` is what its state file is to say, as JSON.
pub fn ready(
    timeout: Duration,
    stop_timeout: Duration,
    supervise: bool,
    state: Option<String>,
) -> bool {
    let go = LIFE.await_go(timeout, supervise, state);
    if !go {
        // Nobody else ends it now, should its event loop be blocked.
        BLOCKED_LOOP.leaving(0, stop_timeout);
    }
    go
}

/// From here on the pidfile is put back when somebody removes it. Attached, without a launcher, it is marked
/// as ready first.
pub fn watch_pidfile(attached: bool) {
    if attached {
        LIFE.with_pidfile(|pidfile| pidfile.ready().ok());
    }
    BLOCKED_LOOP.watch_pidfile();
}
