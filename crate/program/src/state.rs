//! What a daemon's state file says: a hint, which an older or a newer version may have written, or somebody by hand. As
//! ts/pidfile/state.ts.

use std::time::Duration;

use serde_json::{Value, json};

/// How a daemon ended, as its supervisor saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastExit {
    /// When, in ISO 8601.
    pub at: String,
    /// The exit status; `None` where a signal ended it, and where that is not known.
    pub code: Option<i32>,
    /// The signal that ended it, such as `SIGKILL`.
    pub signal: Option<String>,
    /// The same in words.
    pub reason: String,
}

/// What is used of a state file; what is missing, or of another type, is left out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// The daemon's pid.
    pub pid: Option<i32>,
    /// Whether a supervisor stays beside it.
    pub is_supervised: bool,
    /// How long its end may take.
    pub stop_timeout: Option<Duration>,
    /// How often it was started again.
    pub restarts: i32,
    /// How it ended the last time.
    pub last_exit: Option<LastExit>,
}

impl State {
    /// Reads the text of the file, if there is one.
    pub fn parse(text: Option<&str>) -> Self {
        let value: Value =
            text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let positive = |key: &str| count(&value[key]).filter(|count| *count > 0);
        let millis = positive("stopTimeout").and_then(|millis| u64::try_from(millis).ok());
        Self {
            pid: positive("pid"),
            is_supervised: positive("supervisor").is_some(),
            stop_timeout: millis.map(Duration::from_millis),
            restarts: count(&value["restarts"]).unwrap_or(0),
            last_exit: LastExit::parse(&value["lastExit"]),
        }
    }
}

impl LastExit {
    fn parse(value: &Value) -> Option<Self> {
        Some(Self {
            at: line(&value["at"])?,
            code: count(&value["code"]),
            signal: line(&value["signal"]),
            reason: line(&value["reason"])?,
        })
    }

    /// As the library has it.
    pub fn as_json(&self) -> String {
        let Self { at, code, signal, reason } = self;
        let [at, code, signal, reason] = [json!(at), json!(code), json!(signal), json!(reason)];
        format!(r#"{{"at":{at},"code":{code},"signal":{signal},"reason":{reason}}}"#)
    }
}

fn count(value: &Value) -> Option<i32> {
    value.as_i64().and_then(|count| i32::try_from(count).ok()).filter(|count| *count >= 0)
}

/// A text for a terminal.
fn line(value: &Value) -> Option<String> {
    value.as_str().map(|text| text.chars().filter(|c| !c.is_control()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_of_another_type_is_left_out() {
        let text = r#"{"version":1,"pid":4711,"stopTimeout":2500,"restarts":3,
            "lastExit":{"at":"2026-11-28T09:00:00.000Z","code":null,"signal":"SIGKILL","reason":"it was\u001b killed"}}"#;
        let state = State::parse(Some(text));
        assert_eq!((state.pid, state.restarts), (Some(4711), 3));
        assert_eq!(state.stop_timeout, Some(Duration::from_millis(2500)));
        let exit = r#"{"at":"2026-11-28T09:00:00.000Z","code":null,"signal":"SIGKILL","reason":"it was killed"}"#;
        assert_eq!(state.last_exit.map(|exit| exit.as_json()).as_deref(), Some(exit));
        for text in [
            "",
            "[]",
            "null",
            "{",
            r#"{"pid":"1","stopTimeout":-1,"restarts":1.5,"lastExit":{"at":5,"reason":"x"}}"#,
            r#"{"pid":0,"stopTimeout":0,"restarts":99999999999,"lastExit":"x"}"#,
        ] {
            assert_eq!(State::parse(Some(text)), State::default(), "{text}");
        }
        assert_eq!(State::parse(None), State::default());
    }
}
