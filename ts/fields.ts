// What a program's own logger knows beside the message, as fields of a syslog message. A logger must
// never throw for what it is given: names are made to fit, and values to text.

import { syslog } from './index.js'
import { inspect } from './runtime/index.js'

/** The longest name that `syslog.log` takes. */
const LONGEST_NAME = 32
/** Objects within objects within objects are written as text. */
const DEEPEST = 3
/** What a message has anyhow. */
const RESERVED = /^(?:message|priority|syslog_(?:facility|identifier|pid|timestamp|raw))$/

type Fields = Record<string, syslog.SyslogValue>

/** Logs a message; `given` are names and values of any kind, `known` those among them to leave out. */
export function logWithFields(
  priority: number,
  message: string,
  given: object,
  known: ReadonlySet<string>,
): void {
  const fields: Fields = {}
  for (const [name, value] of Object.entries(given)) {
    if (!known.has(name)) put(fields, name, value, 1)
  }
  syslog.log({ priority, message, fields })
}

/** An object's members become fields of their own: `err.message`. */
function put(fields: Fields, name: string, value: unknown, depth: number): void {
  if (value === undefined || typeof value === 'function' || typeof value === 'symbol') return
  if (typeof value !== 'object' || value === null) {
    fields[fitting(name)] = value as syslog.SyslogValue
    return
  }
  if (value instanceof Date) {
    fields[fitting(name)] = Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString()
    return
  }
  if (depth >= DEEPEST || Array.isArray(value)) {
    fields[fitting(name)] = asText(value)
    return
  }
  if (value instanceof Error) {
    // Not enumerable in an Error.
    const { name: type, message, stack } = value
    for (const [key, own] of Object.entries({ type, message, stack })) {
      put(fields, `${name}.${key}`, own, depth + 1)
    }
  }
  for (const [key, own] of Object.entries(value)) put(fields, `${name}.${key}`, own, depth + 1)
}

function fitting(name: string): string {
  const plain = name.replace(/[^\w.-]/g, '_')
  const begun = /^[A-Za-z]/.test(plain) && !RESERVED.test(plain.toLowerCase().replace(/[.-]/g, '_'))
  return (begun ? plain : `data.${plain}`).slice(0, LONGEST_NAME)
}

/** As JSON; what JSON cannot say, as Node shows it. */
export function asText(value: unknown): string {
  if (typeof value === 'string') return value
  try {
    return JSON.stringify(value) ?? inspect(value)
  } catch {
    return inspect(value)
  }
}
