// What a daemon's state file says: a hint, which an older or a newer version may have written, or somebody by hand.

import { LARGEST_INT } from '../runtime/index.js'

/** How a daemon ended, as its supervisor saw it. */
export interface LastExit {
  /** When, in ISO 8601. */
  at: string
  /** The exit status; `null` where a signal ended it, and where that is not known. */
  code: number | null
  /** The signal that ended it, such as `'SIGKILL'`. */
  signal: string | null
  /** The same in words. */
  reason: string
}

/** What is used of a state file. */
export interface State {
  pid: number | undefined
  stopTimeout: number | undefined
  restarts: number
  lastExit: LastExit | null
}

/** Reads it; what is missing, or of another type, is left out. */
export function parseState(text: string | undefined): State {
  const { pid, stopTimeout, restarts, lastExit } = objectIn(text)
  return {
    pid: isCount(pid) && pid > 0 ? pid : undefined,
    stopTimeout: isCount(stopTimeout) && stopTimeout > 0 ? stopTimeout : undefined,
    restarts: isCount(restarts) ? restarts : 0,
    lastExit: parseExit(lastExit),
  }
}

function parseExit(value: unknown): LastExit | null {
  if (typeof value !== 'object' || value === null) return null
  const { at, code, signal, reason } = value as Record<string, unknown>
  if (typeof at !== 'string' || Number.isNaN(Date.parse(at)) || typeof reason !== 'string') return null
  return {
    at,
    code: isCount(code) ? code : null,
    signal: typeof signal === 'string' ? signal : null,
    reason,
  }
}

function objectIn(text: string | undefined): Record<string, unknown> {
  try {
    const value = JSON.parse(text ?? '')
    return typeof value === 'object' && value !== null ? value : {}
  } catch {
    return {}
  }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value <= LARGEST_INT
}
