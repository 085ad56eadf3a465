// Where a daemon may be, unless `pidFilePath` says so.

import { DaemonError } from '../errors/index.js'
import { ownsVariables } from '../manager/index.js'
import { type NativePlace, native } from '../native/index.js'
import { isAbsolute, LONGEST_SOCKET_PATH } from '../runtime/index.js'

/**
 * The caller's places, the one of a start first: `$RUNTIME_DIRECTORY` alone, where it was set by hand or
 * is this service's own; else what the native module finds. `isClient`: the daemon's program is another.
 */
export function defaultPlaces(name: string, isClient: boolean): NativePlace[] {
  // systemd gives a list where a unit has several (systemd.exec(5)); the first is the service's own.
  const [runtime] = (process.env.RUNTIME_DIRECTORY ?? '').split(':')
  if (runtime && isAbsolute(runtime) && ownsVariables(isClient)) {
    return [{ dir: runtime, name, private: false, variable: 'RUNTIME_DIRECTORY' }]
  }
  return ofUser(name)
}

/** The places that a user has in any environment. */
export function ofUser(name: string): NativePlace[] {
  try {
    return native.defaultPlaces(name, process.env.XDG_RUNTIME_DIR || undefined)
  } catch {
    // No native module here: start() says so.
    return [{ dir: '/var/run', name, private: false }]
  }
}

/** The path of a daemon's pidfile in a place. */
export function pidFileIn({ dir, name }: NativePlace): string {
  return `${dir}/${name}.pid`
}

/** For an error about a place: which variable has named its directory. */
export function hintOf({ variable }: NativePlace): string {
  return variable === undefined ? '' : `. The variable ${variable} names this directory`
}

/** The path of a daemon's socket, beside its pidfile: where it would not fit, a hash stands for the name's end. */
export function socketIn(place: NativePlace): string {
  const { dir, name } = place
  const path = `${dir}/${name}.socket`
  const surplus = Buffer.byteLength(path) - LONGEST_SOCKET_PATH
  if (surplus <= 0) return path
  const end = `-${hash(name)}.socket`
  const kept = Buffer.byteLength(name) - surplus - (end.length - '.socket'.length)
  // Of a character that is cut in two nothing is kept.
  const start = Buffer.from(name)
    .subarray(0, Math.max(0, kept))
    .toString()
    .replace(/\ufffd+$/, '')
  const short = `${dir}/${start}${end}`
  if (Buffer.byteLength(short) <= LONGEST_SOCKET_PATH) return short
  throw new DaemonError(
    'ERR_DAEMON_PIDFILE',
    `The directory ${dir} is too long for a socket, whose path has at most ${LONGEST_SOCKET_PATH} bytes. ` +
      `Name a shorter one with \`pidFilePath\`${hintOf(place)}`,
    { path: dir },
  )
}

/** FNV-1a, of 32 bits. */
function hash(name: string): string {
  let value = 0x811c9dc5
  for (const byte of Buffer.from(name)) value = Math.imul(value ^ byte, 0x01000193)
  return (value >>> 0).toString(16).padStart(8, '0')
}
