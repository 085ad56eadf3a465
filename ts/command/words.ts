// What a person reads: how a daemon is, what became of it, and why a verb failed.

import { ahead, DaemonError } from '../errors/index.js'
import type { LastExit, Status } from '../pidfile/index.js'
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
      const { pid, user, startedAt, rss, supervisor, unsupervised } = status
      const known = [`${name} is running: pid ${pid}`]
      if (user !== '') known.push(`user ${user}`)
      if (!Number.isNaN(startedAt.getTime())) known.push(`since ${startedAt.toISOString()}`)
      if (!Number.isNaN(rss)) known.push(`${(rss / 2 ** 20).toFixed(1)} MiB`)
      const rest = known.length < 4 ? '; /proc does not show the rest' : ''
      if (supervisor) known.push(supervisorInWords(supervisor))
      if (unsupervised) known.push('without its supervisor, which was killed')
      return [`${known.join(', ')}${rest}`, ...(supervisor?.lastExit ? [ended(supervisor.lastExit)] : [])]
    }
    case 'starting':
      return [`${name} is starting`]
    case 'stopped': {
      const [itself, ...others] = await notRunning()
      const left = status.stalePidFile ? ', and left a pidfile: it was killed' : ''
      return [`${itself}${left}`, ...(status.lastExit ? [ended(status.lastExit)] : []), ...others]
    }
  }
}

function supervisorInWords({ pid, restarts }: { pid: number; restarts: number }): string {
  const times = restarts === 1 ? 'once' : `${restarts} times`
  return `supervisor ${pid}${restarts > 0 ? `, started again ${times}` : ''}`
}

function ended({ at, reason }: LastExit): string {
  return `It ended at ${at}: ${reason}`
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
