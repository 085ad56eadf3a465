//! `--help`.

use crate::command_line::{VERBS, Verb};

/// The help of a verb, or of all.
pub fn help(_verb: Option<&Verb>) -> String {
    VERBS.iter().map(|verb| format!("  {:<13}{}\n", verb.name, verb.does)).collect()
}
