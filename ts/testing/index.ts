// tsdaemonize/testing: a kit for the integration tests of programs that are daemons. See docs/testing.md.

export type { Exit } from './execution.js'
export { type Match, Place, type PlaceOptions, type RunOptions, type StartOptions } from './place.js'
export { type Proc, proc } from './proc.js'
export type { Message } from './receiver.js'
export type { TestDaemon } from './tested.js'
export { until } from './until.js'
