// What a daemon tells its service manager: messages of sd_notify(3).

import { native } from '../native/index.js'
import { LOG_WARNING, syslog } from '../syslog/index.js'

/** The service manager of an attached daemon; there may be none. */
export class Manager {
  readonly #address = process.env.NOTIFY_SOCKET

  /** Takes NOTIFY_SOCKET out of the environment: it is not for the daemon's children. */
  constructor() {
    delete process.env.NOTIFY_SOCKET
  }

  /** Sends lines of `NAME=value`. A manager that cannot be reached is a LOG_WARNING. */
  tell(...lines: string[]): void {
    if (this.#address === undefined) return
    const reason = native.notify(this.#address, lines.join('\n'))
    if (reason !== null) syslog(LOG_WARNING, `Cannot tell the service manager at ${this.#address}: ${reason}`)
  }

  /** Connects to the manager before the root directory changes, after which its socket cannot be reached. */
  stayInTouch(): void {
    if (this.#address === undefined) return
    const reason = native.notifyStayInTouch(this.#address)
    if (reason !== null)
      syslog(LOG_WARNING, `Cannot reach the service manager at ${this.#address}: ${reason}`)
  }

  /** Says that a reload begins. `tell('READY=1')` says that it has ended. */
  tellReloading(): void {
    if (this.#address === undefined) return
    this.tell('RELOADING=1', `MONOTONIC_USEC=${native.monotonicUsec()}`)
  }
}
