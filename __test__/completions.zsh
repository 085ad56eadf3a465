# Prints what zsh completes at the end of a line, a word a line: an interactive zsh on a terminal of its own, in which
# `compadd` says what it adds. $1: the file with the completions, $2: the line.
zmodload zsh/zpty
inner=$(mktemp)
cat > $inner <<INNER
PROMPT= RPROMPT=
autoload -Uz compinit; compinit -u -D
bindkey '^I' complete-word
zstyle ':completion:*' insert-tab false
begin() { print BEGIN }
finish() { print END; exit }
compprefuncs=(begin) comppostfuncs=(finish)
compadd() {
  case " \${@[1,(i)(-|--)]} " in *" -"[OAD]" "*) builtin compadd "\$@"; return ;; esac
  local -a found
  builtin compadd -A found "\$@"
  print -rl -- "FOUND "\${^found}
  builtin compadd "\$@"
}
source $1
print READY
INNER
zpty zsh zsh -f -i
zpty -w zsh "source $inner"
zpty -r -m zsh line '*READY*'
zpty -n -w zsh "$2"$'\t'
zpty -r -m zsh line '*END*'
rm $inner
print -r -- "$line" | tr -d '\r' | sed -n 's/^FOUND //p'
