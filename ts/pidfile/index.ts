// Where a daemon's pidfile may be, and what can be known of the daemon by it.

export { defaultPlaces, hintOf, pidFileIn, socketIn } from './places.js'
export { type Status, statusOf } from './status.js'
export { notRunning } from './whereabouts.js'
