// The signals that reach a daemon: on the event loop, one at a time, in their order.

import { native } from '../native/index.js'
import { isDeno } from '../runtime/index.js'

/** The signals that `onSignal` gets. */
export const DAEMON_SIGNALS = [
  'SIGTERM',
  'SIGINT',
  'SIGHUP',
  'SIGALRM',
  'SIGUSR1',
  'SIGUSR2',
  'SIGCHLD',
  'SIGPIPE',
] as const satisfies readonly NodeJS.Signals[]

/**
 * Those that would end the boot by default and are held for `onSignal` instead. SIGTERM ends the boot. SIGUSR1 is the
 * debugger's, and the default of the others does nothing.
 */
export const HELD_SIGNALS: readonly NodeJS.Signals[] = DAEMON_SIGNALS.filter(
  (signal) => !['SIGTERM', 'SIGUSR1', 'SIGCHLD', 'SIGPIPE'].includes(signal),
)

/** A signal's number on this system; `undefined` for what is none. */
export function signalNumber(signal: string): number | undefined {
  return numbers()[signal]
}

/** The names of all signals of this system. */
export function signalNames(): string[] {
  return Object.keys(numbers())
}

/** A signal's name. */
export function signalName(number: number): NodeJS.Signals {
  const known = Object.entries(numbers()).find(([, value]) => value === number)
  return (known?.[0] ?? `SIG${number}`) as NodeJS.Signals
}

/** node:os is not loaded at every start: few ask. */
function numbers(): Record<string, number | undefined> {
  return process.getBuiltinModule('node:os').constants.signals
}

/** The listeners which say that the event loop has got a signal, so that it is not blocked. */
const ours = new Set<unknown>()

/**
 * Hands every signal to `atOnce` and, unless that has dealt with it, to `deliver`, one at a time. Signals that come
 * before the returned function is called are delivered when it is called.
 */
export function wireSignals(
  deliver: (signal: NodeJS.Signals) => Promise<void>,
  atOnce: (signal: NodeJS.Signals) => boolean,
): () => void {
  let open: (() => void) | undefined
  let turn = new Promise<void>((resolve) => {
    open = resolve
  })
  const notes = new Map<string | symbol, () => void>()
  // Before the signals are let in: one that came during the boot opens no debugger's port either.
  if (isDeno) native.ignoreSigusr1()
  for (const signal of DAEMON_SIGNALS) {
    if (isDeno && signal === 'SIGUSR1') continue
    // It counts once all listeners have been called, since one of the program's own may block. Ours goes first, since
    // another one may throw.
    const note = () => void Promise.resolve(signal).then(native.blockedLoopTaken)
    const listener = () => {
      note()
      if (atOnce(signal)) return
      turn = turn.then(() => deliver(signal))
    }
    ours.add(note).add(listener)
    notes.set(signal, note)
    process.prependListener(signal, listener)
  }
  native.blockedLoopChain()
  // libuv puts its own handler in place when the first listener of a signal is added. That happens again when a
  // program removes all of them, ours included, and adds one. The event comes before the listener is there.
  process.on('newListener', (name) => {
    const note = notes.get(name)
    if (note) process.nextTick(watchAgain, name, note)
  })
  return () => {
    open?.()
    open = undefined
  }
}

/** The program may do with a signal what it likes, but that the event loop was not blocked is noted. */
function watchAgain(signal: NodeJS.Signals, note: () => void): void {
  const listeners = process.listeners(signal) as unknown[]
  if (listeners.length > 0 && !listeners.some((listener) => ours.has(listener))) {
    process.prependListener(signal, note)
  }
  native.blockedLoopChain()
}
