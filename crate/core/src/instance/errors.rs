//! What is told of a daemon that cannot be recognised or signalled.

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::error::{Code, Error};
use crate::pidfile::{Doubt, Place};
use crate::sys::Unseen;

/// What is told when nobody can say that the process that holds the lock is the one that the pidfile names.
pub fn unrecognised(place: &Place, doubt: Doubt) -> Error {
    let path = place.path();
    let shown = path.display();
    let who = match doubt {
        Doubt::Unseen(pid, unseen) => return cannot_see(place, pid, unseen),
        Doubt::NoPid => "it names no process".to_owned(),
        Doubt::Gone(pid) => format!(
            "the process {pid} that it names does not exist here: the one that holds the lock may be in another pid \
             namespace (a container)"
        ),
        Doubt::NotIt(pid) => format!("the process {pid} that it names does not hold the lock"),
        Doubt::Childless(pid) => {
            format!("the process {pid} that it names is a supervisor without a daemon")
        }
    };
    let message = format!(
        "The pidfile {shown} is locked, but {who}. Nothing was sent. `lslocks` and `fuser {shown}` tell which \
         processes have it open"
    );
    Error::new(Code::StopFailed, message).at(&path)
}

fn cannot_see(place: &Place, pid: i32, unseen: Unseen) -> Error {
    let what = format!(
        "Cannot see whether the daemon '{}' (pid {pid}) is the one that holds its pidfile",
        place.name
    );
    let error = match unseen {
        Unseen::Foreign => Error::new(
            Code::StopFailed,
            format!(
                "{what}: /proc is that of another pid namespace. Nothing was sent. Mount it anew \
                     (`mount -t proc proc /proc`)"
            ),
        ),
        Unseen::Missing => Error::new(
            Code::StopFailed,
            format!(
                "{what}: /proc is not mounted. Nothing was sent. Mount it (`mount -t proc proc /proc`)"
            ),
        ),
        Unseen::Failed(call, errno) => {
            let code = if errno == Errno::ENOSYS { Code::Unsupported } else { Code::StopFailed };
            let hint = match (call, errno) {
                ("pidfd_open", Errno::ENOSYS | Errno::EPERM | Errno::EACCES) => {
                    "Nothing was sent: signals need pidfd_open(2). Linux 5.3 and newer have it; a seccomp filter, such \
                     as an old container engine's profile, may refuse it: allow it there"
                }
                (_, Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) => {
                    "Nothing was sent. Too many open files, or too little memory (`ulimit -n`)"
                }
                (_, Errno::EPERM) => {
                    "/proc hides that process (is it mounted with `hidepid`?). Nothing was sent. Run it as root, or as \
                     the user who started the daemon"
                }
                (_, Errno::EACCES) => {
                    "Nothing was sent. Run it as root, or as the user who started the daemon"
                }
                _ => "Nothing was sent",
            };
            Error::os(code, what, call, errno as i32).hint(hint)
        }
    };
    error.at(&place.path()).of(Some(pid))
}

/// What is told when the daemon was found, and may not be signalled.
pub fn not_allowed(place: &Place, pid: i32, is_supervised: bool, errno: Errno) -> Error {
    let message = format!("Cannot signal the daemon '{}' (pid {pid})", place.name);
    // Signal 0 only asks for the permission (kill(2)).
    let has_right = nix::sys::signal::kill(Pid::from_raw(pid), None).is_ok();
    let hint = match errno {
        Errno::EPERM | Errno::EACCES if is_supervised => {
            "It has a supervisor. Run it as root, or as the user who started the daemon"
        }
        Errno::EPERM | Errno::EACCES if !has_right => {
            "Run it as root, or as the user as whom the daemon runs"
        }
        _ => {
            "A seccomp filter, such as an old container engine's profile, may refuse pidfd_send_signal(2): allow it \
             there"
        }
    };
    Error::os(Code::StopFailed, message, "pidfd_send_signal", errno as i32)
        .at(&place.path())
        .of(Some(pid))
        .hint(hint)
}

/// What is told when the daemon was found, and has no use for SIGHUP.
pub fn no_reload(place: &Place, pid: i32, why: &str) -> Error {
    let message = format!(
        "The daemon '{}' (pid {pid}) {why}, so it cannot read its configuration again. Nothing was sent. Restart it instead",
        place.name
    );
    Error::new(Code::StopFailed, message).at(&place.path()).of(Some(pid))
}
