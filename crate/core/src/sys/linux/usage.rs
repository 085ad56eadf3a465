//! What processes take, and which belong together.

use std::path::PathBuf;
use std::time::Duration;

use super::procfs;
use super::stat::Stat;

/// What a process takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// The time that it, and its children that it has waited for, have had a CPU.
    pub cpu: Duration,
    /// Its resident memory in bytes.
    pub memory: u64,
}

/// What a process takes, by its number; `None` where that cannot be seen.
pub fn usage(pid: i32) -> Option<Usage> {
    let stat = Stat::read(&PathBuf::from(format!("/proc/{pid}")))?;
    // SAFETY: sysconf takes an integer and returns one.
    let (hertz, page) =
        unsafe { (libc::sysconf(libc::_SC_CLK_TCK), libc::sysconf(libc::_SC_PAGESIZE)) };
    let millis = stat.cpu_ticks.saturating_mul(1000) / u64::try_from(hertz).ok()?.max(1);
    Some(Usage {
        cpu: Duration::from_millis(millis),
        memory: stat.resident_pages.saturating_mul(u64::try_from(page).ok()?),
    })
}

/// The processes that /proc shows; none where it is that of another pid namespace.
pub fn visible_pids() -> Vec<i32> {
    if procfs::is_ours() { procfs::listed("/proc").collect() } else { Vec::new() }
}
