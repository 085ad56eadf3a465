// Where a daemon's pidfile may be, and what can be known of the daemon by it.

export { defaultPlaces, hintOf, pidFileIn, socketIn } from './places.js'
export type { LastExit } from './state.js'
export { type Status, statusOf, stopTimeoutOf } from './status.js'
export { notRunning } from './whereabouts.js'
