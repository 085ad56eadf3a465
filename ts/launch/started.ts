// Which daemons this program has started: the code that did so runs again in the process of the next one.

import { become, handOver } from '../process/index.js'

/** The pids of the daemons that this program has started, by name: the next daemon is told of them. */
const pids = new Map(handOver?.earlier.map(({ name, pid }) => [name, pid]))
/** The daemons that the launcher had started, and whose start was reached in this process, too. */
const reached = new Set<string>()

/** Notes that a daemon was started. */
export function noteStarted(name: string, pid: number): void {
  pids.set(name, pid)
}

/** What the next daemon is told. */
export function startedSoFar(): { name: string; pid: number }[] {
  return become === undefined ? Array.from(pids, ([name, pid]) => ({ name, pid })) : []
}

/** The pid of a daemon whose start is reached now, and which this program, or its launcher, has started before. */
export function startedEarlier(name: string): number | undefined {
  reached.add(name)
  return pids.get(name)
}

/**
 * Whether code runs for the second time: in the process of a daemon before its take-over. What that code does to a
 * daemon that the program had started before, the launcher has done already.
 */
export function isRepeated(name: string): boolean {
  return handOver !== undefined && become === undefined && pids.has(name)
}

/** Whether code runs for the second time, and the start of this daemon is still to come. */
export function isAhead(name: string): boolean {
  return isRepeated(name) && !reached.has(name)
}
