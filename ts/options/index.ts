// The options of a Daemon: what they mean, the check of them, and their defaults.

export type { Capability, Landlock, Limit, Limits } from './confinement.js'
export { checkNames, type DaemonOptions, type ResolvedOptions, resolveOptions, SYSLOG } from './options.js'
