// The process of a daemon: what the launcher has handed over to it, and its life from the take-over to its end.

export { become, type Hello, handOver, managed } from './handover.js'
export {
  awaits,
  dropPrivileges,
  exit,
  exitNow,
  type Identity,
  live,
  onSignal,
  refuse,
  reopen,
  warnLater,
} from './life.js'
export { signalName, signalNames, signalNumber } from './signals.js'
