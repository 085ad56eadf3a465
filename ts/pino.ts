// pino's messages to syslog: as a destination, `pino(toSyslog())`, or as a transport,
// `pino({ transport: { target: 'tsdaemonize/pino' } })`.

import { Writable } from 'node:stream'
import { fieldsOf } from './fields/index.js'
import { syslog } from './index.js'

/** The options of the stream. */
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
   * Keys that are not sent as fields, since every syslog message has them already.
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
 * A stream that logs each of pino's lines as a syslog message, with the keys beside the message as its
 * fields. In the main thread nothing that was logged is lost at the end of the program. A transport's worker
 * thread must have received it before the end (`logger.flush()`).
 */
export default function toSyslog(options: PinoSyslogOptions = {}): Writable {
  const { messageKey = 'msg', levelKey = 'level', facility = 0 } = options
  const known = new Set([messageKey, levelKey, ...(options.ignore ?? ['time', 'pid', 'hostname'])])

  function log(line: string): void {
    let entry: unknown
    try {
      entry = JSON.parse(line)
    } catch {
      // This line is not pino's, and a message all the same.
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
      // A transport's worker gets what fits into its buffer, which may be a part of a line.
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
  // `logger.flush(callback)` of pino calls this.
  return Object.assign(stream, {
    flush(done?: (error?: Error) => void) {
      syslog.flush().then(
        () => done?.(),
        (error) => done?.(error as Error),
      )
    },
  })
}

/** A level of pino's is a number, which is greater for what is more urgent, or a name. */
function priorityOf(level: unknown): number {
  if (typeof level === 'string') return LABELS[level.toLowerCase()] ?? syslog.LOG_INFO
  if (typeof level !== 'number') return syslog.LOG_INFO
  if (level >= 60) return syslog.LOG_CRIT
  if (level >= 50) return syslog.LOG_ERR
  if (level >= 40) return syslog.LOG_WARNING
  if (level > 30) return syslog.LOG_NOTICE
  return level === 30 ? syslog.LOG_INFO : syslog.LOG_DEBUG
}
