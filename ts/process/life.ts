// The life of a daemon, in its own process: from the take-over by `start()` to its end.

import { DaemonError, inText, property } from '../errors/index.js'
import { captureStderr, inBackground, showOnTerminal, TOLD } from '../logger/index.js'
import { meetManager, stayInTouch, tellManager, tellReloading } from '../manager/index.js'
import { assertAgreed, native } from '../native/index.js'
import { type ResolvedOptions, SYSLOG } from '../options/index.js'
import { getSystemErrorMap, isBun, isTerminal, LARGEST_INT, now, print, writeSync } from '../runtime/index.js'
import { LOG_ERR, LOG_INFO, LOG_PERROR, LOG_WARNING, openlog, syslog } from '../syslog/index.js'
import { closeDebugger } from './debugger.js'
import { because, sayWhenItEnds } from './farewell.js'
import { handOver, managed, markAsDaemon, reportFailure } from './handover.js'
import { serversAnswer, watchServers } from './listening.js'
import {
  keepsErrors,
  madeLogs,
  openOutputs,
  outputsBelongToAnother,
  reopenOutputs,
  takeOutputs,
} from './outputs.js'
import { wireSignals } from './signals.js'
import { watchUncaught } from './uncaught.js'

/** What a program makes of its daemon. */
export interface Behaviour {
  setup(): Promise<void> | void
  action(signal: AbortSignal): Promise<unknown> | unknown
  /** `action` takes the signal, so that it can come to an end when that aborts. */
  takesSignal: boolean
  onSignal(signal: NodeJS.Signals): Promise<void> | void
  shutdown(): Promise<void> | void
}

/** Who the process is after `dropPrivileges`. */
export interface Identity {
  user: string
  uid: number
  group: string
  gid: number
  /** The supplementary groups. */
  groups: number[]
}

/** For the last messages to reach the logger, in milliseconds: while `stopTimeout` has not passed, and
 * after it. Then the guard waits only a moment longer, and `stop` a second. */
const FLUSH_MS = 2000
const LATE_FLUSH_MS = 200
const FOREVER = new Promise<never>(() => {})
/** So many turns of the microtasks a `shutdown` has before a timer is made for it. */
const AT_ONCE = 10

/** `ready`: the launcher has been told, and "go" is on its way. */
type Phase = 'none' | 'starting' | 'ready' | 'running' | 'leaving'

let phase: Phase = 'none'
let options: ResolvedOptions
let behaviour: Behaviour
let attached = false
let statusOfFailure: (error: unknown) => number = () => 1
let setUp = false
let cause: NodeJS.Signals | undefined
/** Of `action`; made with it, since that takes a moment. */
let abort: AbortController | undefined

/** Steps 6 to 9 of a start, and then the daemon. Never settles. `failed` gives the exit status of a
 * failed start in place. */
export async function live(
  resolved: ResolvedOptions,
  what: Behaviour,
  inPlace: boolean,
  failed = statusOfFailure,
): Promise<never> {
  options = resolved
  behaviour = what
  attached = inPlace
  statusOfFailure = failed
  phase = 'starting'
  sayWhenItEnds()
  markAsDaemon(options.name)
  watchUncaught(
    (error) => complain(error, false),
    uncaught,
    () => phase === 'starting',
  )
  process.on('beforeExit', emptyLoop)
  try {
    const letSignalsIn = takeOver()
    await closeDebugger()
    watchServers()
    await behaviour.setup()
    if (isLeaving()) return FOREVER
    setUp = true
    if (options.user !== undefined || options.group !== undefined) {
      dropPrivileges(options.user, options.group)
    } else if (!confined && Object.keys(options.confinement).length > 0) {
      giveUp()
    }
    await serversAnswer(options.startTimeout)
    if (isLeaving()) return FOREVER
    if (!attached && handOver?.isShown && !keepsErrors()) warnOfSilence()
    phase = 'ready'
    if (attached) {
      native.watchPidfile(true)
      tellManager('READY=1')
    } else if (!(await native.ready(options.startTimeout, options.stopTimeout))) {
      await undo()
    }
    if (isLeaving()) return FOREVER
    takeOutputs()
    if (rotated) reopenOutputs()
    // Not before: with LOG_PERROR, what is logged of the pidfile is also written to standard error, and until
    // here that was the launcher's.
    if (!attached) native.watchPidfile(false)
    phase = 'running'
    letSignalsIn()
    // What came meanwhile goes first: the action may never let the event loop turn.
    await new Promise(setImmediate)
    if (isLeaving()) return FOREVER
  } catch (error) {
    failToStart(error)
  }
  acting = act()
  return FOREVER
}

