//! What a process may use, and who goes first: setrlimit(2), setpriority(2),
//! and the choice of the out-of-memory killer. Each is read back.

use std::fs;

use nix::errno::Errno;

use super::threads::Tasks;
use crate::error::{Error, Result};
use crate::privileges::errors::{failed, refused};
use crate::privileges::{Limit, UNLIMITED};
use crate::sys::errno_of;

fn resource(name: &str) -> Option<i32> {
    let resource = match name {
        "as" => libc::RLIMIT_AS,
        "core" => libc::RLIMIT_CORE,
        "cpu" => libc::RLIMIT_CPU,
        "data" => libc::RLIMIT_DATA,
        "fsize" => libc::RLIMIT_FSIZE,
        "locks" => libc::RLIMIT_LOCKS,
        "memlock" => libc::RLIMIT_MEMLOCK,
        "msgqueue" => libc::RLIMIT_MSGQUEUE,
        "nice" => libc::RLIMIT_NICE,
        "nofile" => libc::RLIMIT_NOFILE,
        "nproc" => libc::RLIMIT_NPROC,
        "rss" => libc::RLIMIT_RSS,
        "rtprio" => libc::RLIMIT_RTPRIO,
        "rttime" => libc::RLIMIT_RTTIME,
        "sigpending" => libc::RLIMIT_SIGPENDING,
        "stack" => libc::RLIMIT_STACK,
        _ => return None,
    };
    Some(resource as i32)
}

/// Sets one limit.
pub fn set(limit: &Limit) -> Result<()> {
    let name = &limit.name;
    let what = format!("Cannot set the limit `{name}`");
    let unknown = || refused(format!("{what}: this system does not know it."));
    let resource = resource(name).ok_or_else(unknown)?;
    let now = get(resource).map_err(|error| failed("getrlimit", error, &what, ""))?;
    let wanted = (limit.soft.unwrap_or(now.0), limit.hard.unwrap_or(now.1));
    let both = libc::rlimit { rlim_cur: wanted.0, rlim_max: wanted.1 };
    // SAFETY: setrlimit reads the structure.
    let result = unsafe { libc::setrlimit(resource as _, &both) };
    Errno::result(result).map_err(|error| {
        let advice = match error {
            Errno::EPERM => format!(
                "The hard limit is {} now, and only CAP_SYS_RESOURCE may raise it; in a container, \
                 raise it there.",
                number(now.1)
            ),
            _ => format!(
                "Give a soft limit ({}) that is not above the hard one ({}).",
                number(wanted.0),
                number(wanted.1)
            ),
        };
        failed("setrlimit", error, &what, &advice)
    })?;
    match get(resource) {
        Ok(found) if found == wanted => Ok(()),
        _ => {
            let message = format!("{what}: the kernel took another one.");
            Err(Error { syscall: Some("setrlimit"), ..refused(message) })
        }
    }
}

fn get(resource: i32) -> std::result::Result<(u64, u64), Errno> {
    let mut found = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: getrlimit fills in the structure.
    let result = unsafe { libc::getrlimit(resource as _, &mut found) };
    Errno::result(result).map(|_| (found.rlim_cur, found.rlim_max))
}

fn number(limit: u64) -> String {
    if limit == UNLIMITED { "unlimited".to_owned() } else { limit.to_string() }
}

/// Sets the nice value of every thread: on Linux it belongs to a thread
/// (setpriority(2), "C library/kernel differences").
pub fn set_nice(tasks: &mut Tasks, nice: i32) -> Result<()> {
    let fail = |syscall, error: Errno| {
        let what = format!("Cannot set the nice value to {nice}");
        let advice = "To lower it takes root, CAP_SYS_NICE or RLIMIT_NICE.";
        failed(syscall, error, &what, advice)
    };
    tasks.each(|_, tid| {
        // SAFETY: takes numbers alone.
        match Errno::result(unsafe { libc::setpriority(libc::PRIO_PROCESS, tid as _, nice) }) {
            Ok(_) => {}
            Err(Errno::ESRCH) => return Ok(()),
            Err(error) => return Err(fail("setpriority", error)),
        }
        // The C library's result can be -1 without an error; the system call's cannot.
        // SAFETY: takes numbers alone.
        let found = unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, tid) };
        match Errno::result(found) {
            Ok(found) if 20 - found == i64::from(nice) => Ok(()),
            Err(Errno::ESRCH) => Ok(()),
            Ok(_) => Err(fail("setpriority", Errno::EINVAL)),
            Err(error) => Err(fail("getpriority", error)),
        }
    })
}

/// Sets `oom_score_adj` of proc_pid_oom_score_adj(5).
pub fn set_oom_score_adjust(value: i32) -> Result<()> {
    let path = "/proc/self/oom_score_adj";
    let fail = |syscall, errno| {
        let what = format!("Cannot write {value} to {path}");
        let advice = "To go below what it was takes CAP_SYS_RESOURCE.";
        failed(syscall, errno, &what, advice).at(path.as_ref())
    };
    fs::write(path, value.to_string()).map_err(|error| fail("write", errno_of(&error)))?;
    let found = fs::read(path).map_err(|error| fail("read", errno_of(&error)))?;
    if found.trim_ascii() == value.to_string().as_bytes() {
        return Ok(());
    }
    Err(fail("write", Errno::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_limits_are_refused() {
        let limit = Limit { name: "files".to_owned(), soft: Some(1), hard: None };
        assert!(set(&limit).is_err_and(|error| error.message.contains("does not know")));
    }
}
