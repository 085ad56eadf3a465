// `setup` tells a server to listen, and does not wait for it. Whether it listens is known before "ready".

import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createConnection, createServer } from 'node:net'
import { LINES, nodeOf } from '../scripts/nodes.mjs'
import { fails } from './failed.mjs'
import { command, place, run, sample, test } from './kit.mjs'

const NODES = LINES.map((line) => [line, nodeOf(line)]).filter(([, node]) => existsSync(node))
const NET = `import { createServer } from 'node:net'
import { createSocket } from 'node:dgram'
import dns from 'node:dns'`

/** A port at localhost that is taken until the test ends. */
async function taken(t) {
  const server = createServer().listen(0, 'localhost')
  t.teardown(() => server.close())
  await once(server, 'listening')
  return server.address().port
}

const setup = (how) => ({ body: `setup() { ${how} }` })
/** Ways to tell a server to listen. Nobody waits for any of them. */
const TOLD = {
  'by name': (port) => setup(`createServer().listen(${port}, 'localhost')`),
  'by name, and another one': (port) =>
    setup(`createServer().listen(0); createServer().listen(${port}, 'localhost')`),
  'by address': (port) => setup(`createServer().listen({ port: ${port}, host: '127.0.0.1' })`),
  'when setup has returned': (port) =>
    setup(`process.nextTick(() => createServer().listen(${port}, 'localhost'))`),
  'before start()': (port) => ({
    before: `${NET}\nif (isDaemon) createServer().listen(${port}, 'localhost')`,
  }),
  'for datagrams': () =>
    setup(`createSocket('udp4').bind(0, '127.0.0.1', function () {
      createSocket('udp4').bind(this.address().port, 'localhost')
    })`),
}
for (const [line, node] of NODES) {
  for (const [how, source] of Object.entries(TOLD)) {
    test(`a port that is taken is a failed start: told ${how}, Node ${line}`, async (t) => {
      const p = place(t)
      const script = p.write('a.mjs', sample({ before: NET, ...source(await taken(t)) }))
      await fails(t, p, () => command(p, node, [script]), /(?:listen|bind) EADDRINUSE/)
    })
  }

  test(`a server that listens is there when the start is done: Node ${line}`, async (t) => {
    const p = place(t)
    const port = await taken(t)
    const body = `setup() { createServer((client) => client.end('hello')).listen(${port}, '127.0.0.2') }`
    t.is((await command(p, node, [p.write('a.mjs', sample({ before: NET, body }))])).status, 0)
    const [said] = await once(createConnection(port, '127.0.0.2'), 'data')
    t.is(String(said), 'hello')
  })
}

test('an error of a server that the program handles is no failed start', async (t) => {
  const p = place(t)
  const body = `setup() { createServer().on('error', () => {}).listen(${await taken(t)}, 'localhost') }`
  t.is((await run(p, p.write('a.mjs', sample({ before: NET, body })))).status, 0)
})

test('what is told wrongly, and what is closed before it answers, is not waited for', async (t) => {
  const p = place(t)
  const body = `setup() {
    for (const port of [-1, 65_536, 'none']) try { createServer().listen({ port, host: 'localhost' }) } catch {}
    createServer().listen(0, 'localhost').close()
    createServer().on('error', () => {}).listen(0, 'no.such.host.invalid')
    createSocket('udp4').bind(0, 'localhost').close()
  }`
  t.is((await run(p, p.write('a.mjs', sample({ before: NET, body })))).status, 0)
})

test('a server that never answers fails the start after startTimeout', async (t) => {
  const p = place(t)
  const before = `${NET}\ndns.lookup = () => {}`
  const body = `setup() { createServer().listen(0, 'localhost') }`
  const options = 'startTimeout: 1000'
  const detached = p.write('a.mjs', sample({ before, body, options }))
  await fails(t, p, () => run(p, detached), /was not ready within 1000 ms/)
  const script = p.write('b.mjs', sample({ before, body, options: `${options}, detach: false` }))
  const { status, stderr } = await run(p, script)
  t.is(status, 1)
  t.regex(stderr, /A server that `setup` told to listen did not answer within 1000 ms/)
})
