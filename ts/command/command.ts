// The command line of a daemon, with the exit statuses of the Linux Standard Base (init scripts).

import { ahead, DaemonError, nearest } from '../errors/index.js'
import type { Status } from '../pidfile/index.js'
import { inspect, writeSync } from '../runtime/index.js'
import { dieIfInterrupted } from './waiting.js'

/** What the verbs do. `own` are the program's own arguments; `undefined` where there is no `--`. */
export interface Verbs {
  name: string
  start(own: readonly string[] | undefined): Promise<unknown>
  run(own: readonly string[] | undefined): Promise<unknown>
  stop(): Promise<{ pid: number; signal: string } | null>
  /** How long `stop` waits before SIGKILL, in milliseconds. */
  patience: number
  status(): Promise<Status>
  reload(): Promise<void>
  /** Sentences that say so, and where it was looked for. */
  notRunning(): Promise<string[]>
}

const USAGE = `Usage: PROGRAM start | stop | restart | reload | status [--json] | run

  start    start the daemon in the background and wait until it is ready
  stop     end it, and wait for its end
  restart  stop, then start
  reload   have it read its configuration again (SIGHUP)
  status   say whether it runs; --json for programs
  run      run it in the foreground, attached to this terminal or manager

What stands behind -- after start, restart or run is for the program itself.
`

const VERBS = ['start', 'stop', 'restart', 'reload', 'status', 'run']
/** Those that bring up a program, which may have arguments of its own. */
const STARTING = ['start', 'restart', 'run']
const JSON_FLAG = '--json'
const HELP = '--help'
const OWN = '--'

const FAILED = 1
const USAGE_ERROR = 2
const NOT_RUNNING = 3
const NO_RIGHT = 4
const NOT_RUNNING_TO_RELOAD = 7

/** Runs one verb and sets `process.exitCode`. */
export async function runCommand(args: readonly string[], verbs: Verbs): Promise<void> {
  const end = args.includes(OWN) ? args.indexOf(OWN) : args.length
  const [verb, ...rest] = args.slice(0, end)
  const own = end < args.length ? args.slice(end + 1) : undefined
  if (verb === HELP || verb === '-h' || rest.includes(HELP) || rest.includes('-h')) {
    process.stdout.write(usage())
    process.exitCode = 0
    return
  }
  if (verb === undefined) return misuse('no command')
  if (!VERBS.includes(verb)) return misuse(`unknown command '${verb}'`, nearest(verb, [...VERBS, HELP]))
  const json = verb === 'status' && rest[0] === JSON_FLAG
  const surplus = rest[json ? 1 : 0]
  if (STARTING.includes(verb)) {
    if (surplus !== undefined) return misplaced(verb, rest)
  } else if (surplus !== undefined || own) {
    return misuse(
      `unexpected argument '${surplus ?? OWN}'`,
      verb === 'status' && surplus ? nearest(surplus, [JSON_FLAG]) : undefined,
    )
  }
  try {
    switch (verb) {
      case 'start':
        await verbs.start(own)
        return done(0)
      case 'run':
        await verbs.run(own)
        return done(0)
      case 'stop':
        if ((await stop(verbs)) === null) say(lines(await verbs.notRunning()))
        return done(0)
      case 'restart':
        await stop(verbs)
        await verbs.start(own)
        return done(0)
      case 'reload':
        await verbs.reload()
        return done(0)
      case 'status':
        return await report(verbs, json)
    }
  } catch (error) {
    tell(verbs.name, error as DaemonError)
    done(exitStatus(verb, error))
    dieIfInterrupted()
  }
}

/** One that had to be killed has perhaps lost something. */
async function stop(verbs: Verbs): Promise<{ pid: number } | null> {
  const stopped = await verbs.stop()
  if (stopped?.signal === 'SIGKILL') {
    process.stderr.write(`${verbs.name}: ${killed(stopped.pid, verbs.patience)}\n`)
  }
  return stopped
}

/** What became of a daemon that `stop` had to kill. */
export function killed(pid: number, patience: number): string {
  return (
    `The daemon with pid ${pid} did not end within ${patience / 1000} s of SIGTERM and was killed. ` +
    'Does its `onSignal` pass SIGTERM to `super.onSignal`?'
  )
}

function done(status: number): void {
  process.exitCode = status
}

function program(): string {
  return process.argv[1]?.split('/').pop() ?? 'program'
}

function usage(): string {
  // By a function, since a name may have a $ in it.
  return USAGE.replace('PROGRAM', program)
}

function misuse(what: string, meant?: string): void {
  const hint = meant === undefined ? '' : `: did you mean '${meant}'?`
  process.stderr.write(`${program()}: ${what}${hint}\n\n${usage()}`)
  done(USAGE_ERROR)
}

/** Somebody wants the program to have arguments. */
function misplaced(verb: string, rest: readonly string[]): void {
  misuse(
    `unexpected argument '${rest[0]}'. The program's own arguments stand behind ${OWN}: ` +
      `${program()} ${verb} ${OWN} ${rest.join(' ')}`,
  )
}

/** What the daemon had printed, why it failed, and its own error with stack and causes; nothing twice. */
function tell(name: string, { message, stdout = '', stderr = '', cause }: DaemonError): void {
  process.stdout.write(stdout)
  const told = message.endsWith(ahead(stderr, cause))
  if (!told) process.stderr.write(stderr)
  process.stderr.write(`${name}: ${message}\n`)
  // An error of this package says all in its message.
  const hasStack = cause instanceof Error && !(cause instanceof DaemonError)
  const shown = !told && hasStack && stderr.includes(cause.stack ?? '')
  if (hasStack && !shown) process.stderr.write(`${inspect(cause)}\n`)
}

/** The exit status of a verb that failed. */
export function exitStatus(verb: string, error: unknown): number {
  if (verb === 'status' || lacksRight(error)) return NO_RIGHT
  const { code } = error as DaemonError
  return verb === 'reload' && code === 'ERR_DAEMON_NOT_RUNNING' ? NOT_RUNNING_TO_RELOAD : FAILED
}

function lacksRight(error: unknown): boolean {
  for (let e = error; e instanceof Error; e = e.cause) {
    const { code, errnoCode = code } = e as { code?: string; errnoCode?: string }
    if (code === 'ERR_DAEMON_PRIVILEGES' || errnoCode === 'EACCES' || errnoCode === 'EPERM') return true
  }
  return false
}

async function report(verbs: Verbs, json: boolean): Promise<void> {
  const status = await verbs.status()
  say(lines(json ? [JSON.stringify(status)] : await told(verbs, status)))
  done(
    status.state === 'running' ? 0 : status.state === 'stopped' && status.stalePidFile ? FAILED : NOT_RUNNING,
  )
}

function lines(sentences: string[]): string {
  return sentences.map((sentence) => `${sentence}\n`).join('')
}

/** For standard output. To make process.stdout for it takes as long as all the rest of `status`. */
function say(line: string): void {
  try {
    writeSync(1, line)
  } catch (error) {
    // A reader that is gone is no error; one that is slow is waited for.
    if ((error as NodeJS.ErrnoException).code !== 'EPIPE') process.stdout.write(line)
  }
}

async function told({ name, notRunning }: Verbs, status: Status): Promise<string[]> {
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
