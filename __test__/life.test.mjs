// From "go" to the end: how long a daemon lives, and the ways in which it ends.

import fs from 'node:fs'
import { bunPath } from '../scripts/nodes.mjs'
import { command, isAlive, library, pidIn, place, run, sample, test, until } from './kit.mjs'

/** Runs an attached daemon, so that its exit status can be seen. Its messages are on its stderr. */
function attached(p, more) {
  const options = `detach: false, syslogOptions: syslog.LOG_PERROR, ${more.options ?? ''}`
  return run(p, p.write('a.mjs', sample({ ...more, options })))
}

const NOTE = `note(what) { fs.appendFileSync(process.env.DIR + '/notes', what + '\\n') }
  shutdown() { this.note('shutdown') }`
const notes = (p) => (fs.existsSync(`${p.dir}/notes`) ? fs.readFileSync(`${p.dir}/notes`, 'utf8') : '')

test('while action is pending the process lives, even if nothing else holds it', async (t) => {
  const p = place(t)
  const body = `${NOTE}
  async action(signal) {
    signal.addEventListener('abort', () => this.note('abort'))
    this.note('acts')
    await once(signal, 'abort')
  }`
  const daemon = attached(p, { body })
  await until(() => notes(p) === 'acts\n', 'the action')
  process.kill(daemon.pid, 'SIGTERM')
  const { status, stderr } = await daemon
  t.is(status, 0)
  t.is(notes(p), 'acts\nabort\nshutdown\n')
  t.regex(stderr, /^sample: Received SIGTERM\. Exiting\.$/m)
})

test('when action has returned, the process lives as long as its event loop has work', async (t) => {
  const p = place(t)
  const body = `${NOTE}
  async action() {
    const { createServer } = await import('node:net')
    const server = createServer((client) => { client.end('hello'); server.close() })
    server.listen(process.env.DIR + '/socket', () => this.note('listens'))
  }`
  const daemon = attached(p, { body })
  await until(() => notes(p) === 'listens\n', 'the server')
  const { createConnection } = await import('node:net')
  const client = createConnection(`${p.dir}/socket`)
  t.is(String(await new Promise((resolve) => client.once('data', resolve))), 'hello')
  client.destroy()
  t.is((await daemon).status, 0)
  t.is(notes(p), 'listens\nshutdown\n')
  t.deepEqual(fs.readdirSync(p.run), [])
})

