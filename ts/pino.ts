// pino's messages to syslog: as a destination, `pino(toSyslog())`, or as a transport,
// `pino({ transport: { target: 'tsdaemonize/pino' } })`.

import { Writable } from 'node:stream'
import { fieldsOf } from './fields/index.js'
import { syslog } from './index.js'

/** What the stream is made with. */
export interface PinoSyslogOptions {
  /**
   * The key of the message, as pino's `messageKey`.
   * @defaultValue `'msg'`
   */
  messageKey?: string | undefined
  /**
   * The key of the level, where pino's `formatters.level` changes it.
   * @defaultValue `'level'`
   */
  levelKey?: string | undefined
  /**
   * Keys that are not sent as fields: those that every syslog message has anyhow.
   * @defaultValue `['time', 'pid', 'hostname']`
   */
  ignore?: readonly string[] | undefined
  /**
   * The facility of the messages.
   * @defaultValue that of `syslog.openlog`; in a daemon `syslogFacility`
   */
  facility?: number | undefined
}

const LABELS: Record<string, number> = {
  trace: syslog.LOG_DEBUG,
  debug: syslog.LOG_DEBUG,
  info: syslog.LOG_INFO,
  notice: syslog.LOG_NOTICE,
  warn: syslog.LOG_WARNING,
  warning: syslog.LOG_WARNING,
  error: syslog.LOG_ERR,
  fatal: syslog.LOG_CRIT,
}

/**
 * A stream that takes pino's lines and logs each as a syslog message, with the keys beside the message
 * as its fields. In the main thread nothing that was logged is lost at the end of the program; a
 * transport's worker thread must have got it before (`logger.flush()`).
 */
export default function toSyslog(options: PinoSyslogOptions = {}): Writable {
  const { messageKey = 'msg', levelKey = 'level', facility = 0 } = options
  const known = new Set([messageKey, levelKey, ...(options.ignore ?? ['time', 'pid', 'hostname'])])

  function log(line: string): void {
    let entry: unknown
    try {
      entry = JSON.parse(line)
    } catch {
      // Not pino's; a message all the same.
    }
    if (typeof entry !== 'object' || entry === null) {
      if (line !== '') syslog.syslog(facility | syslog.LOG_INFO, line)
      return
    }
    const given = entry as Record<string, unknown>
    const message = given[messageKey]
    const text = message === undefined ? '' : String(message)
    syslog.log({
      priority: facility | priorityOf(given[levelKey]),
      message: text,
      fields: fieldsOf(given, known),
    })
  }

  let begun = ''
  const stream = new Writable({
    decodeStrings: false,
    write(chunk: string | Uint8Array, _encoding, done) {
      // A transport's worker gets what fits into its buffer: parts of lines, too.
      const lines = (begun + (typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString())).split('\n')
      begun = lines.pop() ?? ''
      for (const line of lines) log(line)
      done()
    },
    final(done) {
      if (begun !== '') log(begun)
      begun = ''
      done()
    },
  })
  // pino's `logger.flush(callback)`.
  return Object.assign(stream, {
    flush(done?: (error?: Error) => void) {
      syslog.flush().then(
        () => done?.(),
        (error) => done?.(error as Error),
      )
    },
  })
}

/** pino has numbers, the more urgent the greater, or names. */
function priorityOf(level: unknown): number {
  if (typeof level === 'string') return LABELS[level.toLowerCase()] ?? syslog.LOG_INFO
  if (typeof level !== 'number') return syslog.LOG_INFO
  if (level >= 60) return syslog.LOG_CRIT
  if (level >= 50) return syslog.LOG_ERR
  if (level >= 40) return syslog.LOG_WARNING
  if (level > 30) return syslog.LOG_NOTICE
  return level === 30 ? syslog.LOG_INFO : syslog.LOG_DEBUG
}
