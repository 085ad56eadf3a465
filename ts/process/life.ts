// The life of a daemon, in its own process: from the take-over by `start()` to its end.

import { DaemonError, inText, property } from '../errors/index.js'
import { logger } from '../logger/index.js'
import { Manager, reapOrphans } from '../manager/index.js'
import { native } from '../native/index.js'
import { type ResolvedOptions, SYSLOG } from '../options/index.js'
import { getSystemErrorMap, isTerminal, now, print, writeSync } from '../runtime/index.js'
import { LOG_DEBUG, LOG_ERR, LOG_INFO, LOG_PERROR, LOG_WARNING, openlog, syslog } from '../syslog/index.js'
import { Action, isCalledByAction } from './action.js'
import { debuggerPort } from './debugger.js'
import { Farewell } from './farewell.js'
import { handOver, managed, markAsDaemon, reportFailure } from './handover.js'
import { servers } from './listening.js'
import { Outputs } from './outputs.js'
import { Privileges } from './privileges.js'
import { wireSignals } from './signals.js'
import { stateOf } from './state.js'
import { watchUncaught } from './uncaught.js'

/** What a program makes of its daemon. */
export interface Behaviour {
  setup(): Promise<void> | void
  action(signal: AbortSignal): Promise<unknown> | unknown
  /** `action` has the signal as a parameter, so that it can come to an end when the signal aborts. */
  hasSignal: boolean
  onSignal(signal: NodeJS.Signals): Promise<void> | void
  shutdown(): Promise<void> | void
}

/** The circumstances in which a daemon begins. */
export interface Circumstances {
  options: ResolvedOptions
  behaviour: Behaviour
  /** The process stays with whoever has started it. */
  attached: boolean
  /** The exit status of an attached start that fails; 1 by default. */
  statusOfFailure?: ((error: unknown) => number) | undefined
  /** A warning to log as soon as the log is open. */
  warning?: string | undefined
}

/** `ready`: the launcher has been told, and "go" is on its way. */
type Phase = 'starting' | 'ready' | 'running' | 'leaving'

/** How long the last messages may take to reach the logger, in milliseconds: while `stopTimeout` has not passed, and
 * after it. Then the thread that ends blocked daemons waits only a moment longer, and `stop` a second. */
const FLUSH_MS = 2000
const LATE_FLUSH_MS = 200
/** `shutdown` has so many turns of the microtasks before a timer is made for it. */
const AT_ONCE = 10
const FOREVER = new Promise<never>(() => {})

/** Logs that a signal ends the process. */
export function logEnd(signal: NodeJS.Signals): void {
  syslog(LOG_INFO, `Received ${signal}. Exiting.`)
}

/** One daemon in a process is one Life. */
export class Life {
  readonly #options: ResolvedOptions
  readonly #behaviour: Behaviour
  readonly #attached: boolean
  readonly #statusOfFailure: (error: unknown) => number
  readonly #warning: string | undefined
  readonly #outputs = new Outputs()
  readonly #farewell = new Farewell()
  readonly privileges: Privileges
  /** Only of an attached daemon, once its outputs are open. */
  #manager: Manager | undefined
  #phase: Phase = 'starting'
  /** `setup` has returned. */
  #isSetUp = false
  /** There is one from "go" on. */
  #action: Action | undefined
  /** `onSignal` is at work. */
  #isDelivering = false
  /** SIGHUP came before the outputs were redirected. */
  #isRotated = false
  /** The signal that ends it. */
  #cause: NodeJS.Signals | undefined
  /** The outputs whose reader is gone. */
  readonly #unread = new Set<string>()

