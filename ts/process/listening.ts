// Servers that were told to listen and have not answered yet. Where a name must be resolved first, that a
// port is taken shows some turns of the event loop later.

import { DaemonError } from '../errors/index.js'
import { now } from '../runtime/index.js'

/** What is told of a server by its diagnostics channel, and a socket for datagrams. */
interface Told {
  server: NodeJS.EventEmitter
  options?: { host?: unknown; port?: unknown }
}
interface Made {
  socket: NodeJS.EventEmitter & { bind(...args: unknown[]): unknown }
}

const unanswered = new Set<NodeJS.EventEmitter>()
let answered: (() => void) | undefined

/** By the name of the channel. */
const SUBSCRIBERS: Record<string, (message: unknown) => void> = {
  'tracing:net.server.listen:asyncStart': (message) => {
    const { server, options } = message as Told
    // Without a name the answer is there when `listen` returns; and so is what it throws.
    const port = Number(options?.port)
    if (typeof options?.host === 'string' && port >= 0 && port <= 65_535) wait(server)
  },
  'tracing:net.server.listen:asyncEnd': answer,
  'tracing:net.server.listen:error': answer,
  'udp.socket': (message) => {
    const { socket } = message as Made
    const { bind } = socket
    socket.bind = function (...args) {
      const bound = bind.apply(this, args)
      wait(socket)
      return bound
    }
  },
}

/** Until `serversAnswer`, servers that are told to listen are known. */
export function watchServers(): void {
  const { subscribe, unsubscribe } = process.getBuiltinModule('node:diagnostics_channel')
  for (const [channel, subscriber] of Object.entries(SUBSCRIBERS)) {
    unsubscribe(channel, subscriber)
    subscribe(channel, subscriber)
  }
}

function answer(message: unknown): void {
  settle((message as Told).server)
}

function wait(server: NodeJS.EventEmitter): void {
  const { errorMonitor } = process.getBuiltinModule('node:events')
  unanswered.add(server)
  for (const event of ['listening', 'close', errorMonitor]) server.once(event, () => settle(server))
}

function settle(server: NodeJS.EventEmitter): void {
  unanswered.delete(server)
  if (unanswered.size === 0) answered?.()
}

/**
 * Waits until all have answered, and the event loop has turned: an error that none of the program's code
 * handles has come by then.
 */
export async function serversAnswer(limit: number): Promise<void> {
  const deadline = now() + limit
  await new Promise(setImmediate)
  while (unanswered.size > 0) {
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      answered = resolve
      timer = setTimeout(resolve, deadline - now())
    })
    clearTimeout(timer)
    if (unanswered.size > 0 && now() >= deadline) {
      throw new DaemonError(
        'ERR_DAEMON_START_FAILED',
        `A server that \`setup\` told to listen did not answer within ${limit} ms. ` +
          'See whether the name of its host can be resolved',
      )
    }
  }
  const { unsubscribe } = process.getBuiltinModule('node:diagnostics_channel')
  for (const [channel, subscriber] of Object.entries(SUBSCRIBERS)) unsubscribe(channel, subscriber)
  if (answered !== undefined) await new Promise(setImmediate)
}
