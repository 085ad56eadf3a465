//! The daemon's own error, as it comes from its process, and as Node shows it. ts/errors/errors.ts says what it is made
//! of.

use serde_json::Value;

/// An error, or whatever was thrown.
#[derive(Debug)]
pub struct Report(Value);

impl Report {
    /// Reads what the daemon has sent.
    pub fn read(json: &str) -> Self {
        let plain = |_| serde_json::json!({ "shown": json });
        Self(serde_json::from_str(json).unwrap_or_else(plain))
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0[key].as_str()
    }

    fn is_error(&self) -> bool {
        self.0["name"].is_string()
    }

    /// The text that Node shows of it, without its causes.
    pub fn stack(&self) -> Option<&str> {
        self.text("stack").filter(|stack| self.is_error() && !stack.is_empty())
    }

    /// In a line.
    pub fn in_short(&self) -> String {
        match (self.text("name"), self.text("message")) {
            (Some(name), Some(message)) => format!("{name}: {message}"),
            _ => self.thrown(),
        }
    }

    fn thrown(&self) -> String {
        match &self.0["value"] {
            Value::String(text) => text.clone(),
            Value::Null => self.text("shown").unwrap_or("undefined").to_owned(),
            other => other.to_string(),
        }
    }

    /// Whether all that there is to say stands in its message: it is an error of this package.
    pub fn is_own(&self) -> bool {
        self.text("name") == Some("DaemonError")
    }

    /// Its stack with properties and causes, as Node shows them.
    pub fn in_full(&self) -> Option<String> {
        self.stack().map(|_| shown(&self.0, 0))
    }

    /// What was wrong, where the daemon lacked a right.
    pub fn lacks_right(&self) -> bool {
        let mut error = &self.0;
        loop {
            let properties = &error["properties"];
            let code = properties["errnoCode"].as_str().or_else(|| properties["code"].as_str());
            let is_own = properties["code"] == "ERR_DAEMON_PRIVILEGES";
            if is_own || matches!(code, Some("EACCES" | "EPERM")) {
                return true;
            }
            match error.get("cause") {
                Some(cause) => error = cause,
                None => return false,
            }
        }
    }
}

fn shown(error: &Value, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    let stack = error["stack"].as_str().or_else(|| error["message"].as_str());
    let Some(stack) = stack else { return Report(error.clone()).thrown() };
    let stack = stack.replace('\n', &format!("\n{indent}"));
    let own = error["properties"].as_object().into_iter().flatten();
    let own = own.filter(|(key, _)| !matches!(key.as_str(), "stack" | "message"));
    let mut parts: Vec<String> =
        own.map(|(key, value)| format!("{key}: {}", quoted(value))).collect();
    if let Some(cause) = error.get("cause") {
        parts.push(format!("[cause]: {}", shown(cause, depth + 1)));
    }
    if let Some(errors) = error["errors"].as_array() {
        let inner = errors.iter().map(|error| format!("    {}", shown(error, depth + 2)));
        let inner = inner.collect::<Vec<_>>().join(&format!(",\n{indent}"));
        parts.push(format!("[errors]: [\n{indent}{inner}\n{indent}  ]"));
    }
    if parts.is_empty() {
        return stack;
    }
    format!("{stack} {{\n{indent}  {}\n{indent}}}", parts.join(&format!(",\n{indent}  ")))
}

fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{}'", text.replace('\n', "\\n")),
        other => other.to_string(),
    }
}
