//! A message to a remote logger: RFC 5424, with its fields as structured data.
//!
//! `<30>1 2025-11-24T09:22:01.000042+01:00 host clock 4711 - [fields@32473 n="1"] text`

use std::io::{Result, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use ::syslog::Severity;

use crate::syslog::config::{Config, Remote};
use crate::syslog::message::{LONGEST_FIELDS, Record, second, write_escaped, write_fields};
use crate::zone::{Local, Zone};

/// What RFC 5424 takes of each: HOSTNAME, APP-NAME, and an SD-NAME.
const LONGEST_HOST: usize = 255;
const LONGEST_APP: usize = 48;
const LONGEST_NAME: usize = 32;
/// The longest message, header and all: what rsyslog takes by default. It would take the rest of a
/// longer one for a message of its own, which the text could so forge.
const LONGEST: usize = 8096;

/// The format for a logger, with the time as it was last written out.
#[derive(Debug, Clone)]
pub struct Rfc5424 {
    /// ` host app pid - `
    header: String,
    sd_id: String,
    facility: i32,
    second: i64,
    micros: u32,
    /// `2025-11-24T09:22:01`
    stamp: String,
    /// `+01:00`
    offset: String,
}

impl Rfc5424 {
    /// The format for a logger.
    pub fn new(config: &Config, remote: &Remote) -> Self {
        let host = nix::unistd::gethostname().unwrap_or_default();
        let host = printable(&host.to_string_lossy(), LONGEST_HOST);
        let app = printable(&config.ident, LONGEST_APP);
        let pid = config.pid().map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        Self {
            header: format!(" {host} {app} {pid} - "),
            sd_id: remote.sd_id.clone(),
            facility: config.facility,
            second: i64::MIN,
            micros: 0,
            stamp: String::new(),
            offset: String::new(),
        }
    }

    /// Writes out the time of the next message. The zone is asked for where it is needed, once a second.
    pub fn set_time(&mut self, time: SystemTime, zone: impl FnOnce() -> Zone) {
        self.micros = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_micros());
        let second = second(time);
        if second == self.second {
            return;
        }
        self.second = second;
        let Local { year, month, day, hour, minute, second, offset } = zone().local(second);
        let month = month + 1;
        self.stamp = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
        let sign = if offset < 0 { '-' } else { '+' };
        let minutes = offset.abs() / 60;
        self.offset = format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60);
    }

    /// Writes a message.
    pub fn write(
        &self,
        to: &mut impl Write,
        severity: Severity,
        record: &Record<'_>,
    ) -> Result<()> {
        let priority = record.facility_or(self.facility) | severity as i32;
        let Self { stamp, micros, offset, header, .. } = self;
        let mut begin = format!("<{priority}>1 {stamp}.{micros:06}{offset}{header}").into_bytes();
        self.write_structured_data(&mut begin, record)?;
        begin.push(b' ');
        to.write_all(&begin)?;
        let room = LONGEST.saturating_sub(begin.len());
        write_escaped(to, record.text, b"", room).map(drop)
    }

    fn write_structured_data(&self, to: &mut Vec<u8>, record: &Record<'_>) -> Result<()> {
        let mut fields = record.fields.peekable();
        if fields.peek().is_none() {
            return to.write_all(b"-");
        }
        write!(to, "[{}", self.sd_id)?;
        let room = LONGEST_FIELDS.saturating_sub("[]".len() + self.sd_id.len());
        write_fields(to, record.fields, LONGEST_NAME, b"\"\\]", room)?;
        to.write_all(b"]")
    }
}

/// PRINTUSASCII (RFC 5424, 6): no space, no control character; `-` where nothing is left.
fn printable(text: &str, longest: usize) -> String {
    let printable: String =
        text.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).take(longest).collect();
    if printable.is_empty() { "-".into() } else { printable }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::syslog::config::Transport;
    use crate::syslog::message::Fields;
    use std::time::Duration;

    fn line(ident: &str, text: &str, fields: &[(&str, &str)]) -> String {
        let remote = Remote { host: String::new(), port: 0, sd_id: "fields@32473".into() };
        let config = Config {
            ident: ident.into(),
            options: libc::LOG_PID,
            facility: libc::LOG_DAEMON,
            transport: Transport::Udp(remote.clone()),
            attached: false,
        };
        let mut format = Rfc5424::new(&config, &remote);
        let time = UNIX_EPOCH + Duration::from_micros(86_400_000_000 * 5 + 42);
        format.set_time(time, || Zone::fixed(-3600));
        let packed = Fields::pack(fields.iter().copied());
        let record = Record { facility: 0, time, text: text.as_bytes(), fields: Fields(&packed) };
        let mut line = Vec::new();
        format.write(&mut line, Severity::LOG_INFO, &record).unwrap();
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn has_its_parts_in_their_order() {
        let line = line("clo ck", "tick\n", &[]);
        let parts: Vec<&str> = line.splitn(8, ' ').collect();
        assert_eq!(parts[0], "<30>1");
        assert_eq!(parts[1], "1970-01-05T23:00:00.000042-01:00");
        assert_eq!(parts[3..], ["clo_ck", &std::process::id().to_string(), "-", "-", "tick#012"]);
    }

    #[test]
    fn has_fields_as_structured_data() {
        let line = line("clock", "tick", &[("a", "1"), ("b", "\"]\\ \n")]);
        assert!(line.ends_with(r#" - [fields@32473 a="1" b="\"\]\\ #012"] tick"#), "{line}");
    }

    #[test]
    fn stays_within_its_length() {
        let long = "]".repeat(LONGEST);
        let line = line("clock", &long, &[("a", &long), ("b", "left out")]);
        assert_eq!(line.len(), LONGEST);
        let fields = line.find("\"] ").unwrap() + "\"]".len() - line.find('[').unwrap();
        assert!((LONGEST_FIELDS - 1..=LONGEST_FIELDS).contains(&fields), "{fields}");
        assert!(line.contains("\\]\"] ]]"), "{}", &line[4000..4300]);
    }
}
