// The state file beside the pidfile: what a daemon and its launcher say in it, and how long it is there.

import fs from 'node:fs'
import { join } from 'node:path'
import { asRoot, daemonAt, end, nativeFile, pidIn, place, read, root, run, sample, test } from './kit.mjs'

const stateFile = (p) => join(p.run, '.sample.state')
const state = (p) => JSON.parse(read(stateFile(p)))

async function started(t, more = {}, args = []) {
  const p = place(t)
  const script = p.write('a.mjs', sample(more))
  const { status, stderr } = await run(p, script, args)
  t.is(status, 0, stderr)
  return { ...p, script, pid: pidIn(p) }
}

test('a daemon has one when its launcher says that it runs, and none after its stop', async (t) => {
  const log = "stdout: process.env.DIR + '/log', stopTimeout: 5000,"
  const p = await started(t, { options: log }, ['x', 'ä'])
  t.is(fs.statSync(stateFile(p)).mode & 0o777, 0o644)
  const { startedAt, program, ...rest } = state(p)
  t.deepEqual(rest, {
    version: 1,
    pid: p.pid,
    name: 'sample',
    cwd: fs.realpathSync(p.dir),
    stdout: join(p.dir, 'log'),
    stderr: null,
    stopTimeout: 5000,
    supervisor: null,
    restarts: 0,
    lastExit: null,
  })
  t.is(program[0], process.execPath)
  t.deepEqual(program.slice(-3), [p.script, 'x', 'ä'])
  const { startedAt: seen } = await daemonAt(p).status()
  t.true(Math.abs(Date.parse(startedAt) - seen.getTime()) < 60_000, startedAt)
  await daemonAt(p).stop()
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('that of a daemon that was killed stays until the next start, which has its own', async (t) => {
  const p = await started(t)
  await end(p.pid)
  t.is(state(p).pid, p.pid)
  t.is((await run(p, p.script)).status, 0)
  t.not(pidIn(p), p.pid)
  t.is(state(p).pid, pidIn(p))
})

test('a start that fails leaves none', async (t) => {
  const p = place(t)
  const body = "async setup() { throw new Error('no luck') }"
  t.is((await run(p, p.write('a.mjs', sample({ body })))).status, 1)
  t.deepEqual(fs.readdirSync(p.run), [])
})

const FORGED = { version: 9, name: 'evil', program: ['/bin/evil'], cwd: '/evil' }
// As whatever has taken over a daemon after it has dropped its privileges could send it.
for (const [what, text, wanted] of [
  ['other words', `JSON.stringify({ pid: process.pid, note: 'own', ...${JSON.stringify(FORGED)} })`, 'own'],
  ['a second object', `'{"note":"own"},{"program":["/bin/evil"]}'`, SyntaxError],
  ['a text that does not end', `'{"program":["/bin/evil"],"note":"'`, undefined],
]) {
  test(`what was started is what the launcher says, whatever the daemon does: ${what}`, async (t) => {
    const body = `async setup() {
    const native = { exports: {} }
    process.dlopen(native, ${JSON.stringify(join(root, nativeFile))})
    await native.exports.ready(30000, 1000, false, ${text})
    await new Promise((resolve) => setTimeout(resolve, 1e9))
  }`
    const p = await started(t, { body }, ['x'])
    const found = read(stateFile(p))
    if (wanted === SyntaxError) return t.throws(() => JSON.parse(found), { instanceOf: SyntaxError })
    const { version, name, program, cwd, note } = JSON.parse(found)
    t.deepEqual([version, name, cwd, note], [1, 'sample', fs.realpathSync(p.dir), wanted])
    t.deepEqual(program.slice(-2), [p.script, 'x'])
  })
}

asRoot('it is its launcher’s, and not of the user that the daemon has become', async (t) => {
  const p = await started(t, { options: "user: 'nobody'," })
  t.is(fs.statSync(stateFile(p)).uid, 0)
  t.is(state(p).pid, p.pid)
  await daemonAt(p).stop()
})
