// The command line of a daemon: its verbs, in one table (verbs.ts), and what a person sees while one of them waits.

export { runCommand } from './command.js'
export { exitStatus, type Service, type Stopped } from './verbs.js'
export { silently, Terminal, type Wait } from './waiting.js'
export { killed } from './words.js'
