// The last line in the log of a daemon that ends: how long it ran, with which status, and why.

import { finishLast, native } from '../native/index.js'

export class Farewell {
  #reason: string | undefined

  /** Why the daemon is about to end. The first reason counts. */
  because(reason: string): void {
    this.#reason ??= reason
  }

  /** The line is logged after the listeners of `exit` that there are by now: one of them may change the status. */
  sayLast(): void {
    process.off('exit', this.#say).on('exit', this.#say)
    finishLast()
  }

  readonly #say = (code: number): void => {
    native.farewell(Number(process.exitCode ?? code), this.#reason ?? 'process.exit()')
  }
}
