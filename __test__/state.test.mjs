// The state file beside the pidfile, as the library reads it: a hint, and nothing that it says can mislead.

import fs from 'node:fs'
import { cli, daemonAt, end, isAlive, pidIn, place, run, sample, stranger, test, until } from './kit.mjs'

const file = (p) => `${p.run}/.sample.state`
const says = (p, state) =>
  fs.writeFileSync(file(p), typeof state === 'string' ? state : JSON.stringify(state))
const DEAF = 'async onSignal() {}'

test('stop waits as long as the daemon itself has said, unless it was told otherwise', async (t) => {
  const p = place(t)
  const script = p.write('deaf.mjs', sample({ body: DEAF }))
  const stops = { 1.2: {}, 1.3: { stopTimeout: 300 } }
  for (const [seconds, options] of Object.entries(stops)) {
    t.is((await run(p, script)).status, 0)
    const pid = pidIn(p)
    says(p, { version: 1, pid, stopTimeout: 200 })
    const given = JSON.stringify(options).slice(1, -1)
    const asked = p.write('ask.mjs', cli({ body: DEAF, options: given }))
    const { status, stderr } = await run(p, asked, ['stop'])
    t.is(status, 0, stderr)
    t.regex(stderr, new RegExp(`pid ${pid} did not end within ${seconds} s of SIGTERM and was killed`))
    t.false(isAlive(pid))
    t.deepEqual(fs.readdirSync(p.run), [])
  }
})

test('why a daemon ended is told, and goes with the next start or stop', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', cli())
  const lastExit = {
    at: '2026-01-02T03:04:05.678Z',
    code: null,
    signal: 'SIGKILL',
    reason: 'SIGKILL ended it',
  }
  for (const verb of ['stop', 'start']) {
    says(p, { version: 1, pid: 1, lastExit })
    t.deepEqual(await daemonAt(p).status(), { state: 'stopped', stalePidFile: false, lastExit })
    const { status, stdout } = await run(p, script, ['status'])
    t.is(status, 3)
    t.regex(stdout, /is not running.*\nIt ended at 2026-01-02T03:04:05\.678Z: SIGKILL ended it\n/)
    t.is((await run(p, script, [verb])).status, 0)
    if (verb === 'start') t.is((await run(p, script, ['stop'])).status, 0)
    t.deepEqual(fs.readdirSync(p.run), [])
  }
})

test('a state file that is nonsense, or about another process, changes nothing', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', sample())
  t.is((await run(p, script)).status, 0)
  const pid = pidIn(p)
  const { startedAt, rss, ...known } = await daemonAt(p).status()
  t.like(known, { state: 'running', pid })
  const other = stranger(t)
  for (const state of [
    ...['', '{', 'null', '[]', '7', '"x"', `{"pid":${other}`, '\0', '{"pid":'.repeat(7000)],
    { pid: other, stopTimeout: 1, lastExit: {} },
    { pid, stopTimeout: 'long', restarts: -1, lastExit: { at: 'yesterday', reason: 'x' } },
    { pid, stopTimeout: -1, lastExit: [] },
    { pid, stopTimeout: 1e300, supervisor: other },
  ]) {
    says(p, state)
    const { startedAt, rss, ...same } = await daemonAt(p).status()
    t.deepEqual(same, known, JSON.stringify(state))
  }
  t.deepEqual(await daemonAt(p).stop(), { pid, signal: 'SIGTERM' })
  t.true(isAlive(other))
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('a daemon that was killed is stale, whatever its state file says, and a start follows', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', sample())
  t.is((await run(p, script)).status, 0)
  const pid = pidIn(p)
  const other = stranger(t)
  await end(pid)
  says(p, { pid: other, supervisor: pid })
  t.deepEqual(await daemonAt(p).status(), { state: 'stopped', stalePidFile: true })
  t.is((await run(p, script)).status, 0)
  t.false(fs.existsSync(file(p)) && fs.readFileSync(file(p), 'utf8').includes(`"pid":${other}`))
  t.is((await daemonAt(p).stop()).signal, 'SIGTERM')
  t.true(isAlive(other))
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('an attached daemon writes its state file itself, and removes it', async (t) => {
  const p = place(t)
  const options = "detach: false, stopTimeout: 4321, stdout: process.env.DIR + '/out'"
  const running = run(p, p.write('a.mjs', sample({ options })))
  await until(async () => (await daemonAt(p).status()).state === 'running', 'the daemon')
  const { pid, startedAt, ...known } = JSON.parse(fs.readFileSync(file(p), 'utf8'))
  t.is(pid, running.pid)
  t.true(Math.abs(Date.parse(startedAt) - (await daemonAt(p).status()).startedAt) < 60_000)
  const outputs = { stdout: `${p.dir}/out`, stderr: null }
  const ends = { supervisor: null, restarts: 0, lastExit: null }
  t.deepEqual(known, { version: 1, name: 'sample', ...outputs, stopTimeout: 4321, ...ends })
  t.is(fs.statSync(file(p)).mode & 0o7777, 0o644)
  t.deepEqual(await daemonAt(p).stop(), { pid, signal: 'SIGTERM' })
  await running
  t.deepEqual(fs.readdirSync(p.run), [])
})
