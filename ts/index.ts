// tsdaemonize: write UNIX daemons in TypeScript.

export type { Capability, Landlock, Limit, Limits } from './options/index.js'
export { isDaemon } from './native/index.js'
export { Daemon } from './daemon.js'
export { DaemonError, type DaemonErrorCode } from './errors/index.js'
export { type DaemonizeOptions, daemonize, type ServiceOptions, serviced } from './functions.js'
export type { Identity } from './process/index.js'
export type { DaemonOptions } from './options/index.js'
export type { LastExit, Status } from './pidfile/index.js'
export * as syslog from './syslog/index.js'
