//! What the system says of any process in one line: proc_pid_stat(5), or libproc on macOS.

#[cfg(target_os = "linux")]
use std::fs;
#[cfg(target_os = "linux")]
use std::path::Path;

use crate::process::procfs;
#[cfg(not(target_os = "linux"))]
use crate::sys;

/// The kernel's mark on a process that ends (include/linux/sched.h).
const PF_EXITING: u32 = 4;

/// The fields of proc_pid_stat(5) that are used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// (3) one letter; `Z` is a zombie.
    pub state: char,
    /// (4) the parent.
    pub ppid: i32,
    /// (9) PF_EXITING among the flags: it has begun to end.
    pub is_ending: bool,
    /// (22) clock ticks since boot; elsewhere microseconds since the epoch.
    pub start_ticks: u64,
}

impl Stat {
    /// Asks libproc (sys/proc_info.h); `None` where the process is gone.
    #[cfg(not(target_os = "linux"))]
    pub fn read(pid: i32) -> Option<Self> {
        /// PROC_FLAG_INEXIT: it has begun to end.
        const ENDING: u32 = 4;
        let (process, _) = sys::process(pid)?;
        Some(Self {
            state: if process.pbi_status == libc::SZOMB { 'Z' } else { 'R' },
            ppid: i32::try_from(process.pbi_ppid).ok()?,
            is_ending: process.pbi_flags & ENDING != 0,
            start_ticks: process.pbi_start_tvsec * 1_000_000 + process.pbi_start_tvusec,
        })
    }

    /// Reads it from a process's directory in /proc; `None` where that cannot be seen.
    #[cfg(target_os = "linux")]
    pub fn read(dir: &Path) -> Option<Self> {
        Self::parse(&fs::read(dir.join("stat")).ok()?)
    }

    /// The name in field 2 may contain anything, parentheses and spaces too, and the kernel cuts it
    /// inside a character: it ends at the last parenthesis.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let end = line.iter().rposition(|byte| *byte == b')')?;
        let fields: Vec<&[u8]> = procfs::words(line.get(end + 1..)?).collect();
        let field = |at: usize| fields.get(at).copied();
        Some(Self {
            state: char::from(*field(0)?.first()?),
            ppid: procfs::number(field(1)?)?,
            is_ending: procfs::number::<u32>(field(6)?)? & PF_EXITING != 0,
            start_ticks: procfs::number(field(19)?)?,
        })
    }

    #[cfg(target_os = "linux")]
    /// When the process began, in milliseconds since the epoch.
    pub fn started_at(&self) -> Option<f64> {
        use nix::time::{ClockId, clock_gettime};
        let millis = |id| {
            let t = clock_gettime(id).ok()?;
            Some(t.tv_sec() as f64 * 1e3 + t.tv_nsec() as f64 / 1e6)
        };
        // SAFETY: sysconf takes an integer and returns one.
        let hertz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
        let age = millis(ClockId::CLOCK_BOOTTIME)? - self.start_ticks as f64 * 1e3 / hertz;
        Some((millis(ClockId::CLOCK_REALTIME)? - age).round())
    }
}