for (const [what, action] of [
  ['action throws', `throw new Error('broken')`],
  [
    'an exception is not caught',
    `setTimeout(() => { throw new Error('broken') }, 10); await once(signal, 'abort')`,
  ],
  [
    'a rejection is not handled',
    `setTimeout(() => Promise.reject(new Error('broken')), 10); await once(signal, 'abort')`,
  ],
]) {
  test(`where ${what}: LOG_ERR with the stack, shutdown, no pidfile, exit status 1`, async (t) => {
    const p = place(t)
    const { status, stderr } = await attached(p, { body: `${NOTE}\n  async action(signal) { ${action} }` })
    t.is(status, 1)
    t.regex(stderr, /sample: Error: broken#012 {4}at /)
    t.is(notes(p), 'shutdown\n')
    t.deepEqual(fs.readdirSync(p.run), [])
  })
}

const THROWS = `setTimeout(() => { throw new Error('broken') }, 1)`
const REJECTS = `setTimeout(() => Promise.reject(new Error('broken')), 1)`
/** Error reporters do this: they end the process, unless others listen, because those may want to go on. */
const REPORTER = `process.on('uncaughtException', (error) => {
  if (process.listeners('uncaughtException').length > 1) return
  this.note('reported')
  process.exit(9)
})`

/** What the program has, what it notes, and its exit status. */
const CATCHING = {
  'a listener of its own': [
    `process.on('uncaughtException', (error) => this.note(error.message)); ${THROWS}`,
    ['broken', 'alive', 'shutdown'],
    0,
  ],
  'a listener that is there for one': [
    `process.once('uncaughtException', (error) => this.note(error.message)); ${THROWS}; setTimeout(() => { throw new Error('again') }, 20)`,
    ['broken', 'shutdown'],
    1,
  ],
  'one that steps back where others listen': [`${REPORTER}\n${THROWS}`, ['reported'], 9],
  'one that steps back, and one that does not': [
    `${REPORTER}\nprocess.on('uncaughtException', (error) => this.note(error.message)); ${THROWS}`,
    ['broken', 'alive', 'shutdown'],
    0,
  ],
  'one that throws it again': [
    `process.on('uncaughtException', (error) => { throw error }); ${THROWS}`,
    [],
    7,
  ],
  'a monitor': [
    `process.on('uncaughtExceptionMonitor', (error) => this.note(error.message)); ${THROWS}`,
    ['broken', 'shutdown'],
    1,
  ],
  'a capture callback': [
    `process.setUncaughtExceptionCaptureCallback((error) => this.note(error.message)); ${THROWS}`,
    ['broken', 'alive', 'shutdown'],
    0,
  ],
  'a domain that handles errors': [
    `const { create } = (await import('node:domain')).default
    create().on('error', (error) => this.note(error.message)).run(() => { ${THROWS} })`,
    ['broken', 'alive', 'shutdown'],
    0,
  ],
  'a domain that handles none': [
    `const { create } = (await import('node:domain')).default
    create().run(() => { ${THROWS} })`,
    ['shutdown'],
    1,
  ],
  'a listener for exceptions, and a rejection': [
    `process.on('uncaughtException', (error) => this.note(error.message)); ${REJECTS}`,
    ['broken', 'alive', 'shutdown'],
    0,
  ],
  'a listener for rejections': [
    `process.on('unhandledRejection', (error) => this.note(error.message)); ${REJECTS}`,
    ['broken', 'alive', 'shutdown'],
    0,
  ],
  'a listener for rejections that was removed': [
    `const none = () => {}; process.on('unhandledRejection', none); process.off('unhandledRejection', none); ${REJECTS}`,
    ['shutdown'],
    1,
  ],
}

for (const [what, [action, expected, status]] of Object.entries(CATCHING)) {
  test(`an uncaught error is logged, once, and the end is the program's to decide, with ${what}`, async (t) => {
    const p = place(t)
    // When an error is thrown again, Node prints its own message.
    const options = `stderr: process.env.DIR + '/stderr'`
    const body = `${NOTE}
    async action(signal) {
      ${action}
      setTimeout(() => signal.aborted || this.note('alive'), 60)
    }`
    const ended = await attached(p, { options, body })
    const stderr = fs.readFileSync(`${p.dir}/stderr`, 'utf8')
    t.deepEqual(notes(p).split('\n').slice(0, -1), expected, stderr)
    t.is(ended.status, status, stderr)
    t.is(stderr.match(/^sample: .*Error: broken#012/gm)?.length, 1, stderr)
    t.deepEqual(fs.readdirSync(p.run), [])
  })
}

/** What is thrown, and how it is shown. */
const UNSHOWABLE = {
  'a stack that cannot be read': [
    `Object.defineProperty(new Error('broken'), 'stack', { get() { throw new Error('trap') } })`,
    'Error: broken',
  ],
  'a way of its own to be shown, which fails': [
    `Object.assign(new Error('broken'), { [Symbol.for('nodejs.util.inspect.custom')]() { throw new Error('trap') } })`,
    'Error: broken',
  ],
  'traps everywhere': [
    `new Proxy(new Error('broken'), new Proxy({}, { get() { throw new Error('trap') } }))`,
    'Error: broken',
  ],
  'nothing any more': [`revoked`, '<Revoked Proxy>'],
}

for (const [what, [thrown, shown]] of Object.entries(UNSHOWABLE)) {
  test(`an error with ${what} is logged as far as it can be, and ends the daemon as others do`, async (t) => {
    const before = 'const { proxy: revoked, revoke } = Proxy.revocable({}, {}); revoke()'
    for (const [where, body] of Object.entries({
      'an exception': `async action() { setTimeout(() => { throw ${thrown} }, 1); await sleep(10_000) }`,
      action: `async action() { throw ${thrown} }`,
      setup: `async setup() { throw ${thrown} }`,
    })) {
      const p = place(t)
      const { status, stderr } = await attached(p, { before, body: `${NOTE}\n${body}` })
      t.is(status, 1, where)
      t.true(stderr.includes(shown), `${where}: ${stderr}`)
      t.false(/trap|revoked that/.test(stderr), `${where}: ${stderr}`)
      t.is(notes(p), where === 'setup' ? '' : 'shutdown\n', where)
    }
    const p = place(t)
    const script = p.write('a.mjs', sample({ before, body: `async setup() { throw ${thrown} }` }))
    const { status, stderr } = await run(p, script)
    t.is(status, 1)
    t.true(stderr.includes(`The daemon 'sample' did not start: `) && stderr.includes(shown), stderr)
  })
}

for (const node of [process.execPath, bunPath].filter((path) => fs.existsSync(path))) {
  const on = node === bunPath ? 'Bun' : 'Node'
  test(`an action that calls exit when its signal aborts is not waited for, and the last line is logged, on ${on}`, async (t) => {
    const p = place(t)
    const before =
      "process.on('exit', () => fs.appendFileSync(process.env.DIR + '/notes', fs.readdirSync(process.env.RUN).sort() + '\\n'))"
    const body = `${NOTE}
    async action(signal) {
      this.note('acts')
      await once(signal, 'abort')
      await this.exit(3)
    }`
    const options = 'detach: false, stopTimeout: 20_000, syslogOptions: syslog.LOG_PERROR,'
    const last =
      "process.argv.includes('exit') && setTimeout(() => process.exit(4), 100)\nawait new Sample(options).start()"
    const script = p.write('a.mjs', sample({ before, body, options, last }))
    const daemon = command(p, node, [script])
    await until(() => notes(p) === 'acts\n', 'the action')
    process.kill(daemon.pid, 'SIGTERM')
    const { status, stderr } = await daemon
    t.is(status, 0)
    t.is(
      notes(p),
      'acts\nshutdown\n.sample.state,sample.pid\n',
      'the pidfile is there for as long as code runs',
    )
    t.regex(stderr, /^sample: Ended after .* with status 0: SIGTERM$/m)
    t.notRegex(stderr, /cut off/)
    const early = await command(p, node, [script, 'exit'])
    t.is(early.status, 4)
    t.regex(early.stderr, /^sample: Ended after .* with status 4: process\.exit\(\)$/m)
    t.deepEqual(fs.readdirSync(p.run), [])
  })
}

test('of two exceptions in one turn of the event loop each is logged once', async (t) => {
  const p = place(t)
  const body = `async action() {
    await sleep(1)
    setTimeout(() => {
      process.nextTick(() => { throw new Error('second') })
      throw new Error('first')
    })
    await sleep(10_000)
  }`
  const { status, stderr } = await attached(p, { body })
  t.is(status, 1)
  for (const which of ['first', 'second'])
    t.is(stderr.match(new RegExp(`Error: ${which}`, 'g'))?.length, 1, stderr)
})

test('nobody sees a listener of ours for uncaught exceptions, before, in the midst, and after', async (t) => {
  const p = place(t)
  const body = `${NOTE}
  async action() {
    const count = () => this.note(process.listenerCount('uncaughtException'))
    count()
    process.once('uncaughtException', count)
    ${THROWS}
    setTimeout(count, 40)
  }`
  t.is((await attached(p, { body })).status, 0)
  t.is(notes(p), '0\n0\n0\nshutdown\n')
})

test('a second error on the way out ends it at once', async (t) => {
  const p = place(t)
  const body = `async action() { throw new Error('first') }
  async shutdown() { setTimeout(() => { throw new Error('second') }, 1); await sleep(60_000) }`
  const { status, stderr } = await attached(p, { body })
  t.is(status, 1)
  t.regex(stderr, /Error: first/)
  t.regex(stderr, /Error: second/)
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('exit(code): the signal aborts, shutdown runs, the first code counts, and it never settles', async (t) => {
  const p = place(t)
  const body = `${NOTE}
  async action(signal) {
    signal.addEventListener('abort', () => this.note('abort'))
    void this.exit(4)
    await this.exit(5)
    this.note('settled')
  }
  async shutdown() { await sleep(20); this.note('shutdown'); void this.exit(6) }`
  t.is((await attached(p, { body })).status, 4)
  t.is(notes(p), 'abort\nshutdown\n')
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('an error of an action that was aborted is no failure', async (t) => {
  const p = place(t)
  const body = `${NOTE}
  async action(signal) { this.note('acts'); await sleep(60_000, undefined, { signal }) }`
  const daemon = attached(p, { body })
  await until(() => notes(p) === 'acts\n', 'the action')
  process.kill(daemon.pid, 'SIGTERM')
  const { status, stderr } = await daemon
  t.is(status, 0)
  t.notRegex(stderr, /AbortError/)
})

/** An action that works until it is asked to end. */
const TURNS = `try {
      for (let turn = 1; !signal.aborted; turn++) {
        if (turn === 1) this.note('acts')
        await sleep(20)
      }
      await sleep(50)
    } finally {
      await sleep(5)
      this.note('closed')
    }`
const TERM = `setTimeout(() => process.kill(process.pid, 'SIGTERM'), 20)`

/** Actions, how each of them ends, what it notes, and the exit status. */
const ACTIONS = {
  'takes the signal is waited for': [
    `async action(signal) { ${TERM}; ${TURNS} }`,
    ['acts', 'shutdown', 'closed'],
    0,
  ],
  'is a field and takes the signal is waited for': [
    `action = async (signal) => { ${TERM}; ${TURNS} }`,
    ['acts', 'shutdown', 'closed'],
    0,
  ],
  'takes no signal is not waited for': [
    `async action() { ${TERM}; this.note('acts'); await new Promise(() => {}) }`,
    ['acts', 'shutdown'],
    0,
  ],
  'takes what it gets by default is not waited for': [
    `async action(signal = undefined) { ${TERM}; this.note('acts'); await new Promise(() => {}) }`,
    ['acts', 'shutdown'],
    0,
  ],
  'waits for what shutdown does is waited for': [
    `async action(signal) { ${TERM}; await new Promise((resolve) => { this.shutdown = async () => { await sleep(20); this.note('shutdown'); resolve() } }); this.note('closed') }`,
    ['shutdown', 'closed'],
    0,
  ],
  'fails on the way out is logged': [
    `async action(signal) { ${TERM}; await once(signal, 'abort'); await sleep(20); throw new Error('too late') }`,
    ['shutdown'],
    1,
    /sample: Error: too late/,
  ],
  'throws the reason of the abort has done its work': [
    `async action(signal) { ${TERM}; while (true) { await sleep(5); signal.throwIfAborted() } }`,
    ['shutdown'],
    0,
  ],
  'calls exit itself is not waited for': [
    `async action(signal) { await sleep(5); await this.exit(3) }`,
    ['shutdown'],
    3,
  ],
  'calls exit deep down is not waited for': [
    `async action(signal) {
      const deep = async () => { await sleep(5); await Promise.all([sleep(60_000), sleep(5).then(() => this.exit(3))]) }
      for (;;) await deep()
    }`,
    ['shutdown'],
    3,
  ],
  'calls exit when it was told to end is not waited for': [
    `async action(signal) { ${TERM}; await once(signal, 'abort'); await sleep(20); await this.exit(3) }`,
    ['shutdown'],
    0,
  ],
  'did not call exit is waited for when something else does': [
    `async action(signal) { setTimeout(() => this.exit(3), 20); ${TURNS} }`,
    ['acts', 'shutdown', 'closed'],
    3,
  ],
  'did not call exit is waited for when onSignal does': [
    `async onSignal() { await this.exit(3) }
    async action(signal) { ${TERM}; ${TURNS} }`,
    ['acts', 'shutdown', 'closed'],
    3,
  ],
}
for (const [what, [body, expected, status, says = /(?:)/]] of Object.entries(ACTIONS)) {
  test(`on the way out an action that ${what}`, async (t) => {
    const p = place(t)
    // A wait for something that never comes would take longer than the test may.
    const options = 'stopTimeout: 100_000'
    const ended = await attached(p, { options, body: `${NOTE}\n${body}` })
    t.deepEqual(notes(p).split('\n').slice(0, -1), expected, ended.stderr)
    t.is(ended.status, status, ended.stderr)
    t.regex(ended.stderr, says)
    t.notRegex(ended.stderr, /cut off/)
  })
}

for (const [what, shutdown, says] of [
  ['an action', '', /action was cut off after 200 ms/],
  [
    'an action and a shutdown',
    'async shutdown() { await sleep(100_000) }',
    /action and shutdown were cut off after 200 ms/,
  ],
]) {
  test(`${what} that takes longer than stopTimeout is named in the log, and the status is 1`, async (t) => {
    const p = place(t)
    const body = `async action(signal) { ${TERM}; await sleep(100_000) }\n${shutdown}`
    const { status, stderr } = await attached(p, { options: 'stopTimeout: 200', body })
    t.is(status, 1)
    t.regex(stderr, says)
  })
}

/** Programs without a class: the call, and what is noted. */
const FUNCTIONS = {
  'daemonize(), whose action takes the signal': [
    `await daemonize(async (signal) => { ${TERM}; await once(signal, 'abort'); await sleep(20); note('closed') }, { ...options, shutdown: (daemon) => note('shutdown of ' + daemon.name) })`,
    'shutdown of sample\nclosed\n',
  ],
  'daemonize(), whose action does not': [
    `await daemonize(async () => { ${TERM}; await sleep(100_000) }, { ...options, shutdown: () => note('shutdown') })`,
    'shutdown\n',
  ],
  'serviced(), whose program takes the signal': [
    `process.argv[2] = 'run'; await serviced({ ...options, privilegedAction: () => 'value', program: async (value, signal) => { ${TERM}; await once(signal, 'abort'); await sleep(20); note('closed') }, shutdown: (value, daemon) => note('shutdown of ' + value + ' ' + daemon.name) })`,
    'shutdown of value sample\nclosed\n',
  ],
  'serviced(), whose program does not': [
    `process.argv[2] = 'run'; await serviced({ ...options, program: async (value) => { ${TERM}; await sleep(100_000) }, shutdown: () => note('shutdown') })`,
    'shutdown\n',
  ],
}
for (const [what, [last, expected]] of Object.entries(FUNCTIONS)) {
  test(`the way out of ${what}`, async (t) => {
    const p = place(t)
    const before = `import { daemonize, serviced } from '${library}'
    const note = (what) => fs.appendFileSync(process.env.DIR + '/notes', what + '\\n')`
    const { status, stderr } = await attached(p, { before, last, options: 'stopTimeout: 100_000' })
    t.is(status, 0, stderr)
    t.is(notes(p), expected)
  })
}

test('process.exit() of the program sends the last messages and removes the pidfile; shutdown is not called', async (t) => {
  const p = place(t)
  const body = `${NOTE}
  async action() { syslog.syslog('last words'); process.exit(7) }`
  const { status, stderr } = await attached(p, { body })
  t.is(status, 7)
  t.regex(stderr, /sample: last words/)
  t.is(notes(p), '')
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('exitNow(code) removes the pidfile, and does nothing else', async (t) => {
  const p = place(t)
  const body = `${NOTE}
  async action() { process.on('exit', () => this.note('exit')); this.exitNow(9) }`
  t.is((await attached(p, { body })).status, 9)
  t.is(notes(p), '')
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('process.exitCode is the status of a daemon whose event loop is empty', async (t) => {
  const p = place(t)
  t.is((await attached(p, { body: `async action() { process.exitCode = 3 }` })).status, 3)
})

test('a shutdown that throws is logged, and the status is 1', async (t) => {
  const p = place(t)
  const body = `async action() { await this.exit(0) }
  async shutdown() { throw new Error('cannot save') }`
  const { status, stderr } = await attached(p, { body })
  t.is(status, 1)
  t.regex(stderr, /Error: cannot save/)
})

test('exit() in setup ends the start, awaited or not, and the launcher says so', async (t) => {
  for (const how of ['await', 'void']) {
    const p = place(t)
    const body = `${NOTE}\n  async setup() { ${how} this.exit(5) }\n  async action() { this.note('acts') }`
    const { status, stderr } = await run(p, p.write('a.mjs', sample({ body })))
    t.is(status, 1)
    t.regex(stderr, /The daemon called exit\(5\) while it was starting/)
    t.is((await attached(p, { body })).status, 5)
    t.is(notes(p), '', 'neither action nor shutdown, since it was not set up')
    t.deepEqual(fs.readdirSync(p.run), [])
  }
})

test('attached, SIGTERM in setup ends it with status 0, and the action is not begun', async (t) => {
  const p = place(t)
  const body = `${NOTE}
  async setup() { this.note('setup'); process.once('SIGTERM', () => { this.go = true }); while (!this.go) await sleep(1) }
  async action() { this.note('acts') }`
  const daemon = attached(p, { body })
  await until(() => notes(p) === 'setup\n', 'the setup')
  process.kill(daemon.pid, 'SIGTERM')
  t.is((await daemon).status, 0)
  t.is(notes(p), 'setup\n')
})

test('what ends a daemon goes to its log file as well', async (t) => {
  const p = place(t)
  const body = `async action() { throw new Error('broken') }`
  const script = p.write('a.mjs', sample({ body, options: "stderr: process.env.DIR + '/log'" }))
  t.is((await run(p, script)).status, 0)
  const log = () => fs.readFileSync(`${p.dir}/log`, 'utf8')
  await until(() => log().includes('\n'), 'the stack')
  t.regex(log(), /^Error: broken\n {4}at /)
})

test('a daemon without an action is refused, in the words of the mistake', async (t) => {
  const p = place(t)
  const last = `await new Daemon(options).start()`
  const { status, stderr } = await run(p, p.write('a.mjs', sample({ last })))
  t.is(status, 1)
  t.regex(stderr, /The Daemon 'sample' has no action: override `action`/)
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('what its setup started goes on in the daemon: timers, servers, children', async (t) => {
  const p = place(t)
  const body = `${NOTE}
  async setup() { this.timer = setInterval(() => this.note('tick'), 10) }
  async action() {}`
  const script = p.write('a.mjs', sample({ body }))
  t.is((await run(p, script)).status, 0)
  const pid = pidIn(p)
  await until(() => notes(p).split('tick').length > 3, 'ticks')
  t.true(isAlive(pid))
  process.kill(pid, 'SIGTERM')
  await until(() => !isAlive(pid), 'its end')
  t.true(notes(p).includes('shutdown\n'))
})