  constructor({ options, behaviour, attached, statusOfFailure = () => 1, warning }: Circumstances) {
    this.#options = options
    this.#behaviour = behaviour
    this.#attached = attached
    this.#statusOfFailure = statusOfFailure
    this.#warning = warning
    this.privileges = new Privileges(options, this.#outputs, {
      warn: (message) => this.#warn(message),
      rootChanges: () => this.#manager?.stayInTouch(),
      fail: (error) => this.#failToDrop(error),
    })
  }

  /** Steps 6 to 9 of a start, and then the daemon. Never settles. */
  async begin(): Promise<never> {
    this.#farewell.sayLast()
    markAsDaemon(this.#options.name)
    watchUncaught(
      (error) => this.#complain(error, false),
      (error) => this.#uncaught(error),
      () => this.#phase === 'starting',
    )
    process.on('beforeExit', () => this.#emptyLoop())
    try {
      const letSignalsIn = this.#takeOver()
      await debuggerPort.close()
      servers.watch()
      await this.#behaviour.setup()
      if (this.#isLeaving()) return FOREVER
      this.#isSetUp = true
      this.privileges.asOptionsSay()
      await servers.answered(this.#options.startTimeout)
      if (this.#isLeaving()) return FOREVER
      await this.#getReady()
      if (this.#isLeaving()) return FOREVER
      this.#outputs.redirect()
      if (this.#isRotated) this.#outputs.reopen()
      // Not before: with LOG_PERROR, what is logged of the pidfile is also written to standard error, and until
      // here that was the launcher's.
      if (!this.#attached) native.watchPidfile(false)
      this.#phase = 'running'
      letSignalsIn()
      // What came meanwhile goes first: the action may never let the event loop turn.
      await new Promise(setImmediate)
      if (this.#isLeaving()) return FOREVER
    } catch (error) {
      this.#failToStart(error)
    }
    this.#act()
    return FOREVER
  }

  /** Whether the program, or a signal, asked for the end while it was awaited. */
  #isLeaving(): boolean {
    return this.#phase === 'leaving'
  }

  /** Step 6. Returns what lets the signals in. */
  #takeOver(): () => void {
    const { name, stderr, syslogOptions, syslogFacility, cwd, umask, blockedTimeout } = this.#options
    // The log first: what fails then is told there as the options say.
    process.title = name
    if (!this.#attached) logger.goToBackground()
    if (stderr === SYSLOG) logger.captureStderr()
    if (this.#attached && stderr === undefined && isTerminal(2)) logger.showOnTerminal()
    openlog(name, syslogOptions, syslogFacility)
    if (this.#warning !== undefined) this.#warn(this.#warning)
    if (this.#attached && this.#options.supervise) {
      syslog(
        LOG_DEBUG,
        '`supervise` changes nothing for an attached daemon: whoever runs it sees how it ends',
      )
    }
    changeDirectory(cwd)
    process.umask(umask)
    this.#outputs.open(this.#options, this.#attached, (output, error) => this.#readerGone(output, error))
    if (this.#attached) {
      this.#manager = new Manager()
      reapOrphans()
    }
    native.blockedLoopStart(name, blockedTimeout, this.#attached, stderr !== SYSLOG)
    return wireSignals(
      (signal) => this.#deliver(signal),
      (signal) => this.#atOnce(signal),
    )
  }

  /** Tells the launcher, or the service manager, that the daemon is ready. */
  async #getReady(): Promise<void> {
    const { startTimeout, stopTimeout, supervise } = this.#options
    if (!this.#attached && handOver?.isShown && !this.#outputs.keepErrors) this.#warnOfSilence()
    this.#phase = 'ready'
    if (this.#attached) {
      this.#keepState()
      native.watchPidfile(true)
      this.#manager?.tell('READY=1')
    } else if (!(await native.ready(startTimeout, stopTimeout, supervise, stateOf(this.#options)))) {
      // The launcher died, or gave up, before "go".
      syslog(LOG_WARNING, 'The launcher is gone: ending the start')
      this.#farewell.because('its launcher is gone')
      await this.exit(1)
    }
  }

  /** Attached, nobody else writes the state file. */
  #keepState(): void {
    try {
      native.writeState(stateOf(this.#options))
    } catch {
      // It is a hint, and who has dropped their privileges may have no right to write there.
    }
  }

  /** Warns where nobody would ever hear of what goes wrong. */
  #warnOfSilence(): void {
    const missing = native.syslogMissing()
    if (missing === null) return
    const message =
      `There is no logger here: nobody listens at ${missing}. What goes wrong from now on leaves no trace. ` +
      'Name log files with `stdout` and `stderr`, or start a logger'
    // To make process.stderr for it would load the streams into every such daemon.
    writeSync(2, `${this.#options.name}: ${message}\n`)
  }

  /** Warns in the log and, while the daemon starts, on standard error, for the person who starts it. */
  #warn(message: string): void {
    const isStarting = this.#phase === 'starting'
    const shown = `${this.#options.name}: ${message}`
    if (this.#attached) {
      this.#alarm(LOG_WARNING, message, isStarting, shown)
    } else {
      if (isStarting) process.stderr.write(`${shown}\n`)
      syslog(LOG_WARNING, message)
    }
  }

  /** Nobody reads any more what an attached daemon prints. Under a manager that is no reason to end. */
  #readerGone(output: string, error: Error): void {
    if (this.#isLeaving() || this.#unread.has(output)) return
    this.#unread.add(output)
    const what = `Cannot write to ${output}: ${error.message}`
    if (managed) {
      syslog(LOG_WARNING, `${what}. What the daemon prints there is lost`)
      return
    }
    syslog(LOG_WARNING, `${what}. Whoever ran the daemon is gone. Exiting.`)
    this.#farewell.because('its reader is gone')
    void this.exit(0)
  }

  #act(): void {
    this.#action = new Action(
      (signal) => this.#behaviour.action(signal),
      (error) => {
        this.#farewell.because('`action` threw an error')
        this.#complain(error)
        void this.exit(1)
      },
    )
    this.#action.start()
  }

  /** The event loop has nothing left to do. */
  #emptyLoop(): void {
    if (this.#phase === 'running') {
      this.#farewell.because('nothing was left to do')
      void this.exit(Number(process.exitCode ?? 0))
    }
    if (this.#phase === 'starting') {
      this.#failToStart(new Error('`setup` never settled: the event loop is empty'))
    }
  }

  /** In the background SIGINT is a signal like others: there is no terminal whose Ctrl-C could mean the daemon. */
  #asksForTheEnd(signal: NodeJS.Signals): boolean {
    return signal === 'SIGTERM' || (signal === 'SIGINT' && this.#attached)
  }

  /** The default `onSignal`. */
  async onSignal(signal: NodeJS.Signals): Promise<void> {
    if (!this.#asksForTheEnd(signal)) return
    logEnd(signal)
    this.#cause = signal
    this.#farewell.because(signal)
    await this.exit(0)
  }

  /** Does what must not wait until `onSignal` is done with earlier signals. Returns whether the signal ends here.
   *
   * SIGHUP opens the log files anew, whatever `onSignal` does. Before the daemon is ready, a signal that asks for its
   * end ends the start. After that the launcher may have said that it runs, and signals go to `onSignal`. */
  #atOnce(signal: NodeJS.Signals): boolean {
    if (signal === 'SIGHUP') {
      if (this.#attached && native.terminalIsGone()) {
        syslog(LOG_INFO, 'Received SIGHUP: the terminal is gone. Exiting.')
        this.#farewell.because('its terminal is gone')
        void this.exit(0)
        return true
      }
      if (this.#phase === 'starting' || this.#phase === 'ready') this.#isRotated = true
      else this.#outputs.reopen()
    }
    if (this.#phase !== 'starting' || !this.#asksForTheEnd(signal)) return false
    this.#farewell.because(`${signal}, while it was starting`)
    if (this.#attached) {
      void this.exit(0)
    } else {
      const error = new DaemonError('ERR_DAEMON_START_FAILED', `Received ${signal} while starting`, {
        signal,
      })
      this.#failToStart(error)
    }
    return true
  }

  async #deliver(signal: NodeJS.Signals): Promise<void> {
    const isReload = signal === 'SIGHUP'
    if (isReload) this.#manager?.tellReloading()
    this.#isDelivering = true
    try {
      await this.#behaviour.onSignal(signal)
    } catch (error) {
      this.#complain(error)
      if (signal === 'SIGTERM') {
        this.#farewell.because('`onSignal` threw an error at SIGTERM')
        void this.exit(1)
      }
    }
    this.#isDelivering = false
    if (isReload && this.#phase === 'running') this.#manager?.tell('READY=1')
  }

  /** Ends the daemon. The first code counts. Never settles. */
  async exit(code: number): Promise<never> {
    // An action that calls this waits for the end itself.
    if (this.#action?.done && this.#behaviour.hasSignal && this.#isCalledByAction()) this.#action.letGo()
    if (this.#isLeaving()) return FOREVER
    this.#farewell.because(`exit(${code})`)
    const isStart = this.#phase === 'starting' || this.#phase === 'ready'
    this.#phase = 'leaving'
    if (isStart && !this.#attached) {
      reportFailure(new Error(`The daemon called exit(${code}) while it was starting`))
    }
    const deadline = now() + this.#options.stopTimeout
    native.blockedLoopLeaving(this.#cause, this.#options.stopTimeout)
    this.#manager?.tell('STOPPING=1')
    this.#action?.abort()
    const isFinished = this.#isSetUp ? await this.#finish(deadline) : true
    if (!native.syslogIsSettled()) {
      const left = Math.max(LATE_FLUSH_MS, deadline - now())
      await native.syslogFlush(Math.min(FLUSH_MS, left), true)
    }
    this.#farewell.sayLast()
    process.exit(isFinished ? code : code || 1)
  }

  /** Where the engine cannot tell, the first call counts as that of `onSignal`, if it is at work: few others than it
   * and `action` call `exit`. */
  #isCalledByAction(): boolean {
    return isCalledByAction() ?? (this.#isLeaving() || !this.#isDelivering)
  }

  /** Whether `shutdown`, and an `action` that has the signal, did their work, side by side and in time. */
  async #finish(deadline: number): Promise<boolean> {
    const pending = new Set<string>()
    let isFine = true
    const wait = async (what: string, work: Promise<boolean>) => {
      pending.add(what)
      if (!(await work)) isFine = false
      pending.delete(what)
    }
    const acting = this.#behaviour.hasSignal ? this.#action?.done : undefined
    const done = Promise.all([acting && wait('action', acting), wait('shutdown', this.#shutdown())])
    // Most are done at once, and the first timer of a process takes a moment to make.
    for (let turns = AT_ONCE; pending.size > 0 && turns > 0; turns--) await undefined
    if (pending.size > 0) {
      let timer: NodeJS.Timeout | undefined
      const limit = new Promise((resolve) => {
        timer = setTimeout(resolve, deadline - now())
      })
      await Promise.race([done, limit])
      clearTimeout(timer)
    }
    if (pending.size === 0) return isFine
    const were = pending.size > 1 ? 'were' : 'was'
    const { stopTimeout } = this.#options
    syslog(LOG_WARNING, `${[...pending].join(' and ')} ${were} cut off after ${stopTimeout} ms`)
    return false
  }

  async #shutdown(): Promise<boolean> {
    try {
      await undefined
      await this.#behaviour.shutdown()
      return true
    } catch (error) {
      this.#complain(error)
      return false
    }
  }

  /** Opens the log files anew, once they are there. */
  reopen(): void {
    if (this.#phase !== 'starting') this.#outputs.reopen()
  }

  /** Tells what went wrong: in the log, and on standard error where somebody reads it. */
  #complain(error: unknown, isRead = this.#attached): void {
    const { stderr, syslogOptions } = this.#options
    const toStderr = stderr === undefined ? isRead : stderr !== SYSLOG
    // With LOG_PERROR the message is printed there as it is in the log.
    this.#alarm(LOG_ERR, inText(error), toStderr && (syslogOptions & LOG_PERROR) === 0)
  }

  /** Logs a message and shows it on standard error, as for a person, unless the log goes there already. */
  #alarm(priority: number, words: string, toStderr: boolean, shown = words): void {
    const isTold = toStderr && !native.syslogReachesStderr()
    if (isTold) print(process.stderr, `${shown}\n`)
    if (isTold) native.syslogLogTold(priority, words)
    else native.syslogLog(priority, words)
  }

  /** Ends a start: the cause goes to the launcher, or, attached, to stderr, syslog and the manager. */
  #failToStart(error: unknown): never {
    this.#farewell.because('it did not start')
    this.#alarm(LOG_ERR, inText(error), this.#attached)
    if (this.#attached) {
      const errno = property(error, 'errno')
      const message = property(error, 'message')
      const status = (typeof message === 'string' ? message : inText(error)).replace(/\s+/g, ' ')
      const number = typeof errno === 'number' && errno ? [`ERRNO=${Math.abs(errno)}`] : []
      this.#manager?.tell(`STATUS=${status}`, ...number)
    } else {
      reportFailure(error)
    }
    this.#phase = 'leaving'
    process.exit(this.#attached ? this.#statusOfFailure(error) : 1)
  }

  /** An uncaught exception, or an unhandled rejection, for which the program has no listener. */
  #uncaught(error: unknown): void {
    if (this.#phase === 'starting') this.#failToStart(error)
    this.#farewell.because('an uncaught error')
    this.#complain(error)
    if (this.#isLeaving()) process.exit(1)
    const isAwaited = this.#phase === 'ready' && !this.#attached
    void this.exit(1)
    // What is told last counts. After "go" nobody listens.
    if (isAwaited) reportFailure(error)
  }

  /** Privileges could not be dropped. */
  #failToDrop(error: unknown): never {
    if (this.#phase === 'starting') this.#failToStart(error)
    this.#complain(error)
    this.#farewell.because('privileges could not be dropped')
    process.exit(1)
  }
}

function changeDirectory(path: string): void {
  try {
    process.chdir(path)
  } catch (cause) {
    const { errno = 0, code } = cause as NodeJS.ErrnoException
    // A file server can return this, and libuv does not repeat the call.
    if (code === 'EINTR') {
      changeDirectory(path)
      return
    }
    const [errnoCode = `errno ${-errno}`, words = 'unknown'] = getSystemErrorMap().get(errno) ?? []
    const reason = `${errnoCode}: ${words}`
    throw new DaemonError(
      'ERR_DAEMON_START_FAILED',
      `Cannot change to the working directory ${path}: ${reason}, chdir. ` +
        'Create it, or name another with `cwd`',
      { errno, errnoCode, syscall: 'chdir', path },
    )
  }
}
