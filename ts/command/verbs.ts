// The verbs of a daemon's command line, in one table. Whatever knows verbs reads it: the usage, the hint for a
// misspelt one, the check of the arguments, and what runs.

import type { DaemonError } from '../errors/index.js'
import type { Status } from '../pidfile/index.js'
import { inWords, killed } from './words.js'

/** How a daemon was ended. */
export interface Stopped {
  pid: number
  signal: 'SIGTERM' | 'SIGKILL'
  /** How long it was waited for before SIGKILL, in milliseconds. */
  patience: number
}

/** What the verbs need of a daemon. `own` are the program's own arguments; `undefined` where there is no `--`. */
export interface Service {
  name: string
  start(own: readonly string[] | undefined): Promise<unknown>
  run(own: readonly string[] | undefined): Promise<unknown>
  stop(): Promise<Stopped | null>
  status(): Promise<Status>
  reload(): Promise<void>
  /** Sentences which say that it does not run, and where it was looked for. */
  notRunning(): Promise<string[]>
}

/** How a verb was called. */
interface Call {
  own: readonly string[] | undefined
  options: readonly string[]
}

/** What a verb that has not failed answers. */
interface Answer {
  status: number
  /** Lines for standard output. */
  lines: string[]
}

interface Verb {
  /** What it does, for the usage. */
  does: string
  /** Its options, and what each of them is for. */
  options: Readonly<Record<string, string>>
  /** It starts the program, whose own arguments come after `--`. */
  starts: boolean
  run(service: Service, call: Call): Promise<Answer>
  /** The exit status for an error; `FAILED` by default. */
  failure(error: DaemonError): number
}

// The exit statuses that the Linux Standard Base has for init scripts.
const DONE = 0
const FAILED = 1
export const USAGE_ERROR = 2
const NOT_RUNNING = 3
const NO_RIGHT = 4
const NOT_RUNNING_TO_RELOAD = 7

export const JSON_OPTION = '--json'

const simple = { options: {}, starts: false, failure: () => FAILED }
const nothing: Answer = { status: DONE, lines: [] }

/** In the order in which the usage lists them. */
export const VERBS: Readonly<Record<string, Verb>> = {
  start: {
    ...simple,
    does: 'start the daemon in the background and wait until it is ready',
    starts: true,
    async run(service, { own }) {
      await service.start(own)
      return nothing
    },
  },
  stop: {
    ...simple,
    does: 'end it, and wait for its end',
    async run(service) {
      return (await stop(service)) ? nothing : { status: DONE, lines: await service.notRunning() }
    },
  },
  restart: {
    ...simple,
    does: 'stop, then start',
    starts: true,
    async run(service, { own }) {
      await stop(service)
      await service.start(own)
      return nothing
    },
  },
  reload: {
    ...simple,
    does: 'have it read its configuration again (SIGHUP)',
    async run(service) {
      await service.reload()
      return nothing
    },
    failure: ({ code }) => (code === 'ERR_DAEMON_NOT_RUNNING' ? NOT_RUNNING_TO_RELOAD : FAILED),
  },
  status: {
    ...simple,
    does: 'say whether it runs',
    options: { [JSON_OPTION]: 'for programs' },
    async run(service, { options }) {
      const found = await service.status()
      const lines = options.includes(JSON_OPTION)
        ? [JSON.stringify(found)]
        : await inWords(service.name, found, service.notRunning)
      return { status: statusFor(found), lines }
    },
    failure: () => NO_RIGHT,
  },
  run: {
    ...simple,
    does: 'run it in the foreground, attached to this terminal or manager',
    starts: true,
    async run(service, { own }) {
      await service.run(own)
      return nothing
    },
  },
}

/** The exit status of a verb that failed. */
export function exitStatus(verb: string, error: unknown): number {
  return lacksRight(error) ? NO_RIGHT : (VERBS[verb]?.failure(error as DaemonError) ?? FAILED)
}

function lacksRight(error: unknown): boolean {
  for (let e = error; e instanceof Error; e = e.cause) {
    const { code, errnoCode = code } = e as { code?: string; errnoCode?: string }
    if (code === 'ERR_DAEMON_PRIVILEGES' || errnoCode === 'EACCES' || errnoCode === 'EPERM') return true
  }
  return false
}

function statusFor(found: Status): number {
  if (found.state === 'running') return DONE
  return found.state === 'stopped' && found.stalePidFile ? FAILED : NOT_RUNNING
}

/** Whether one ran. One that had to be killed may have lost something. */
async function stop(service: Service): Promise<boolean> {
  const stopped = await service.stop()
  if (stopped?.signal === 'SIGKILL') {
    process.stderr.write(`${service.name}: ${killed(stopped.pid, stopped.patience)}\n`)
  }
  return stopped !== null
}
