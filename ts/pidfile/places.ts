// The places in which a daemon's pidfile may be, unless `pidFilePath` names one.

import { DaemonError } from '../errors/index.js'
import { ownsVariables } from '../manager/index.js'
import { type NativePlace, native } from '../native/index.js'
import { isAbsolute, LONGEST_SOCKET_PATH } from '../runtime/index.js'

/**
 * The caller's places, that of a start first: only `$RUNTIME_DIRECTORY`, where it was set by hand or is
 * this service's own; else those that the native module finds. `isClient`: the daemon's program is another one.
 */
export function defaultPlaces(name: string, isClient: boolean): NativePlace[] {
  // For a unit with several directories systemd gives a list (systemd.exec(5)). The first is the service's own.
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
    // There is no native module: start() says so.
    return [{ dir: '/var/run', name, private: false }]
  }
}

/** The path of a daemon's pidfile in a place. */
export function pidFileIn({ dir, name }: NativePlace): string {
  return `${dir}/${name}.pid`
}

/** For an error about a place, the variable that names its directory. */
export function hintOf({ variable }: NativePlace): string {
  return variable === undefined ? '' : `. The variable ${variable} names this directory`
}

/** The path of a daemon's socket, beside its pidfile. In one that would be too long, a hash replaces the name's end. */
export function socketIn(place: NativePlace): string {
  const { dir, name } = place
  const path = `${dir}/${name}.socket`
  const surplus = Buffer.byteLength(path) - LONGEST_SOCKET_PATH
  if (surplus <= 0) return path
  const end = `-${hash(name)}.socket`
  const kept = Buffer.byteLength(name) - surplus - (end.length - '.socket'.length)
  // A character that was cut in two is left out.
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

/** FNV-1a with 32 bits. */
function hash(name: string): string {
  let value = 0x811c9dc5
  for (const byte of Buffer.from(name)) value = Math.imul(value ^ byte, 0x01000193)
  return (value >>> 0).toString(16).padStart(8, '0')
}
