// Checks of values that a program gives. Each throws a TypeError that names the value.

import { isAbsolute } from '../runtime/index.js'
import { invalidType, invalidValue, unknownKey } from './errors.js'

/** Checks a value. `option` is what it is called. */
export type Check = (value: unknown, option: string) => void

export function ofType(type: 'boolean'): Check {
  return (value, option) => {
    if (typeof value !== type) throw invalidType(option, value, `a ${type}`)
  }
}

export function checkText(value: unknown, option: string, expected: string, mayBeEmpty = false): void {
  if (typeof value !== 'string') throw invalidType(option, value, expected)
  if (value.includes('\0') || (value === '' && !mayBeEmpty)) throw invalidValue(option, value, expected)
}

/** Whether a text has control characters (Unicode's category Cc). `\p{Cc}` in a regular expression would load
 * tables of Unicode with each import. */
export function hasControls(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return true
  }
  return false
}

export function checkAbsolute(value: unknown, option: string): void {
  checkText(value, option, 'an absolute path')
  if (!isAbsolute(value as string)) throw invalidValue(option, value, 'an absolute path')
}

export function checkInteger(
  value: unknown,
  option: string,
  least: number,
  most: number,
  expected: string,
): void {
  if (typeof value !== 'number') throw invalidType(option, value, expected)
  if (!Number.isInteger(value) || value < least || value > most) throw invalidValue(option, value, expected)
}

export function checkEach(value: unknown, option: string, expected: string, check: Check): void {
  if (!Array.isArray(value)) throw invalidType(option, value, expected)
  // forEach would skip holes.
  for (let i = 0; i < value.length; i++) check(value[i], `${option}[${i}]`)
}

/** An object with no other keys than those that have a check; `undefined` is "left out". */
export function checkObject(
  value: unknown,
  option: string,
  expected: string,
  checks: Readonly<Record<string, Check>>,
): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidType(option, value, expected)
  }
  for (const [key, entry] of Object.entries(value)) {
    const check = Object.hasOwn(checks, key) ? checks[key] : undefined
    if (check === undefined) {
      throw unknownKey(option, key, `${expected}, with known keys`, Object.keys(checks))
    }
    if (entry !== undefined) check(entry, `${option}.${key}`)
  }
}
