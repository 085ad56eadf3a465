// What a daemon says of itself for its state file, a hint for those who look at it from outside. Its launcher adds what
// was started, which a daemon without privileges cannot be asked: root starts that again.

import type { ResolvedOptions } from '../options/index.js'

/** As JSON, in one line. Its supervisor, if it has one, changes the last three. */
export function stateOf({ name, stdout, stderr, stopTimeout }: ResolvedOptions): string {
  const startedAt = new Date(Date.now() - process.uptime() * 1000)
  const outputs = { stdout: stdout ?? null, stderr: stderr ?? null }
  const known = { version: 1, pid: process.pid, startedAt, name, ...outputs, stopTimeout }
  return JSON.stringify({ ...known, supervisor: null, restarts: 0, lastExit: null })
}
