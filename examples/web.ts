// A web server. It binds its port while it is root, as port 80 asks for, and answers as somebody
// else: the user `web`, or, where there is none, `daemon`.
//
//   sudo npx tsx examples/web.ts start [PORT]
//   sudo npx tsx examples/web.ts stop | status

import { once } from 'node:events'
import { createServer } from 'node:http'
import { Daemon, syslog } from 'tsdaemonize'

const [verb, port = '80'] = process.argv.slice(2)

class Web extends Daemon {
  #user = `uid ${process.getuid?.()}`
  readonly #server = createServer((_request, response) => {
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

  // The answers that are under way go out; no new question is taken.
  protected override async shutdown() {
    this.#server.close()
    this.#server.closeIdleConnections()
    await once(this.#server, 'close')
  }
}

await new Web().serviced(verb === undefined ? [] : [verb])