/** Nobody would ever hear of what goes wrong. */
function warnOfSilence(): void {
  const missing = native.syslogMissing()
  if (missing === null) return
  const message =
    `There is no logger here: nobody listens at ${missing}. What goes wrong from now on leaves no trace. ` +
    'Name log files with `stdout` and `stderr`, or start a logger'
  // To make process.stderr for it would load the streams into every such daemon.
  writeSync(2, `${options.name}: ${message}\n`)
}

/** Whether the program, or a signal, asked for the end while it was awaited. */
function isLeaving(): boolean {
  return phase === 'leaving'
}

/** Step 6. Returns what lets the signals in. */
function takeOver(): () => void {
  // The log first: what fails then is told there as the options say.
  process.title = options.name
  if (!attached) inBackground()
  if (options.stderr === SYSLOG) captureStderr()
  if (attached && options.stderr === undefined && isTerminal(2)) {
    showOnTerminal()
  }
  openlog(options.name, options.syslogOptions, options.syslogFacility)
  if (warning !== undefined) warn(warning)
  changeDirectory(options.cwd)
  process.umask(options.umask)
  openOutputs(options, attached, readerGone)
  if (attached) meetManager()
  native.blockedLoopStart(options.name, options.blockedTimeout, attached, options.stderr !== SYSLOG)
  return wireSignals(deliver, atOnce)
}

/** For the log and, while the daemon starts, for the person who starts it. */
function warn(message: string): void {
  const starting = phase === 'starting'
  const shown = `${options.name}: ${message}`
  if (attached) {
    alarm(LOG_WARNING, message, starting, shown)
  } else {
    if (starting) process.stderr.write(`${shown}\n`)
    syslog(LOG_WARNING, message)
  }
}

/** Nobody reads what an attached daemon prints. Under a manager that is no reason to end. */
function readerGone(place: string, error: Error): void {
  if (phase === 'leaving' || unread.has(place)) return
  unread.add(place)
  const what = `Cannot write to ${place}: ${error.message}`
  if (managed) {
    syslog(LOG_WARNING, `${what}. What the daemon prints there is lost`)
    return
  }
  syslog(LOG_WARNING, `${what}. Whoever ran the daemon is gone. Exiting.`)
  because('its reader is gone')
  void exit(0)
}

const unread = new Set<string>()

