// What a person at a terminal sees while a verb waits, and what Ctrl-C does then.

import { isTerminal, now } from '../runtime/index.js'

/** Waits for some work to be done. */
export type Wait = <T>(waiting: Waiting, work: () => Promise<T>) => Promise<T>

/** What is waited for. */
export interface Waiting {
  /** In words: `sample: waiting until it is ready`. */
  what: string
  /** For at most so many milliseconds. */
  limit: number
  /** What follows when that time is up. */
  after: string
  /** Ctrl-C: has the work end with an error that says so; without it, Ctrl-C ends this process at once. */
  cancel?: () => void
}

const SECOND = 1000
const STDERR = 2

/** A program's own waiting is its own affair. */
export const silently: Wait = (_, work) => work()

/**
 * From the second second on, one line on the terminal that is renewed, and vanishes when the work is done. Ctrl-C
 * ends the process as it would without, but not before what there is to say about the work has been said.
 */
export const onTerminal: Wait = async (waiting, work) => {
  const begun = now()
  let line = ''
  const show = (text: string) => {
    if (text === line) return
    // By spaces: not every terminal knows how to erase.
    process.stderr.write(`\r${text.padEnd(line.length)}${text === '' ? '\r' : ''}`)
    line = text
  }
  const renew = () => {
    const { what, limit, after } = waiting
    const seconds = Math.round((now() - begun) / SECOND)
    // A line that wraps could not be renewed.
    show(
      `${what}: ${seconds} s of ${limit / SECOND} s, ${after}`.slice(0, (process.stderr.columns || 80) - 1),
    )
  }
  const interrupt = () => {
    show('')
    clearInterval(timer)
    interrupted = true
    if (waiting.cancel) waiting.cancel()
    else dieIfInterrupted()
  }
  const timer = setInterval(() => {
    if (isTerminal(STDERR)) renew()
  }, SECOND)
  process.once('SIGINT', interrupt)
  try {
    return await work()
  } finally {
    clearInterval(timer)
    show('')
    process.removeListener('SIGINT', interrupt)
  }
}

let interrupted = false

/** So that a shell sees what happened. Unless the program has a listener of its own, which was called already. */
export function dieIfInterrupted(): void {
  if (!interrupted) return
  process.exitCode = 130
  if (process.listenerCount('SIGINT') === 0) process.kill(process.pid, 'SIGINT')
}
