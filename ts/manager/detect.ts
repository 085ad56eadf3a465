// Whether a service manager, or a container's init, started this process.

import { native } from '../native/index.js'
import { readFileSync } from '../runtime/index.js'
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

/** Whether the parent is supervisord. SUPERVISOR_ENABLED alone is no proof: what a service starts inherits it. */
function isSupervisord(name: string): boolean {
  if (name === 'supervisord') return true
  // It may be run as a module: `python3 -m supervisor.supervisord`.
  if (!name.startsWith('python')) return false
  try {
    return /\bsupervisord\b/.test(readFileSync(`/proc/${process.ppid}/cmdline`, 'utf8'))
  } catch {
    return false
  }
}

/** The launcher of this daemon was what the service manager had started. */
let isPartOfService = false

/** Says of this daemon what its launcher knows of itself: the same code runs in both. */
export function bePartOfService(isPart: boolean): void {
  isPartOfService = isPart
}

/**
 * Whether the variables about a service were set for this very process, or by hand. `isClient`: the process speaks
 * for a daemon of another program, which is no part of the service.
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
    // There is no native module: start() says so.
    return ''
  }
}
