// stop, restart, kill and status: what they do and what they say.

import fs from 'node:fs'
import {
  asRoot,
  cli,
  daemonAt,
  isAlive,
  NOBODY,
  pidIn,
  place,
  proc,
  processesOf,
  run,
  sample,
  test,
  until,
  userName,
} from './kit.mjs'

/** Starts the daemon of a program, from the test's own process. */
async function start(p, source, more = {}) {
  const script = p.write('a.mjs', source)
  const daemon = daemonAt(p, { script, args: ['start'], ...more })
  return { daemon, script, ...(await daemon.start()) }
}

const STOPPED = { state: 'stopped', stalePidFile: false }

test('stop waits for the end, without holding up the event loop, and tells pid and signal', async (t) => {
  const p = place(t)
  const body = `async shutdown() {
    while (!fs.existsSync(process.env.DIR + '/end')) await sleep(10)
  }`
  const { daemon, pid } = await start(p, sample({ body }))
  let done = false
  let ticks = 0
  const ticking = setInterval(() => ticks++, 5)
  const stopping = Promise.all([daemon.stop(), daemon.stop()])
  stopping.finally(() => {
    done = true
  })
  await until(() => ticks > 20)
  clearInterval(ticking)
  t.false(done)
  t.true(isAlive(pid))
  p.write('end', '')
  t.deepEqual(await stopping, [
    { pid, signal: 'SIGTERM' },
    { pid, signal: 'SIGTERM' },
  ])
  t.false(isAlive(pid))
  t.deepEqual(fs.readdirSync(p.run), [])
  t.is(await daemon.stop(), null)
  t.deepEqual(await daemon.status(), STOPPED)
})

test('one second after stopTimeout stop kills: a daemon that swallows SIGTERM, and one that is stopped', async (t) => {
  const stopTimeout = 300
  const attempts = ['swallows', 'is stopped'].map(async (what) => {
    const p = place(t)
    const body = what === 'swallows' ? 'onSignal() {}' : ''
    const { daemon, pid } = await start(p, sample({ body }), { stopTimeout })
    if (what === 'is stopped') {
      process.kill(pid, 'SIGSTOP')
      await until(() => proc(pid).state === 'T')
    }
    const begun = performance.now()
    t.deepEqual(await daemon.stop(), { pid, signal: 'SIGKILL' }, what)
    t.true(performance.now() - begun >= stopTimeout + 1000, what)
    t.false(isAlive(pid), what)
    t.deepEqual(fs.readdirSync(p.run), [], what)
  })
  await Promise.all(attempts)
})

test('restart ends the one that runs and starts another; where none runs, it starts one', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', sample())
  const daemon = daemonAt(p, { script })
  const first = await daemon.restart()
  t.true(isAlive(first.pid))
  const second = await daemon.restart()
  t.not(second.pid, first.pid)
  t.is(second.pid, pidIn(p))
  t.deepEqual(processesOf(p), [second.pid])
})

test('kill sends any signal by its name, to the daemon', async (t) => {
  const p = place(t)
  const names = [
    ...['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGPIPE', 'SIGALRM', 'SIGTERM', 'SIGCHLD'],
    ...['SIGCONT', 'SIGTSTP', 'SIGTTIN', 'SIGTTOU', 'SIGURG', 'SIGXCPU', 'SIGXFSZ', 'SIGWINCH', 'SIGIO'],
    'SIGPWR',
  ]
  const body = `onSignal() {}
  setup() {
    for (const name of ${JSON.stringify(names)}) {
      process.on(name, () => fs.appendFileSync(process.env.DIR + '/got', name + '\\n'))
    }
  }`
  const { daemon, pid } = await start(p, sample({ body }))
  for (const [i, name] of names.entries()) {
    t.is(await daemon.kill(name), undefined)
    await until(() => fs.existsSync(`${p.dir}/got`))
    const got = () => fs.readFileSync(`${p.dir}/got`, 'utf8')
    await until(() => got().split('\n').length > i + 1, name)
    t.is(
      got(),
      names
        .slice(0, i + 1)
        .map((n) => `${n}\n`)
        .join(''),
    )
  }
  await daemon.kill('SIGSTOP')
  await until(() => proc(pid).state === 'T')
  await daemon.kill('SIGCONT')
  await until(() => proc(pid).state !== 'T')
  await daemon.kill('SIGKILL')
  await until(() => !isAlive(pid))
  const none = await t.throwsAsync(daemon.kill('SIGHUP'), { code: 'ERR_DAEMON_NOT_RUNNING' })
  t.is(none.name, 'DaemonError')
  t.is(none.message, `The daemon 'sample' is not running (looked for ${p.pidFile()})`)
  t.is(none.path, p.pidFile())
})

