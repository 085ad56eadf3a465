// The one logger of the process, which `syslog` and the daemon's own messages share.

export {
  captureStderr,
  defaultIdent,
  inBackground,
  isOpen,
  logAs,
  openLogger,
  showOnTerminal,
  TOLD,
} from './logger.js'
