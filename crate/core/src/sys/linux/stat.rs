//! What /proc says of any process in one line: proc_pid_stat(5).

use std::path::Path;

use nix::time::{ClockId, clock_gettime};

use super::procfs;

/// The kernel's mark on a process that has begun to end (include/linux/sched.h).
const PF_EXITING: u32 = 4;

/// The fields of proc_pid_stat(5) that are used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Field 3, one letter; `Z` is a zombie.
    pub state: char,
    /// Field 4, the parent's pid.
    pub ppid: i32,
    /// Whether PF_EXITING is among the flags of field 9: the process has begun to end.
    pub is_ending: bool,
    /// Fields 14 to 17, the time in which it and its children that it has waited for have had a CPU, in clock ticks.
    pub cpu_ticks: u64,
    /// Field 24, its resident memory in pages.
    pub resident_pages: u64,
    /// Field 22, when the process began, in clock ticks since the boot.
    pub start_ticks: u64,
}

impl Stat {
    /// Reads it from a process's directory in /proc; `None` where that cannot be seen.
    pub fn read(dir: &Path) -> Option<Self> {
        Self::parse(&procfs::read(&dir.join("stat")).ok()?)
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
            cpu_ticks: (11..15).map(|at| procfs::number::<u64>(field(at)?)).sum::<Option<u64>>()?,
            resident_pages: procfs::number(field(21)?)?,
            start_ticks: procfs::number(field(19)?)?,
        })
    }

    /// When the process began, in milliseconds since the epoch.
    pub fn started_at(&self) -> Option<f64> {
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_process_takes_is_in_its_fields() {
        let line = b"42 (node) S 1 41 40 0 -1 0 0 0 0 0 7 20 300 4000 20 0 1 0 777 0 123";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.cpu_ticks, stat.resident_pages), (4327, 123));
    }

    #[test]
    fn the_name_in_proc_stat_may_hold_anything() {
        let rest = "S 1 2 3 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0";
        // The last one is cut inside a character, as the kernel does it.
        let names: [&[u8]; 6] = [
            b"node",
            b"a b",
            b") S 9 9 9",
            b"((",
            "\u{e4})) R 1".as_bytes(),
            &"почтовый".as_bytes()[..15],
        ];
        for name in names {
            let stat = Stat::parse(&[b"42 (", name, b") ", rest.as_bytes()].concat()).unwrap();
            assert_eq!(
                (stat.state, stat.ppid, stat.is_ending, stat.start_ticks),
                ('S', 1, false, 777),
                "{name:?}"
            );
        }
        // As the kernel shows one that has called exit_group(2).
        let ending =
            Stat::parse(b"42 (node) R 1 2 3 0 -1 4194564 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0");
        assert!(ending.unwrap().is_ending);
        assert_eq!(Stat::parse(b"42 (node"), None);
        assert_eq!(Stat::parse(b"42 (node) S 1"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_line_of_proc_stat_is_read_whatever_the_process_is_called(
            name in prop::collection::vec(any::<u8>(), 0..16), state in "[RSDZTtXI]", ppid in any::<i32>(),
            ticks in any::<u64>()
        ) {
            let rest = format!(") {state} {ppid} 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 {ticks} 9 9\n");
            let stat = Stat::parse(&[b"1 (", name.as_slice(), rest.as_bytes()].concat()).unwrap();
            prop_assert_eq!(stat.state.to_string(), state);
            prop_assert_eq!((stat.ppid, stat.start_ticks), (ppid, ticks));
        }

        #[test]
        fn no_line_makes_it_panic(
            head in "(1 \\()?", rest in prop::collection::vec(any::<u8>(), 0..60)
        ) {
            let line = [head.as_bytes(), rest.as_slice()].concat();
            let _ = Stat::parse(&line);
        }
    }
}
