// Exceptions that nobody catches, and rejections that nobody handles.
//
// Error reporters count the listeners of `uncaughtException`: where there are others, they do not end the
// process. So ours is there only for an exception that nobody else gets, and never seen by theirs: the
// program's listeners do what they do in any program, and each exception is logged all the same.

import { isBun } from '../runtime/index.js'

/**
 * `log` gets the errors that are left to the program's own listeners, and `end` those for which there is none. While
 * `isStarting`, `end` gets all of them, after the listeners.
 */
export function watchUncaught(
  log: (error: unknown) => void,
  end: (error: unknown) => void,
  isStarting: () => boolean,
): void {
  let last: { error: unknown } | undefined
  process.on('uncaughtExceptionMonitor', (error: unknown) => {
    last = { error }
    // The program, or a domain that handles errors, has set a callback.
    const captured = process.hasUncaughtExceptionCaptureCallback?.() ?? false
    if (captured || (process.listenerCount('uncaughtException') > 0 && !isStarting())) return log(error)
    // It is removed before the next exception is thrown, even one in the same turn.
    process.once('uncaughtException', end)
  })

  // Rejections have no monitor. A listener of ours beside one of the program's changes nothing: Node
  // only asks whether there is one.
  const reject = (error: unknown) => {
    if (isBun && process.listenerCount('unhandledRejection') === 1) return end(error)
    // With --unhandled-rejections=strict it has been an exception before.
    if (last?.error !== error) log(error)
  }
  const follow = () => {
    process.removeListener('unhandledRejection', reject)
    // Bun does not make an exception of a rejection.
    if (isBun || process.listenerCount('unhandledRejection') > 0) process.on('unhandledRejection', reject)
  }
  const watch = (name: string | symbol, listener: unknown) => {
    if (name === 'unhandledRejection' && listener !== reject) process.nextTick(follow)
  }
  follow()
  process.on('newListener', watch)
  process.on('removeListener', watch)
}
