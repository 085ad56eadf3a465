// What a person reads: how a daemon is, what became of it, and why a verb failed.

import { ahead, DaemonError } from '../errors/index.js'
import type { Status } from '../pidfile/index.js'
import { inspect } from '../runtime/index.js'

/** What became of a daemon that `stop` had to kill. */
export function killed(pid: number, patience: number): string {
  return (
    `The daemon with pid ${pid} did not end within ${patience / 1000} s of SIGTERM and was killed. ` +
    'Does its `onSignal` pass SIGTERM to `super.onSignal`?'
  )
}

/** A daemon's status, as sentences. */
export async function inWords(
  name: string,
  status: Status,
  notRunning: () => Promise<string[]>,
): Promise<string[]> {
  switch (status.state) {
    case 'running': {
      const { pid, user, startedAt, rss } = status
      const known = [`${name} is running: pid ${pid}`]
      if (user !== '') known.push(`user ${user}`)
      if (!Number.isNaN(startedAt.getTime())) known.push(`since ${startedAt.toISOString()}`)
      if (!Number.isNaN(rss)) known.push(`${(rss / 2 ** 20).toFixed(1)} MiB`)
      return [`${known.join(', ')}${known.length < 4 ? '; /proc does not show the rest' : ''}`]
    }
    case 'starting':
      return [`${name} is starting`]
    case 'stopped': {
      const [itself, ...others] = await notRunning()
      return [`${itself}${status.stalePidFile ? ', and left a pidfile: it was killed' : ''}`, ...others]
    }
  }
}

/** Prints what the daemon had printed, why it failed, and its own error with stack and causes; nothing twice. */
export function printFailure(name: string, error: DaemonError): void {
  const { message, stdout = '', stderr = '', cause } = error
  process.stdout.write(stdout)
  const isInMessage = message.endsWith(ahead(stderr, cause))
  if (!isInMessage) process.stderr.write(stderr)
  process.stderr.write(`${name}: ${message}\n`)
  // An error of this package says all in its message.
  const hasStack = cause instanceof Error && !(cause instanceof DaemonError)
  const isPrinted = !isInMessage && hasStack && stderr.includes(cause.stack ?? '')
  if (hasStack && !isPrinted) process.stderr.write(`${inspect(cause)}\n`)
}
