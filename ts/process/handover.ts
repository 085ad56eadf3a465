// What this process is: a launcher, a daemon before its take-over, or a daemon. That is decided once, when the
// package is imported, before more of the program's own code runs.

import { serializeError } from '../errors/index.js'
import { bePartOfService, startedByManager } from '../manager/index.js'
import { beDaemon, type NativePlace, native } from '../native/index.js'
import { inspect } from '../runtime/index.js'
import { debuggerPort } from './debugger.js'
import { servers } from './listening.js'
import { HELD_SIGNALS } from './signals.js'

/** A daemon that the launcher had started before this one, in the same program. */
export interface Earlier {
  name: string
  pid: number
}

/** What the launcher tells the daemon. */
export interface Hello {
  /** Left out where the daemon gives it, and locks its pidfile itself: `tsdaemonize start` without `--name`. */
  name?: string
  /** The place of the pidfile, which the launcher has locked. */
  place: NativePlace | null
  /** The launcher is the program `tsdaemonize`, which has not run this script: the options on its command line. The
   * script's first Daemon that is started is meant, whatever its name is. */
  options?: object
  /** The launcher was what a service manager had started, and runs the same program. */
  isPartOfService: boolean
  startTimeout: number
  /** The launcher shows what the daemon prints while it starts: somebody reads it. */
  isShown: boolean
  earlier: Earlier[]
}

/** The hand-over with which this process was started; `undefined` where there was none. */
export const handOver: Hello | undefined = receive()
/** Whether that was by the program `tsdaemonize`, and not by this library. */
export const isByProgram: boolean = handOver?.options !== undefined
/** `tsdaemonize run` has put this very process in its place: the options on its command line. The script's first
 * Daemon that is started lives here, attached. */
export const runOptions: object | undefined = receiveRun()
/** Whether a service manager, or a container's init, started this very process. */
export const managed: boolean = handOver === undefined && (runOptions !== undefined || startedByManager())
if (handOver !== undefined || managed) beDaemon()
/** The name of the daemon that this process has become; `undefined` before. */
export let become: string | undefined

/** Whether this process was started for a daemon of this name, which was not taken over yet. */
export function awaits(name: string): boolean {
  return become === undefined && handOver !== undefined && (isByProgram || handOver.name === name)
}

/** This process is the daemon `name` from now on. */
export function markAsDaemon(name: string): void {
  beDaemon()
  become = name
}

let reported = false

/** Tells the launcher why there will be no daemon. The last report counts: a program may live on after
 * an exception that it handles itself, and fail for another reason. */
export function reportFailure(error: unknown): void {
  reported = true
  native.reportFailure(serializeError(error))
}

function receive(): Hello | undefined {
  let hello: string | null = null
  try {
    if (native.isMainThread()) hello = native.takeOver()
  } catch {
    // There is no native module: start() says so.
  }
  delete process.env.TSDAEMONIZE_HANDOVER
  if (hello === null) return undefined
  native.holdSignals(HELD_SIGNALS.filter((signal) => process.listenerCount(signal) === 0))
  debuggerPort.beware()
  watchTheBoot()
  servers.watch()
  const received = JSON.parse(hello) as Hello
  bePartOfService(received.isPartOfService)
  return received
}

function receiveRun(): object | undefined {
  const { TSDAEMONIZE_RUN: pid, TSDAEMONIZE_RUN_OPTIONS: options } = process.env
  delete process.env.TSDAEMONIZE_RUN
  delete process.env.TSDAEMONIZE_RUN_OPTIONS
  // Inherited, the variables speak of another process.
  if (pid !== String(process.pid) || handOver !== undefined) return undefined
  return JSON.parse(options ?? '{}')
}

/** Until the take-over, the launcher is told what ends this process, in its own words. */
function watchTheBoot(): void {
  process.on('uncaughtExceptionMonitor', reportBoot)
  process.on('beforeExit', endOfBoot)
}

function reportBoot(error: unknown): void {
  if (become === undefined) reportFailure(error)
}

function endOfBoot(): void {
  if (become !== undefined) return
  const ended = 'The script ended, or waits for something that never comes, without `start()` of a Daemon'
  const error = new Error(
    isByProgram
      ? `${ended}. Its last statement must start one. Give \`--ready alive\` for a program that is no Daemon`
      : `${ended} named ${inspect(handOver?.name)}. Its last statement must start the daemon of this name`,
  )
  if (!reported) reportFailure(error)
  process.exit(1)
}
