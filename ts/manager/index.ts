// The service manager or container around the process: whether it started this process, what it is told, and what
// ends with it.

export { warningOfLifeline } from './lifeline.js'
export {
  bePartOfService,
  meetManager,
  ownsVariables,
  startedByManager,
  stayInTouch,
  tellManager,
  tellReloading,
} from './manager.js'
