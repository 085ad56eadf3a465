//! What the supervisor is told by the launcher and by the daemon, and the state file that it makes of that.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tsdaemonize_core::pidfile::Place;
use tsdaemonize_core::process::lock_holder::Process;
use tsdaemonize_core::start::frames::place_of;
use tsdaemonize_core::sys::Seen;

use super::ended::Ended;
use crate::plan::STOP_TIMEOUT;
use crate::time::iso;

/// What the supervisor is told.
#[derive(Debug)]
pub struct Plan {
    launcher: Value,
    daemon: Value,
}

impl Plan {
    /// Reads what the launcher has said, and in lines of their own what the daemon has said and, where it has given its
    /// name itself, the place of its pidfile. `None` where it was written for another version of this executable.
    pub fn read(text: &[u8]) -> Option<Self> {
        let mut lines = text.splitn(3, |byte| *byte == b'\n');
        let mut launcher: Value = serde_json::from_slice(lines.next()?).ok()?;
        let daemon = lines.next().and_then(|line| serde_json::from_slice(line).ok());
        // For `restart`, which reads it itself: a whole environment.
        launcher.as_object_mut()?.remove("again");
        let package = launcher["package"].as_str();
        if package.is_some_and(|version| version != env!("CARGO_PKG_VERSION")) {
            return None;
        }
        if let Some(place) = lines.next().and_then(place_of) {
            launcher["name"] = json!(place.name);
            launcher["dir"] = json!(place.dir.to_string_lossy());
            launcher["private"] = json!(place.private);
        }
        Some(Self { launcher, daemon: daemon.unwrap_or_default() })
    }

    /// The daemon's name.
    pub fn name(&self) -> &str {
        self.launcher["name"].as_str().unwrap_or("daemon")
    }

    /// Where its pidfile is; `None`: it keeps none.
    pub fn place(&self) -> Option<Place> {
        Some(Place {
            dir: PathBuf::from(self.launcher["dir"].as_str()?),
            name: self.name().to_owned(),
            private: self.launcher["private"] == true,
        })
    }

    /// Whether it knows nothing of this package.
    pub fn is_foreign(&self) -> bool {
        self.launcher["kind"] == "foreign"
    }

    /// How long its end may take.
    pub fn stop_timeout(&self) -> Duration {
        let of = |value: &Value| value["stopTimeout"].as_f64().filter(|millis| *millis >= 0.0);
        let millis = of(&self.daemon).or_else(|| of(&self.launcher));
        millis.map_or(STOP_TIMEOUT, |millis| Duration::from_millis(millis as u64))
    }

    /// Which of its outputs are pipes, 1 and 2, and how many bytes of each were lost before.
    pub fn pipes(&self) -> Vec<(usize, u64)> {
        let pipes = self.launcher["pipes"].as_array().into_iter().flatten();
        let lost = self.daemon["lost"].as_array();
        let lost = |index: usize| lost.and_then(|lost| lost.get(index)).and_then(Value::as_u64);
        let numbers = pipes.filter_map(Value::as_u64).enumerate();
        numbers.map(|(index, pipe)| (pipe as usize, lost(index).unwrap_or(0))).collect()
    }

    /// The file to which it prints its errors, or else what it says.
    pub fn log_file(&self) -> Option<PathBuf> {
        let output =
            |name: &str| self.daemon[name].as_str().or_else(|| self.launcher[name].as_str());
        let file = |name: &str| output(name).filter(|output| output.starts_with('/'));
        file("stderr").or_else(|| file("stdout")).map(PathBuf::from)
    }

    /// The text of the state file.
    pub fn state(&self, daemon: i32, started: f64, ended: Option<&Ended>) -> String {
        let mut state = Map::new();
        if self.is_foreign() {
            state.insert("version".to_owned(), json!(1));
            state.insert("pid".to_owned(), json!(daemon));
            state.insert("startedAt".to_owned(), json!(iso(started)));
            for key in ["name", "program", "stdout", "stderr", "stopTimeout"] {
                state.insert(key.to_owned(), self.launcher[key].clone());
            }
        } else if let Value::Object(own) = &self.daemon {
            state.clone_from(own);
            // The launcher knows better: the daemon may have dropped its privileges before it said that.
            for key in ["version", "name", "program", "cwd", "options"] {
                if !self.launcher[key].is_null() {
                    state.insert(key.to_owned(), self.launcher[key].clone());
                }
            }
        }
        state.insert("supervisor".to_owned(), json!(std::process::id()));
        state.insert("restarts".to_owned(), json!(0));
        state.insert("lastExit".to_owned(), ended.map_or(Value::Null, Ended::in_json));
        Value::Object(state).to_string()
    }
}

/// When a process was started, in milliseconds since the epoch.
pub fn started_at(pid: i32) -> f64 {
    let process = Process::open(pid).and_then(|process| process.seen().ok());
    process.as_ref().and_then(Seen::started_at).unwrap_or_else(now)
}

/// The milliseconds since the epoch.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_millis() as f64)
}
