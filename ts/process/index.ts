// The process of a daemon: what the launcher has handed over to it, and its life from the take-over to its end.

export { dropPrivileges, exit, live, onSignal, refuse, reopen } from './current.js'
export {
  awaits,
  become,
  type Hello,
  handOver,
  isByProgram,
  managed,
  markAsDaemon,
  runOptions,
} from './handover.js'
export { exitNow, type Identity } from './privileges.js'
export { signalName, signalNames, signalNumber } from './signals.js'
