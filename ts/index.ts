// tsdaemonize: write UNIX daemons in TypeScript.

export type { Capability, Landlock, Limit, Limits } from './confinement.js'
export { isDaemon } from './copies.js'
export { Daemon } from './daemon.js'
export { DaemonError, type DaemonErrorCode } from './errors.js'
export { type DaemonizeOptions, daemonize, type ServiceOptions, serviced } from './functions.js'
export type { Identity } from './life.js'
export type { DaemonOptions } from './options.js'
export type { Status } from './status.js'
export * as syslog from './syslog.js'
