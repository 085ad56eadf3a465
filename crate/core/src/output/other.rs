//! What a daemon prints, as syslog messages: on Linux only, where a process can be made that outlives
//! the daemon without being a child that anybody waits for (clone(2)). Elsewhere it is refused.

use std::time::Duration;

/// Refused, with the name of the call that is missing.
pub fn start(_name: &str) -> Result<(), (&'static str, i32)> {
    Err(("clone", libc::ENOTSUP))
}

/// Nothing was started.
pub fn redirect(_number: i32) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// Nothing was started.
pub fn write(_number: i32, _bytes: &[u8]) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// There is no keeper to tell.
pub fn note_sent(_sent: u64) {}

/// There is no keeper to tell.
pub fn note_mask(_mask: i32) {}

/// There is no keeper to tell.
pub fn set_destination() {}

/// Nothing waits.
pub fn drain(_timeout: Duration) {}

/// There is no keeper to end.
pub fn retire() {}

/// There was none.
pub fn revive() -> Result<(), i32> {
    Ok(())
}
