// However a daemon ends, its log gets one last line: how long it ran, with which status it ended, and why.

import fs from 'node:fs'
import { isAlive, pidIn, place, run, sample, test, until } from './kit.mjs'
import { local, opening, receive } from './receivers.mjs'

const LINE = /Ended after (\d+ (?:ms|s|min)(?: \d+ (?:s|ms))?) with status (\d+): (.*)$/

/** Runs a daemon to its end. Returns what its last line in the log says. */
async function lived(
  t,
  { end = () => {}, action = "await once(signal, 'abort')", body = '', options = '', last },
) {
  const p = place(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const script = p.write(
    'a.mjs',
    sample({
      before: opening,
      options,
      body: `async setup() { opened(); await this.prepare() }
  async prepare() {}
  async action(signal) { fs.writeFileSync(process.env.DIR + '/acts', ''); ${action} }
  ${body}`,
      ...(last && { last }),
    }),
  )
  const started = await run(p, script, [], { env: local(p) })
  if (started.status === 0 && !options.includes('detach: false')) {
    await until(() => fs.existsSync(`${p.dir}/acts`), 'the action')
    const pid = fs.existsSync(p.pidFile()) ? pidIn(p) : undefined
    if (pid) end(pid)
    await until(() => !pid || !isAlive(pid), 'its end')
  }
  await until(() => receiver.messages().some((message) => LINE.test(message)), 'the line')
  await receiver.stop()
  const messages = receiver.messages()
  const lines = messages.filter((message) => LINE.test(message))
  t.is(lines.length, 1, messages.join('\n'))
  t.is(messages.at(-1), lines[0], 'the last')
  const [, , status, why] = LINE.exec(lines[0])
  return { status: Number(status), why, priority: Number(/^<(\d+)>/.exec(lines[0])[1]) & 7 }
}

const INFO = 6
const NOTICE = 5
const kill = (signal) => (pid) => process.kill(pid, signal)
const thrown = "throw new Error('no luck')"

for (const [what, how, status, why] of [
  ['SIGTERM', { end: kill('SIGTERM') }, 0, 'SIGTERM'],
  ['exit(3)', { action: 'void this.exit(3); await new Promise(() => {})' }, 3, 'exit(3)'],
  ['an event loop that is empty', { action: '' }, 0, 'nothing was left to do'],
  ['an action that throws', { action: thrown }, 1, '`action` threw an error'],
  [
    'an uncaught error',
    { action: `setImmediate(() => { ${thrown} }); await new Promise(() => {})` },
    1,
    'an uncaught error',
  ],
  [
    'an unhandled rejection',
    { action: `Promise.reject(new Error('x')); await new Promise(() => {})` },
    1,
    'an uncaught error',
  ],
  ['process.exit(5)', { action: 'process.exit(5)' }, 5, 'process.exit()'],
  [
    'a listener that changes the status',
    { action: "process.on('exit', () => { process.exitCode = 6 })" },
    6,
    'nothing was left to do',
  ],
  ['exitNow(7)', { action: 'this.exitNow(7)' }, 7, 'exitNow()'],
  [
    'an onSignal that throws at SIGTERM',
    { body: `async onSignal() { ${thrown} }`, end: kill('SIGTERM') },
    1,
    '`onSignal` threw an error at SIGTERM',
  ],
  [
    'a shutdown that is cut off',
    {
      body: 'async shutdown() { await new Promise(() => {}) }',
      options: 'stopTimeout: 100,',
      end: kill('SIGTERM'),
    },
    1,
    'SIGTERM',
  ],
  [
    'a blocked event loop',
    { action: 'while (true) {}', options: 'blockedTimeout: 100,', end: kill('SIGTERM') },
    143,
    'its event loop was blocked',
  ],
  ['a start that fails', { body: `async prepare() { ${thrown} }` }, 1, 'it did not start'],
  ['process.exit() in setup', { body: 'async prepare() { process.exit(4) }' }, 4, 'process.exit()'],
  ['attached', { options: 'detach: false,', action: '' }, 0, 'nothing was left to do'],
]) {
  test(`the last line in the log says how it ended: ${what}`, async (t) => {
    t.deepEqual(await lived(t, how), { status, why, priority: status === 0 ? INFO : NOTICE })
  })
}
