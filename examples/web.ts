// A web server. It binds its port while it is root, which port 80 requires. Then it becomes the user
// `web`, or `daemon` if there is no such user, and answers requests.
//
//   sudo node --import tsx examples/web.ts start [PORT]
//   sudo node --import tsx examples/web.ts stop | status

import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { Daemon, syslog } from 'tsdaemonize'

const [verb, port = '80'] = process.argv.slice(2)

class Web extends Daemon {
  #user = `uid ${process.getuid?.()}`
  readonly #answers = new Set<ServerResponse>()
  readonly #server = createServer((_request, response) => {
    this.#answers.add(response)
    response.on('close', () => this.#answers.delete(response))
    response.end(`Hello from ${this.name}: pid ${process.pid}, ${this.#user}\n`)
  })

  // A port that is taken is a failed start, and the launcher says so.
  protected override async setup() {
    this.#server.listen(Number(port))
    await once(this.#server, 'listening')
    if (process.getuid?.() === 0) this.#user = `user ${this.dropPrivileges().user}`
    syslog.syslog(`Serving on port ${port} as ${this.#user}`)
  }

  protected override async action(signal: AbortSignal) {
    await once(signal, 'abort')
  }

  // Answers that are under way are sent. Then the idle connections are closed, also those that have never
  // sent a request: closeIdleConnections() leaves these open before Node 26.
  protected override async shutdown() {
    this.#server.close()
    for (const answer of this.#answers) await once(answer, 'close')
    this.#server.closeAllConnections()
  }
}

await new Web().serviced(verb === undefined ? [] : [verb])
