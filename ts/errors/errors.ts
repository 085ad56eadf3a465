// Every error of this package, and how an error travels from the daemon to its launcher.

import { inspect } from '../runtime/index.js'
import { nearest } from './nearest.js'

/** The `code` of a {@link DaemonError}. */
export type DaemonErrorCode =
  /** Occurs when another process holds the pidfile; `pid` names it, once it has one. */
  | 'ERR_DAEMON_ALREADY_RUNNING'
  /** Occurs when the daemon ended before it was ready; `cause` is its own error. */
  | 'ERR_DAEMON_START_FAILED'
  /** Occurs when it was not ready within `startTimeout`. */
  | 'ERR_DAEMON_START_TIMEOUT'
  /** Occurs when the pidfile cannot be opened, locked or written. */
  | 'ERR_DAEMON_PIDFILE'
  /** Occurs when the pidfile or its directory could be another user's work. */
  | 'ERR_DAEMON_UNSAFE_PIDFILE'
  /** Occurs when privileges cannot be dropped as asked. */
  | 'ERR_DAEMON_PRIVILEGES'
  /** Occurs when the daemon does not end, or is not certain to be ours. */
  | 'ERR_DAEMON_STOP_FAILED'
  /** Occurs when a daemon that does not run is sent a signal. */
  | 'ERR_DAEMON_NOT_RUNNING'
  /**
   * Occurs on a platform without a native module, in a worker thread, where there is no script, beside a copy of this
   * package of another version, and where a supervisor is asked for and the executable cannot be it.
   */
  | 'ERR_DAEMON_UNSUPPORTED'

/** What a {@link DaemonError} knows beside its code. */
export interface DaemonErrorDetails {
  errno?: number
  errnoCode?: string
  syscall?: string
  path?: string
  pid?: number
  exitCode?: number
  signal?: NodeJS.Signals
  stdout?: string
  stderr?: string
  cause?: unknown
}

/** The properties of a DaemonError that are not always enumerable. */
const PRINTED = ['stdout', 'stderr'] as const

/** What goes wrong with a daemon. The message says what happened, to what, and what to do. */
export class DaemonError extends Error {
  /** Which failure it is. */
  readonly code: DaemonErrorCode
  /** Where a system call failed: its errno, negative, as in Node's own errors. */
  declare readonly errno?: number
  /** Where a system call failed: the symbol of its errno, such as `'EMFILE'`. */
  declare readonly errnoCode?: string
  /** Where a system call failed: its name. */
  declare readonly syscall?: string
  /** The file concerned. */
  declare readonly path?: string
  /** The daemon concerned. */
  declare readonly pid?: number
  /** The exit status of a daemon that ended before it was ready. */
  declare readonly exitCode?: number
  /** The signal that ended a daemon before it was ready. */
  declare readonly signal?: NodeJS.Signals
  /** What the daemon printed while it started. */
  declare readonly stdout?: string
  /** What the daemon printed to standard error while it started. */
  declare readonly stderr?: string

  constructor(code: DaemonErrorCode, message: string, details: DaemonErrorDetails = {}) {
    const { cause, ...rest } = details
    super(message, 'cause' in details ? { cause } : {})
    this.code = code
    Object.assign(this, rest)
    for (const key of PRINTED) {
      const printed = rest[key]
      if (printed !== undefined && isTold(printed, message, cause)) hidden(this, key, printed)
    }
  }

  override get name(): string {
    return 'DaemonError'
  }
}

/** So many of the last characters that the daemon printed are quoted in a message. The error has them all. */
export const QUOTED = 4000

/**
 * Whether the message and the cause already contain all that was printed, so that it need not be shown again. What
 * Node prints of an error that nobody catches ends with the error's own text, or with that and Node's version.
 */
export function isTold(printed: string, message: string, cause: unknown): boolean {
  return message.endsWith(ahead(printed, cause).slice(-QUOTED))
}

/** What was printed before the cause. */
export function ahead(printed: string, cause: unknown): string {
  const end = cause instanceof Error && cause.stack ? printed.indexOf(cause.stack) : -1
  return (end < 0 ? printed : printed.slice(0, end)).trim()
}

/** An argument of the wrong type. */
export function invalidType(name: string, value: unknown, expected: string): TypeError {
  return invalid('ERR_INVALID_ARG_TYPE', name, value, expected)
}

/** An argument of the right type with a wrong value. */
export function invalidValue(name: string, value: unknown, expected: string): TypeError {
  return invalid('ERR_INVALID_ARG_VALUE', name, value, expected)
}

/** An unknown name, which may be misspelt. */
export function unknownName(
  name: string,
  value: unknown,
  expected: string,
  known: readonly string[],
): TypeError {
  const meant = typeof value === 'string' ? nearest(value, known) : undefined
  return invalid('ERR_INVALID_ARG_VALUE', name, value, expected, meant && `. Did you mean '${meant}'?`)
}

