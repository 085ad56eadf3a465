// The launcher: from options to a running daemon, or to the reason why there is none.

import {
  ahead,
  DaemonError,
  type DaemonErrorCode,
  type DaemonErrorDetails,
  QUOTED,
  reviveError,
} from '../errors/index.js'
import { ownsVariables } from '../manager/index.js'
import {
  bundled,
  executable,
  type NativePlace,
  type NativeSupervision,
  native,
  unfit,
} from '../native/index.js'
import type { ResolvedOptions } from '../options/index.js'
import { hintOf, pidFileIn } from '../pidfile/index.js'
import { type Hello, signalName } from '../process/index.js'
import { existsSync, print } from '../runtime/index.js'
import { type Command, daemonCommand, directory } from './command-line.js'
import { noteStarted, startedSoFar } from './started.js'

type Outcome = Awaited<ReturnType<typeof native.launch>>

/** A daemon that was started, and what it printed meanwhile. */
export interface Launched {
  pid: number
  stdout: Buffer
  stderr: Buffer
}

/** Tries again where a process that is being killed still holds the pidfile, when it has let go. */
export async function onceReleased<T>(places: NativePlace[], attempt: () => Promise<T>): Promise<T> {
  try {
    return await attempt()
  } catch (error) {
    const isHeld = (error as DaemonError).code === 'ERR_DAEMON_ALREADY_RUNNING'
    if (!isHeld || !(await native.awaitRelease(places))) throw error
    return attempt()
  }
}

/** Starts the daemon in the background, and resolves when it is ready. `isShown`: what it prints until then will be
 * shown. */
export async function launch(options: ResolvedOptions, isShown: boolean): Promise<Launched> {
  const hello: Hello = {
    name: options.name,
    place: options.places[0] ?? null,
    isPartOfService: options.script === undefined && ownsVariables(false),
    startTimeout: options.startTimeout,
    isShown,
    earlier: startedSoFar(),
  }
  const command = daemonCommand(options, native.commandLine)
  const started = startedAs(options, command)
  const plan = {
    ...command,
    state: JSON.stringify(started),
    supervision: supervisionOf(options, started),
    places: options.places,
    keepFds: [...options.keepFds],
    timeout: options.startTimeout,
    hello: JSON.stringify(hello),
  }
  const outcome = await onceReleased(options.places, async () => native.launch(plan))
  const { pid } = outcome
  if (pid === undefined) throw startError(options, outcome, command.file)
  noteStarted(options.name, pid)
  return { pid, stdout: outcome.stdout, stderr: outcome.stderr }
}

/**
 * What is started, for whoever starts it again. A daemon that has dropped its privileges is not asked for it, since root
 * would run what it says.
 */
function startedAs(options: ResolvedOptions, { argv, cwd = directory() }: Command) {
  return { version: 1, name: options.name, program: argv, cwd: String(cwd ?? '/') }
}

/** What stays beside the daemon, where its own options ask for that, which are known when it is ready. */
function supervisionOf(options: ResolvedOptions, started: object): NativeSupervision {
  const { name, stopTimeout, stdout, stderr } = options
  const [own] = options.places
  const place = { dir: own?.dir ?? null, private: own?.private ?? false }
  const outputs = { stopTimeout, stdout: stdout ?? null, stderr: stderr ?? null }
  const plan = { ...started, package: bundled, kind: 'library', ...place, ...outputs }
  return { executable: Buffer.from(executable()), name, plan: JSON.stringify(plan) }
}

/** Shows what a daemon has printed while it started, on the outputs to which it would have printed itself. */
export function show({ stdout, stderr }: Launched): void {
  // Naming process.stdout makes it, and loads what it needs, so it is named only where there is something to print.
  if (stdout.length > 0) print(process.stdout, stdout)
  if (stderr.length > 0) print(process.stderr, stderr)
}

