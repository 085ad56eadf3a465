// syslog(3), in the shape of Python's module of the same name. Nothing here blocks the event loop:
// messages go to a queue of 8 MiB, and a native thread sends them in their order.

import { hasControls, invalidType, invalidValue, unknownName } from '../errors/index.js'
import { defaultIdent, isOpen, openLogger } from '../logger/index.js'
import { type NativeTransport, native } from '../native/index.js'
import { isAbsolute } from '../runtime/index.js'

// Priorities, the most urgent first.
/** The system is unusable. */
export const LOG_EMERG = 0
/** Action must be taken at once. */
export const LOG_ALERT = 1
/** Critical conditions. */
export const LOG_CRIT = 2
/** Errors. */
export const LOG_ERR = 3
/** Warnings. */
export const LOG_WARNING = 4
/** Normal, but significant. */
export const LOG_NOTICE = 5
/** Information: the default. */
export const LOG_INFO = 6
/** For debugging. */
export const LOG_DEBUG = 7

// Facilities.
/** The kernel. */
export const LOG_KERN = 0 << 3
/** Programs of users: the default of `openlog`. */
export const LOG_USER = 1 << 3
/** Mail. */
export const LOG_MAIL = 2 << 3
/** Daemons: the default of a `Daemon`. */
export const LOG_DAEMON = 3 << 3
/** Security and authorization. */
export const LOG_AUTH = 4 << 3
/** The logger itself. */
export const LOG_SYSLOG = 5 << 3
/** Printers. */
export const LOG_LPR = 6 << 3
/** Usenet news. */
export const LOG_NEWS = 7 << 3
/** UUCP. */
export const LOG_UUCP = 8 << 3
/** cron and at. */
export const LOG_CRON = 9 << 3
/** Security and authorization, for few to read. */
export const LOG_AUTHPRIV = 10 << 3
/** FTP. */
export const LOG_FTP = 11 << 3
/** For local use. */
export const LOG_LOCAL0 = 16 << 3
/** For local use. */
export const LOG_LOCAL1 = 17 << 3
/** For local use. */
export const LOG_LOCAL2 = 18 << 3
/** For local use. */
export const LOG_LOCAL3 = 19 << 3
/** For local use. */
export const LOG_LOCAL4 = 20 << 3
/** For local use. */
export const LOG_LOCAL5 = 21 << 3
/** For local use. */
export const LOG_LOCAL6 = 22 << 3
/** For local use. */
export const LOG_LOCAL7 = 23 << 3

// Options of `openlog`.
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

/** Where messages go. */
export type SyslogTransport =
  /** The local logger, in RFC 3164; `path` is its socket, `/dev/log` by default. */
  | { type: 'local'; path?: string | undefined }
  /**
   * Another host's logger, in RFC 5424: datagrams (RFC 5426), or a connection with octet counting
   * (RFC 6587). `port` is 514 by default. `sdId` is the SD-ID of fields, `fields@32473` by default;
   * who has a private enterprise number gives `name@number`.
   */
  | { type: 'udp' | 'tcp'; host: string; port?: number | undefined; sdId?: string | undefined }
  /** systemd's journal; `path` is its native socket, `/run/systemd/journal/socket` by default. */
  | { type: 'journal'; path?: string | undefined }

/** What a field can be; `undefined` is "left out". */
export type SyslogValue = string | number | bigint | boolean | null | undefined

/** A message with what belongs to it. */
export interface SyslogEntry {
  /** A priority, OR'd with a facility if it shall be another one; `LOG_INFO` by default. */
  priority?: number | undefined
  message: string
  /**
   * Names of 1 to 32 letters, digits, `_`, `-` and `.`, the first a letter, and their values. RFC
   * 5424 has them as structured data, the journal as fields (in upper case, `_` for `-` and `.`), the
   * local logger behind the text, as ` name="value"`.
   */
  fields?: Readonly<Record<string, SyslogValue>> | undefined
}

const OPTIONS = 0x3f
const PRIORITIES = 0x3ff
const ALL = 0xff
const DEFAULT_FLUSH_MS = 5000

/**
 * Sets how messages are made and where they go. Optional: the first message does it with the defaults.
 *
 * @param ident - prepended to every message; by default what a `Daemon` of this program is named
 * @param logoption - OR'd options, 0 by default
 * @param facility - of messages that name none, `LOG_USER` by default
 * @param transport - the journal, where it reads stdout or stderr (`$JOURNAL_STREAM`), else the local
 * logger, by default
 */
export function openlog(
  ident: string = defaultIdent(),
  logoption = 0,
  facility: number = LOG_USER,
  transport?: SyslogTransport,
): void {
  if (typeof ident !== 'string') throw invalidType('ident', ident, 'a string')
  checkBits('logoption', logoption, OPTIONS, 'OR’d options of openlog')
  checkBits('facility', facility, PRIORITIES & ~7, 'a facility, such as LOG_DAEMON')
  openLogger(ident, logoption, facility, transport === undefined ? undefined : toNative(transport))
}

