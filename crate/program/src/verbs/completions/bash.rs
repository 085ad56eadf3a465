//! Completions for bash, 3.2 and newer. `=` is a word of its own there.

use super::{NAMES, SHELLS, Values, all_options, joined, options_of, spellings, values_of};
use crate::command_line::{GENERAL, Operands, VERBS};

/// The script, which is sourced.
pub fn script() -> String {
    let verbs = joined(VERBS.iter().map(|verb| verb.name), " ");
    let general = joined(GENERAL.iter().flat_map(spellings), " ");
    let options = all_options();
    let valued = options.iter().filter(|option| option.value.is_some());
    let valued = joined(valued.flat_map(|option| spellings(option)), "|");
    let values = options.iter().filter_map(|option| {
        let words = |how: &str| Some(format!("_tsdaemonize_words {how}"));
        let how = match values_of(option)? {
            Values::Directories => words("-d -o filenames"),
            Values::Files => words("-f -o filenames"),
            Values::Users => words("-u"),
            Values::Groups => words("-g"),
            Values::Commands => words("-c"),
            Values::Outputs => words("-f -o filenames -W syslog"),
            Values::Words(list) => words(&format!("-W $'{}'", list.replace(' ', r"\n"))),
            Values::Anything => None,
        };
        Some(format!("      {}) {} ;;\n", joined(spellings(option), "|"), how?))
    });
    let values: String = values.collect();
    let of_verbs = VERBS.iter().map(|verb| {
        let operands = match verb.operands {
            Operands::None => "''",
            Operands::Program => "program",
            Operands::Names => "names",
            Operands::Shell => "shell",
        };
        let options = joined(options_of(verb).flat_map(spellings), " ");
        format!("    {}) operands={operands} options='{options}' ;;\n", verb.name)
    });
    let of_verbs: String = of_verbs.collect();
    let shells = SHELLS.join(" ");
    format!(
        r#"# Completions of tsdaemonize for bash: source <(tsdaemonize completions bash)

_tsdaemonize_words() {{
  local IFS=$'\n'
  COMPREPLY+=($(compgen "$@" -- "$word"))
  # Not in bash 3.2.
  if [[ $* == *filenames* ]]; then compopt -o filenames 2> /dev/null; fi
}}

_tsdaemonize_program() {{
  if declare -F _comp_command_offset > /dev/null; then
    _comp_command_offset "$1"
  elif declare -F _command_offset > /dev/null; then
    _command_offset "$1"
  else
    if (($1 == COMP_CWORD)); then _tsdaemonize_words -c; fi
    _tsdaemonize_words -f -o filenames
  fi
}}

_tsdaemonize() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} option='' options='' operands='' name i
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    local IFS=$' \n'
    COMPREPLY=($(compgen -W '{verbs} {general}' -- "$word"))
    return
  fi
  case ${{COMP_WORDS[1]}} in
{of_verbs}  esac
  for ((i = 2; i < COMP_CWORD; i++)); do
    if [[ -n $option ]]; then
      [[ ${{COMP_WORDS[i]}} == = ]] || option=''
      continue
    fi
    case ${{COMP_WORDS[i]}} in
      --) options='' ;;
      =) i=$((i + 1)) ;;
      {valued}) option=${{COMP_WORDS[i]}} ;;
      -*) ;;
      *)
        if [[ $operands == program ]]; then
          _tsdaemonize_program "$i"
          return
        fi
        ;;
    esac
  done
  if [[ -n $option ]]; then
    [[ $word == = ]] && word=''
    case $option in
{values}    esac
    return
  fi
  if [[ $word == -* ]]; then
    local IFS=$' \n'
    COMPREPLY=($(compgen -W "$options" -- "$word"))
    return
  fi
  case $operands in
    program) _tsdaemonize_program "$COMP_CWORD" ;;
    shell) local IFS=$' \n'; COMPREPLY=($(compgen -W '{shells}' -- "$word")) ;;
    names)
      while IFS= read -r name; do
        if [[ $name == "$word"* ]]; then COMPREPLY+=("$(printf %q "$name")"); fi
      done < <("${{COMP_WORDS[0]/#\~/$HOME}}" {NAMES})
      ;;
  esac
}}

complete -F _tsdaemonize tsdaemonize
"#
    )
}