function startError(options: ResolvedOptions, outcome: Outcome, file: string): DaemonError {
  const stdout = outcome.stdout.toString()
  const stderr = outcome.stderr.toString()
  const { name } = options
  const printed: DaemonErrorDetails = { stdout, stderr }
  if (outcome.exitCode !== undefined) printed.exitCode = outcome.exitCode
  if (outcome.signal !== undefined) printed.signal = signalName(outcome.signal)
  const error = (code: DaemonErrorCode, what: string, details: DaemonErrorDetails = {}) =>
    new DaemonError(code, `The daemon '${name}' ${what}`, { ...printed, ...details })

  if (outcome.supplanted) {
    return error('ERR_DAEMON_ALREADY_RUNNING', 'was not started: another one took its pidfile meanwhile')
  }
  const { unsupervised, unsupervisedReason: reason = '' } = outcome
  if (unsupervised !== undefined) {
    const path = executable()
    const what = `did not start, since it asks for a supervisor (\`supervise\`). ${unfit(path, reason)}`
    return error('ERR_DAEMON_UNSUPPORTED', what, { path })
  }
  if (outcome.syscall !== undefined) return stepError(options, outcome, file, error)
  if (outcome.report !== undefined) {
    const cause = reviveError(outcome.report)
    const own = cause instanceof Error ? `${cause.name}: ${cause.message}` : String(cause)
    // Of an error that nobody caught, Node also prints the line, which the stack has not.
    const line = stderr.includes((cause as Error | undefined)?.stack ?? '\0') ? ahead(stderr, cause) : ''
    const where = line === '' ? '' : `:\n${line.slice(-QUOTED)}`
    return error('ERR_DAEMON_START_FAILED', `did not start: ${own}${where}`, { cause })
  }
  const said = stderr.trim() === '' ? '' : `:\n${stderr.trim().slice(-QUOTED)}`
  if (outcome.cancelled) {
    const what = `was not ready when SIGINT interrupted its start, and was ended${said}`
    return error('ERR_DAEMON_START_FAILED', what, { signal: 'SIGINT' })
  }
  if (outcome.timedOut) {
    return error(
      'ERR_DAEMON_START_TIMEOUT',
      `was not ready within ${options.startTimeout} ms and was ended. ` +
        `See what \`setup\` waits for, or raise \`startTimeout\`${said}`,
    )
  }
  if (printed.signal !== undefined) {
    return error('ERR_DAEMON_START_FAILED', `was killed by ${printed.signal} before it was ready${said}`)
  }
  if (printed.exitCode === undefined) {
    return error('ERR_DAEMON_START_FAILED', `did not start: its start was killed from outside${said}`)
  }
  const why =
    printed.exitCode === 0 && said === ''
      ? `: its script must reach \`start()\` of a Daemon named '${name}', and \`setup\` must return`
      : said
  return error('ERR_DAEMON_START_FAILED', `exited with status ${printed.exitCode} before it was ready${why}`)
}

function stepError(
  options: ResolvedOptions,
  outcome: Outcome,
  file: string,
  error: (code: DaemonErrorCode, what: string, details: DaemonErrorDetails) => DaemonError,
): DaemonError {
  const { syscall = '', errno = 0, errnoCode = '', reason = '' } = outcome
  const onPidFile = syscall === 'write' && options.places[0]
  const path = onPidFile ? pidFileIn(onPidFile) : syscall === 'execve' ? file : undefined
  // execve(2) also fails with ENOENT where the interpreter that a script's first line names does not exist.
  const isThere = path === file && errnoCode === 'ENOENT' && existsSync(file)
  const hint = onPidFile
    ? hintOf(onPidFile)
    : isThere
      ? '. The file is there, but the interpreter that its first line names is not'
      : ''
  const what = `did not start: ${reason}, ${syscall}${path === undefined ? '' : ` '${path}'`}${hint}`
  return error(onPidFile ? 'ERR_DAEMON_PIDFILE' : 'ERR_DAEMON_START_FAILED', what, {
    syscall,
    errno,
    errnoCode,
    ...(path !== undefined && { path }),
  })
}
