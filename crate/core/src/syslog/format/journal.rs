//! A message to the journal: fields (systemd's "Native Journal Protocol").
//!
//! A field is `NAME=value` and a newline; or, where the value has newlines, the name, a newline, the
//! value's length in 8 bytes, the value, a newline. So no value can forge a field.

use std::io::{Result, Write};

use ::syslog::Severity;

use super::header::Header;
use crate::syslog::config::Config;
use crate::syslog::message::{Record, write_escaped};

/// Writes the fields that say who logs, the pid as LOG_PID asks.
pub fn write_tag(to: &mut impl Write, config: &Config) -> Result<()> {
    to.write_all(b"SYSLOG_IDENTIFIER=")?;
    for letter in config.printable_ident() {
        write!(to, "{letter}")?;
    }
    to.write_all(b"\n")?;
    config.pid().map_or(Ok(()), |pid| writeln!(to, "SYSLOG_PID={pid}"))
}

/// Writes a message. One whose header has no stamp is one of this very moment, which the journal notes itself.
pub fn write<T: AsRef<[u8]>>(
    to: &mut impl Write,
    header: &Header<T>,
    severity: Severity,
    record: &Record<'_>,
) -> Result<()> {
    let facility = record.facility_or(header.facility) >> 3;
    write!(to, "PRIORITY={}\nSYSLOG_FACILITY={facility}\n", severity as i32)?;
    to.write_all(header.tag.as_ref())?;
    let stamp = header.stamp.as_ref();
    if !stamp.is_empty() {
        // When it was logged, as journald notes it for those that come by /dev/log.
        to.write_all(b"SYSLOG_TIMESTAMP=")?;
        to.write_all(stamp)?;
        to.write_all(b" \n")?;
    }
    to.write_all(b"MESSAGE=")?;
    write_escaped(to, record.text, b"", usize::MAX)?;
    to.write_all(b"\n")?;
    for (name, value) in record.fields {
        name.iter().try_for_each(|byte| to.write_all(&[named(*byte)]))?;
        if value.contains(&b'\n') {
            to.write_all(b"\n")?;
            to.write_all(&(value.len() as u64).to_le_bytes())?;
        } else {
            to.write_all(b"=")?;
        }
        to.write_all(value)?;
        to.write_all(b"\n")?;
    }
    Ok(())
}

/// The journal's names are of upper case, digits and underscores.
fn named(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_uppercase() } else { b'_' }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::super::header::Stamp;
    use super::*;
    use crate::syslog::config::Transport;
    use crate::syslog::message::Fields;
    use crate::zone::Zone;
    use std::time::SystemTime;

    fn written(stamp: Stamp) -> String {
        let config = Config {
            ident: "clo\nck".into(),
            options: 0,
            facility: libc::LOG_DAEMON,
            transport: Transport::Journal("".into()),
            attached: false,
        };
        let mut header = Header { tag: Vec::new(), facility: config.facility, stamp };
        write_tag(&mut header.tag, &config).unwrap();
        let packed = Fields::pack([("user.name", "a\nPRIORITY=0"), ("n", "1=2")]);
        let record = Record {
            facility: libc::LOG_USER,
            time: SystemTime::UNIX_EPOCH,
            text: b"tick\nPRIORITY=0",
            fields: Fields(&packed),
        };
        let mut message = Vec::new();
        write(&mut message, &header, Severity::LOG_ERR, &record).unwrap();
        String::from_utf8(message).unwrap()
    }

    #[test]
    fn no_text_and_no_value_forges_a_field() {
        let mut stamp = Stamp::UNSET;
        stamp.set(0, || Zone::fixed(0));
        assert_eq!(
            written(stamp),
            "PRIORITY=3\nSYSLOG_FACILITY=1\nSYSLOG_IDENTIFIER=clock\n\
             SYSLOG_TIMESTAMP=Jan  1 00:00:00 \nMESSAGE=tick#012PRIORITY=0\n\
             USER_NAME\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\nN=1=2\n"
        );
    }

    #[test]
    fn a_message_of_this_moment_leaves_the_time_to_the_journal() {
        let message = written(Stamp::UNSET);
        assert!(message.contains("IDENTIFIER=clock\nMESSAGE=tick#012"), "{message}");
    }
}
