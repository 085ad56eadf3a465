// Where standard output and standard error go once the daemon runs: to a log file, to syslog, or
// nowhere. All are opened before `setup`, so that the start fails where one cannot be opened: after "go" there
// is nothing left that could fail.

import type { DaemonError } from '../errors/index.js'
import { native } from '../native/index.js'
import { type ResolvedOptions, SYSLOG } from '../options/index.js'
import { isTerminal } from '../runtime/index.js'
import { LOG_ERR, syslog } from '../syslog/index.js'
import { printTo, watchReader } from './printing.js'

interface LogFile {
  to: 'file'
  path: string
  fd: number
  /** This start has made the file, and `fd` is still its descriptor. */
  made: boolean
}
type Output = { to: 'nowhere'; fd: number } | { to: 'syslog' } | LogFile

const NOWHERE = '/dev/null'

export class Outputs {
  /** For standard output and standard error; `undefined` where it stays as it is. */
  #outputs: (Output | undefined)[] = []
  #attached = false
  #belongToAnother = false

  /** Opens what is needed, which may be out of reach when privileges were dropped, and redirects
   * nothing yet. `gone` is told of a reader that has gone away. */
  open(options: ResolvedOptions, attached: boolean, gone: (name: string, error: Error) => void): void {
    this.#attached = attached
    const wanted = [options.stdout, options.stderr].map((to) => to ?? (attached ? undefined : NOWHERE))
    this.#outputs = wanted.map((path, index) => {
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
    // A stream that Node makes while the descriptor leads to a file writes at once. For a pipe, Node would make it
    // non-blocking for all who print there, V8 and children too, and would lose what does not fit when the process
    // ends.
    if (!attached) void [process.stdout, process.stderr]
  }

  /** Redirects the two descriptors. */
  redirect(): void {
    for (const [index, output] of this.#outputs.entries()) {
      if (output === undefined) continue
      const number = index + 1
      const wasTerminal = this.#attached && isTerminal(number)
      if (output.to === 'syslog') native.outputRedirect(number)
      else native.redirect(output.fd, number)
      if (output.to === 'file') output.made = false
      // For a terminal Node has a descriptor of its own, which is not redirected with the one that everybody knows.
      if (output.to === 'file') printTo(number, output.path)
      else if (output.to === 'syslog') printTo(number, SYSLOG, native.outputWrite)
      else if (wasTerminal) printTo(number, output.to)
    }
  }

  /** Whether what is printed on standard error stays in a log file. */
  get keepErrors(): boolean {
    return this.#outputs[1]?.to === 'file'
  }

  /** The descriptors of the log files that this start has made. They will belong to the user that it becomes. */
  madeLogs(): number[] {
    return this.#outputs.flatMap((output) => (output?.to === 'file' && output.made ? [output.fd] : []))
  }

  /** Privileges were dropped: a file that can no longer be opened has a likely cause. */
  belongToAnother(): void {
    this.#belongToAnother = true
  }

  /** Opens the log files anew; where that fails, the old one stays. */
  reopen(): void {
    for (const [index, output] of this.#outputs.entries()) {
      if (output?.to !== 'file') continue
      try {
        native.redirect(native.openLog(output.path).fd, index + 1)
      } catch (error) {
        syslog(LOG_ERR, `${(error as Error).message}. ${this.#hint(error as DaemonError)}`)
      }
    }
  }

  #hint({ errnoCode }: DaemonError): string {
    const kept = 'Output still goes to the old file'
    const denied = errnoCode === 'EACCES' || errnoCode === 'EPERM'
    if (!denied || !this.#belongToAnother) return kept
    const user = process.getuid?.()
    return `${kept}: privileges were dropped, and user ${user} must be able to write the file, or to make it (in logrotate: \`create 0640 USER GROUP\`)`
  }
}
