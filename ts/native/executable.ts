// The executable in the place of this Node.

import type { DaemonError } from '../errors/index.js'
import { unexecutable } from './lacking.js'
import { executable, PROGRAM } from './locate.js'
import { native } from './native.js'

/**
 * The executable takes the place of this process (execve(2)), with these arguments, which are the last ones of this
 * process. Returns only by an error.
 */
export function execute(args: readonly string[]): void {
  const file = executable()
  try {
    native.execute(file, [PROGRAM, ...args])
  } catch (error) {
    throw unexecutable(file, error as DaemonError)
  }
}
