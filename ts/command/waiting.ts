// What a person at a terminal sees while a verb waits, and what Ctrl-C does then.

import { isTerminal, now } from '../runtime/index.js'

/** Waits for some work to be done. */
export type Wait = <T>(waiting: Waiting, work: () => Promise<T>) => Promise<T>

/** What is waited for. */
export interface Waiting {
  /** In words: `sample: waiting until it is ready`. */
  what: string
  /** The most milliseconds that the work may take. */
  limit: number
  /** What follows when that time is up. */
  after: string
  /** What Ctrl-C does: the work ends with an error that says so. Without it, Ctrl-C ends this process at once. */
  cancel?: () => void
}

const SECOND = 1000
const STDERR = 2

/** A program that calls a method shows nothing while it waits. */
export const silently: Wait = (_, work) => work()

/** The terminal from which a verb was called. */
export class Terminal {
  #interrupted = false

  /**
   * From the second second on, one line on the terminal is renewed, and vanishes when the work is done. Ctrl-C ends
   * the process as it would without this, after what there is to say about the work has been said.
   */
  readonly wait: Wait = async (waiting, work) => {
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
      const text = `${what}: ${seconds} s of ${limit / SECOND} s, ${after}`
      // A line that wraps could not be renewed.
      show(text.slice(0, (process.stderr.columns || 80) - 1))
    }
    const interrupt = () => {
      show('')
      clearInterval(timer)
      this.#interrupted = true
      if (waiting.cancel) waiting.cancel()
      else this.dieIfInterrupted()
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

  /** Ends this process by SIGINT, so that a shell sees what happened; not where the program has a listener of its own,
   * which was called already. */
  dieIfInterrupted(): void {
    if (!this.#interrupted) return
    process.exitCode = 130
    if (process.listenerCount('SIGINT') === 0) process.kill(process.pid, 'SIGINT')
  }
}