function changeDirectory(path: string): void {
  try {
    process.chdir(path)
  } catch (cause) {
    const { errno = 0, code } = cause as NodeJS.ErrnoException
    // A file server can give it, and libuv does not make the call again.
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

/** Calls `action`, under a name that is found again in the stack of what it calls. */
const ACTION = 'tsdaemonize: action'
const { [ACTION]: callAction } = {
  async [ACTION](signal: AbortSignal): Promise<void> {
    await behaviour.action(signal)
  },
}

/** Whether `action` has done its work, from "go" on, without an error; `undefined` before. */
let acting: Promise<boolean> | undefined
/** On the way out: `action` is not waited for any more. */
let letActionGo: () => void
const actionIsOff = new Promise<boolean>((resolve) => {
  letActionGo = () => resolve(true)
})

/** The daemon's behaviour. */
async function act(): Promise<boolean> {
  const hold = setInterval(() => {}, LARGEST_INT)
  abort = new AbortController()
  try {
    await callAction(abort.signal)
    return true
  } catch (error) {
    const { reason } = abort.signal
    const aborted = phase === 'leaving' && (error === reason || property(error, 'name') === 'AbortError')
    if (aborted) return true
    because('`action` threw an error')
    complain(error)
    void exit(1)
    return false
  } finally {
    clearInterval(hold)
  }
}

/** Whether this is called by `action`, at whatever depth: V8 knows who awaits what. */
function isCalledByAction(): boolean {
  // JavaScriptCore does not; few others than `action` and `onSignal` call `exit`, and that calls it first.
  if (isBun) return phase === 'leaving' || !delivering
  const { prepareStackTrace, stackTraceLimit } = Error
  try {
    Error.stackTraceLimit = Number.POSITIVE_INFINITY
    Error.prepareStackTrace = (_error, sites) => sites.some((site) => site.getFunctionName() === ACTION)
    return (new Error().stack as unknown) === true
  } finally {
    Error.prepareStackTrace = prepareStackTrace
    Error.stackTraceLimit = stackTraceLimit
  }
}

function emptyLoop(): void {
  if (phase === 'running') {
    because('nothing was left to do')
    void exit(Number(process.exitCode ?? 0))
  }
  if (phase === 'starting') failToStart(new Error('`setup` never settled: the event loop is empty'))
}

/** In the background nobody has a Ctrl-C for the daemon: SIGINT is a signal like others. */
function asksForTheEnd(signal: NodeJS.Signals): boolean {
  return signal === 'SIGTERM' || (signal === 'SIGINT' && attached)
}

/** The default `onSignal`. */
export async function onSignal(signal: NodeJS.Signals): Promise<void> {
  if (!asksForTheEnd(signal)) return
  syslog(LOG_INFO, `Received ${signal}. Exiting.`)
  cause = signal
  because(signal)
  await exit(0)
}

/** SIGHUP came before the outputs were redirected. */
let rotated = false

/** What does not wait for `onSignal` to be done with earlier signals. Returns whether the signal ends here.
 *
 * SIGHUP opens the log files anew, whatever `onSignal` makes of it. Before the daemon is ready, what asks
 * for its end ends the start. Then its launcher may have said that it runs, and signals are `onSignal`'s. */
function atOnce(signal: NodeJS.Signals): boolean {
  if (signal === 'SIGHUP') {
    if (attached && native.terminalIsGone()) {
      syslog(LOG_INFO, 'Received SIGHUP: the terminal is gone. Exiting.')
      because('its terminal is gone')
      void exit(0)
      return true
    }
    if (phase === 'starting' || phase === 'ready') rotated = true
    else reopenOutputs()
  }
  const ending = phase === 'starting' && asksForTheEnd(signal)
  if (ending) because(`${signal}, while it was starting`)
  if (ending && attached) void exit(0)
  else if (ending) {
    failToStart(new DaemonError('ERR_DAEMON_START_FAILED', `Received ${signal} while starting`, { signal }))
  }
  return ending
}

/** `onSignal` is at work. */
let delivering = false

async function deliver(signal: NodeJS.Signals): Promise<void> {
  const reloading = signal === 'SIGHUP'
  if (reloading) tellReloading()
  delivering = true
  try {
    await behaviour.onSignal(signal)
  } catch (error) {
    complain(error)
    if (signal === 'SIGTERM') {
      because('`onSignal` threw an error at SIGTERM')
      void exit(1)
    }
  }
  delivering = false
  if (reloading && phase === 'running') tellManager('READY=1')
}

/** The way out; of several codes the first counts. Never settles. */
export async function exit(code: number): Promise<never> {
  assertAgreed()
  if (phase === 'none') process.exit(code)
  // It waits for the end itself.
  if (acting !== undefined && behaviour.takesSignal && isCalledByAction()) letActionGo()
  if (phase === 'leaving') return FOREVER
  because(`exit(${code})`)
  const before = phase
  phase = 'leaving'
  if ((before === 'starting' || before === 'ready') && !attached) {
    reportFailure(new Error(`The daemon called exit(${code}) while it was starting`))
  }
  const deadline = now() + options.stopTimeout
  native.blockedLoopLeaving(cause, options.stopTimeout)
  tellManager('STOPPING=1')
  abort?.abort()
  const finished = setUp ? await finish(deadline) : true
  if (!native.syslogIsSettled()) {
    const left = Math.max(LATE_FLUSH_MS, deadline - now())
    await native.syslogFlush(Math.min(FLUSH_MS, left), true)
  }
  sayWhenItEnds()
  process.exit(finished ? code : code || 1)
}

/** What went wrong: for the log, and for standard error where somebody reads it. */
function complain(error: unknown, isRead = attached): void {
  const { stderr, syslogOptions } = options
  const toStderr = stderr === undefined ? isRead : stderr !== SYSLOG
  // With LOG_PERROR it comes there as it is in the log.
  alarm(LOG_ERR, inText(error), toStderr && (syslogOptions & LOG_PERROR) === 0)
}

/** In the log, and on standard error, in lines as for a person, unless the log goes there anyhow. */
function alarm(priority: number, words: string, toStderr: boolean, shown = words): void {
  const told = toStderr && !native.syslogReachesStderr()
  if (told) print(process.stderr, `${shown}\n`)
  native.syslogLog(told ? priority | TOLD : priority, words)
}

/** Whether `shutdown`, and an `action` that takes the signal, did their work, side by side and in time. */
async function finish(deadline: number): Promise<boolean> {
  const pending = new Set<string>()
  let fine = true
  const wait = async (what: string, work: Promise<boolean>) => {
    pending.add(what)
    if (!(await work)) fine = false
    pending.delete(what)
  }
  const done = Promise.all([
    acting && behaviour.takesSignal && wait('action', Promise.race([acting, actionIsOff])),
    wait('shutdown', shutdown()),
  ])
  // Most are done at once, and a race with a process's first timer takes a moment to make.
  for (let turns = AT_ONCE; pending.size > 0 && turns > 0; turns--) await undefined
  if (pending.size > 0) {
    let timer: NodeJS.Timeout | undefined
    const limit = new Promise((resolve) => {
      timer = setTimeout(resolve, deadline - now())
    })
    await Promise.race([done, limit])
    clearTimeout(timer)
  }
  if (pending.size === 0) return fine
  const were = pending.size > 1 ? 'were' : 'was'
  syslog(LOG_WARNING, `${[...pending].join(' and ')} ${were} cut off after ${options.stopTimeout} ms`)
  return false
}

async function shutdown(): Promise<boolean> {
  try {
    await undefined
    await behaviour.shutdown()
    return true
  } catch (error) {
    complain(error)
    return false
  }
}

/** `reopen` of the daemon. */
export function reopen(): void {
  assertAgreed()
  if (phase === 'none') {
    throw new DaemonError(
      'ERR_DAEMON_NOT_RUNNING',
      'reopen() is for the daemon itself: call it in `action` or `onSignal`, or send SIGHUP with kill()',
    )
  }
  if (phase !== 'starting') reopenOutputs()
}

/** The launcher died, or gave up, before "go". */
async function undo(): Promise<never> {
  syslog(LOG_WARNING, 'The launcher is gone: ending the start')
  because('its launcher is gone')
  return exit(1)
}

/** Ends a start: the cause goes to the launcher, or, attached, to stderr, syslog and the manager. */
function failToStart(error: unknown): never {
  because('it did not start')
  alarm(LOG_ERR, inText(error), attached)
  if (attached) {
    const errno = property(error, 'errno')
    const message = property(error, 'message')
    const status = (typeof message === 'string' ? message : inText(error)).replace(/\s+/g, ' ')
    tellManager(
      `STATUS=${status}`,
      ...(typeof errno === 'number' && errno ? [`ERRNO=${Math.abs(errno)}`] : []),
    )
  } else {
    reportFailure(error)
  }
  phase = 'leaving'
  process.exit(attached ? statusOfFailure(error) : 1)
}

/** An uncaught exception, or an unhandled rejection, for which the program has no listener. */
function uncaught(error: unknown): void {
  if (phase === 'starting') failToStart(error)
  because('an uncaught error')
  complain(error)
  if (phase === 'leaving') process.exit(1)
  const isAwaited = phase === 'ready' && !attached
  void exit(1)
  // What is told last counts. After "go" nobody listens.
  if (isAwaited) reportFailure(error)
}

/** What `dropPrivileges` was called with, and what came of it. */
let dropped: { user: string | undefined; group: string | undefined; identity: Identity } | undefined
/** What the options say beside user and group is done. */
let confined = false

/** `dropPrivileges` of the daemon. Any failure ends it. */
export function dropPrivileges(user?: string | number | null, group?: string | number | null): Identity {
  assertAgreed()
  if (phase === 'none') {
    throw new DaemonError(
      'ERR_DAEMON_PRIVILEGES',
      'dropPrivileges() is for the daemon: call it in `setup` or `action`',
    )
  }
  const names = { user: asText(user), group: asText(group) }
  // Proven already, and in a chroot it could not be proven again.
  const again = dropped !== undefined && dropped.user === names.user && dropped.group === names.group
  if (dropped === undefined || !again) {
    const identity = giveUp(names)
    if (identity === undefined) throw new Error('unreachable')
    const { home, shell, ...rest } = identity
    outputsBelongToAnother()
    setEnvironment('HOME', home ?? '/')
    setEnvironment('USER', home === undefined ? undefined : rest.user)
    setEnvironment('LOGNAME', home === undefined ? undefined : rest.user)
    setEnvironment('SHELL', shell)
    dropped = { ...names, identity: rest }
  }
  return structuredClone(dropped.identity)
}

/** Gives up what the options say, once, and, where names are given, becomes another user. */
function giveUp(names?: { user: string | undefined; group: string | undefined }) {
  const { capabilities, noNewPrivileges, chroot } = options.confinement
  const kept = {
    ...(capabilities !== undefined && { capabilities }),
    ...(noNewPrivileges !== undefined && { noNewPrivileges }),
  }
  const whom = names && {
    daemonName: options.name,
    files: madeLogs(),
    ...(names.user !== undefined && { user: names.user }),
    ...(names.group !== undefined && { group: names.group }),
  }
  try {
    if (chroot !== undefined && !confined) {
      // Has JavaScript's own time zone loaded.
      new Date().getTimezoneOffset()
      stayInTouch()
    }
    const done = native.dropPrivileges(whom, confined ? kept : options.confinement)
    confined = true
    for (const warning of done.warnings) warn(warning)
    return done.identity
  } catch (error) {
    // Not by an exception alone: the program could catch it, and go on with too much.
    try {
      if (phase === 'starting') failToStart(error)
      complain(error)
      because('privileges could not be dropped')
      process.exit(1)
    } finally {
      // A listener of `exit` has thrown, or the program has put something else in the place of process.exit.
      exitNow(1)
    }
  }
}

function asText(name: string | number | null | undefined): string | undefined {
  return name === null || name === undefined ? undefined : String(name)
}

function setEnvironment(name: string, value: string | undefined | null): void {
  if (value === undefined || value === null) delete process.env[name]
  else process.env[name] = value
}

/** Ends the process at once: the pidfile is removed, nothing else happens. */
export function exitNow(code: number): never {
  native.exitNow(code)
  throw new Error('unreachable')
}

/** A daemon in the making that cannot be one. */
export function refuse(error: unknown): never {
  reportFailure(error)
  process.exit(1)
}

let warning: string | undefined

/** To be logged as soon as syslog is open. */
export function warnLater(text: string): void {
  warning = text
}

/** The hand-over of this process, if it is for a daemon of this name and was not taken yet. */
export function awaits(name: string): boolean {
  return phase === 'none' && handOver?.name === name
}
