// The one daemon that this process is, from its take-over on, and what can be asked of it.

import { DaemonError } from '../errors/index.js'
import { assertAgreed } from '../native/index.js'
import { reportFailure } from './handover.js'
import { type Circumstances, Life, logEnd } from './life.js'
import type { Identity } from './privileges.js'

let life: Life | undefined

/** Steps 6 to 9 of a start, and then the daemon. Never settles. */
export function live(circumstances: Circumstances): Promise<never> {
  life = new Life(circumstances)
  return life.begin()
}

/** Ends a process that was started to be a daemon and cannot be one. */
export function refuse(error: unknown): never {
  reportFailure(error)
  process.exit(1)
}

/** The default `onSignal`. Where no daemon lives, SIGTERM ends the process, as `exit` does. */
export async function onSignal(signal: NodeJS.Signals): Promise<void> {
  if (life !== undefined) return life.onSignal(signal)
  if (signal !== 'SIGTERM') return
  logEnd(signal)
  await exit(0)
}

/** Ends the daemon. The first code counts. Never settles. */
export async function exit(code: number): Promise<never> {
  assertAgreed()
  return life === undefined ? process.exit(code) : life.exit(code)
}

/** Opens the log files anew. */
export function reopen(): void {
  assertAgreed()
  if (life === undefined) {
    throw new DaemonError(
      'ERR_DAEMON_NOT_RUNNING',
      'reopen() is for the daemon itself: call it in `action` or `onSignal`, or send SIGHUP with kill()',
    )
  }
  life.reopen()
}

/** Becomes another user. Any failure ends the daemon. */
export function dropPrivileges(user?: string | number | null, group?: string | number | null): Identity {
  assertAgreed()
  if (life === undefined) {
    throw new DaemonError(
      'ERR_DAEMON_PRIVILEGES',
      'dropPrivileges() is for the daemon: call it in `setup` or `action`',
    )
  }
  return life.privileges.drop(user, group)
}
