// Servers that were told to listen and have not answered yet. Where a name must be resolved first, an error such as
// a port that is in use comes some turns of the event loop later.

import { DaemonError } from '../errors/index.js'
import { now } from '../runtime/index.js'

/** What its diagnostics channel tells of a server. */
interface Listening {
  server: NodeJS.EventEmitter
  options?: { host?: unknown; port?: unknown }
}
/** What its diagnostics channel tells of a socket for datagrams. */
interface Created {
  socket: NodeJS.EventEmitter & { bind(...args: unknown[]): unknown }
}

class Servers {
  readonly #unanswered = new Set<NodeJS.EventEmitter>()
  #allHaveAnswered: (() => void) | undefined

  /** What is done with the messages of each diagnostics channel. */
  readonly #subscribers: Record<string, (message: unknown) => void> = {
    'tracing:net.server.listen:asyncStart': (message) => {
      const { server, options } = message as Listening
      // Without a name, `listen` has its answer, or its error, when it returns.
      const port = Number(options?.port)
      if (typeof options?.host === 'string' && port >= 0 && port <= 65_535) this.#expect(server)
    },
    'tracing:net.server.listen:asyncEnd': (message) => this.#settle((message as Listening).server),
    'tracing:net.server.listen:error': (message) => this.#settle((message as Listening).server),
    'udp.socket': (message) => {
      const { socket } = message as Created
      const { bind } = socket
      const expect = () => this.#expect(socket)
      socket.bind = function (...args) {
        const bound = bind.apply(this, args)
        expect()
        return bound
      }
    },
  }

  /** From now on, until all have answered, it is known which servers were told to listen. */
  watch(): void {
    const { subscribe } = process.getBuiltinModule('node:diagnostics_channel')
    this.#unwatch()
    for (const [channel, subscriber] of Object.entries(this.#subscribers)) subscribe(channel, subscriber)
  }

  #unwatch(): void {
    const { unsubscribe } = process.getBuiltinModule('node:diagnostics_channel')
    for (const [channel, subscriber] of Object.entries(this.#subscribers)) unsubscribe(channel, subscriber)
  }

  #expect(server: NodeJS.EventEmitter): void {
    const { errorMonitor } = process.getBuiltinModule('node:events')
    this.#unanswered.add(server)
    for (const event of ['listening', 'close', errorMonitor]) server.once(event, () => this.#settle(server))
  }

  #settle(server: NodeJS.EventEmitter): void {
    this.#unanswered.delete(server)
    if (this.#unanswered.size === 0) this.#allHaveAnswered?.()
  }

  /**
   * Waits until all have answered and the event loop has turned. By then an error that none of the program's code
   * handles has come.
   */
  async answered(limit: number): Promise<void> {
    const deadline = now() + limit
    await new Promise(setImmediate)
    while (this.#unanswered.size > 0) {
      let timer: NodeJS.Timeout | undefined
      await new Promise<void>((resolve) => {
        this.#allHaveAnswered = resolve
        timer = setTimeout(resolve, deadline - now())
      })
      clearTimeout(timer)
      if (this.#unanswered.size > 0 && now() >= deadline) {
        throw new DaemonError(
          'ERR_DAEMON_START_FAILED',
          `A server that \`setup\` told to listen did not answer within ${limit} ms. ` +
            'See whether the name of its host can be resolved',
        )
      }
    }
    this.#unwatch()
    if (this.#allHaveAnswered !== undefined) await new Promise(setImmediate)
  }
}

/** The servers of this process. */
export const servers: Servers = new Servers()
