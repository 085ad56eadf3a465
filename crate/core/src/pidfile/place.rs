//! Where a daemon's pidfile is.

use std::path::PathBuf;

/// Where a daemon's pidfile is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The directory.
    pub dir: PathBuf,
    /// The daemon's name.
    pub name: String,
    /// Whether the directory is this user's own in /tmp: a start makes it, with mode 0700.
    pub private: bool,
}

impl Place {
    /// `<dir>/<name>.pid`.
    pub fn path(&self) -> PathBuf {
        self.dir.join(self.file_name())
    }

    /// `<name>.pid`.
    pub fn file_name(&self) -> String {
        format!("{}.pid", self.name)
    }
}

/// The most bytes of a name.
pub const LONGEST_NAME: usize = 64;

/// Whether a text can be a daemon's name: one component of a path, without control characters.
pub fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c != '/' && !c.is_control();
    (1..=LONGEST_NAME).contains(&text.len())
        && !matches!(text, "." | "..")
        && text.chars().all(is_plain)
}

/// How often a step is tried again when the file at a place changes under it, a millisecond apart.
pub const TRIES: u32 = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_component_of_at_most_64_bytes_without_controls() {
        let longest = "n".repeat(64);
        for name in ["a", "...", ".hidden", "a b", "-x", "почта", "a.pid", "\u{a0}", &longest]
        {
            assert!(is_name(name), "{name:?}");
        }
        let longer = "ю".repeat(33);
        for name in [
            "", ".", "..", "/", "a/b", "a\0", "a\n", "\x1b[2J", "\x7f", "\u{80}", "\u{9f}", &longer,
        ] {
            assert!(!is_name(name), "{name:?}");
        }
    }
}
