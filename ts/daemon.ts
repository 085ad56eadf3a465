// The class that programs extend. From outside it answers what can be asked of a daemon.

import {
  exitStatus,
  killed,
  runCommand,
  type Service,
  type Stopped,
  silently,
  Terminal,
  type Wait,
} from './command/index.js'
import { DaemonError, invalidType, unknownName } from './errors/index.js'
import { isAhead, isRepeated, launch, onceReleased, show, startedEarlier } from './launch/index.js'
import { logger } from './logger/index.js'
import { warningOfLifeline } from './manager/index.js'
import { assertSupported, type NativePlace, native } from './native/index.js'
import { type DaemonOptions, type ResolvedOptions, resolveOptions } from './options/index.js'
import { notRunning, pidFileIn, type Status, socketIn, statusOf, stopTimeoutOf } from './pidfile/index.js'
import * as life from './process/index.js'
import {
  become,
  type Hello,
  handOver,
  type Identity,
  isByProgram,
  managed,
  runOptions,
  signalNames,
  signalNumber,
} from './process/index.js'
import { now } from './runtime/index.js'

/** `stop` waits this much longer than `stopTimeout`, in milliseconds, before it sends SIGKILL. */
const KILL_AFTER_MS = 1000
const SIGNAL = "a name such as 'SIGHUP'"
/** The pause between two looks of `ensure` at a start by another process, in milliseconds. */
const LOOK_MS = 20

/**
 * A UNIX daemon. Subclass it, override `action`, and let `new MyDaemon().start()` be the program's
 * last statement.
 *
 * The program runs twice: in the launcher, where `start()` resolves once the daemon is ready, and in
 * the daemon, where it never settles. See daemon(7), "SysV Daemons", for the steps between.
 */
export class Daemon {
  readonly #given: DaemonOptions
  #options: ResolvedOptions
  /** The program's own arguments in the daemon, where the command line gives some. */
  #arguments: readonly string[] | undefined
  /** How to wait: on the command line, a person may look on. */
  #wait: Wait = silently

  /**
   * @param options - see {@link DaemonOptions}
   * @throws TypeError `ERR_INVALID_ARG_TYPE` or `ERR_INVALID_ARG_VALUE` for an unknown or ill-typed option
   */
  constructor(options: DaemonOptions = {}) {
    this.#options = resolveOptions(options)
    this.#given = { ...options }
    if (!isByProgram && handOver?.name === this.#options.name) this.#usePlaceOf(handOver)
  }

  /** The daemon's own options count, except that the pidfile is where the launcher has locked it. */
  #usePlaceOf({ place }: Hello): void {
    this.#options.places = place === null ? [] : [place]
    this.#options.placeIsDefault = false
  }

