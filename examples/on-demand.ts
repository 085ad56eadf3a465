// A background server that a command-line tool starts when it needs one. Each user has one server. It
// is ready when `ensure` returns, and ends when nobody has asked for ten minutes. Tool and server are
// this one program. The server remembers the SHA-256 of files, as a build daemon does.
//
//   node --import tsx examples/on-demand.ts FILE...
//   node --import tsx examples/on-demand.ts --stop

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFile, rm, stat } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { resolve } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { Daemon } from 'tsdaemonize'

const IDLE = 10 * 60_000

class Digests extends Daemon {
  readonly #known = new Map<string, { changed: number; digest: string }>()
  readonly #server = createServer((client) => void this.#serve(client))

  // There is one holder of the pidfile, so a socket that is here already was left by a server that was killed.
  protected override async setup() {
    const socket = this.socketPath as string
    await rm(socket, { force: true })
    await once(this.#server.listen(socket), 'listening')
  }

  protected override async action(signal: AbortSignal) {
    const idle = setTimeout(() => void this.exit(), IDLE)
    this.#server.on('connection', () => idle.refresh())
    await once(signal, 'abort')
  }

  protected override async shutdown() {
    this.#server.close()
  }

  async #serve(client: Socket) {
    client.on('error', () => {})
    for await (const path of createInterface({ input: client })) {
      client.write(`${await this.#digest(path).catch((error: Error) => error.message)}\n`)
    }
  }

  async #digest(path: string) {
    const { mtimeMs: changed } = await stat(path)
    const known = this.#known.get(path)
    if (known?.changed === changed) return `${known.digest} (remembered)`
    const digest = createHash('sha256')
      .update(await readFile(path))
      .digest('hex')
    this.#known.set(path, { changed, digest })
    return digest
  }
}

const server = new Digests()
const files = process.argv.slice(2)
if (files[0] === '--stop') await server.stop()
else await ask()

/** The tool. In the server `ensure` never settles, so the rest runs in the tool only. */
async function ask() {
  const { pid, started } = await server.ensure()
  console.error(`${started ? 'Started' : 'Found'} the server, pid ${pid}`)
  const connection = await connected()
  const answers = createInterface({ input: connection })[Symbol.asyncIterator]()
  for (const file of files) {
    connection.write(`${resolve(file)}\n`)
    const { value, done } = await answers.next()
    if (done) throw new Error('The server has ended: try again')
    console.log(`${value}  ${file}`)
  }
  connection.end()
}

/** Connects; if the server has just ended because nobody asked, starts another one. */
async function connected(tries = 20): Promise<Socket> {
  const connection = connect(server.socketPath as string)
  try {
    await once(connection, 'connect')
    return connection
  } catch (error) {
    if (tries === 0) throw error
    await sleep(50)
    await server.ensure()
    return connected(tries - 1)
  }
}
