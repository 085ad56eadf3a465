// What a program's own logger knows beside the message, as fields of a syslog message. A logger must
// never throw, whatever it is given: names are made to fit, and values become text.

import { inspect } from '../runtime/index.js'
import { isReservedName, LONGEST_NAME } from './names.js'

/** The value of a field. One that is `undefined` is left out. */
export type SyslogValue = string | number | bigint | boolean | null | undefined

/** How deep objects become fields of their own. What is deeper becomes text. */
const DEEPEST = 3

/** The fields for names and values of any kind. Those in `known` are left out. */
export function fieldsOf(given: object, known: ReadonlySet<string>): Record<string, SyslogValue> {
  const fields: Record<string, SyslogValue> = {}
  for (const [name, value] of Object.entries(given)) {
    if (!known.has(name)) put(fields, name, value, 1)
  }
  return fields
}

/** An object's members become fields of their own: `err.message`. */
function put(fields: Record<string, SyslogValue>, name: string, value: unknown, depth: number): void {
  if (value === undefined || typeof value === 'function' || typeof value === 'symbol') return
  if (typeof value !== 'object' || value === null) {
    fields[fitting(name)] = value as SyslogValue
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
    // These are not enumerable in an Error.
    const { name: type, message, stack } = value
    for (const [key, own] of Object.entries({ type, message, stack })) {
      put(fields, `${name}.${key}`, own, depth + 1)
    }
  }
  for (const [key, own] of Object.entries(value)) put(fields, `${name}.${key}`, own, depth + 1)
}

function fitting(name: string): string {
  const plain = name.replace(/[^\w.-]/g, '_')
  const mayStay = /^[A-Za-z]/.test(plain) && !isReservedName(plain)
  return (mayStay ? plain : `data.${plain}`).slice(0, LONGEST_NAME)
}

/** As JSON; what JSON cannot express, as Node shows it. */
export function asText(value: unknown): string {
  if (typeof value === 'string') return value
  try {
    return JSON.stringify(value) ?? inspect(value)
  } catch {
    return inspect(value)
  }
}
