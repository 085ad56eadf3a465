// The debugger's port, which SIGUSR1 makes a stock Node open. A daemon must never have it open, unless
// it asks for it itself. Nodes that know `--disable-sigusr1` were started with it; in others a listener
// takes the signal, and what was opened before is closed.

import { now, readdirSync, readFileSync } from './builtin.js'
import { isBun, isDeno } from './runtime.js'

const THREADS = '/proc/self/task'
/** How long a thread may go without being seen asleep, in milliseconds. */
const PATIENCE_MS = 5000
/** Most are asleep after the first turns of the event loop: no pause between so many looks. */
const AT_ONCE = 20

/** The threads that there were when the listener came; `undefined`: there is no need of one. */
let threads: string[] | undefined

/** From now on SIGUSR1 opens nothing. */
export function bewareOfTheDebugger(): void {
  if (threads !== undefined || process.execArgv.includes('--disable-sigusr1')) return
  process.on('SIGUSR1', ignore)
  threads = otherThreads()
}

/**
 * Closes the port, unless the program was started to be debugged.
 *
 * Node's handler of SIGUSR1 only wakes a thread, which asks the event loop to open the port: on a busy
 * machine that can be much later. So: until each thread was seen asleep, its work for earlier signals
 * done, and then until the event loop has turned.
 */
export async function closeDebugger(): Promise<void> {
  bewareOfTheDebugger()
  if (threads === undefined || wasAskedFor() || isBun || isDeno) return
  const deadline = now() + PATIENCE_MS
  for (let looks = 1; ; looks++) {
    threads = threads.filter(isAwake)
    await new Promise(setImmediate)
    if (threads.length === 0 || now() > deadline) break
    if (looks > AT_ONCE) await new Promise((resolve) => setTimeout(resolve, 1))
  }
  // inspector.close is this very function; to load node:inspector for it would cost 2 ms at every start.
  ;(process as unknown as { _debugEnd(): void })._debugEnd()
}

function wasAskedFor(): boolean {
  return [...process.execArgv, process.env.NODE_OPTIONS ?? ''].some((option) => option.includes('--inspect'))
}

function otherThreads(): string[] {
  try {
    return readdirSync(THREADS).filter((id) => id !== String(process.pid))
  } catch {
    return []
  }
}

/** Field 3 of proc_pid_stat(5), behind the name in parentheses; a thread that has ended is asleep. */
function isAwake(id: string): boolean {
  try {
    const stat = readFileSync(`${THREADS}/${id}/stat`, 'utf8')
    return stat[stat.lastIndexOf(')') + 2] !== 'S'
  } catch {
    return false
  }
}

function ignore(): void {}
