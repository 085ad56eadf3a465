//! What of this process's memory a child of fork can do without, and where its arguments lie.

use std::fs;

use super::procfs;

/// Memory that can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spare {
    /// Where it begins.
    pub start: usize,
    /// Its length in bytes.
    pub length: usize,
    /// Its content can go, but the memory must stay: a library may look at it.
    pub must_stay: bool,
}

/// Memory of less than this is not worth the call.
const SMALL: usize = 64 << 10;
/// A thread's stack and what lies in it are within so many bytes. This is a multiple of every page's size.
const AROUND: usize = 1 << 20;

/// The private mappings without a file that hold none of the addresses needed: Buffers, the C
/// library's heap, stacks of other threads. Returns how many there are.
pub fn spare(needed: &[usize], into: &mut [Spare]) -> usize {
    // A file's name may have any bytes.
    let maps = fs::read("/proc/self/maps").unwrap_or_default();
    let mut count = 0;
    let mut end_of_file = 0;
    for mapping in maps.split(|byte| *byte == b'\n').filter_map(Mapping::parse) {
        let Mapping { start, end, .. } = mapping;
        if mapping.is_named {
            end_of_file = end;
        }
        if mapping.is_named || !mapping.is_private {
            continue;
        }
        // A library's zeroed data is such a mapping too, right behind what is of its file.
        let must_stay = start == end_of_file || mapping.is_heap;
        // The kernel makes one mapping of neighbours: around what is needed, the rest can go.
        let inside = || needed.iter().filter(|at| (start..end).contains(*at));
        let parts = match (inside().min(), inside().max()) {
            (Some(first), Some(last)) => [
                (start, first.saturating_sub(AROUND) / AROUND * AROUND),
                ((last + AROUND).next_multiple_of(AROUND), end),
            ],
            _ => [(start, end), (end, end)],
        };
        for (start, end) in parts {
            let Some(slot) = into.get_mut(count) else { return count };
            if end >= start + SMALL {
                *slot = Spare { start, length: end - start, must_stay };
                count += 1;
            }
        }
    }
    count
}

/// A line of proc_pid_maps(5).
#[derive(Debug, PartialEq, Eq)]
struct Mapping {
    start: usize,
    end: usize,
    /// Readable, writable, not shared.
    is_private: bool,
    /// A file's, or the kernel's own, such as `[stack]`; not the heap.
    is_named: bool,
    is_heap: bool,
}

impl Mapping {
    fn parse(line: &[u8]) -> Option<Self> {
        let mut words = procfs::words(line);
        let (start, end) = std::str::from_utf8(words.next()?).ok()?.split_once('-')?;
        let access = words.next()?;
        let name = words.nth(3).unwrap_or(b"");
        Some(Self {
            start: usize::from_str_radix(start, 16).ok()?,
            end: usize::from_str_radix(end, 16).ok()?,
            is_private: access == b"rw-p",
            // Names of our own kind (PR_SET_VMA_ANON_NAME) are of no account.
            is_named: !name.is_empty() && !name.starts_with(b"[anon") && name != b"[heap]",
            is_heap: name == b"[heap]",
        })
    }
}

/// Where this process's arguments lie (fields 48 and 49 of proc_pid_stat(5)): address and length.
pub fn arguments() -> Option<(usize, usize)> {
    let stat = fs::read("/proc/self/stat").ok()?;
    let name_ends = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = procfs::words(stat.get(name_ends + 1..)?).skip(45);
    let start: usize = procfs::number(fields.next()?)?;
    let end: usize = procfs::number(fields.next()?)?;
    (start > 0 && end > start).then(|| (start, end - start))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_read() {
        let heap = b"55d0c0000000-55d0c0021000 rw-p 00000000 00:00 0                    [heap]";
        let found = Mapping::parse(heap).unwrap();
        assert_eq!((found.start, found.end), (0x55d0_c000_0000, 0x55d0_c002_1000));
        assert!(found.is_private && found.is_heap && !found.is_named);
        let shared =
            Mapping::parse(b"7f00-7f01 rw-s 00000000 00:01 12 /dev/zero (deleted)").unwrap();
        assert!(!shared.is_private && shared.is_named);
    }

    #[test]
    fn large_memory_is_spare_and_what_is_needed_is_not() {
        // By mmap(2), each: what the allocator gives may lie in one mapping, which is then needed.
        let map = || {
            let (access, flags) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            // SAFETY: a new mapping at an address that is the kernel's choice. Before and behind it
            // lies one without access, so that the kernel does not make one of it and another.
            unsafe {
                let none = libc::PROT_NONE;
                let start = libc::mmap(std::ptr::null_mut(), 17 << 20, none, flags, -1, 0);
                let start = start.byte_add(1 << 20);
                libc::mprotect(start, 15 << 20, access);
                start.addr()
            }
        };
        let (spared, needed) = (map(), map());
        let local = 0u8;
        let mut found = [Spare { start: 0, length: 0, must_stay: false }; 512];
        let addresses = [needed + (7 << 20), std::ptr::from_ref(&local).addr()];
        let count = spare(&addresses, &mut found);
        let holds =
            |at: usize| found[..count].iter().any(|s| (s.start..s.start + s.length).contains(&at));
        assert!(holds(spared));
        assert!(holds(needed) && holds(needed + (14 << 20)));
        assert!((needed + (6 << 20)..needed + (8 << 20)).step_by(4096).all(|at| !holds(at)));
        assert!(!holds(addresses[1]) && !holds(spare as *const () as usize));
    }

    #[test]
    fn the_arguments_are_where_the_kernel_says() {
        let (address, length) = arguments().unwrap();
        // SAFETY: the process's initial stack, which stays mapped.
        let found = unsafe { std::slice::from_raw_parts(address as *const u8, length) };
        assert_eq!(found, std::fs::read("/proc/self/cmdline").unwrap());
    }
}
