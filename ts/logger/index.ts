// The one logger of the process, which `syslog` and the daemon's own messages share, and the numbers of syslog.h.

export * from './constants.js'
export { defaultIdent, logger } from './logger.js'
