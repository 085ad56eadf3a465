//! Completions for fish, 3.0 and newer.

use super::{NAMES, SHELLS, Values, all_options, joined, spellings, values_of, verbs_with};
use crate::command_line::{GENERAL, Operands, Opt, VERBS, Verb};

/// The script, for a file that is read when it is needed.
pub fn script() -> String {
    let programs = joined(verbs_with(Operands::Program), " ");
    let names = joined(verbs_with(Operands::Names), " ");
    let shell = joined(verbs_with(Operands::Shell), " ");
    let shells = SHELLS.join(" ");
    let options = all_options();
    let valued = options.iter().filter(|option| option.value.is_some());
    let valued = joined(valued.flat_map(|option| spellings(option)), " ");
    let verbs = VERBS.iter().map(|verb| {
        let Verb { name, does, .. } = verb;
        format!("complete -c tsdaemonize -n __tsdaemonize_first -a {name} -d {}\n", quoted(does))
    });
    let verbs: String = verbs.collect();
    let general = GENERAL.iter().map(|option| line("__tsdaemonize_first", option));
    let general: String = general.collect();
    let all = format!("__tsdaemonize_verb {}", joined(VERBS.iter().map(|verb| verb.name), " "));
    let help: String = GENERAL.iter().take(1).map(|option| line(&all, option)).collect();
    let of_verbs = options.iter().map(|option| {
        let has = |verb: &&Verb| verb.options().any(|other| other.name == option.name);
        let verbs = joined(VERBS.iter().filter(has).map(|verb| verb.name), " ");
        line(&format!("__tsdaemonize_verb {verbs}"), option)
    });
    let of_verbs: String = of_verbs.collect();
    format!(
        r#"# Completions of tsdaemonize for fish: tsdaemonize completions fish > ~/.config/fish/completions/tsdaemonize.fish

function __tsdaemonize_first
    test (count (commandline -opc)) -eq 1
end

# Prints the number of the word that is the program.
function __tsdaemonize_program
    set -l words (commandline -opc)
    contains -- "$words[2]" {programs}; or return 1
    set -l at 3
    while test $at -le (count $words)
        switch $words[$at]
            case --
                set at (math $at + 1)
                break
            case {valued}
                set at (math $at + 2)
            case '-*'
                set at (math $at + 1)
            case '*'
                break
        end
    end
    test $at -le (count $words); and echo $at
end

# Whether one of these commands is there, and its options may still come.
function __tsdaemonize_verb
    set -l words (commandline -opc)
    contains -- "$words[2]" $argv; and not __tsdaemonize_program > /dev/null
end

# What fish knows of the program and its arguments.
function __tsdaemonize_command
    set -l words (commandline -opc)
    set -l at (__tsdaemonize_program)
    set -l word (commandline -ct)
    if test -n "$at"
        set word (string join ' ' -- (string escape -- $words[$at..-1]) $word)
    else if string match -q -- '-*' $word
        return
    end
    complete --do-complete=$word
end

complete -c tsdaemonize -f
{verbs}{general}{help}{of_verbs}complete -c tsdaemonize -n '__tsdaemonize_verb {names}' -a '(command tsdaemonize {NAMES})'
complete -c tsdaemonize -n '__tsdaemonize_verb {shell}' -a '{shells}'
complete -c tsdaemonize -n 'contains -- (commandline -opc)[2] {programs}' -a '(__tsdaemonize_command)'
"#
    )
}

/// An option, where a condition holds.
fn line(condition: &str, option: &Opt) -> String {
    let short = option.short.map_or_else(String::new, |letter| format!(" -s {letter}"));
    let values = match values_of(option) {
        None => String::new(),
        Some(Values::Anything) => " -x".to_owned(),
        Some(Values::Files) => " -r -F".to_owned(),
        Some(Values::Outputs) => " -r -F -a syslog".to_owned(),
        Some(Values::Directories) => " -x -a '(__fish_complete_directories)'".to_owned(),
        Some(Values::Users) => " -x -a '(__fish_complete_users)'".to_owned(),
        Some(Values::Groups) => " -x -a '(__fish_complete_groups)'".to_owned(),
        Some(Values::Commands) => " -x -a '(__fish_complete_command)'".to_owned(),
        Some(Values::Words(list)) => format!(" -x -a '{list}'"),
    };
    let (name, help) = (option.name, quoted(option.help));
    format!("complete -c tsdaemonize -n '{condition}'{short} -l {name}{values} -d {help}\n")
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}
