// The service manager or container around the process: whether it started this process, what it is told, what PID 1
// does for others, and what ends with it.

export { bePartOfService, ownsVariables, startedByManager } from './detect.js'
export { warningOfLifeline } from './lifeline.js'
export { Manager } from './notify.js'
export { reapOrphans } from './orphans.js'