test('kill refuses what is no signal', async (t) => {
  const p = place(t)
  const daemon = daemonAt(p)
  for (const [code, signals] of Object.entries({
    ERR_INVALID_ARG_VALUE: ['SIGFOO', 'sigterm', 'TERM', '', 'toString', '__proto__'],
    ERR_INVALID_ARG_TYPE: [15, 0, null, undefined, {}, Symbol('SIGTERM'), ['SIGTERM']],
  })) {
    for (const signal of signals) {
      const error = await t.throwsAsync(daemon.kill(signal), { code, instanceOf: TypeError })
      t.regex(error.message, /^`signal` must be a name such as 'SIGHUP'; got /)
    }
  }
})

test('status tells pid, start, user and memory of the one that runs', async (t) => {
  const p = place(t)
  const before = Date.now()
  const { daemon, pid } = await start(p, sample())
  const after = Date.now()
  const status = await daemon.status()
  t.deepEqual(Object.keys(status), ['state', 'pid', 'startedAt', 'user', 'rss'])
  t.is(status.state, 'running')
  t.is(status.pid, pid)
  t.is(status.user, userName)
  t.true(status.startedAt instanceof Date)
  // The kernel counts in ticks of a hundredth of a second; the two clocks may be set in between.
  t.true(status.startedAt >= before - 100 && status.startedAt <= after + 100)
  t.deepEqual((await daemon.status()).startedAt, status.startedAt)
  const rss = Number.parseInt(proc(pid).status.VmRSS, 10) * 1024
  t.true(status.rss > rss / 2 && status.rss < rss * 2)
})

test('without a pidfile directory none runs: stop and status say so, a start names what is missing', async (t) => {
  const p = place(t)
  const missing = `${p.run}/missing`
  const daemon = daemonAt(p, { pidFilePath: missing, script: p.write('a.mjs', sample()) })
  t.is(await daemon.stop(), null)
  t.deepEqual(await daemon.status(), STOPPED)
  await t.throwsAsync(daemon.kill('SIGTERM'), { code: 'ERR_DAEMON_NOT_RUNNING' })
  for (const call of ['start', 'ensure', 'restart']) {
    const error = await t.throwsAsync(daemon[call](), { code: 'ERR_DAEMON_PIDFILE' })
    t.like(error, { errno: -2, syscall: 'stat', path: missing })
    t.true(error.message.includes(missing))
  }
  t.false(fs.existsSync(missing))
})

test('with `pidFilePath: null` a daemon cannot be found: stop, status, kill and restart say so', async (t) => {
  const p = place(t)
  const { daemon, pid } = await start(p, sample({ options: 'pidFilePath: null' }), { pidFilePath: null })
  t.is(daemon.pidFile, null)
  t.true(isAlive(pid))
  for (const call of ['stop', 'status', 'kill', 'restart']) {
    const error = await t.throwsAsync(daemon[call]('SIGHUP'), { code: 'ERR_DAEMON_PIDFILE' })
    t.regex(error.message, /'sample' keeps no pidfile \(`pidFilePath: null`\)/)
  }
  // And nothing guarantees a single instance.
  const second = await daemon.ensure()
  t.true(second.started)
  t.deepEqual(processesOf(p).sort(), [pid, second.pid].sort())
  t.deepEqual(fs.readdirSync(p.run), [])
})

