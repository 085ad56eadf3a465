// The launcher: from options to a running daemon, or to the reason why there is none.

export { launch, onceReleased, show } from './launch.js'
export { isAhead, isRepeated, startedEarlier } from './started.js'
