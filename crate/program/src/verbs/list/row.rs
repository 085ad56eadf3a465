//! What the list says of one daemon.

use std::time::SystemTime;

use nix::errno::Errno;
use serde_json::{Value, json};
use tsdaemonize_core::error::{Code, Error};
use tsdaemonize_core::instance::{self, Info, Names};
use tsdaemonize_core::pidfile::{Place, State};
use tsdaemonize_core::process::members::{Load, Sessions, load};
use tsdaemonize_core::sys::{Listener, Listeners};

use crate::time::iso;

/// The state of a daemon that has ended.
pub const STOPPED: &str = "stopped";

/// What is known of all processes while a list is made.
#[derive(Debug)]
pub struct Machine {
    sessions: Sessions,
    listeners: Listeners,
    names: Names,
    /// Milliseconds since the epoch.
    now: f64,
}

impl Machine {
    /// Looks at all processes.
    pub fn look() -> Self {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_millis() as f64;
        Self {
            sessions: Sessions::look(),
            listeners: Listeners::default(),
            names: Names::default(),
            now,
        }
    }
}

/// What is known of a daemon; `None` is what cannot be seen.
#[derive(Debug)]
pub struct Row {
    /// Where its pidfile is.
    pub place: Place,
    /// `running`, `starting` or `stopped`.
    pub state: &'static str,
    /// Its pid.
    pub pid: Option<i32>,
    info: Info,
    load: Option<Load>,
    listens: Option<Vec<Listener>>,
    /// Somebody may not look at its sockets.
    pub hides_sockets: bool,
    /// Milliseconds since it began.
    uptime: Option<u64>,
    /// Its program and arguments.
    program: Vec<String>,
    /// What its state file says.
    file: Value,
}

impl Row {
    /// Looks at the daemon of a place.
    pub fn of(place: Place, machine: &mut Machine) -> Result<Self, Error> {
        let (state, info) = instance::status_with(&place, &mut machine.names)?;
        let (state, pid) = match state {
            State::Running { pid } => ("running", pid),
            State::Starting { pid } => ("starting", pid),
            State::Stopped { .. } => (STOPPED, None),
        };
        let file: Value = info
            .state
            .as_deref()
            .map_or(Value::Null, |text| serde_json::from_str(text).unwrap_or(Value::Null));
        let pids = pid.map(|pid| machine.sessions.of(pid, info.supervisor)).unwrap_or_default();
        let listens = machine.listeners.of(&pids);
        let began = info.started_at.filter(|_| pid.is_some());
        let uptime = began.map(|began| (machine.now - began).max(0.0) as u64);
        Ok(Self {
            state,
            pid,
            load: pid.and_then(|_| load(&pids)),
            hides_sockets: listens.as_ref().is_err_and(|errno| *errno != Errno::ENOTSUP),
            listens: listens.ok().filter(|_| pid.is_some()),
            uptime,
            program: program(pid, &file),
            file,
            info,
            place,
        })
    }

    /// How often its supervisor has started it again.
    fn restarts(&self) -> u64 {
        self.file.get("restarts").and_then(Value::as_u64).unwrap_or(0)
    }

    /// How it, or the one before, ended.
    fn last_exit(&self) -> &Value {
        self.file.get("lastExit").unwrap_or(&Value::Null)
    }

    /// Which part of one CPU it has taken over its life, in thousandths.
    fn thousandths(&self) -> Option<u64> {
        let (load, uptime) = (self.load?, self.uptime?);
        u64::try_from(load.cpu.as_millis() * 1000 / u128::from(uptime.max(1))).ok()
    }

    /// An object for programs; docs/command.md has its shape.
    pub fn as_json(&self) -> String {
        let listens = self.listens.as_ref().map(|all| all.iter().map(listener).collect::<Vec<_>>());
        let percent = self
            .thousandths()
            .map_or_else(|| "null".to_owned(), |t| format!("{}.{}", t / 10, t % 10));
        let supervisor = self.info.supervisor.map_or(
            Value::Null,
            |pid| json!({"pid": pid, "restarts": self.restarts(), "lastExit": self.last_exit()}),
        );
        let fields: [(&str, Value); 16] = [
            ("state", json!(self.state)),
            ("pid", json!(self.pid)),
            ("user", json!(self.info.user)),
            ("startedAt", json!(self.info.started_at.map(iso))),
            ("uptime", json!(self.uptime.map(|millis| millis / 1000))),
            ("rss", json!(self.info.rss.map(|rss| rss as u64))),
            ("memory", json!(self.load.map(|load| load.memory))),
            ("processes", json!(self.load.map(|load| load.processes))),
            ("cpuTime", json!(self.load.and_then(|load| u64::try_from(load.cpu.as_millis()).ok()))),
            ("restarts", json!(self.restarts())),
            ("supervisor", supervisor),
            ("unsupervised", json!(self.info.unsupervised)),
            ("lastExit", self.last_exit().clone()),
            ("listens", json!(listens)),
            ("program", json!(self.program)),
            ("pidFile", json!(self.place.path().to_string_lossy())),
        ];
        let fields: String =
            fields.iter().map(|(key, value)| format!(",\"{key}\":{value}")).collect();
        // A number with a point needs no code that prints all numbers.
        format!("{{\"name\":{}{fields},\"cpuPercent\":{percent}}}", json!(self.place.name))
    }