  /** What the program `tsdaemonize` was called with goes before the daemon's own options. */
  #heed(hello: Hello): void {
    try {
      this.#options = resolveOptions(this.#given, hello.options)
    } catch (error) {
      life.refuse(error)
    }
    if (hello.name !== undefined) this.#usePlaceOf(hello)
  }

  /** The daemon's name. */
  get name(): string {
    return this.#options.name
  }

  /**
   * The pidfile's path, or `null` where none is kept. Where the path depends on the environment, it is that
   * of the daemon that runs at this moment, or of the next start where none runs.
   */
  get pidFile(): string | null {
    const place = this.#place()
    return place === undefined ? null : pidFileIn(place)
  }

  /**
   * A path for a socket of the daemon, beside its pidfile and as short as a socket's path must be; `null`
   * without a pidfile. It is the same in the daemon and in a client of the same name. As with `pidFile`, it
   * is that of the daemon that runs at this moment.
   *
   * @throws DaemonError `ERR_DAEMON_PIDFILE` where the directory alone is too long
   */
  get socketPath(): string | null {
    const place = this.#place()
    return place === undefined ? null : socketIn(place)
  }

  #place(): NativePlace | undefined {
    const { places } = this.#options
    return places[places.length > 1 ? native.currentPlace(places) : 0]
  }

  /**
   * Runs before privileges are dropped and before the launcher hears that the daemon is ready: bind ports, read keys.
   * What it throws ends the start, and the launcher shows it. Does nothing by default.
   */
  protected async setup(): Promise<void> {}

  /**
   * The daemon's behaviour. The process lives while it is pending. When it has returned, the daemon ends as soon
   * as the event loop has nothing left to do. An error that it throws is logged, and ends the daemon with status 1.
   *
   * @param signal - aborts when the daemon is asked to end. An `action` that has this parameter is then waited for,
   * for at most `stopTimeout`, unless it calls `exit` itself
   */
  protected async action(signal: AbortSignal): Promise<unknown> {
    void signal
    throw new TypeError(`The Daemon '${this.name}' has no action: override \`action\``)
  }

  /**
   * Gets SIGTERM, SIGINT, SIGHUP, SIGALRM, SIGUSR1, SIGUSR2, SIGCHLD and SIGPIPE, one at a time. By
   * default SIGTERM ends the daemon, SIGINT ends an attached one, and all others are ignored. An override calls
   * `super.onSignal(signal)` for the signals that it does not handle. On SIGHUP the log files (`stdout`, `stderr`)
   * have been opened anew before this is called, whatever it does.
   */
  protected async onSignal(signal: NodeJS.Signals): Promise<void> {
    await life.onSignal(signal)
  }

  /**
   * Runs when the daemon ends, for at most `stopTimeout`, while an `action` that has the signal comes to its end.
   * Does nothing by default.
   */
  protected async shutdown(): Promise<void> {}

  /**
   * Starts the daemon. Resolves in the launcher once the daemon is ready, and never settles in the daemon. In
   * the process of another daemon that the program starts later, it resolves with the pid of this one.
   *
   * @throws DaemonError `ERR_DAEMON_ALREADY_RUNNING`, `ERR_DAEMON_START_FAILED`,
   * `ERR_DAEMON_START_TIMEOUT`, `ERR_DAEMON_PIDFILE`, `ERR_DAEMON_UNSAFE_PIDFILE`,
   * `ERR_DAEMON_UNSUPPORTED`
   */
  async start(): Promise<{ pid: number }> {
    if (this.#isRunHere()) return this.#live(true)
    const { detach, script } = this.#options
    const background = detach ?? (script !== undefined || become !== undefined || !managed)
    return this.#start(background, detach === true)
  }

  /** `tsdaemonize run` was called for this one: it lives in this process. */
  #isRunHere(): boolean {
    return runOptions !== undefined && become === undefined && this.#options.script === undefined
  }

  /** `asked`: somebody has asked for what `detach` says, so it was not found out. */
  async #start(
    detach: boolean,
    asked: boolean,
    failed?: (error: unknown) => number,
  ): Promise<{ pid: number }> {
    assertSupported(this.#options.script !== undefined)
    if (life.awaits(this.name)) return this.#live(false)
    const earlier = await this.#earlier()
    if (earlier !== undefined) return { pid: earlier }
    if (detach) {
      const waiting = {
        what: `${this.name}: waiting until the daemon is ready`,
        limit: this.#options.startTimeout,
        after: 'then it is ended',
        cancel: native.cancelLaunch,
      }
      const launched = await this.#wait(waiting, () => launch(this.#options, true))
      show(launched)
      this.#warn(asked)
      return { pid: launched.pid }
    }
    if (become !== undefined) {
      throw new DaemonError(
        'ERR_DAEMON_START_FAILED',
        `This process is the daemon '${become}' already: start '${this.name}' with \`detach: true\``,
      )
    }
    return this.#live(true, failed)
  }

  /** Warns where the daemon will not outlive the program. A server that a client, or another daemon, has started may
   * end with that one. */
  #warn(asked: boolean): void {
    if (this.#options.script !== undefined || become !== undefined) return
    const warning = warningOfLifeline(asked)
    if (warning !== undefined) process.stderr.write(`${this.name}: ${warning}\n`)
  }

  /** In the process of one daemon, the pid of another that the program has started before: it is not started again. */
  async #earlier(): Promise<number | undefined> {
    if (handOver === undefined || become !== undefined) return undefined
    const known = startedEarlier(this.name)
    if (known !== undefined) return known
    const status = await this.status()
    if (status.state === 'running') return status.pid
    throw new DaemonError(
      'ERR_DAEMON_NOT_RUNNING',
      `The daemon '${this.name}' is not running, and is not started from the process of '${handOver.name}'. ` +
        'If they are meant to be one daemon, give both the same name',
    )
  }

  async #live(attached: boolean, failed?: (error: unknown) => number): Promise<never> {
    if (!attached && handOver !== undefined && isByProgram) this.#heed(handOver)
    if (attached && runOptions !== undefined) this.#options = resolveOptions(this.#given, runOptions)
    if (this.action === Daemon.prototype.action) {
      const error = new TypeError(`The Daemon '${this.name}' has no action: override \`action\``)
      if (attached) throw error
      life.refuse(error)
    }
    let warning: string | undefined
    if (attached) warning = await this.#lockPidfile()
    else this.#inheritPidfile()
    if (this.#arguments) process.argv.splice(2, process.argv.length, ...this.#arguments)
    return life.live({
      options: this.#options,
      behaviour: {
        setup: () => this.setup(),
        action: (signal) => this.action(signal),
        hasSignal: this.action.length > 0,
        onSignal: (signal) => this.onSignal(signal),
        shutdown: () => this.shutdown(),
      },
      attached,
      statusOfFailure: failed,
      warning,
    })
  }

  /** Takes the pidfile that the launcher has locked; or locks it, where that did not know the name. */
  #inheritPidfile(): void {
    const { places } = this.#options
    try {
      if (places.length > 0) native.inheritPidfile(places)
    } catch (error) {
      life.refuse(error)
    }
    this.#options.places = places.slice(0, 1)
  }

  /** Attached: where the pidfile cannot be written and nobody asked for one, the daemon runs all the same. Returns a
   * warning then. */
  async #lockPidfile(): Promise<string | undefined> {
    const { places } = this.#options
    const [own] = places
    if (own === undefined) return undefined
    try {
      await onceReleased(places, async () => native.acquirePidfile(places))
      this.#options.places = [own]
      return undefined
    } catch (error) {
      const { code, syscall } = error as DaemonError
      const optional = this.#options.placeIsDefault && code === 'ERR_DAEMON_PIDFILE'
      if (!optional || syscall === 'flock') throw error
      return `${(error as Error).message}. Going on without`
    }
  }

  /**
   * Starts the daemon, always detached, unless one runs or is just starting. Resolves once it is ready, with its
   * pid. Prints nothing: `stdout` and `stderr` are what the daemon printed while it started, and are empty where
   * this call has not started it. Never settles in the daemon.
   *
   * @throws DaemonError as `start`
   */
  async ensure(): Promise<{ pid: number; started: boolean; stdout: string; stderr: string }> {
    assertSupported(this.#options.script !== undefined)
    if (life.awaits(this.name)) return this.#live(false)
    if (this.#isRunHere()) return this.#live(true)
    const earlier = await this.#earlier()
    if (earlier !== undefined) return found(earlier)
    const deadline = now() + this.#options.startTimeout
    for (;;) {
      const status = this.#options.places.length > 0 ? await this.status() : undefined
      if (status?.state === 'running') return found(status.pid)
      if (status?.state !== 'starting') {
        try {
          const { pid, stdout, stderr } = await launch(this.#options, false)
          return { pid, started: true, stdout: stdout.toString(), stderr: stderr.toString() }
        } catch (error) {
          if ((error as DaemonError).code !== 'ERR_DAEMON_ALREADY_RUNNING') throw error
        }
      }
      if (now() >= deadline) {
        throw new DaemonError(
          'ERR_DAEMON_START_TIMEOUT',
          `The daemon '${this.name}', which another process is starting, was not ready within ` +
            `${this.#options.startTimeout} ms`,
        )
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    }
  }

  /**
   * Ends the daemon by SIGTERM, and by SIGKILL one second after `stopTimeout`: this object's, where it was given, else
   * the daemon's own. Resolves when the process has ended and its pidfile is gone, or with `null` where none was
   * running. A daemon that is starting is ended too, and so is a supervisor.
   *
   * @throws DaemonError `ERR_DAEMON_STOP_FAILED`: nothing was sent, or it did not end
   */
  async stop(): Promise<{ pid: number; signal: 'SIGTERM' | 'SIGKILL' } | null> {
    const stopped = await this.#stop()
    return stopped && { pid: stopped.pid, signal: stopped.signal }
  }

  async #stop(): Promise<Stopped | null> {
    if (life.awaits(this.name) || isRepeated(this.name)) return null
    const place = this.#known()
    const { stopTimeout, stopTimeoutIsDefault } = this.#options
    const own = stopTimeoutIsDefault ? stopTimeoutOf(place) : undefined
    const limit = (own ?? stopTimeout) + KILL_AFTER_MS
    const waiting = { what: `${this.name}: waiting for the daemon's end`, limit, after: 'then SIGKILL' }
    const stopped = await this.#wait(waiting, () => native.stop(place, limit))
    if (stopped?.killed) this.#tellKilled(stopped.pid, limit)
    return stopped && { pid: stopped.pid, signal: stopped.killed ? 'SIGKILL' : 'SIGTERM', patience: limit }
  }

  /** Logs that a daemon was killed, which it cannot say itself. */
  #tellKilled(pid: number, limit: number): void {
    const { name, syslogOptions, syslogFacility } = this.#options
    logger.warnAs(name, syslogOptions, syslogFacility, killed(pid, limit))
  }

  /** Stops the daemon, and starts it again. */
  async restart(): Promise<{ pid: number }> {
    await this.stop()
    return this.start()
  }

  /**
   * Says whether the daemon runs, which the lock on its pidfile shows. Any user may ask.
   *
   * @throws DaemonError `ERR_DAEMON_UNSAFE_PIDFILE`, `ERR_DAEMON_PIDFILE`; `ERR_DAEMON_STOP_FAILED` where
   * the lock is held by a process that is not recognised
   */
  async status(): Promise<Status> {
    if (this.#isYetToStart()) return { state: 'stopped', stalePidFile: false }
    return statusOf(this.#known())
  }

  /**
   * Sends a signal to the running daemon, and to no other process.
   *
   * @param signal - a name, such as `'SIGHUP'`
   * @throws DaemonError `ERR_DAEMON_NOT_RUNNING`, `ERR_DAEMON_STOP_FAILED`
   * @throws TypeError `ERR_INVALID_ARG_TYPE` or `ERR_INVALID_ARG_VALUE` for what is no signal's name
   */
  async kill(signal: NodeJS.Signals): Promise<void> {
    if (typeof signal !== 'string') throw invalidType('signal', signal, SIGNAL)
    const number = signalNumber(signal)
    if (number === undefined) throw unknownName('signal', signal, SIGNAL, signalNames())
    const isYetToStart = this.#isYetToStart()
    if (isRepeated(this.name) && !isYetToStart) return
    if (!isYetToStart && (await native.kill(this.#known(), number))) return
    const { places } = this.#options
    const said = await notRunning(`The daemon '${this.name}'`, this.name, places)
    const [own] = places
    throw new DaemonError('ERR_DAEMON_NOT_RUNNING', said.join('. '), own ? { path: pidFileIn(own) } : {})
  }

  /** In the process of a daemon before its take-over, code goes the way that it has gone in the launcher. */
  #isYetToStart(): boolean {
    return life.awaits(this.name) || isAhead(this.name)
  }

  #known(): NativePlace[] {
    const { places } = this.#options
    if (places.length > 0) return places
    throw new DaemonError(
      'ERR_DAEMON_PIDFILE',
      `The daemon '${this.name}' keeps no pidfile (\`pidFilePath: null\`), so it cannot be found`,
    )
  }

  /**
   * The command line: `start | stop | restart | reload | status [--json] | run`. Sets
   * `process.exitCode` as the Linux Standard Base does for init scripts.
   *
   * Arguments after `--`, with `start`, `restart` or `run`, are the program's own: from `setup` on,
   * `process.argv` has only them after Node and the script.
   *
   * @param given - the arguments, by default those after the script's name
   */
  async serviced(given?: readonly string[]): Promise<void> {
    // Whatever follows the script on the command line of `tsdaemonize start` is the script's own.
    if (isByProgram && life.awaits(this.name)) return this.#live(false)
    if (this.#isRunHere()) return this.#live(true)
    const args = given ?? process.argv.slice(2)
    if (args.length === 0 && life.awaits(this.name)) {
      life.refuse(
        new Error(
          'The script ends with `serviced()`, which got no command: ' +
            "give `args: ['start']` beside `script`, or end the script with `start()` instead",
        ),
      )
    }
    // A program that gives other arguments than the process's own has read those already.
    const setArguments = (own: readonly string[] | undefined) => {
      this.#arguments = own ?? (given ? undefined : [])
    }
    const terminal = new Terminal()
    this.#wait = terminal.wait
    const service: Service = {
      name: this.name,
      start: (own) => {
        setArguments(own)
        return this.#start(true, true)
      },
      run: (own) => {
        setArguments(own)
        return this.#start(false, true, (error) => exitStatus('run', error))
      },
      stop: () => this.#stop(),
      status: () => this.status(),
      reload: () => this.kill('SIGHUP'),
      notRunning: () => notRunning(this.name, this.name, this.#options.places),
    }
    await runCommand(args, service, terminal)
  }

  /**
   * In the daemon: becomes another user, for good, and proves it. That is the given user, else the one with the
   * daemon's name, else `daemon`. The group is found in the same way; where none is given, it is the user's own, if
   * the user has an entry. Any failure ends the daemon.
   */
  dropPrivileges(user?: string | number | null, group?: string | number | null): Identity {
    return life.dropPrivileges(user, group)
  }

  /**
   * In the daemon: opens its log files (`stdout`, `stderr`) anew, after they were renamed. A file that cannot
   * be opened is a LOG_ERR, and the old one stays. SIGHUP always does this.
   */
  reopen(): void {
    life.reopen()
  }

  /** In the daemon: ends it with this exit status, after `shutdown`. Never settles. */
  exit(code = 0): Promise<never> {
    return life.exit(code)
  }

  /** In the daemon: ends the process at once, by _exit(2). The pidfile is removed, and nothing else is done. */
  exitNow(code: number): never {
    return life.exitNow(code)
  }
}

/** The answer of `ensure` for a daemon that it has not started. */
function found(pid: number) {
  return { pid, started: false, stdout: '', stderr: '' }
}
