// Where standard output and standard error go once the daemon runs: to a log file, to syslog, or
// nowhere. All are opened before `setup`, so that one that cannot be is a failed start: after "go" there
// is nothing left that could fail.

import type { DaemonError } from '../errors/index.js'
import { native } from '../native/index.js'
import { type ResolvedOptions, SYSLOG } from '../options/index.js'
import { isTerminal } from '../runtime/index.js'
import { LOG_ERR, syslog } from '../syslog/index.js'
import { printTo, watchReader } from './printing.js'

/** `made`: by this start, and `fd` is still its descriptor. */
interface LogFile {
  to: 'file'
  path: string
  fd: number
  made: boolean
}
type Output = { to: 'nowhere'; fd: number } | { to: 'syslog' } | LogFile

const NOWHERE = '/dev/null'

let outputs: (Output | undefined)[] = []
let inPlace = false
let dropped = false

/** Opens what is needed, since it may be out of reach when privileges were dropped, and redirects
 * nothing yet. */
export function openOutputs(
  options: ResolvedOptions,
  attached: boolean,
  gone: (place: string, error: Error) => void,
): void {
  inPlace = attached
  const wanted = [options.stdout, options.stderr].map((to) => to ?? (attached ? undefined : NOWHERE))
  outputs = wanted.map((path, index) => {
    if (path === undefined) {
      watchReader(index + 1, gone)
      return undefined
    }
    if (path === NOWHERE) return { to: 'nowhere', fd: native.openLog().fd }
    if (path === SYSLOG) return { to: 'syslog' }
    return { to: 'file', path, ...native.openLog(path) }
  })
  if (!wanted.includes(SYSLOG)) return
  native.outputStart(options.name)
  // Made while the descriptor leads to a file, Node's stream writes to it at once. Made for a pipe it
  // would make that non-blocking, for all who print there: V8 and children too, and lose what does
  // not fit at the moment when the process ends.
  if (!attached) void [process.stdout, process.stderr]
}

/** Redirects the two descriptors. */
export function takeOutputs(): void {
  for (const [index, output] of outputs.entries()) {
    if (output === undefined) continue
    const number = index + 1
    const wasTerminal = inPlace && isTerminal(number)
    if (output.to === 'syslog') native.outputRedirect(number)
    else native.redirect(output.fd, number)
    if (output.to === 'file') output.made = false
    // For a terminal Node has a descriptor of its own, which does not follow the one that everybody knows.
    if (output.to === 'file') printTo(number, output.path)
    else if (output.to === 'syslog') printTo(number, SYSLOG, native.outputWrite)
    else if (wasTerminal) printTo(number, output.to)
  }
}

/** Whether what is told on standard error stays in a log file. */
export function keepsErrors(): boolean {
  return outputs[1]?.to === 'file'
}

/** The descriptors of log files that this start has made: they are to belong to the user that it becomes. */
export function madeLogs(): number[] {
  return outputs.flatMap((output) => (output?.to === 'file' && output.made ? [output.fd] : []))
}

/** Privileges were dropped: a file that can no longer be opened has a likely cause. */
export function outputsBelongToAnother(): void {
  dropped = true
}

/** Opens the log files anew; where that fails, the old one stays. */
export function reopenOutputs(): void {
  for (const [index, output] of outputs.entries()) {
    if (output?.to !== 'file') continue
    try {
      native.redirect(native.openLog(output.path).fd, index + 1)
    } catch (error) {
      syslog(LOG_ERR, `${(error as Error).message}. ${hint(error as DaemonError)}`)
    }
  }
}

function hint({ errnoCode }: DaemonError): string {
  const kept = 'What is printed goes on to the old file'
  const denied = errnoCode === 'EACCES' || errnoCode === 'EPERM'
  if (!denied || !dropped) return kept
  const user = process.getuid?.()
  return `${kept}: privileges were dropped, and user ${user} must be able to write the file, or to make it (in logrotate: \`create 0640 USER GROUP\`)`
}
