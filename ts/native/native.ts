// Finds and loads the native module: the file of a local build, or this platform's own package.
// napi's generated loader is not used: it loads whatever NAPI_RS_NATIVE_LIBRARY_PATH names, which a program
// that runs as root must not do.

import { DaemonError, type DaemonErrorCode, type DaemonErrorDetails } from '../errors/index.js'
import { isBun } from '../runtime/index.js'
import type * as Binding from './binding.js'
import { conflict } from './copies.js'
import { missing, unloadable } from './lacking.js'
import { locate } from './locate.js'

/** The native functions. Each throws a `DaemonError`, or rejects with one. */
export type Native = Omit<typeof Binding, 'default'>

/** The function that is called too often to be wrapped. It throws no DaemonError. */
const HOT = 'syslogLog'

/**
 * `native` is the native module; where there is none for this platform, every function throws why. `failure` says why
 * this process, or this copy of the package, cannot daemonize; it is `undefined` where it can.
 */
export const { native, failure }: { native: Native; failure?: DaemonError } = load()

const finish = () => native.finish()
finishLast()

/** Does the work of the handlers of atexit(3), which Bun does not call, after the listeners of `exit` so far. */
export function finishLast(): void {
  if (isBun && (failure === undefined || conflict !== undefined))
    process.off('exit', finish).on('exit', finish)
}

/** Throws where another copy of the package knows what this process is. */
export function assertAgreed(): void {
  if (conflict !== undefined) throw failure
}

/** Throws where this thread or platform cannot daemonize. `isClient`: it starts another program, and stays what it is. */
export function assertSupported(isClient: boolean): void {
  if (failure) throw failure
  if (isClient || native.isMainThread()) return
  throw new DaemonError(
    'ERR_DAEMON_UNSUPPORTED',
    'A worker thread cannot become a daemon: fork, setuid, umask and chdir concern the whole process. ' +
      'Call it in the main thread, or name the program of the daemon with `script`',
  )
}

function load(): { native: Native; failure?: DaemonError } {
  const choice = locate()
  let cause: unknown
  let loaded: Native | undefined
  if (choice) {
    try {
      const module = { exports: {} as Native }
      process.dlopen(module, choice)
      loaded = wrapped(module.exports)
    } catch (error) {
      cause = error
    }
  }
  if (loaded !== undefined && conflict === undefined) return { native: loaded }
  const message = conflict ?? (choice ? unloadable(choice, (cause as Error).message) : missing())
  const failure = new DaemonError('ERR_DAEMON_UNSUPPORTED', message, cause === undefined ? {} : { cause })
  const refuse = () => {
    throw failure
  }
  const native = new Proxy(loaded ?? ({} as Native), {
    get: (functions, name) =>
      loaded && FOR_COPIES.test(String(name)) ? functions[name as keyof Native] : refuse,
  })
  return { native, failure }
}

/** The functions that a copy beside another one may call: to log, to see what the process is, and to name places. */
const FOR_COPIES =
  /^(?:syslog|(?:finish|commandLine|isMainThread|parentName|leadsSession|defaultPlaces|currentPlace)$)/

function wrapped(binding: Native): Native {
  const functions = binding as Record<string, (...args: unknown[]) => unknown>
  for (const name in functions) {
    if (name !== HOT) functions[name] = translated(functions[name] as (...args: unknown[]) => unknown)
  }
  return binding
}

function translated(call: (...args: unknown[]) => unknown) {
  return (...args: unknown[]) => {
    try {
      const result = call(...args)
      return result instanceof Promise ? result.catch(rethrow) : result
    } catch (error) {
      return rethrow(error)
    }
  }
}

/** Makes a DaemonError, with the caller's stack, of a native error that has the properties of one. */
function rethrow(error: unknown): never {
  const { code, message, ...details } = error as DaemonErrorDetails & { code?: string; message: string }
  if (typeof code !== 'string' || !code.startsWith('ERR_DAEMON_')) throw error
  throw new DaemonError(code as DaemonErrorCode, message, details)
}
