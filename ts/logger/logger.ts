// The one logger of the process, behind `syslog` and the daemon's own messages.

import { type NativeTransport, native } from '../native/index.js'
import { defaultName, given } from '../program/index.js'
import { LOG_PERROR, LOG_USER, LOG_WARNING } from './constants.js'

let open = false
let background = false
let captured = false
let onTerminal = false

/**
 * The socket that stands in for the local logger in the programs of a test (ts/testing). Set by code that
 * runs before the program, and not by a variable: who can set root's environment must not thereby say
 * where its messages go.
 */
const standIn = (globalThis as Record<symbol, unknown>)[Symbol.for('tsdaemonize.logger')]

/** Whether it was opened; by a worker thread, or before this one began, is as good. */
export function isOpen(): boolean {
  open ||= native.syslogIsOpen()
  return open
}

/**
 * openlog(3); from now on the end of the program waits, at most a second, until all is sent. Without
 * a transport: the journal, where it reads stdout or stderr, else the local logger.
 */
export function openLogger(
  ident: string,
  options: number,
  facility: number,
  transport?: NativeTransport,
): void {
  open = true
  opened = [ident, options, facility, transport]
  const local = transport === undefined || (transport.kind === 'local' && transport.path === undefined)
  const way = local && typeof standIn === 'string' ? { kind: 'local', path: standIn } : transport
  const shown = onTerminal ? options | LOG_PERROR : options
  native.syslogOpen(ident, captured ? shown & ~LOG_PERROR : shown, facility, way, !background)
}

/** What openLogger was called with last. */
let opened: Parameters<typeof openLogger> | undefined
/** In a priority: stderr has this message already (crate/core/src/syslog/mod.rs). */
export const TOLD = 1 << 16

/** A warning in the name of another, to the local logger alone; then the logger is as it was. */
export function logAs(ident: string, options: number, facility: number, message: string): void {
  const before = opened ?? [defaultIdent(), 0, LOG_USER]
  openLogger(ident, options, facility)
  native.syslogLog(LOG_WARNING | TOLD, message)
  openLogger(...before)
}

/** In a background process nobody reads stderr: it does not stand in for a logger that does not exist. */
export function inBackground(): void {
  background = true
}

/** What is written to stderr becomes messages: so messages are not written there. */
export function captureStderr(): void {
  background = true
  captured = true
}

/** A person looks at stderr: what is logged is shown there, whatever the options say. */
export function showOnTerminal(): void {
  onTerminal = true
}

/** What openlog(3) takes for a program that gives none: its name, or that of what runs `-e`. */
export function defaultIdent(): string {
  return given() === undefined ? defaultName(process.argv0) : defaultName()
}
