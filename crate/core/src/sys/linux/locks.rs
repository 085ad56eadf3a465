//! The list of all locks: proc_locks(5).

use std::collections::HashSet;
use std::path::Path;

use super::procfs;

/// The inode numbers of the files on which an open file description has write-locked a byte; `None` where the kernel has
/// no such list. The list names file systems as well, but not by the numbers that stat(2) gives on all of them.
pub fn inodes_locked_at(byte: libc::off_t) -> Option<HashSet<u64>> {
    let list = procfs::read("/proc/locks").ok()?;
    Some(list.split(|byte| *byte == b'\n').filter_map(|line| inode_locked_at(line, byte)).collect())
}

/// `1: OFDLCK ADVISORY  WRITE -1 00:1b:1234 1073741824 1073741826`. For one who waits for a lock the second word is `->`.
fn inode_locked_at(line: &[u8], byte: libc::off_t) -> Option<u64> {
    let mut words = procfs::words(line).skip(1);
    if words.next()? != b"OFDLCK" || words.nth(1)? != b"WRITE" {
        return None;
    }
    let inode = procfs::number(words.nth(1)?.rsplit(|byte| *byte == b':').next()?)?;
    let first: libc::off_t = procfs::number(words.next()?)?;
    let last = words.next()?;
    let covers = first <= byte && (last == b"EOF" || procfs::number::<libc::off_t>(last)? >= byte);
    covers.then_some(inode)
}

/// Whether the inode numbers with which a directory lists its files are those of the list of locks. An overlay, for
/// instance, has its own.
pub fn lists_inodes(dir: &Path) -> bool {
    use nix::sys::statfs::{
        BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, FsType, TMPFS_MAGIC, statfs,
    };
    // statfs(2) tells it; `nix` has no name for it with musl.
    const XFS_SUPER_MAGIC: FsType = FsType(0x5846_5342);
    let known =
        [BTRFS_SUPER_MAGIC, EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, TMPFS_MAGIC, XFS_SUPER_MAGIC];
    statfs(dir).is_ok_and(|found| known.contains(&found.filesystem_type()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_write_lock_of_a_description_on_the_byte_counts() {
        let inode = |line: &str| inode_locked_at(line.as_bytes(), 100);
        for line in [
            "1: OFDLCK ADVISORY  WRITE -1 00:1b:1234 100 100",
            "27: OFDLCK ADVISORY  WRITE -1 fe:00:1234 0 EOF",
            "3: OFDLCK ADVISORY  WRITE -1 fe:00:1234 99 102",
        ] {
            assert_eq!(inode(line), Some(1234), "{line}");
        }
        for line in [
            "1: OFDLCK ADVISORY  WRITE -1 00:1b:1234 101 EOF",
            "1: OFDLCK ADVISORY  WRITE -1 00:1b:1234 0 99",
            "1: OFDLCK ADVISORY  READ -1 00:1b:1234 100 100",
            "1: POSIX  ADVISORY  WRITE 4711 00:1b:1234 100 100",
            "1: FLOCK  ADVISORY  WRITE 4711 00:1b:1234 0 EOF",
            "1: -> OFDLCK ADVISORY  WRITE -1 00:1b:1234 100 100",
            "1: OFDLCK ADVISORY  WRITE -1 00:1b:x 100 100",
            "1: OFDLCK",
            "",
        ] {
            assert_eq!(inode(line), None, "{line}");
        }
    }
}