/**
 * Logs a message.
 *
 * @param priority - a priority, OR'd with a facility if it shall be another one; `LOG_INFO` by default
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
 * @throws TypeError `ERR_INVALID_ARG_TYPE` or `ERR_INVALID_ARG_VALUE` for a name or a value that cannot be
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

function checkMessage(priority: unknown, message: unknown): asserts message is string {
  if (typeof message !== 'string') throw invalidType('message', message, 'a string')
  checkBits('priority', priority, PRIORITIES, 'a priority, such as LOG_INFO')
  if (!isOpen()) openlog()
}

function checkBits(name: string, value: unknown, bits: number, takes: string): void {
  if (typeof value !== 'number') throw invalidType(name, value, takes)
  if (!Number.isInteger(value) || (value & ~bits) !== 0) throw invalidValue(name, value, takes)
}

const FIELD = /^[A-Za-z][\w.-]{0,31}$/
/** What the message itself is made of: in the journal, a field could pass for it. */
const RESERVED = /^(?:message|priority|syslog_(?:facility|identifier|pid|timestamp|raw))$/
const NAME = 'of 1 to 32 letters, digits, _, - and ., the first a letter'

/** Names and values in turn. */
function flatten(fields: unknown): string[] {
  if (typeof fields !== 'object' || fields === null || Array.isArray(fields)) {
    throw invalidType('fields', fields, 'an object of names and values')
  }
  return Object.entries(fields).flatMap(([name, value]) => {
    if (!FIELD.test(name)) throw invalidValue('fields', name, `made of names ${NAME}`)
    if (RESERVED.test(name.toLowerCase().replace(/[.-]/g, '_'))) {
      throw invalidValue('fields', name, 'made of other names than those of the message itself')
    }
    if (value === undefined) return []
    if (value !== null && !SCALARS.has(typeof value)) {
      throw invalidType(`fields.${name}`, value, 'a string, a number, a boolean or null')
    }
    return [name, String(value)]
  })
}

const SCALARS = new Set(['string', 'number', 'bigint', 'boolean'])
const SYSLOG_PORT = 514
/** The number that RFC 5612 keeps for examples: we have none of our own. */
const SD_ID = 'fields@32473'
/** RFC 5424, 6.3.2. */
const SD_NAME = /^[!#-<>-\\^-~]{1,32}$/
/** What fits into a socket's address (unix(7)). */
const LONGEST_PATH = 107

/** What each transport can be given, beside its type. */
const TRANSPORTS: Record<string, readonly string[]> = {
  local: ['path'],
  journal: ['path'],
  udp: ['host', 'port', 'sdId'],
  tcp: ['host', 'port', 'sdId'],
}

function toNative(transport: SyslogTransport): NativeTransport {
  if (typeof transport !== 'object' || transport === null) {
    throw invalidType('transport', transport, 'an object with a type')
  }
  const { type, ...given } = transport as Record<string, unknown>
  const known = Object.hasOwn(TRANSPORTS, String(type)) ? TRANSPORTS[String(type)] : undefined
  if (typeof type !== 'string' || known === undefined) {
    const types = Object.keys(TRANSPORTS)
    throw unknownName('transport.type', type, `one of ${types.join(', ')}`, types)
  }
  for (const name of Object.keys(given)) {
    if (!known.includes(name)) {
      throw unknownName('transport', name, `made of type, ${known.join(', ')} for '${type}'`, known)
    }
  }
  if (known.includes('path')) return { kind: type, ...pathOf(given.path) }
  const { host, port = SYSLOG_PORT, sdId = SD_ID } = given
  if (typeof host !== 'string') throw invalidType('transport.host', host, 'a host’s name or address')
  if (!/^\S{1,255}$/.test(host) || hasControls(host)) {
    throw invalidValue('transport.host', host, 'a host’s name or address')
  }
  if (typeof port !== 'number') throw invalidType('transport.port', port, 'a port, 1 to 65535')
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw invalidValue('transport.port', port, 'a port, 1 to 65535')
  }
  if (typeof sdId !== 'string') throw invalidType('transport.sdId', sdId, 'an SD-ID, such as name@32473')
  if (!SD_NAME.test(sdId)) throw invalidValue('transport.sdId', sdId, 'an SD-ID, such as name@32473')
  return { kind: type, host, port, sdId }
}

function pathOf(path: unknown): { path?: string } {
  if (path === undefined) return {}
  const takes = `an absolute path of at most ${LONGEST_PATH} bytes`
  if (typeof path !== 'string') throw invalidType('transport.path', path, takes)
  if (!isAbsolute(path) || path.includes('\0') || Buffer.byteLength(path) > LONGEST_PATH) {
    throw invalidValue('transport.path', path, takes)
  }
  return { path }
}
