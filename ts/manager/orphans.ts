// The duty of PID 1: to wait for the orphans that become its children.

import { native } from '../native/index.js'

/** libuv waits for its own children as soon as they end. A process that is still a zombie after so many milliseconds
 * and a turn of the event loop, and is still the same process, is an orphan. */
const GRACE_MS = 200

/** From now on, where this process is PID 1, orphans that have ended are waited for. */
export function reapOrphans(): void {
  if (process.pid !== 1) return
  let isReaping = false
  const reapSoon = () => {
    if (isReaping) return
    isReaping = true
    setTimeout(suspect, GRACE_MS / 2).unref()
  }
  const suspect = () => {
    native.suspectOrphans()
    // setImmediate: timers alone could follow each other without libuv's look at its children between.
    setTimeout(setImmediate, GRACE_MS / 2, reap).unref()
  }
  const reap = () => {
    isReaping = false
    if (native.reapSuspects()) reapSoon()
  }
  process.on('SIGCHLD', reapSoon)
}
