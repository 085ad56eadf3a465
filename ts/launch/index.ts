// The launcher: from options to a running daemon, or to the reason why there is none.

export { isAhead, isRepeated, launch, onceReleased, show, startedEarlier } from './launch.js'
