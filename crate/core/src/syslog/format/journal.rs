//! The journal's native socket: datagrams of fields (systemd's "Native Journal Protocol").
//!
//! A field is `NAME=value` and a newline; or, where the value has newlines, the name, a newline, the
//! value's length in 8 bytes, the value, a newline. So no value can forge a field. What is too large
//! for a datagram goes in a sealed memfd.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use ::syslog::{LogFormat, Severity};
use nix::errno::Errno;
use nix::sys::socket::SockType;

use super::super::Config;
use super::super::message::{Record, escape, local_time, pid, second, without_controls};
use super::super::transport::local::{send_datagrams, unix_socket};
use super::rfc3164;

/// The socket.
pub const SOCKET: &str = "/run/systemd/journal/socket";
/// The variable by which the journal says which stream it reads (systemd.exec(5)).
const STREAM: &str = "JOURNAL_STREAM";

/// What the variable says. The sender's thread may not read it: JavaScript may change the environment
/// meanwhile (setenv(3)).
static STREAM_HERE: Mutex<Option<OsString>> = Mutex::new(None);

fn stream_here() -> MutexGuard<'static, Option<OsString>> {
    STREAM_HERE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the environment, for [`reads`]. In the main thread, JavaScript's.
pub fn look() {
    let stream = std::env::var_os(STREAM);
    *stream_here() = stream;
}

/// Whether the journal reads what is written to this descriptor.
pub fn reads(fd: i32) -> bool {
    let Some(stream) = stream_here().clone() else { return false };
    // SAFETY: borrowed for the duplicate only; a closed descriptor is an error of dup(2).
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let Ok(duplicate) = borrowed.try_clone_to_owned() else { return false };
    let Ok(found) = File::from(duplicate).metadata() else { return false };
    stream.to_str() == Some(&format!("{}:{}", found.dev(), found.ino()))
}

/// The formatter, with the time of day as it was last written out.
#[derive(Debug, Clone)]
pub struct Format {
    /// The fields that all messages have.
    common: String,
    facility: i32,
    second: u64,
    stamp: String,
}

impl Format {
    /// A formatter for a configuration.
    pub fn new(config: &Config) -> Self {
        let ident = without_controls(&config.ident);
        let pid = pid(config).map_or_else(String::new, |pid| format!("SYSLOG_PID={pid}\n"));
        Self {
            common: format!("SYSLOG_IDENTIFIER={ident}\n{pid}"),
            facility: config.facility,
            second: u64::MAX,
            stamp: String::new(),
        }
    }

    /// Looks up the local time; once a second is enough.
    pub fn set_time(&mut self, time: SystemTime) {
        let second = second(time);
        if second != self.second {
            (self.second, self.stamp) = (second, rfc3164::stamp(&local_time(second)));
        }
    }
}

impl LogFormat<Record<'_>> for Format {
    fn format<W: Write>(
        &self,
        w: &mut W,
        severity: Severity,
        record: Record<'_>,
    ) -> ::syslog::Result<()> {
        let facility = record.facility_or(self.facility) >> 3;
        let severity = severity as i32;
        let Self { common, stamp, .. } = self;
        write!(w, "PRIORITY={severity}\nSYSLOG_FACILITY={facility}\n{common}")?;
        // When it was logged, as journald notes it for those that come by /dev/log.
        write!(w, "SYSLOG_TIMESTAMP={stamp} \nMESSAGE=")?;
        w.write_all(&escape(record.text, usize::MAX))?;
        w.write_all(b"\n")?;
        for (name, value) in record.fields {
            w.write_all(&name.iter().map(|byte| named(*byte)).collect::<Vec<u8>>())?;
            if value.contains(&b'\n') {
                w.write_all(b"\n")?;
                w.write_all(&(value.len() as u64).to_le_bytes())?;
            } else {
                w.write_all(b"=")?;
            }
            w.write_all(value)?;
            w.write_all(b"\n")?;
        }
        Ok(())
    }
}

/// The journal's names are of upper case, digits and underscores.
fn named(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_uppercase() } else { b'_' }
}

/// A connection.
#[derive(Debug)]
pub struct Journal {
    socket: OwnedFd,
}

impl Journal {
    /// Connects.
    pub fn connect(path: &Path) -> Result<Self, Errno> {
        Ok(Self { socket: unix_socket(path, SockType::Datagram)? })
    }

    /// Sends messages in their order; returns how many went. An error means that the first did not
    /// go; EAGAIN, that the journal has no room.
    pub fn send(&self, messages: &[&[u8]]) -> Result<usize, Errno> {
        match (send_datagrams(&self.socket, messages), messages.first()) {
            (Err(Errno::EMSGSIZE | Errno::ENOBUFS), Some(message)) => self.send_file(message),
            (result, _) => result,
        }
    }

    /// The journal is Linux's; elsewhere only one who speaks its protocol could be here.
    #[cfg(not(target_os = "linux"))]
    fn send_file(&self, _message: &[u8]) -> Result<usize, Errno> {
        Err(Errno::EMSGSIZE)
    }

    /// The journal takes a file only if nobody can change it any more.
    #[cfg(target_os = "linux")]
    fn send_file(&self, message: &[u8]) -> Result<usize, Errno> {
        use nix::fcntl::{FcntlArg, SealFlag, fcntl};
        use nix::sys::socket::{ControlMessage, sendmsg};
        use std::os::fd::AsRawFd;
        let memfd = crate::sys::sealable_memfd(c"syslog")?;
        let mut file = File::from(memfd);
        file.write_all(message)
            .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
        let seals = SealFlag::all();
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
        let fds = [file.as_raw_fd()];
        let nothing = [std::io::IoSlice::new(&[])];
        let control = [ControlMessage::ScmRights(&fds)];
        let flags = crate::sys::NO_SIGNAL;
        sendmsg::<nix::sys::socket::UnixAddr>(
            self.socket.as_raw_fd(),
            &nothing,
            &control,
            flags,
            None,
        )?;
        Ok(1)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use crate::syslog::Transport;
    use crate::syslog::message::Fields;

    #[test]
    fn no_text_and_no_value_forges_a_field() {
        let formatter = Format::new(&Config {
            ident: "clo\nck".into(),
            options: 0,
            facility: libc::LOG_DAEMON,
            transport: Transport::Journal("".into()),
            attached: false,
        });
        let packed = Fields::pack([("user.name", "a\nPRIORITY=0"), ("n", "1=2")]);
        let record = Record {
            facility: libc::LOG_USER,
            time: SystemTime::now(),
            text: b"tick\nPRIORITY=0",
            fields: Fields(&packed),
        };
        let mut line = Vec::new();
        formatter.format(&mut line, Severity::LOG_ERR, record).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert_eq!(
            line,
            "PRIORITY=3\nSYSLOG_FACILITY=1\nSYSLOG_IDENTIFIER=clock\nSYSLOG_TIMESTAMP= \n\
             MESSAGE=tick#012PRIORITY=0\n\
             USER_NAME\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\nN=1=2\n"
        );
    }
}
