// The log receiver of a place, which gets what its programs send to syslog. It is a stream socket, since Node has
// servers for those. There each message ends with NUL, as syslog(3) sends it.

import { chmodSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { LONGEST_SOCKET_PATH } from '../runtime/index.js'

/** A message to syslog. */
export interface Message {
  /** A priority, such as `syslog.LOG_ERR`. */
  readonly priority: number
  /** A facility, such as `syslog.LOG_DAEMON`. */
  readonly facility: number
  /** The daemon's name, unless `openlog` was given another one. */
  readonly ident: string
  /** The pid, with `LOG_PID`. */
  readonly pid: number | undefined
  /** The text, followed by its fields. */
  readonly message: string
}

/** Receives messages at a socket. */
export class Receiver {
  readonly messages: Message[] = []
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  constructor(path: string) {
    if (Buffer.byteLength(path) > LONGEST_SOCKET_PATH) {
      throw new Error(`${path} is too long for a socket (unix(7)): set TMPDIR to a shorter directory`)
    }
    this.#server = createServer((socket) => this.#read(socket))
    // A test that forgets to end the place must not wait for it.
    this.#server.on('error', () => {})
    this.#server.listen(path).unref()
    // Daemons of other users write here too.
    chmodSync(path, 0o666)
  }

  #read(socket: Socket): void {
    let begun = Buffer.alloc(0)
    this.#sockets.add(socket.unref())
    socket.on('error', () => {})
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('data', (chunk) => {
      begun = Buffer.concat([begun, chunk])
      for (let end = begun.indexOf(0); end >= 0; end = begun.indexOf(0)) {
        this.messages.push(parse(begun.toString('utf8', 0, end)))
        begun = begun.subarray(end + 1)
      }
    })
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }
}

/** `<30>Nov 24 09:22:01 clock[4711]: text` */
const RFC_3164 = /^<(\d+)>.{15} (.*?)(?:\[(\d+)\])?: (.*)$/s

function parse(text: string): Message {
  const [, number, ident = '', pid, message = text] = RFC_3164.exec(text) ?? []
  const both = Number(number ?? 0)
  return {
    priority: both & 7,
    facility: both & ~7,
    ident,
    pid: pid === undefined ? undefined : Number(pid),
    message,
  }
}