asRoot("any user may ask for the status of root's daemon, and only that", async (t) => {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  const body = `onSignal(signal) { fs.appendFileSync(process.env.DIR + '/got', signal + '\\n') }`
  const { script, pid } = await start(p, cli({ body }))
  const status = await run(p, script, ['status', '--json'], NOBODY)
  t.is(status.status, 0, status.stderr)
  t.like(JSON.parse(status.stdout), { state: 'running', pid, user: 'root' })
  for (const verb of ['stop', 'reload', 'restart']) {
    const refused = await run(p, script, [verb], NOBODY)
    t.is(refused.status, 4, refused.stderr)
    t.regex(refused.stderr, new RegExp(`^sample: Cannot see whether .*\\(pid ${pid}\\).* Nothing was sent`))
  }
  const code = `import(process.argv[1]).then(({ Daemon }) =>
    new Daemon({ name: 'sample', pidFilePath: process.env.RUN }).stop().catch((error) => console.log(JSON.stringify(error))))`
  const { stdout } = await run(p, '-e', [code, new URL('../dist/index.js', import.meta.url).href], NOBODY)
  t.like(JSON.parse(stdout), { code: 'ERR_DAEMON_STOP_FAILED', errno: -13, pid, path: p.pidFile() })
  // This signal comes after any other that was sent before.
  process.kill(pid, 'SIGUSR2')
  await until(() => fs.existsSync(`${p.dir}/got`))
  t.is(fs.readFileSync(`${p.dir}/got`, 'utf8'), 'SIGUSR2\n')
})

asRoot('a daemon that dropped its privileges is found by all, and stopped by root alone', async (t) => {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  const { daemon, script, pid } = await start(p, cli({ options: "user: 'nobody'" }))
  for (const as of [{}, NOBODY, { uid: 1, gid: 1 }]) {
    const { status, stdout, stderr } = await run(p, script, ['status', '--json'], as)
    t.is(status, 0, stderr)
    t.like(JSON.parse(stdout), { state: 'running', pid, user: 'nobody' })
  }
  // Nobody but root may read the descriptors of a process that was root, not even its own user.
  t.is((await run(p, script, ['stop'], NOBODY)).status, 4)
  t.true(isAlive(pid))
  t.deepEqual(await daemon.stop(), { pid, signal: 'SIGTERM' })
  t.deepEqual(fs.readdirSync(p.run), [])
})

asRoot("a user's own daemon is found, stopped and started by that user, and stopped by root", async (t) => {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  fs.chownSync(p.run, NOBODY.uid, NOBODY.gid)
  const script = p.write('a.mjs', cli())
  for (const who of [NOBODY, {}]) {
    const started = await run(p, script, ['start'], NOBODY)
    t.is(started.status, 0, started.stderr)
    const pid = pidIn(p)
    for (const as of [NOBODY, {}, { uid: 1, gid: 1 }]) {
      const { status, stdout } = await run(p, script, ['status', '--json'], as)
      t.is(status, 0)
      t.like(JSON.parse(stdout), { state: 'running', pid, user: 'nobody' })
    }
    t.is((await run(p, script, ['stop'], { uid: 1, gid: 1 })).status, 4)
    t.is((await run(p, script, ['stop'], who)).status, 0)
    t.false(isAlive(pid))
    t.deepEqual(fs.readdirSync(p.run), [])
  }
})

test('SIGTERM in the very moment in which the start is told as done goes the own way out of the daemon', async (t) => {
  const p = place(t)
  const body = `async onSignal(signal) { fs.appendFileSync(process.env.DIR + '/said', signal + ' '); await super.onSignal(signal) }
  shutdown() { fs.appendFileSync(process.env.DIR + '/said', 'bye ') }`
  for (let round = 1; round <= 4; round++) {
    const { pid } = await start(p, sample({ body }))
    process.kill(pid, 'SIGTERM')
    await until(() => !isAlive(pid))
    t.is(fs.readFileSync(`${p.dir}/said`, 'utf8'), 'SIGTERM bye '.repeat(round))
  }
})
