//! What a message looks like: for the local logger, for one on another host, for the journal, and for people
//! who read standard error.

pub mod header;
pub mod journal;
pub mod rfc3164;
pub mod rfc5424;

use std::io::Write;
use std::time::SystemTime;

use ::syslog::{LogFormat, Severity};

use self::header::{Header, Stamp};
use self::rfc5424::Rfc5424;
use super::config::Config;
use super::message::{Record, second};
use crate::zone;

/// The format that a transport needs.
#[derive(Debug)]
pub enum Formatter {
    /// For the local logger.
    Rfc3164(Header<Vec<u8>>),
    /// For a logger on another host.
    Rfc5424(Rfc5424),
    /// For the journal.
    Journal(Header<Vec<u8>>),
}

impl Formatter {
    /// The format for a configuration.
    pub fn new(config: &Config) -> Self {
        if let Some(remote) = config.transport.remote() {
            return Self::Rfc5424(Rfc5424::new(config, remote));
        }
        let mut tag = Vec::new();
        let facility = config.facility;
        // Memory takes whatever is written to it.
        if config.transport.is_journal() {
            let _ = journal::write_tag(&mut tag, config);
            Self::Journal(Header { tag, facility, stamp: Stamp::UNSET })
        } else {
            let _ = rfc3164::write_tag(&mut tag, config);
            Self::Rfc3164(Header { tag, facility, stamp: Stamp::UNSET })
        }
    }

    /// Writes out the time of the next message.
    pub fn set_time(&mut self, time: SystemTime) {
        match self {
            Self::Rfc3164(header) | Self::Journal(header) => {
                header.stamp.set(second(time), zone::here);
            }
            Self::Rfc5424(format) => format.set_time(time, zone::here),
        }
    }
}

impl LogFormat<Record<'_>> for Formatter {
    fn format<W: Write>(
        &self,
        mut to: &mut W,
        severity: Severity,
        record: Record<'_>,
    ) -> ::syslog::Result<()> {
        match self {
            Self::Rfc3164(header) => rfc3164::write(&mut to, header, severity, &record)?,
            Self::Rfc5424(format) => format.write(&mut to, severity, &record)?,
            Self::Journal(header) => journal::write(&mut to, header, severity, &record)?,
        }
        Ok(())
    }
}

/// A message as stderr and the console get it: without priority and time.
pub fn plain(config: &Config, record: &Record<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    // Memory takes whatever is written to it.
    let _ = rfc3164::write_tag(&mut line, config);
    let _ = rfc3164::write_text(&mut line, record);
    line.push(b'\n');
    line
}
