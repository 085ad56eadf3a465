// syslog(3), in the shape of Python's module of the same name. Nothing here blocks the event loop:
// messages go to a queue of 8 MiB, and a native thread sends them in their order.

import { invalidType, invalidValue } from './errors.js'
import { defaultIdent, isOpen, openLogger } from './logger.js'
import { native } from './native.js'

/** Priorities, the most urgent first. */
export const LOG_EMERG = 0
export const LOG_ALERT = 1
export const LOG_CRIT = 2
export const LOG_ERR = 3
export const LOG_WARNING = 4
export const LOG_NOTICE = 5
export const LOG_INFO = 6
export const LOG_DEBUG = 7

/** Facilities. */
export const LOG_KERN = 0 << 3
export const LOG_USER = 1 << 3
export const LOG_MAIL = 2 << 3
export const LOG_DAEMON = 3 << 3
export const LOG_AUTH = 4 << 3
export const LOG_SYSLOG = 5 << 3
export const LOG_LPR = 6 << 3
export const LOG_NEWS = 7 << 3
export const LOG_UUCP = 8 << 3
export const LOG_CRON = 9 << 3
export const LOG_AUTHPRIV = 10 << 3
export const LOG_FTP = 11 << 3
export const LOG_LOCAL0 = 16 << 3
export const LOG_LOCAL1 = 17 << 3
export const LOG_LOCAL2 = 18 << 3
export const LOG_LOCAL3 = 19 << 3
export const LOG_LOCAL4 = 20 << 3
export const LOG_LOCAL5 = 21 << 3
export const LOG_LOCAL6 = 22 << 3
export const LOG_LOCAL7 = 23 << 3

/** Options of `openlog`. */
/** Every message has the process's id. */
export const LOG_PID = 0x01
/** Messages go to /dev/console as well, while the logger cannot be reached. */
export const LOG_CONS = 0x02
/** Connect with the first message (the default). */
export const LOG_ODELAY = 0x04
/** Connect at once. */
export const LOG_NDELAY = 0x08
/** Without effect, as in syslog(3) on Linux. */
export const LOG_NOWAIT = 0x10
/** Messages go to stderr as well. */
export const LOG_PERROR = 0x20

/** What the queue is doing. */
export interface SyslogStats {
  /** The logger was reached when it was last tried. */
  connected: boolean
  /** Messages that wait. */
  queued: number
  /** Bytes of their text. */
  queuedBytes: number
  /** Messages that were handed to the logger. */
  sent: number
  /** Messages that the full queue did not take. */
  dropped: number
}

const OPTIONS = 0x3f
const PRIORITIES = 0x3ff
const ALL = 0xff
const DEFAULT_FLUSH_MS = 5000

/**
 * Sets how messages are made. Optional: the first message does it with the defaults.
 *
 * @param ident - prepended to every message; the script's base name by default
 * @param logoption - OR'd options, 0 by default
 * @param facility - of messages that name none, `LOG_USER` by default
 */
export function openlog(ident: string = defaultIdent(), logoption = 0, facility: number = LOG_USER): void {
  if (typeof ident !== 'string') throw invalidType('ident', ident, 'a string')
  checkBits('logoption', logoption, OPTIONS, 'OR’d options of openlog')
  checkBits('facility', facility, PRIORITIES & ~7, 'a facility, such as LOG_DAEMON')
  openLogger(ident, logoption, facility)
}

/**
 * Logs a message.
 *
 * @param priority - a priority, OR'd with a facility if it shall be another one; `LOG_INFO` by default
 * @param message - control characters are escaped (`#012`); cut at 8 KiB
 */
export function syslog(message: string): void
export function syslog(priority: number, message: string): void
export function syslog(first: number | string, second?: string): void {
  const [priority, message] = second === undefined ? [LOG_INFO, first] : [first, second]
  if (typeof message !== 'string') throw invalidType('message', message, 'a string')
  if (typeof priority !== 'number') throw invalidType('priority', priority, 'a priority, such as LOG_INFO')
  checkBits('priority', priority, PRIORITIES, 'a priority, such as LOG_INFO')
  if (!isOpen()) openlog()
  native.syslogLog(priority, message)
}

/** Closes the connection, when all before it is sent, and forgets what `openlog` set. */
export function closelog(): void {
  if (!isOpen()) return
  native.syslogClose()
  openLogger(defaultIdent(), 0, LOG_USER)
}

/**
 * Lets only the priorities of the mask through; 0 changes nothing.
 *
 * @returns the mask before
 */
export function setlogmask(mask: number): number {
  checkBits('mask', mask, ALL, 'a mask of LOG_MASK() and LOG_UPTO()')
  return native.syslogSetMask(mask)
}

/** The mask of one priority. */
export function LOG_MASK(priority: number): number {
  return 1 << priority
}

/** The mask of a priority and all more urgent ones. */
export function LOG_UPTO(priority: number): number {
  return (1 << (priority + 1)) - 1
}

/**
 * Waits until all messages are sent.
 *
 * @param timeoutMs - milliseconds, 5000 by default
 * @returns whether they were, in time
 */
export async function flush(timeoutMs: number = DEFAULT_FLUSH_MS): Promise<boolean> {
  if (typeof timeoutMs !== 'number') throw invalidType('timeoutMs', timeoutMs, 'a number of milliseconds')
  if (!(timeoutMs >= 0)) throw invalidValue('timeoutMs', timeoutMs, 'a number of milliseconds, 0 or more')
  return isOpen() ? native.syslogFlush(timeoutMs, false) : true
}

/** What is sent, waits, and was dropped. */
export function stats(): SyslogStats {
  return native.syslogStats()
}

function checkBits(name: string, value: unknown, bits: number, takes: string): void {
  if (typeof value !== 'number') throw invalidType(name, value, takes)
  if (!Number.isInteger(value) || (value & ~bits) !== 0) throw invalidValue(name, value, takes)
}
