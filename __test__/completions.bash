# Prints what bash completes, a word a line. $1: the file with the completions; the rest: the words of the line as
# readline takes them apart, the last of which is completed.
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_tsdaemonize
printf '%s\n' "${COMPREPLY[@]}"
