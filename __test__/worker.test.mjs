// A start from a worker thread: of another program, which needs no more than the process that begins it.

import fs from 'node:fs'
import { join } from 'node:path'
import { nodeOf } from '../scripts/nodes.mjs'
import {
  command,
  environmentOf,
  isAlive,
  library,
  pidIn,
  place,
  processesOf,
  read,
  sample,
  test,
  testIf,
} from './kit.mjs'

/** Writes the server, and a client whose worker runs `work`; `main` runs beside it. */
function written(t, { work, main = '', body = '', before = '' }) {
  const p = place(t)
  p.write('server.mjs', sample({ body }))
  p.write(
    'worker.mjs',
    `import { Daemon } from '${library}'
import { parentPort, workerData } from 'node:worker_threads'
const client = new Daemon({ name: 'sample', pidFilePath: process.env.RUN, script: process.env.DIR + '/server.mjs' })
${work}`,
  )
  const client = p.write(
    'client.mjs',
    `import { Worker } from 'node:worker_threads'
import { once } from 'node:events'
import fs from 'node:fs'
${before}
const workerOf = (options) => new Worker(new URL('worker.mjs', import.meta.url), options)
const settled = async (worker) => {
  let said
  worker.on('message', (message) => { said = message })
  await once(worker, 'exit')
  return said
}
const said = []
${main}
console.log(JSON.stringify(said))`,
  )
  return { ...p, client }
}

const TRY = `try { parentPort.postMessage(await WHAT) } catch ({ code, message }) { parentPort.postMessage({ code, message }) }`
const tried = (what) => TRY.replace('WHAT', what)
const ONE = 'said.push(await settled(workerOf()))'

const nodes = ['20', '22', '24', '26'].map((line) => [`Node ${line}`, nodeOf(line)])
for (const [name, node] of nodes) {
  const onNode = testIf(fs.existsSync(node))
  const ask = async (p, env) => {
    const { status, signal, stdout, stderr } = await command(p, node, [p.client], { env })
    return { status, signal, stderr, said: JSON.parse(stdout || 'null') }
  }

  for (const what of ['ensure()', 'start()']) {
    onNode(
      `a worker of ${name} starts another program's daemon by ${what}, and asks and stops it`,
      async (t) => {
        const work = `${tried(`client.${what}`)}
const { state, pid } = await client.status()
parentPort.postMessage({ state, pid })
parentPort.postMessage(await client.stop())`
        const main = `const worker = workerOf()
for await (const [message] of (await import('node:events')).on(worker, 'message')) if (said.push(message) === 3) break`
        const p = written(t, { work, main })
        const { status, said, stderr } = await ask(p, { ODD: 'ä' })
        t.is(status, 0, stderr)
        const [started, seen, stopped] = said
        t.true(started.pid > 0, JSON.stringify(said))
        t.deepEqual(seen, { state: 'running', pid: started.pid })
        t.deepEqual(stopped, { pid: started.pid, signal: 'SIGTERM' })
        t.deepEqual(fs.readdirSync(p.run), [])
      },
    )
  }

  onNode(
    `several workers of ${name} at once start one daemon, beside a main thread that listens to signals`,
    async (t) => {
      const main = `const workers = Array.from({ length: 4 }, () => workerOf())
const turning = setInterval(() => {
  const ignore = () => {}
  process.on('SIGUSR2', ignore).on('SIGALRM', ignore).off('SIGUSR2', ignore)
}, 0)
said.push(...(await Promise.all(workers.map(settled))))
clearInterval(turning)
let came = 0
process.removeAllListeners('SIGALRM').on('SIGALRM', () => came++).on('SIGUSR2', () => came++)
process.kill(process.pid, 'SIGALRM')
process.kill(process.pid, 'SIGUSR2')
while (came < 2) await new Promise(setImmediate)`
      const p = written(t, { work: tried('client.ensure()'), main })
      const { status, said, stderr } = await ask(p)
      t.is(status, 0, stderr)
      t.is(said.filter(({ started }) => started).length, 1, JSON.stringify(said))
      t.deepEqual(new Set(said.map(({ pid }) => pid)), new Set([pidIn(p)]), JSON.stringify(said))
    },
  )

  onNode(
    `a worker of ${name} that ends while it starts a daemon leaves the process whole, and the daemon`,
    async (t) => {
      const body = `async setup() {
    fs.writeFileSync(process.env.DIR + '/begun', '')
    while (!fs.existsSync(process.env.DIR + '/go')) await sleep(5)
  }`
      const main = `const worker = workerOf()
const at = (name) => process.env.DIR + '/' + name
while (!fs.existsSync(at('begun'))) await new Promise(setImmediate)
await worker.terminate()
fs.writeFileSync(at('go'), '')
// For as long as the thread of the start, which nobody waits for, is there.
while (fs.readdirSync('/proc/self/task').some((id) => {
  try { return fs.readFileSync('/proc/self/task/' + id + '/comm', 'utf8') === 'launch\\n' } catch { return false }
})) await new Promise(setImmediate)`
      const p = written(t, { work: tried('client.start()'), main, body })
      const { status, signal, stderr } = await ask(p)
      t.deepEqual([status, signal], [0, null], stderr)
      const pid = pidIn(p)
      t.true(isAlive(pid))
      t.deepEqual(processesOf(p), [pid])
    },
  )
}

test('a start from a worker that fails leaves nothing, and tells why', async (t) => {
  const body = "async setup() { throw new Error('no luck') }"
  const p = written(t, { work: tried('client.ensure()'), main: ONE, body })
  const { stdout } = await command(p, process.execPath, [p.client])
  const [{ code, message }] = JSON.parse(stdout)
  t.is(code, 'ERR_DAEMON_START_FAILED')
  t.regex(message, /no luck/)
  t.deepEqual(processesOf(p), [])
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('a worker has its own environment, which the daemon gets', async (t) => {
  const before = "process.env.BOTH = 'main'"
  const work = `process.env.MINE = 'ä'\nprocess.env.BOTH = 'worker'\n${tried('client.ensure()')}`
  const p = written(t, { work, main: ONE, before })
  await command(p, process.execPath, [p.client])
  const variables = environmentOf(pidIn(p)).split('\0')
  t.true(variables.includes('MINE=ä'))
  t.true(variables.includes('BOTH=worker'))
})

test('a worker cannot become a daemon itself, nor run one attached', async (t) => {
  const work = `class Own extends Daemon { async action() {} }
const own = new Own({ name: 'own', pidFilePath: process.env.RUN })
const code = (promise) => promise.then(() => 'done', ({ code, message }) => [code, message])
parentPort.postMessage([await code(own.start()), await code(own.ensure()), await code(own.restart())])`
  const p = written(t, { work, main: ONE })
  const { stdout } = await command(p, process.execPath, [p.client])
  const [all] = JSON.parse(stdout)
  for (const [code, message] of all) {
    t.is(code, 'ERR_DAEMON_UNSUPPORTED')
    t.regex(
      message,
      /^A worker thread cannot become a daemon: .* or name the program of the daemon with `script`$/,
    )
  }
  t.is(read(join(p.run, 'own.pid')), '')
})
