// winston's messages to syslog: a transport, `new SyslogTransport()`.

import { Writable } from 'node:stream'
import { asText, fieldsOf } from './fields/index.js'
import { syslog } from './index.js'

/** A message as winston hands it to a transport. */
export interface WinstonInfo {
  level: string
  message: unknown
  [key: string | symbol]: unknown
}

/** One of winston's formats; see `winston.format`. */
export interface WinstonFormat {
  transform(info: WinstonInfo, options?: unknown): WinstonInfo | boolean
  options?: object
}

/** The options of the transport. */
export interface WinstonSyslogOptions {
  /**
   * The least urgent level that is sent.
   * @defaultValue the logger's own
   */
  level?: string | undefined
  /**
   * A format for this transport alone. The text that it makes is the message, which then has no fields.
   * @defaultValue none: the message is sent with everything else as its fields
   */
  format?: WinstonFormat | undefined
  /**
   * Sends nothing.
   * @defaultValue `false`
   */
  silent?: boolean | undefined
  /**
   * Sends uncaught exceptions, as winston's own transports do. A daemon logs them in any case.
   * @defaultValue `false`
   */
  handleExceptions?: boolean | undefined
  /**
   * Sends unhandled rejections.
   * @defaultValue `false`
   */
  handleRejections?: boolean | undefined
  /**
   * The priorities of levels, beside those of npm, of syslog and of the command line, which are known.
   * @defaultValue `LOG_INFO` for what is not known
   */
  priorities?: Readonly<Record<string, number>> | undefined
  /**
   * Keys that are not sent as fields, since every syslog message has them already.
   * @defaultValue `['timestamp']`
   */
  ignore?: readonly string[] | undefined
  /**
   * The facility of the messages.
   * @defaultValue that of `syslog.openlog`; in a daemon `syslogFacility`
   */
  facility?: number | undefined
}

/** The symbols of triple-beam, which winston's formats and transports share. */
const LEVEL = Symbol.for('level')
const MESSAGE = Symbol.for('message')

const PRIORITIES: Record<string, number> = {
  emerg: syslog.LOG_EMERG,
  alert: syslog.LOG_ALERT,
  crit: syslog.LOG_CRIT,
  error: syslog.LOG_ERR,
  warn: syslog.LOG_WARNING,
  warning: syslog.LOG_WARNING,
  notice: syslog.LOG_NOTICE,
  help: syslog.LOG_INFO,
  data: syslog.LOG_INFO,
  info: syslog.LOG_INFO,
  http: syslog.LOG_INFO,
  verbose: syslog.LOG_DEBUG,
  debug: syslog.LOG_DEBUG,
  prompt: syslog.LOG_DEBUG,
  input: syslog.LOG_DEBUG,
  silly: syslog.LOG_DEBUG,
}

/** The logger that a transport is piped from. */
interface Logger {
  levels: Record<string, number>
  level: string
}

/**
 * A transport for winston 3. It does not extend `winston-transport`, on which this package would then depend.
 * To winston a transport is a stream of objects with a `log` and these few properties.
 */
export class SyslogTransport extends Writable {
  readonly name = 'syslog'
  level?: string
  format?: WinstonFormat
  silent: boolean
  handleExceptions: boolean
  handleRejections: boolean
  levels: Record<string, number> | undefined
  parent: Logger | null = null
  readonly #priorities: Readonly<Record<string, number>>
  readonly #known: ReadonlySet<string>
  readonly #facility: number

  constructor(options: WinstonSyslogOptions = {}) {
    super({ objectMode: true })
    if (options.level !== undefined) this.level = options.level
    if (options.format !== undefined) this.format = options.format
    this.silent = options.silent ?? false
    this.handleExceptions = options.handleExceptions ?? false
    this.handleRejections = options.handleRejections ?? false
    this.#priorities = { ...PRIORITIES, ...options.priorities }
    this.#known = new Set(['level', 'message', ...(options.ignore ?? ['timestamp'])])
    this.#facility = options.facility ?? 0
    this.on('pipe', (logger) => {
      this.parent = logger as unknown as Logger
      this.levels = this.parent.levels
    })
    this.on('unpipe', (logger) => {
      if ((logger as unknown as Logger) === this.parent) this.parent = null
    })
  }

  override _write(info: WinstonInfo, _encoding: string, done: (error?: Error | null) => void): void {
    try {
      const formatted = this.#wants(info) && this.#format(info)
      if (typeof formatted === 'object') this.log(formatted, done)
      else done()
    } catch (error) {
      done(error as Error)
    }
  }

  #format(info: WinstonInfo): WinstonInfo | boolean {
    return this.format ? this.format.transform({ ...info }, this.format.options) : info
  }

  #wants(info: WinstonInfo): boolean {
    if (this.silent) return false
    if (info.exception === true && !this.handleExceptions) return false
    if (info.rejection === true && !this.handleRejections) return false
    const limit = this.level ?? this.parent?.level
    if (limit === undefined || this.levels === undefined) return true
    return (this.levels[limit] ?? 0) >= (this.levels[levelOf(info)] ?? 0)
  }

  /** Logs one message. */
  log(info: WinstonInfo, done: () => void): void {
    const priority = this.#facility | (this.#priorities[levelOf(info)] ?? syslog.LOG_INFO)
    if (this.format) syslog.syslog(priority, asText(info[MESSAGE] ?? info.message))
    else syslog.log({ priority, message: asText(info.message), fields: fieldsOf(info, this.#known) })
    this.emit('logged', info)
    done()
  }
}

/** The level of a message. A format may have coloured `info.level`. */
function levelOf(info: WinstonInfo): string {
  return String(info[LEVEL] ?? info.level)
}

export default SyslogTransport
