// The debugger's port, which a stock Node opens at SIGUSR1. A daemon must never have it open, unless it asks
// for it itself. Nodes that know `--disable-sigusr1` were started with it. In others a listener gets the
// signal, and a port that was opened before is closed.

import { native } from '../native/index.js'
import { isBun, isDeno, now } from '../runtime/index.js'

/** How long this waits for threads that are never seen asleep, in milliseconds. */
const PATIENCE_MS = 5000
/** Between so many looks there is no pause: most threads are asleep after the first turns of the event loop. */
const AT_ONCE = 20

class DebuggerPort {
  /** The threads that there were when the listener came; `undefined` where none is needed. */
  #threads: number[] | undefined

  /** From now on SIGUSR1 opens nothing. */
  beware(): void {
    if (this.#threads !== undefined || process.execArgv.includes('--disable-sigusr1')) return
    process.on('SIGUSR1', ignore)
    this.#threads = native.otherThreads()
  }

  /**
   * Closes the port, unless the program was started to be debugged.
   *
   * Node's handler of SIGUSR1 only wakes a thread, which asks the event loop to open the port. On a busy
   * machine that can be much later. So this waits until each thread was seen asleep, which has then done its work
   * for earlier signals, and until the event loop has turned.
   */
  async close(): Promise<void> {
    this.beware()
    let threads = this.#threads
    if (threads === undefined || isAskedFor() || isBun || isDeno) return
    const deadline = now() + PATIENCE_MS
    for (let looks = 1; ; looks++) {
      threads = native.awakeThreads(threads)
      await new Promise(setImmediate)
      if (threads.length === 0 || now() > deadline) break
      if (looks > AT_ONCE) await new Promise((resolve) => setTimeout(resolve, 1))
    }
    // inspector.close is this very function; to load node:inspector for it would cost 2 ms at every start.
    ;(process as unknown as { _debugEnd(): void })._debugEnd()
  }
}

/** The port of this process. */
export const debuggerPort: DebuggerPort = new DebuggerPort()

function isAskedFor(): boolean {
  return [...process.execArgv, process.env.NODE_OPTIONS ?? ''].some((option) => option.includes('--inspect'))
}

function ignore(): void {}
