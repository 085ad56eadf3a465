//! Completions for zsh, as a function of `$fpath`, or to be sourced after compinit.

use super::{NAMES, SHELLS, Values, joined, options_of, values_of};
use crate::command_line::{GENERAL, Operands, Opt, VERBS};

/// The script.
pub fn script() -> String {
    let verbs = VERBS
        .iter()
        .map(|verb| format!("    {}\n", quoted(&format!("{}:{}", verb.name, verb.does))));
    let verbs: String = verbs.collect();
    let general = joined(GENERAL.iter().map(|option| spec(option, "(- : *)")), " ");
    let of_verbs = VERBS.iter().map(|verb| {
        let operands = match verb.operands {
            Operands::None => String::new(),
            Operands::Program => " '*:::program: _normal'".to_owned(),
            Operands::Names => " '*:daemon:_tsdaemonize_names'".to_owned(),
            Operands::Shell => format!(" '1:shell:({})'", SHELLS.join(" ")),
        };
        let stop = if verb.operands == Operands::Program { " -A '-*'" } else { "" };
        let options = joined(options_of(verb).map(|option| spec(option, "")), " ");
        format!("        {}) _arguments -S{stop} {options}{operands} && ret=0 ;;\n", verb.name)
    });
    let of_verbs: String = of_verbs.collect();
    format!(
        r#"#compdef tsdaemonize
# Completions of tsdaemonize for zsh: tsdaemonize completions zsh > DIRECTORY/_tsdaemonize

_tsdaemonize_names() {{
  local -a names
  local expl
  names=(${{(f)"$(_call_program names ${{(q)tsdaemonize}} {NAMES})"}})
  _wanted names expl daemon compadd -a names
}}

_tsdaemonize() {{
  local tsdaemonize=$words[1] curcontext=$curcontext state line ret=1
  local -a verbs
  typeset -A opt_args
  verbs=(
{verbs}  )
  _arguments -C {general} '1: :->verb' '*:: :->rest' && ret=0
  case $state in
    verb) _describe -t commands command verbs && ret=0 ;;
    rest)
      case $words[1] in
{of_verbs}      esac
      ;;
  esac
  return ret
}}

if [[ $funcstack[1] == _tsdaemonize ]]; then
  _tsdaemonize "$@"
else
  compdef _tsdaemonize tsdaemonize
fi
"#
    )
}

/// An option as _arguments has it (zshcompsys(1)). `excludes`: what can no longer be given after it.
fn spec(option: &Opt, excludes: &str) -> String {
    let help = option
        .help
        .replace('\\', r"\\")
        .replace('[', r"\[")
        .replace(']', r"\]")
        .replace(':', r"\:");
    let value = option.value.unwrap_or_default();
    let values = match values_of(option) {
        None => String::new(),
        Some(values) => format!(":{value}:{}", action(values)),
    };
    let name = option.name;
    let equals = if option.value.is_some() { "=" } else { "" };
    // Several values may be given for one that names its own.
    let many = if option.value == Some("NAME=VALUE") { "*" } else { "" };
    match option.short {
        None => quoted(&format!("{excludes}{many}--{name}{equals}[{help}]{values}")),
        Some(letter) => {
            let plus = if option.value.is_some() { "+" } else { "" };
            let excludes = if excludes.is_empty() {
                format!("(-{letter} --{name})")
            } else {
                excludes.to_owned()
            };
            let spellings = format!("{{-{letter}{plus},--{name}{equals}}}");
            format!("{}{spellings}{}", quoted(&excludes), quoted(&format!("[{help}]{values}")))
        }
    }
}

fn action(values: Values) -> String {
    match values {
        Values::Directories => "_directories".to_owned(),
        Values::Files => "_files".to_owned(),
        Values::Users => "_users".to_owned(),
        Values::Groups => "_groups".to_owned(),
        Values::Commands => "_command_names -e".to_owned(),
        Values::Outputs => "{ compadd syslog; _files }".to_owned(),
        Values::Words(list) => format!("({list})"),
        Values::Anything => " ".to_owned(),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
