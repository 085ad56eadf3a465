// A place for one test: a directory for pidfiles, a log receiver and an environment for the programs
// that the test runs. All that was started in it ends with it.

import type { ChildProcess, SpawnOptions } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Daemon, DaemonError } from '../index.js'
import { quoted, variables, withoutLaunchersOwn } from '../runtime/index.js'
import { clear } from './clear.js'
import { Execution, type Exit } from './execution.js'
import { tellReaper } from './leftovers.js'
import { FOREIGN, isAttached, isOwn, pidfilesIn, processesOf, runtimeDirectoryOf } from './proc.js'
import { type Message, Receiver } from './receiver.js'
import { TestDaemon } from './tested.js'
import { until } from './until.js'

/** The options of a place. */
export interface PlaceOptions {
  /** Variables for its programs, beside those of the test's own environment; `undefined` removes one. */
  env?: Readonly<Record<string, string | undefined>> | undefined
  /**
   * Whether the place receives what its programs send to syslog. With `false` that goes where it goes without the test.
   * @defaultValue `true`
   */
  log?: boolean | undefined
}

/** How a program is run. The options of child_process.spawn can be given, too. */
export interface RunOptions extends Omit<SpawnOptions, 'env'> {
  /** More variables, only for this program; `undefined` removes one. */
  env?: Readonly<Record<string, string | undefined>> | undefined
  /**
   * The program that runs the script; `null` where the script is executable itself.
   * @defaultValue `process.execPath`
   */
  execPath?: string | null | undefined
  /**
   * Flags before the script, such as `['--import', 'tsx']`.
   * @defaultValue this process's own, without the test runner's and the debugger's; none where `execPath` is given
   */
  execArgv?: readonly string[] | undefined
  /** The text that it reads from standard input; none by default. */
  input?: string | undefined
  /**
   * Milliseconds after which it is killed (SIGKILL). `start` kills it only where its daemon is not ready by then.
   * @defaultValue 60 000
   */
  timeout?: number | undefined
}

/** How a daemon is started. */
export interface StartOptions extends RunOptions {
  /**
   * The daemon's name.
   * @defaultValue that of the one daemon that the program starts
   */
  name?: string | undefined
}

/** A daemon that is ready. */
interface Found {
  daemon: Daemon
  pid: number
}

const TIMEOUT_MS = 60_000
const MESSAGE_TIMEOUT_MS = 20_000
const LOOK_MS = 10

/** What `Place.message` looks for: a part of the text, or a test of the text or of the message. */
export type Match = string | RegExp | ((message: Message) => boolean)

/**
 * A place for one test. Programs that run there keep their pidfiles in it, and find the log receiver where
 * /dev/log would be. When the place ends, they end too, with all that they have started. It ends by `await using`,
 * by `end()`, and when the test's process dies.
 */
export class Place implements AsyncDisposable {
  /** A directory for whatever the test needs. All users can read it, and it is removed at the end. */
  readonly dir: string
  /** `dir/run`, where the pidfiles are: the programs' `$RUNTIME_DIRECTORY`. */
  readonly runtimeDirectory: string
  readonly #env: Readonly<Record<string, string | undefined>>
  readonly #receiver: Receiver | undefined
  readonly #given = new Set<Message>()
  #end: Promise<void> | undefined

  /**
   * @throws DaemonError `ERR_DAEMON_UNSUPPORTED` on another system than Linux, and where /proc is not that of
   * this pid namespace
   * @throws Error where it cannot be made, such as on a full disk
   */
  constructor(options: PlaceOptions = {}) {
    const { env = {}, log = true } = options
    if (process.platform !== 'linux') {
      throw new DaemonError(
        'ERR_DAEMON_UNSUPPORTED',
        'A place needs /proc, which only Linux has: run these tests in a container',
      )
    }
    if (!isOwn()) throw new DaemonError('ERR_DAEMON_UNSUPPORTED', FOREIGN)
    this.dir = mkdtempSync(join(tmpdir(), 'tsd-'))
    tellReaper(`+${this.dir}`)
    this.runtimeDirectory = runtimeDirectoryOf(this.dir)
    // Daemons that have become another user reach the log through it.
    chmodSync(this.dir, 0o755)
    mkdirSync(this.runtimeDirectory, { mode: 0o755 })
    this.#env = env
    if (log) this.#receiver = this.#receive()
  }

