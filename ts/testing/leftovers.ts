// What becomes of a place whose test's process dies: another process (reaper.ts) outlives it.

import { spawn } from 'node:child_process'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'

let reaper: Socket | undefined

/** Tells the reaper of a place that begins (`+`) or has ended (`-`). */
export function tellReaper(line: string): void {
  reaper ??= startReaper()
  reaper.write(`${line}\n`)
}

function startReaper(): Socket {
  const child = spawn(process.execPath, [fileURLToPath(new URL('reaper.js', import.meta.url))], {
    // It has a session of its own, since Ctrl-C in the tests' terminal is not meant for it.
    detached: true,
    cwd: '/',
    // Flags and files for the tests' Node are not meant for it either.
    env: {},
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  // Neither it nor the pipe keeps the tests waiting, and the tests are as good without it.
  child.on('error', () => {}).unref()
  const pipe = child.stdin as Socket
  pipe.on('error', () => {}).unref()
  return pipe
}
