// The one logger of the process, behind `syslog` and the daemon's own messages.

import { type NativeTransport, native } from '../native/index.js'
import { defaultName, given } from '../program/index.js'
import { LOG_PERROR, LOG_USER, LOG_WARNING } from './constants.js'

/**
 * The socket that stands in for the local logger in the programs of a test (ts/testing). It is set by code that
 * runs before the program, and not by a variable: whoever can set root's environment must not decide where its
 * messages go.
 */
const standIn = (globalThis as Record<symbol, unknown>)[Symbol.for('tsdaemonize.logger')]

class Logger {
  #isOpen = false
  #isInBackground = false
  #capturesStderr = false
  #isOnTerminal = false
  /** What `open` was called with last. */
  #opened: Parameters<Logger['open']> | undefined

  /** Whether it was opened, perhaps by another thread. */
  get isOpen(): boolean {
    this.#isOpen ||= native.syslogIsOpen()
    return this.#isOpen
  }

  /**
   * Does what openlog(3) does. From now on the end of the program waits, at most a second, until all is sent. Without
   * a transport, messages go to the journal, where it reads stdout or stderr, else to the local logger.
   */
  open(ident: string, options: number, facility: number, transport?: NativeTransport): void {
    this.#isOpen = true
    this.#opened = [ident, options, facility, transport]
    const local = transport === undefined || (transport.kind === 'local' && transport.path === undefined)
    const way: NativeTransport | undefined =
      local && typeof standIn === 'string' ? { kind: 'local', path: standIn } : transport
    const shown = this.#isOnTerminal ? options | LOG_PERROR : options
    const flags = this.#capturesStderr ? shown & ~LOG_PERROR : shown
    native.syslogOpen(ident, flags, facility, way, !this.#isInBackground)
  }

  /** Logs a warning under another name, without showing it on stderr. After that the logger is as it was. */
  warnAs(ident: string, options: number, facility: number, message: string): void {
    const before = this.#opened ?? [defaultIdent(), 0, LOG_USER]
    this.open(ident, options, facility)
    native.syslogLogTold(LOG_WARNING, message)
    this.open(...before)
  }

  /** In a background process nobody reads stderr: it does not stand in for a logger that does not exist. */
  goToBackground(): void {
    this.#isInBackground = true
  }

  /** What is written to stderr becomes messages from now on, so messages are not written there. */
  captureStderr(): void {
    this.#isInBackground = true
    this.#capturesStderr = true
  }

  /** A person looks at stderr: what is logged is shown there, whatever the options say. */
  showOnTerminal(): void {
    this.#isOnTerminal = true
  }
}

/** The logger of this process. */
export const logger: Logger = new Logger()

/** The ident of a program that gives none: its name, or, under `-e`, that of Node. */
export function defaultIdent(): string {
  return given() === undefined ? defaultName(process.argv0) : defaultName()
}