/** A key that an object may not have. All of its keys are listed only where none is near. */
export function unknownKey(name: string, key: string, expected: string, known: readonly string[]): TypeError {
  const meant = nearest(key, known)
  const hint = meant === undefined ? `Known: ${known.join(', ')}` : `Did you mean '${meant}'?`
  return invalid('ERR_INVALID_ARG_VALUE', name, key, expected, `. ${hint}`)
}

function invalid(code: string, name: string, value: unknown, expected: string, hint = ''): TypeError {
  const got = inspect(value, { depth: 0, maxStringLength: 100, breakLength: Number.POSITIVE_INFINITY })
  return Object.assign(new TypeError(`\`${name}\` must be ${expected}; got ${got}${hint}`), { code })
}

/** An error on its way from process to process. */
interface Wire {
  /** Where something else than an Error was thrown: its value, where JSON can express it, and how Node shows it. */
  value?: unknown
  shown?: string
  name?: string
  message?: string
  stack?: string
  properties?: Record<string, unknown>
  cause?: Wire
  errors?: Wire[]
}

/** No chain of causes is longer than this. */
const DEEPEST = 100

/** Whatever was thrown, as JSON: an error with its name, message, stack, properties and causes. */
export function serializeError(thrown: unknown): string {
  try {
    return JSON.stringify(toWire(thrown, 0, new Set()))
  } catch {
    return JSON.stringify({ shown: shown(thrown) } satisfies Wire)
  }
}

/** Whatever was thrown, as Node prints it. Never throws, though a getter, a proxy or a custom inspection may. */
export function inText(thrown: unknown): string {
  const text = shown(thrown)
  return typeof property(thrown, 'stack') === 'string' ? text : `Uncaught ${text}`
}

function shown(value: unknown): string {
  for (const show of [inspect, (v: unknown) => inspect(v, { customInspect: false }), String]) {
    try {
      return show(value)
    } catch {}
  }
  return `a value of type ${typeof value}, which cannot be shown`
}

/** A property of whatever was thrown; `undefined` where it cannot be read. */
export function property(thrown: unknown, key: string): unknown {
  try {
    return (thrown as Record<string, unknown> | null | undefined)?.[key]
  } catch {
    return undefined
  }
}

/** Makes an error again of what `serializeError` made. It prints as the original did. */
export function reviveError(json: string): unknown {
  try {
    return fromWire(JSON.parse(json) as Wire)
  } catch {
    return new Error(json)
  }
}

function toWire(thrown: unknown, depth: number, above: Set<unknown>): Wire {
  if (!(thrown instanceof Error)) return plain(thrown)
  if (depth >= DEEPEST || above.has(thrown)) return { shown: '[more causes]' }
  const inner = new Set(above).add(thrown)
  const read = (key: string) => property(thrown, key)
  const wire: Wire = {
    name: String(read('name')),
    message: String(read('message')),
    stack: String(read('stack')),
    properties: {},
  }
  for (const key of new Set([...Object.keys(thrown), ...PRINTED])) {
    if (key === 'cause' || key === 'errors' || key === 'name') continue
    const { value } = plain(read(key))
    if (value !== undefined) (wire.properties as Record<string, unknown>)[key] = value
  }
  if ('cause' in thrown) wire.cause = toWire(read('cause'), depth + 1, inner)
  const errors = read('errors')
  if (Array.isArray(errors)) wire.errors = errors.map((error) => toWire(error, depth + 1, inner))
  return wire
}

function plain(value: unknown): Wire {
  const wire = { shown: shown(value) }
  try {
    const json = JSON.stringify(value)
    return json === undefined ? wire : { ...wire, value: JSON.parse(json) as unknown }
  } catch {
    return wire
  }
}

const CLASSES = { EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError } as const

function fromWire(wire: Wire): unknown {
  if (wire.name === undefined) return wire.value ?? (wire.shown === 'undefined' ? undefined : wire.shown)
  const { name, message = '', stack, properties = {}, cause, errors } = wire
  const options = cause === undefined ? {} : { cause: fromWire(cause) }
  let error: Error
  if (name === 'DaemonError') {
    const { code, ...details } = properties
    error = new DaemonError(code as DaemonErrorCode, message, { ...details, ...options })
  } else if (errors !== undefined) {
    error = Object.assign(new AggregateError(errors.map(fromWire), message, options), properties)
  } else {
    const Class = CLASSES[name as keyof typeof CLASSES] ?? Error
    error = new Class(message, options)
    if (error.name !== name) hidden(error, 'name', name)
    Object.assign(error, properties)
  }
  hidden(error, 'stack', stack)
  return error
}

function hidden(error: Error, key: string, value: unknown): void {
  Object.defineProperty(error, key, { value, configurable: true, writable: true, enumerable: false })
}
