// syslog(3), in the shape of Python's module of the same name. Nothing here blocks the event loop:
// messages go to a queue of 8 MiB, and a native thread sends them in their order.

import { invalidType, invalidValue } from '../errors/index.js'
import { isFieldName, isReservedName, type SyslogValue } from '../fields/index.js'
import {
  defaultIdent,
  LOG_DEBUG,
  LOG_FACMASK,
  LOG_INFO,
  LOG_OPTIONS,
  LOG_PRIMASK,
  LOG_USER,
  logger,
} from '../logger/index.js'
import { native } from '../native/index.js'
import { type SyslogTransport, toNative } from './transport.js'

/** The state of the queue. */
export interface SyslogStats {
  /** Whether the logger was reached when it was last tried. */
  connected: boolean
  /** The number of messages that wait. */
  queued: number
  /** The bytes of their text. */
  queuedBytes: number
  /** The number of messages that the logger has got. */
  sent: number
  /** The number of messages that were lost since the queue was full. */
  dropped: number
}

/** A message with its priority and its fields. */
export interface SyslogEntry {
  /** A priority, OR'd with a facility where that of `openlog` is not meant; `LOG_INFO` by default. */
  priority?: number | undefined
  message: string
  /**
   * Names of 1 to 32 letters, digits, `_`, `-` and `.`, the first a letter, and their values. RFC
   * 5424 has them as structured data, the journal as fields (in upper case, `_` for `-` and `.`), the
   * local logger after the text, as ` name="value"`.
   */
  fields?: Readonly<Record<string, SyslogValue>> | undefined
}

/** The mask of all priorities. */
const ALL = LOG_UPTO(LOG_DEBUG)
const DEFAULT_FLUSH_MS = 5000

/**
 * Sets how messages are made and where they go. A program need not call it: the first message does, with the
 * defaults.
 *
 * @param ident - is prepended to every message; by default, the name that a `Daemon` of this program would have
 * @param logoption - OR'd options, 0 by default
 * @param facility - the facility of messages that name none, `LOG_USER` by default
 * @param transport - where messages go; by default to the journal, where it reads stdout or stderr
 * (`$JOURNAL_STREAM`), else to the local logger
 */
export function openlog(
  ident: string = defaultIdent(),
  logoption = 0,
  facility: number = LOG_USER,
  transport?: SyslogTransport,
): void {
  if (typeof ident !== 'string') throw invalidType('ident', ident, 'a string')
  checkBits('logoption', logoption, LOG_OPTIONS, 'OR’d options of openlog')
  checkBits('facility', facility, LOG_FACMASK, 'a facility, such as LOG_DAEMON')
  logger.open(ident, logoption, facility, transport === undefined ? undefined : toNative(transport))
}

/**
 * Logs a message.
 *
 * @param priority - a priority, OR'd with a facility where that of `openlog` is not meant; `LOG_INFO` by default
 * @param message - control characters are escaped (`#012`); cut at 8 KiB, for the journal at 4 MiB
 */
export function syslog(message: string): void
export function syslog(priority: number, message: string): void
export function syslog(first: number | string, second?: string): void {
  const priority = second === undefined ? LOG_INFO : first
  const message = second === undefined ? first : second
  checkMessage(priority, message)
  native.syslogLog(priority as number, message)
}

/**
 * Logs a message with fields.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE` or `ERR_INVALID_ARG_VALUE` for a wrong name or value
 */
export function log(entry: SyslogEntry): void {
  if (typeof entry !== 'object' || entry === null) {
    throw invalidType('entry', entry, 'an object with a message')
  }
  const { priority = LOG_INFO, message, fields = {} } = entry
  const flat = flatten(fields)
  checkMessage(priority, message)
  native.syslogLogFields(priority, message, flat)
}

/** Closes the connection when all messages before are sent, and forgets what `openlog` has set. */
export function closelog(): void {
  if (!logger.isOpen) return
  native.syslogClose()
  logger.open(defaultIdent(), 0, LOG_USER)
}

/**
 * Lets only the priorities of the mask through. A mask of 0 changes nothing.
 *
 * @returns the previous mask
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
 * @returns whether they were sent in time
 */
export async function flush(timeoutMs: number = DEFAULT_FLUSH_MS): Promise<boolean> {
  if (typeof timeoutMs !== 'number') throw invalidType('timeoutMs', timeoutMs, 'a number of milliseconds')
  if (!(timeoutMs >= 0)) throw invalidValue('timeoutMs', timeoutMs, 'a number of milliseconds, 0 or more')
  return logger.isOpen ? native.syslogFlush(timeoutMs, false) : true
}

/** Says how many messages were sent, wait, and were dropped. */
export function stats(): SyslogStats {
  return native.syslogStats()
}

function checkMessage(priority: unknown, message: unknown): asserts message is string {
  if (typeof message !== 'string') throw invalidType('message', message, 'a string')
  checkBits('priority', priority, LOG_FACMASK | LOG_PRIMASK, 'a priority, such as LOG_INFO')
  if (!logger.isOpen) openlog()
}

function checkBits(name: string, value: unknown, bits: number, expected: string): void {
  if (typeof value !== 'number') throw invalidType(name, value, expected)
  if (!Number.isInteger(value) || (value & ~bits) !== 0) throw invalidValue(name, value, expected)
}

const SCALARS = new Set(['string', 'number', 'bigint', 'boolean'])
const NAMES = 'of 1 to 32 letters, digits, _, - and ., the first a letter'

/** Names and values in turn. */
function flatten(fields: unknown): string[] {
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) {
    throw invalidType('fields', fields, 'an object of names and values')
  }
  return Object.entries(fields).flatMap(([name, value]) => {
    if (!isFieldName(name)) throw invalidValue('fields', name, `made of names ${NAMES}`)
    if (isReservedName(name)) {
      throw invalidValue('fields', name, 'made of other names than those of the message itself')
    }
    if (value === undefined) return []
    if (value !== null && !SCALARS.has(typeof value)) {
      throw invalidType(`fields.${name}`, value, 'a string, a number, a boolean or null')
    }
    return [name, String(value)]
  })
}