    /// The cells of the table.
    pub fn cells(&self, with_exit: bool) -> Vec<String> {
        let unknown = || "-".to_owned();
        let alive = self.pid.is_some();
        let listens = match &self.listens {
            Some(all) => all.iter().map(shown).collect::<Vec<_>>().join(" "),
            None if alive && self.hides_sockets => "?".to_owned(),
            None => String::new(),
        };
        let mut cells = vec![
            self.place.name.clone(),
            if self.info.unsupervised { "unsupervised" } else { self.state }.to_owned(),
            self.pid.map_or_else(unknown, |pid| pid.to_string()),
            self.info.user.clone().unwrap_or_else(unknown),
            self.uptime.map_or_else(unknown, duration),
            self.restarts().to_string(),
            self.thousandths().map_or_else(unknown, |t| format!("{}.{}%", t / 10, t % 10)),
            self.load.map_or_else(unknown, |load| size(load.memory)),
            listens,
        ];
        if with_exit {
            let exit = self.last_exit();
            let reason = exit.get("reason").and_then(Value::as_str).unwrap_or("-");
            let at = exit.get("at").and_then(Value::as_str).map(|at| format!(" ({at})"));
            cells.push(format!("{reason}{}", at.unwrap_or_default()));
        }
        cells.push(self.program.join(" "));
        cells.iter().map(|cell| plain(cell)).collect()
    }
}

/// The program and its arguments: as it was started, or as /proc shows it now. A program can change that.
fn program(pid: Option<i32>, file: &Value) -> Vec<String> {
    let started = file
        .get("program")
        .and_then(Value::as_array)
        .map(|all| all.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>());
    let shown = || {
        let line = std::fs::read(format!("/proc/{}/cmdline", pid?)).ok()?;
        let words =
            line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
        Some(words.filter(|word| !word.is_empty()).collect())
    };
    started.filter(|words| !words.is_empty()).or_else(shown).unwrap_or_default()
}

fn listener(listener: &Listener) -> Value {
    let internet = |protocol: &str, address: &std::net::IpAddr, port: u16| json!({"protocol": protocol, "address": address.to_string(), "port": port});
    match listener {
        Listener::Tcp(address, port) => internet("tcp", address, *port),
        Listener::Udp(address, port) => internet("udp", address, *port),
        Listener::Unix(path) => json!({"protocol": "unix", "path": String::from_utf8_lossy(path)}),
    }
}

/// As people write it: `*:8080`, `127.0.0.1:8080`, `udp *:53`, a path.
fn shown(listener: &Listener) -> String {
    let internet = |address: &std::net::IpAddr, port: u16| match address {
        address if address.is_unspecified() => format!("*:{port}"),
        std::net::IpAddr::V6(address) => format!("[{address}]:{port}"),
        std::net::IpAddr::V4(address) => format!("{address}:{port}"),
    };
    match listener {
        Listener::Tcp(address, port) => internet(address, *port),
        Listener::Udp(address, port) => format!("udp:{}", internet(address, *port)),
        Listener::Unix(path) => String::from_utf8_lossy(path).into_owned(),
    }
}

/// How long, in its two largest units.
fn duration(millis: u64) -> String {
    let seconds = millis / 1000;
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (0, hours, minutes, _) => format!("{hours}h {minutes}m"),
        (days, hours, _, _) => format!("{days}d {hours}h"),
    }
}

/// Bytes in the unit that makes them short.
fn size(bytes: u64) -> String {
    let (unit, shift) = if bytes >= 1 << 30 { ("GiB", 30) } else { ("MiB", 20) };
    let tenths = (bytes * 10 + (1 << (shift - 1))) >> shift;
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// Text that does nothing to a terminal.
fn plain(text: &str) -> String {
    let letter = |letter: char| match letter {
        letter if letter.is_control() => format!("\\x{:02x}", u32::from(letter)),
        letter => letter.to_string(),
    };
    text.chars().map(letter).collect()
}

/// Whether an error only says that something may not be seen.
pub fn is_hidden(error: &Error) -> bool {
    error.code == Code::UnsafePidFile || matches!(error.errno, Some(libc::EACCES | libc::EPERM))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_those_of_people() {
        for (millis, expected) in [
            (999, "0s"),
            (59_999, "59s"),
            (61_000, "1m 1s"),
            (7_260_000, "2h 1m"),
            (90_000_000, "1d 1h"),
            (u64::MAX, "213503982334d 14h"),
        ] {
            assert_eq!(duration(millis), expected);
        }
        for (bytes, expected) in
            [(0, "0.0 MiB"), (49_283_072, "47.0 MiB"), (1 << 30, "1.0 GiB"), (3 << 29, "1.5 GiB")]
        {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn an_address_is_written_as_people_write_it() {
        let any = |text: &str| text.parse().unwrap_or(std::net::IpAddr::from([0, 0, 0, 0]));
        for (listener, expected) in [
            (Listener::Tcp(any("::"), 80), "*:80"),
            (Listener::Tcp(any("0.0.0.0"), 80), "*:80"),
            (Listener::Tcp(any("127.0.0.1"), 80), "127.0.0.1:80"),
            (Listener::Tcp(any("::1"), 80), "[::1]:80"),
            (Listener::Udp(any("::"), 53), "udp:*:53"),
            (Listener::Unix(b"/run/a.sock".to_vec()), "/run/a.sock"),
        ] {
            assert_eq!(shown(&listener), expected);
        }
    }

    #[test]
    fn nothing_steers_a_terminal() {
        assert_eq!(plain("a\x1b[2J\n\u{9b}ü"), "a\\x1b[2J\\x0a\\x9bü");
    }
}
