// The end of a place: of its processes, and then of its directory.

import { rmSync } from 'node:fs'
import { isAlive, proc, processesOf } from './proc.js'
import { until } from './until.js'

/** Kills what runs in a place, until nothing does, and removes its directory. */
export async function clear(dir: string): Promise<void> {
  // A killed process may be known only by its parent, which may end before it does.
  const killed = new Map<number, number>()
  await until(() => {
    for (const pid of processesOf(dir)) {
      const found = proc(pid)
      if (found === undefined) continue
      killed.set(pid, found.starttime)
      kill(pid)
    }
    for (const [pid, starttime] of killed) if (!isAlive(pid, starttime)) killed.delete(pid)
    return killed.size === 0
  }, `the end of what runs in ${dir}`)
  rmSync(dir, { recursive: true, force: true })
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended meanwhile.
  }
}
