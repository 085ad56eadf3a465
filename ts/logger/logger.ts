// The one logger of the process, behind `syslog` and the daemon's own messages.

import { type NativeTransport, native } from '../native/index.js'
import { defaultName, given } from '../program/index.js'
import { LOG_PERROR, LOG_USER, LOG_WARNING } from './constants.js'

/**
 * The socket that stands in for the local logger in the programs of a test (ts/testing). Set by code that
 * runs before the program, and not by a variable: who can set root's environment must not thereby say
 * where its messages go.
 */
const standIn = (globalThis as Record<symbol, unknown>)[Symbol.for('tsdaemonize.logger')]

/** In a priority: stderr has this message already. The native module knows this bit, too. */
export const TOLD = 1 << 16

class Logger {
  #isOpen = false
  #isInBackground = false
  #capturesStderr = false
  #isOnTerminal = false
  /** What `open` was called with last. */
  #opened: Parameters<Logger['open']> | undefined

  /** Whether it was opened; by a worker thread, or before this one began, is as good. */
  get isOpen(): boolean {
    this.#isOpen ||= native.syslogIsOpen()
    return this.#isOpen
  }

  /**
   * openlog(3); from now on the end of the program waits, at most a second, until all is sent. Without
   * a transport: the journal, where it reads stdout or stderr, else the local logger.
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

  /** A warning in the name of another, to the local logger alone; then the logger is as it was. */
  warnAs(ident: string, options: number, facility: number, message: string): void {
    const before = this.#opened ?? [defaultIdent(), 0, LOG_USER]
    this.open(ident, options, facility)
    native.syslogLog(LOG_WARNING | TOLD, message)
    this.open(...before)
  }

  /** In a background process nobody reads stderr: it does not stand in for a logger that does not exist. */
  goToBackground(): void {
    this.#isInBackground = true
  }

  /** What is written to stderr becomes messages: so messages are not written there. */
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

/** What openlog(3) takes for a program that gives none: its name, or that of what runs `-e`. */
export function defaultIdent(): string {
  return given() === undefined ? defaultName(process.argv0) : defaultName()
}
