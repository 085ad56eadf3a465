// What a daemon owes to the service manager or the container that it runs under: sd_notify(3)
// messages, and, as PID 1, the reaping of orphans.

import { native } from './native.js'
import { LOG_WARNING, syslog } from './syslog.js'

let address: string | undefined

/** Takes NOTIFY_SOCKET out of the environment: it is not for the daemon's children. */
export function meetManager(): void {
  address = process.env.NOTIFY_SOCKET
  delete process.env.NOTIFY_SOCKET
  if (process.pid === 1) process.on('SIGCHLD', reapSoon)
}

/** Sends lines of `NAME=value`. A manager that cannot be reached is a LOG_WARNING. */
export function tellManager(...lines: string[]): void {
  if (address === undefined) return
  const errno = native.notify(address, lines.join('\n'))
  if (errno !== 0) syslog(LOG_WARNING, `Cannot tell the service manager at ${address}: errno ${-errno}`)
}

/** The root directory is about to become another, from where the manager's socket cannot be reached. */
export function stayInTouch(): void {
  if (address === undefined) return
  const errno = native.notifyStayInTouch(address)
  if (errno !== 0) syslog(LOG_WARNING, `Cannot reach the service manager at ${address}: errno ${-errno}`)
}

/** A reload begins; `tellManager('READY=1')` ends it. */
export function tellReloading(): void {
  if (address !== undefined) tellManager('RELOADING=1', `MONOTONIC_USEC=${native.monotonicUsec()}`)
}

/** libuv waits for its own children as soon as they end. What is a zombie still, this much later and
 * after a turn of the event loop, and is still the same process, is an orphan that was given to PID 1. */
const GRACE_MS = 200
let reaping = false

function reapSoon(): void {
  if (reaping) return
  reaping = true
  setTimeout(suspect, GRACE_MS / 2).unref()
}

function suspect(): void {
  const seen = native.zombies()
  const reap = () => {
    reaping = false
    for (const zombie of seen) native.reap(zombie)
    if (native.zombies().length > 0) reapSoon()
  }
  // setImmediate: timers alone could follow each other without libuv's look at its children between.
  setTimeout(setImmediate, GRACE_MS / 2, reap).unref()
}
