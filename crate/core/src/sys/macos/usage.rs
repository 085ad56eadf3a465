//! What processes take, by libproc.

use std::time::Duration;

use super::libproc;

/// What a process takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// The time that it has had a CPU.
    pub cpu: Duration,
    /// Its resident memory in bytes.
    pub memory: u64,
}

unsafe extern "C" {
    /// The unit of Mach's absolute time, as a fraction of a nanosecond: numerator and denominator.
    fn mach_timebase_info(unit: *mut [u32; 2]) -> libc::c_int;
}

/// What a process takes, by its number; `None` where that cannot be seen.
pub fn usage(pid: i32) -> Option<Usage> {
    let (_, task) = libproc::process(pid)?;
    let mut unit = [1, 1];
    // SAFETY: the call fills in two numbers.
    unsafe { mach_timebase_info(&raw mut unit) };
    let [numerator, denominator] = unit.map(u64::from);
    let time = task.pti_total_user.saturating_add(task.pti_total_system);
    Some(Usage {
        cpu: Duration::from_nanos(time.saturating_mul(numerator) / denominator.max(1)),
        memory: task.pti_resident_size,
    })
}

/// The processes that can be seen.
pub fn visible_pids() -> Vec<i32> {
    libproc::pids()
}
