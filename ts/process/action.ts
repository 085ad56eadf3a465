// The daemon's `action`, from its call to its end.

import { property } from '../errors/index.js'
import { isBun, LARGEST_INT } from '../runtime/index.js'

/** Calls `action` by a function whose name is found again in the stack of what `action` calls. */
const NAME = 'tsdaemonize: action'
const { [NAME]: call } = {
  async [NAME](action: (signal: AbortSignal) => unknown, signal: AbortSignal): Promise<void> {
    await action(signal)
  },
}

export class Action {
  // It is made with the action, and not before, since that takes a moment.
  readonly #abort = new AbortController()
  readonly #action: (signal: AbortSignal) => unknown
  readonly #failed: (error: unknown) => void
  #done: Promise<boolean> | undefined
  #letGo: (() => void) | undefined
  readonly #isOff = new Promise<boolean>((resolve) => {
    this.#letGo = () => resolve(true)
  })

  /** `failed` gets what `action` throws, unless it is the answer to `abort`. */
  constructor(action: (signal: AbortSignal) => unknown, failed: (error: unknown) => void) {
    this.#action = action
    this.#failed = failed
  }

  start(): void {
    this.#done = this.#run()
  }

  /** Whether it has done its work without an error; `undefined` until its first statements have run. */
  get done(): Promise<boolean> | undefined {
    return this.#done && Promise.race([this.#done, this.#isOff])
  }

  /** Nobody waits for its end any more. */
  letGo(): void {
    this.#letGo?.()
  }

  abort(): void {
    this.#abort.abort()
  }

  async #run(): Promise<boolean> {
    const { signal } = this.#abort
    // A timer holds the event loop while the action is pending.
    const hold = setInterval(() => {}, LARGEST_INT)
    try {
      await call(this.#action, signal)
      return true
    } catch (error) {
      if (signal.aborted && (error === signal.reason || property(error, 'name') === 'AbortError')) return true
      this.#failed(error)
      return false
    } finally {
      clearInterval(hold)
    }
  }
}

/** Whether this is called by `action`, at whatever depth: V8 knows who awaits what. `undefined` in other engines. */
export function isCalledByAction(): boolean | undefined {
  if (isBun) return undefined
  const { prepareStackTrace, stackTraceLimit } = Error
  try {
    Error.stackTraceLimit = Number.POSITIVE_INFINITY
    Error.prepareStackTrace = (_error, sites) => sites.some((site) => site.getFunctionName() === NAME)
    return (new Error().stack as unknown) === true
  } finally {
    Error.prepareStackTrace = prepareStackTrace
    Error.stackTraceLimit = stackTraceLimit
  }
}