  /** Lets its programs use the receiver in place of the local logger. */
  #receive(): Receiver {
    mkdirSync(join(this.dir, 'dev'), { mode: 0o755 })
    const socket = join(this.dir, 'dev', 'log')
    writeFileSync(
      this.#preload,
      `// Loaded before the program, which finds here where its messages to syslog go.
globalThis[Symbol.for('tsdaemonize.logger')] = ${JSON.stringify(socket)}
`,
    )
    return new Receiver(socket)
  }

  get #preload(): string {
    return join(this.dir, 'dev', 'log.cjs')
  }

  /**
   * The environment of its programs: the test's own, without what belongs to the test runner, a debugger
   * or a service manager, and with `RUNTIME_DIRECTORY` and what `env` says.
   */
  get env(): Record<string, string | undefined> {
    return this.#environment({})
  }

  #environment(more: Readonly<Record<string, string | undefined>>): Record<string, string | undefined> {
    const env: Record<string, string | undefined> = {
      ...Object.fromEntries(variables(process.env)),
      RUNTIME_DIRECTORY: this.runtimeDirectory,
      INVOCATION_ID: undefined,
      ...this.#env,
      ...more,
    }
    if (this.#receiver === undefined) return env
    const before = (flags: string, others = '') => `${flags} ${others}`.trim()
    return {
      ...env,
      NODE_OPTIONS: before(`--require ${quoted(this.#preload)}`, env.NODE_OPTIONS),
      // Deno reads Node's variable, Bun has its own.
      BUN_OPTIONS: before(`--preload ${quoted(this.#preload)}`, env.BUN_OPTIONS),
    }
  }

  /**
   * Runs a program of Node's, or another one (`execPath`), to its end.
   *
   * @param script - its path or `file:` URL
   * @returns how it ended; until then, `child` is its process. What it leaves behind ends with the place.
   */
  run(
    script: string | URL,
    args: readonly string[] = [],
    options: RunOptions = {},
  ): Promise<Exit> & { child: ChildProcess } {
    const { exit, child } = this.#execute(script, args, options)
    return Object.assign(exit, { child })
  }

  #execute(script: string | URL, args: readonly string[], options: RunOptions): Execution {
    if (this.#end !== undefined) throw new Error(`The place ${this.dir} has ended`)
    const { execPath, execArgv, env = {}, input, timeout = TIMEOUT_MS, ...rest } = options
    const flags = execArgv ?? (execPath === undefined ? withoutLaunchersOwn(process.execArgv, true) : [])
    const path = String(script).startsWith('file:') ? fileURLToPath(script) : String(script)
    const [file, argv] =
      execPath === null ? [path, args] : [execPath ?? process.execPath, [...flags, path, ...args]]
    return new Execution(file, argv, { ...rest, env: this.#environment(env) }, timeout, input)
  }

  /**
   * Runs a program that starts a daemon, and waits until the daemon is ready. It may detach itself, or stay
   * attached (`detach: false`, the verb `run`); it must keep its pidfile where `$RUNTIME_DIRECTORY` says.
   *
   * @param args - such as `['start']`, for a program with a command line
   * @throws DaemonError `ERR_DAEMON_START_FAILED`, with `exitCode`, `signal`, `stdout` and `stderr`: the
   * program has ended, and there is no daemon, or there are several and none was named;
   * `ERR_DAEMON_START_TIMEOUT`: it was not ready within `timeout`
   */
  async start(
    script: string | URL,
    args: readonly string[] = [],
    options: StartOptions = {},
  ): Promise<TestDaemon> {
    const { name, ...how } = options
    const before = new Set((await this.#running(name)).map(({ pid }) => pid))
    const execution = this.#execute(script, args, how)
    for (;;) {
      // The launcher's end is asked for before the look for a daemon: when it has ended, the daemon is there.
      const exit = await execution.exitBy(LOOK_MS)
      const found = await this.#running(name, exit === undefined ? execution.child.pid : undefined)
      const fresh = found.filter(({ pid }) => !before.has(pid))
      const [one, ...others] = fresh.length > 0 ? fresh : found
      if (one !== undefined && others.length === 0 && (exit === undefined || exit.status === 0)) {
        execution.mayLast()
        return new TestDaemon(one.daemon, one.pid, execution)
      }
      if (exit !== undefined) throw failure(script, execution, exit, found)
    }
  }

  /**
   * The daemons that are ready, with this name if one is given. While `program` still runs, only one that is attached
   * to it counts, since another may still fail.
   */
  async #running(name?: string, program?: number): Promise<Found[]> {
    const found: Found[] = []
    for (const file of pidfilesIn(this.dir)) {
      if (name !== undefined && file.name !== name) continue
      if (program !== undefined && !isAttached(file.pid, program)) continue
      const daemon = new Daemon({ name: file.name, pidFilePath: this.runtimeDirectory })
      const status = await daemon.status()
      if (status.state === 'running') found.push({ daemon, pid: status.pid })
    }
    return found
  }

  /** The messages that its programs have sent to syslog so far, in the order of arrival. */
  get messages(): readonly Message[] {
    return this.#receiver?.messages ?? []
  }

  /**
   * Waits for a message that matches. Each message is given once: the next call gives the next one that matches.
   *
   * @param match - a part of the text, or a test of the text or of the message
   * @param timeout - milliseconds, 20 000 by default
   * @throws Error when the time is up, with what was received
   */
  async message(match: Match, timeout: number = MESSAGE_TIMEOUT_MS): Promise<Message> {
    const matches = typeof match === 'function' ? match : textMatches(match)
    const look = () => {
      if (this.#end !== undefined) throw new Error(`The place ${this.dir} has ended`)
      return this.messages.find((message) => !this.#given.has(message) && matches(message))
    }
    try {
      const found = await until(look, `a message that matches ${match}`, timeout)
      this.#given.add(found)
      return found
    } catch (error) {
      const received = this.messages.map(({ ident, message }) => `\n  ${ident}: ${message}`).join('')
      throw new Error(`${(error as Error).message}. Received: ${received || 'nothing'}`, { cause: error })
    }
  }

  /** The pids of the processes in the place: those that were started there, and their descendants. */
  processes(): number[] {
    return processesOf(this.dir)
  }

  /**
   * Kills (SIGKILL) what still runs in the place and removes its directory.
   *
   * @throws Error where something does not end within 20 seconds
   */
  end(): Promise<void> {
    this.#end ??= this.#clear()
    return this.#end
  }

  async #clear(): Promise<void> {
    await clear(this.dir)
    this.#receiver?.close()
    tellReaper(`-${this.dir}`)
  }

  /** `end()`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.end()
  }
}

function textMatches(match: string | RegExp): (message: Message) => boolean {
  return typeof match === 'string'
    ? ({ message }) => message.includes(match)
    : ({ message }) => message.search(match) >= 0
}

/** The error that says why there is no daemon, or more than one. */
function failure(script: string | URL, execution: Execution, exit: Exit, found: Found[]): DaemonError {
  const { status, signal, stdout, stderr } = exit
  const said = stderr.trim() === '' ? '' : `:\n${stderr.trim()}`
  if (execution.isOutOfTime) {
    const what = `The daemon of ${script} was not ready within ${execution.timeout} ms${said}`
    return new DaemonError('ERR_DAEMON_START_TIMEOUT', what, { stdout, stderr })
  }
  const how = signal ?? `status ${status}`
  const names = found.map(({ daemon }) => daemon.name).join(', ')
  const why =
    status !== 0
      ? `before its daemon was ready${said}`
      : found.length > 1
        ? `and several daemons run: ${names}. Say which one with \`name\``
        : 'and left no daemon with a pidfile in $RUNTIME_DIRECTORY, which is the default of `pidFilePath`'
  return new DaemonError('ERR_DAEMON_START_FAILED', `The program ${script} ended with ${how} ${why}`, {
    stdout,
    stderr,
    ...(status !== null && { exitCode: status }),
    ...(signal !== null && { signal }),
  })
}
