// Finds and loads the native module: the file of a local build, or this platform's own package.
// By hand, and not napi's generated loader: that one loads whatever NAPI_RS_NATIVE_LIBRARY_PATH
// names, which a program that runs as root must not.

import type * as Binding from './binding.js'
import { existsSync, join, readFileSync } from './builtin.js'
import { DaemonError, type DaemonErrorCode, type DaemonErrorDetails } from './errors.js'

/** The native functions; each throws, or rejects with, a `DaemonError`. */
export type Native = Omit<typeof Binding, 'default'>

/** The platforms that packages are published for. */
const PLATFORMS = ['x64', 'arm64'].flatMap((arch) => [
  `linux-${arch}-gnu`,
  `linux-${arch}-musl`,
  `darwin-${arch}`,
])
/** The folder of this package. */
const own = join(import.meta.dirname, '..')
/** Why there is no native module; `undefined` where there is one. */
let failure: DaemonError | undefined
/** The native module; where there is none for this platform, every function throws why. */
export const native: Native = load()

// Bun ends without the handlers of atexit(3).
if (failure === undefined && 'Bun' in globalThis) process.on('exit', () => native.finish())

/** Throws where this thread or platform cannot daemonize. */
export function assertSupported(): void {
  if (failure) throw failure
  if (native.isMainThread()) return
  throw new DaemonError(
    'ERR_DAEMON_UNSUPPORTED',
    'A worker thread cannot become a daemon: fork, setuid, umask and chdir concern the whole process. ' +
      'Call it in the main thread',
  )
}

function load(): Native {
  const { platform, arch } = process
  const names = platform === 'linux' ? [`linux-${arch}-gnu`, `linux-${arch}-musl`] : [`${platform}-${arch}`]
  const found = locate(names)
  // process.report is slow (it asks for much): only where both C libraries' modules are there.
  const choice = found.length > 1 ? found.find((file) => file.endsWith(`-${libc()}.node`)) : found[0]
  let cause: unknown
  if (choice) {
    try {
      const module = { exports: {} as Native }
      process.dlopen(module, choice)
      return wrapped(module.exports)
    } catch (error) {
      cause = error
    }
  }
  const message = choice ? unloadable(choice, (cause as Error).message) : missing()
  failure = new DaemonError('ERR_DAEMON_UNSUPPORTED', message, cause === undefined ? {} : { cause })
  const reason = failure
  return new Proxy({} as Native, {
    get: () => () => {
      throw reason
    },
  })
}

/** What this very process needs; as `napi create-npm-dirs` names it. */
function needed(): string {
  const { platform, arch } = process
  return platform === 'linux' ? `linux-${arch}-${libc()}` : `${platform}-${arch}`
}

function missing(): string {
  const { platform, arch } = process
  const none = `There is no native module for ${platform} on ${arch}`
  if (!PLATFORMS.includes(needed())) return `${none}: a daemon can be made on ${PLATFORMS.join(', ')}`
  return (
    `${none}: the package tsdaemonize-${needed()} is not installed. It is an optional dependency, which ` +
    '--omit=optional leaves out, and so does a node_modules or a lock file that was made on another platform. ' +
    install()
  )
}

function unloadable(file: string, why: string): string {
  const text = `The native module ${file} cannot be loaded: ${why}`
  return file.includes(`.${needed()}.`)
    ? text
    : `${text}. This Node needs tsdaemonize-${needed()}. ${install()}`
}

function install(): string {
  const { version } = JSON.parse(readFileSync(join(own, 'package.json'), 'utf8')) as { version: string }
  return `Install it: npm install --include=optional tsdaemonize-${needed()}@${version}`
}

/**
 * The files for these platforms: of a local build, else of the platform's package, which package
 * managers put beside this one. Only where it is elsewhere Node's own resolution is asked, which costs
 * as much as all the rest of an import.
 */
function locate(names: string[]): string[] {
  const file = (name: string) => `tsdaemonize.${name}.node`
  for (const place of [
    (name: string) => join(own, file(name)),
    (name: string) => join(own, '..', `tsdaemonize-${name}`, file(name)),
    resolved,
  ]) {
    const found = names.map(place).filter((path) => path !== undefined && existsSync(path))
    if (found.length > 0) return found as string[]
  }
  return []
}

function resolved(name: string): string | undefined {
  try {
    return process
      .getBuiltinModule('node:module')
      .createRequire(import.meta.url)
      .resolve(`tsdaemonize-${name}`)
  } catch {
    return undefined
  }
}

function libc(): 'gnu' | 'musl' {
  const report = process.report as { excludeNetwork?: boolean; getReport(): object }
  report.excludeNetwork = true
  const { header } = report.getReport() as { header: { glibcVersionRuntime?: string } }
  return header.glibcVersionRuntime === undefined ? 'musl' : 'gnu'
}

/** Called too often to be wrapped; it throws no DaemonError. */
const HOT = 'syslogLog'

function wrapped(binding: Native): Native {
  const functions = Object.entries(binding as Record<string, unknown>)
    .filter((entry): entry is [string, (...args: unknown[]) => unknown] => typeof entry[1] === 'function')
    .map(([name, call]) => [name, name === HOT ? call : translated(call)])
  return Object.fromEntries(functions) as Native
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

/** The native error has the properties of a DaemonError; make it one, with the caller's stack. */
function rethrow(error: unknown): never {
  const { code, message, ...details } = error as DaemonErrorDetails & { code?: string; message: string }
  if (typeof code !== 'string' || !code.startsWith('ERR_DAEMON_')) throw error
  throw new DaemonError(code as DaemonErrorCode, message, details)
}
