// Where a daemon may be, unless `pidFilePath` says so.

import type { NativePlace } from './binding.js'
import { isAbsolute } from './builtin.js'
import { ownsVariables } from './manager.js'
import { native } from './native.js'

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
