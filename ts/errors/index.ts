// Every error of this package, how an error travels from the daemon to its launcher, and the checks of values that
// a program gives.

export {
  type Check,
  checkAbsolute,
  checkEach,
  checkInteger,
  checkObject,
  checkText,
  hasControls,
  ofType,
} from './checks.js'
export {
  ahead,
  DaemonError,
  type DaemonErrorCode,
  type DaemonErrorDetails,
  inText,
  invalidType,
  invalidValue,
  property,
  QUOTED,
  reviveError,
  serializeError,
  unknownKey,
  unknownName,
} from './errors.js'
export { nearest } from './nearest.js'
