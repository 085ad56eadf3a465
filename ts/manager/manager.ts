// The service manager, or the container, that this process may run under: whether one started it, and
// what a daemon owes to it, which is sd_notify(3) messages and, as PID 1, the reaping of orphans.

import { native } from '../native/index.js'
import { readFileSync } from '../runtime/index.js'
import { LOG_WARNING, syslog } from '../syslog/index.js'
import { isContainerInit, isSupervisor } from './inits.js'

/** Whether a service manager, or a container's init, started this very process. */
export function startedByManager(): boolean {
  if (process.pid === 1) return true
  if (process.env.SYSTEMD_EXEC_PID === String(process.pid)) return true
  const name = parentName()
  if (name === 'systemd' && startedByOldSystemd()) return true
  if (process.env.SUPERVISOR_ENABLED !== undefined && isSupervisord(name)) return true
  return isSupervisor(name) || (process.ppid === 1 && isContainerInit(name))
}

/** Before version 248 systemd does not set SYSTEMD_EXEC_PID (systemd.exec(5)). Its services are children
 * of its own with an INVOCATION_ID, and each leads a session; an orphan that was given to it does not. */
function startedByOldSystemd(): boolean {
  return (
    process.env.SYSTEMD_EXEC_PID === undefined &&
    process.env.INVOCATION_ID !== undefined &&
    native.leadsSession()
  )
}

/** Whether the parent is supervisord: what its services start inherits SUPERVISOR_ENABLED. */
function isSupervisord(name: string): boolean {
  if (name === 'supervisord') return true
  // By its module: `python3 -m supervisor.supervisord`.
  if (!name.startsWith('python')) return false
  try {
    return /\bsupervisord\b/.test(readFileSync(`/proc/${process.ppid}/cmdline`, 'utf8'))
  } catch {
    return false
  }
}

/** The launcher of this daemon was what the service manager had started. */
let isPartOfService = false

/** As in the launcher, so in the daemon, in which the same code runs. */
export function bePartOfService(isPart: boolean): void {
  isPartOfService = isPart
}

/**
 * Whether what the environment says of a service is said of this very process, or by hand. `isClient`:
 * it speaks for a daemon of another program, which is no part of the service.
 */
export function ownsVariables(isClient: boolean): boolean {
  const { SYSTEMD_EXEC_PID: started, INVOCATION_ID: unit } = process.env
  if (isPartOfService || (started === undefined && unit === undefined)) return true
  if (isClient) return false
  return started === String(process.pid) || (parentName() === 'systemd' && startedByOldSystemd())
}

function parentName(): string {
  try {
    return native.parentName()
  } catch {
    // No native module here: start() says so.
    return ''
  }
}

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
  const reason = native.notify(address, lines.join('\n'))
  if (reason !== null) syslog(LOG_WARNING, `Cannot tell the service manager at ${address}: ${reason}`)
}

/** The root directory is about to become another, from where the manager's socket cannot be reached. */
export function stayInTouch(): void {
  if (address === undefined) return
  const reason = native.notifyStayInTouch(address)
  if (reason !== null) syslog(LOG_WARNING, `Cannot reach the service manager at ${address}: ${reason}`)
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
  native.suspectOrphans()
  const reap = () => {
    reaping = false
    if (native.reapSuspects()) reapSoon()
  }
  // setImmediate: timers alone could follow each other without libuv's look at its children between.
  setTimeout(setImmediate, GRACE_MS / 2, reap).unref()
}
