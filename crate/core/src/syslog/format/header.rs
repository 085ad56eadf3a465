//! What stands before the text of each message to a logger on this host, kept ready to be copied. It is
//! plain memory where the tag is, so that the relay of [`crate::output`] has one too, and allocates nothing.

use std::io::{Result, Write};

use crate::zone::{Local, Zone};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A header, whose tag is in memory of the type `T`.
#[derive(Debug, Clone, Copy)]
pub struct Header<T> {
    /// Who logs, as the format has it.
    pub tag: T,
    /// The facility of messages that name none.
    pub facility: i32,
    /// When.
    pub stamp: Stamp,
}

/// `Nov 24 09:22:01`, as it was last written out.
#[derive(Debug, Clone, Copy)]
pub struct Stamp {
    second: i64,
    text: Text<16>,
}

impl Stamp {
    /// Before the first message.
    pub const UNSET: Self = Self { second: i64::MIN, text: Text::EMPTY };

    /// Writes out another second. The zone is asked for where it is needed, once a second.
    pub fn set(&mut self, second: i64, zone: impl FnOnce() -> Zone) {
        if second != self.second {
            self.second = second;
            self.text = Text::EMPTY;
            let Local { month, day, hour, minute, second, .. } = zone().local(second);
            let month = MONTHS.get(month).copied().unwrap_or("Jan");
            let _ = write!(self.text, "{month} {day:2} {hour:02}:{minute:02}:{second:02}");
        }
    }
}

impl AsRef<[u8]> for Stamp {
    fn as_ref(&self) -> &[u8] {
        self.text.as_ref()
    }
}

/// Up to `SIZE` bytes of text. What is written beyond them is left out. Zeroes are an empty one.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Text<const SIZE: usize> {
    bytes: [u8; SIZE],
    length: usize,
}

impl<const SIZE: usize> Text<SIZE> {
    /// Nothing yet.
    pub const EMPTY: Self = Self { bytes: [0; SIZE], length: 0 };
}

impl<const SIZE: usize> AsRef<[u8]> for Text<SIZE> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }
}

impl<const SIZE: usize> Write for Text<SIZE> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let count = self.bytes.get_mut(self.length..).unwrap_or(&mut []).write(bytes)?;
        self.length += count;
        Ok(count)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(second: i64, zone: Zone) -> String {
        let mut stamp = Stamp::UNSET;
        stamp.set(second, || zone);
        String::from_utf8_lossy(stamp.as_ref()).into_owned()
    }

    #[test]
    fn a_stamp_is_as_rfc_3164_has_it() {
        assert_eq!(stamp(1_743_296_399, Zone::fixed(3600)), "Mar 30 01:59:59");
        assert_eq!(stamp(1_735_689_600, Zone::fixed(-3600)), "Dec 31 23:00:00");
        assert_eq!(stamp(1_735_689_600, Zone::fixed(0)), "Jan  1 00:00:00");
    }

    #[test]
    fn a_text_takes_what_fits() {
        let mut text = Text::<4>::EMPTY;
        assert!(text.write_all(b"abc").is_ok());
        assert!(text.write_all(b"def").is_err());
        assert_eq!(text.as_ref(), b"abcd");
    }
}
