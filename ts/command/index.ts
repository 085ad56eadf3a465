// The command line of a daemon: its verbs, and what a person sees while one of them waits.

export { exitStatus, killed, runCommand } from './command.js'
export { onTerminal, silently, type Wait } from './waiting.js'
