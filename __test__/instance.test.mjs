// One instance: however many starts there are at once, one daemon runs, and every caller is told the truth about it.

import fs from 'node:fs'
import { nodeOf } from '../scripts/nodes.mjs'
import {
  cli,
  command,
  daemonAt,
  descriptors,
  environmentOf,
  isAlive,
  isRoot,
  NOBODY,
  pidIn,
  place,
  proc,
  processesOf,
  run,
  sample,
  sleep,
  test,
  until,
} from './kit.mjs'
import { lock, RUNNING, STARTING } from './locks.mjs'
import { faults, runWithFaults, withStrace } from './strace.mjs'

/** Waits until the test makes a file, and tells the test before that it waits. */
const gate = `
async function gate(name) {
  fs.writeFileSync(process.env.DIR + '/waiting-' + name, '')
  while (!fs.existsSync(process.env.DIR + '/open-' + name)) await sleep(5)
}`
const open = (p, name) => fs.writeFileSync(`${p.dir}/open-${name}`, '')
const waits = (p, name) => until(() => fs.existsSync(`${p.dir}/waiting-${name}`), `the gate ${name}`)

/** Runs a program many times; all of them wait at a gate until the last has come. */
async function together(p, count, script, args = []) {
  const runs = []
  for (let i = 0; i < count; i++) {
    runs.push(run(p, script, args, { env: { TURN: i } }))
    // Only a few boot at a time, to spare the machine. All have booted when the gate opens.
    await until(() => waiting(p) > i - 4, 'the programs to boot')
  }
  await until(() => waiting(p) === count, 'the programs to boot')
  open(p, 'all')
  return Promise.all(runs)
}
const waiting = (p) => fs.readdirSync(p.dir).filter((name) => name.startsWith('turn-')).length
const takeTurn = `
if (!isDaemon) {
  fs.writeFileSync(process.env.DIR + '/turn-' + process.env.TURN, '')
  while (!fs.existsSync(process.env.DIR + '/open-all')) await sleep(10)
}`

for (const [count, left, content] of [
  [100, 'no file', undefined],
  [20, 'a stale file', '999999\n'],
]) {
  test(`of ${count} concurrent starts over ${left} one starts; the others exit with 1 and name its pid`, async (t) => {
    t.timeout(200_000)
    const p = place(t)
    t.timeout(200_000)
    if (content !== undefined) fs.writeFileSync(p.pidFile(), content)
    const script = p.write('a.mjs', cli({ before: takeTurn }))
    const ended = await together(p, count, script, ['start'])
    const pid = pidIn(p)
    const losers = ended.filter(({ status }) => status !== 0)
    t.is(losers.length, count - 1)
    for (const { status, stderr } of losers) {
      t.is(status, 1)
      const [, named] =
        /^sample: The daemon 'sample' is already (?:running, with pid (\d+)|starting)\n$/.exec(stderr) ??
        t.fail(stderr)
      if (named !== undefined) t.is(Number(named), pid)
    }
    t.deepEqual(processesOf(p), [pid])
    t.is((await daemonAt(p).stop()).pid, pid)
    t.deepEqual(fs.readdirSync(p.run), [])
  })
}

test('100 concurrent ensure(), in several processes and many in each, give one daemon and one pid', async (t) => {
  const p = place(t)
  const server = p.write('server.mjs', sample())
  const script = p.write(
    'client.mjs',
    sample({
      before: takeTurn,
      last: `const client = new Daemon({ ...options, script: '${server}' })
      const all = await Promise.all(Array.from({ length: 10 }, () => client.ensure()))
      console.log(JSON.stringify(all))`,
    }),
  )
  const ended = await together(p, 10, script)
  t.deepEqual(
    ended.map(({ status, stderr }) => [status, stderr]),
    Array(10).fill([0, '']),
  )
  const results = ended.flatMap(({ stdout }) => JSON.parse(stdout))
  t.is(results.length, 100)
  t.deepEqual(new Set(results.map(({ pid }) => pid)), new Set([pidIn(p)]))
  t.is(results.filter(({ started }) => started).length, 1)
  t.deepEqual(processesOf(p), [pidIn(p)])
})

test('while another starts it: status says "starting", a start loses, and ensure() waits until it is ready', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', cli({ before: gate, body: `setup() { return gate('setup') }` }))
  const start = run(p, script, ['start'])
  await waits(p, 'setup')

  t.deepEqual(await daemonAt(p).status(), { state: 'starting' })
  const status = await run(p, script, ['status', '--json'])
  t.deepEqual([status.status, JSON.parse(status.stdout)], [3, { state: 'starting' }])
  t.is((await run(p, script, ['status'])).stdout, 'sample is starting\n')

  const pid = pidIn(p)
  const lost = await t.throwsAsync(daemonAt(p, { script }).start(), { code: 'ERR_DAEMON_ALREADY_RUNNING' })
  t.is(lost.pid, pid)
  await t.throwsAsync(daemonAt(p).kill('SIGHUP'), { code: 'ERR_DAEMON_NOT_RUNNING' })
  const late = await t.throwsAsync(daemonAt(p, { script, startTimeout: 100 }).ensure(), {
    code: 'ERR_DAEMON_START_TIMEOUT',
  })
  t.regex(late.message, /another process is starting.*100 ms/)

  let done = false
  let ticks = 0
  const ticking = setInterval(() => ticks++, 5)
  const ensured = daemonAt(p, { script }).ensure()
  ensured.finally(() => {
    done = true
  })
  // The event loop is free while it waits.
  await until(() => ticks > 20)
  clearInterval(ticking)
  t.false(done)
  open(p, 'setup')
  t.deepEqual(await ensured, { pid, started: false, stdout: '', stderr: '' })
  t.is((await start).status, 0)
  t.is((await daemonAt(p).status()).pid, pid)
})

test("where another's start fails, ensure() starts its own", async (t) => {
  const p = place(t)
  const body = `async setup() {
    if (fs.existsSync(process.env.DIR + '/waiting-setup')) return
    await gate('setup')
    throw new Error('the first one fails')
  }`
  const script = p.write('a.mjs', sample({ before: gate, body }))
  const start = run(p, script)
  await waits(p, 'setup')
  const first = pidIn(p)
  const ensured = daemonAt(p, { script }).ensure()
  open(p, 'setup')
  const failed = await start
  t.is(failed.status, 1)
  t.regex(failed.stderr, /the first one fails/)
  const { pid, started } = await ensured
  t.true(started)
  t.not(pid, first)
  t.deepEqual(processesOf(p), [pid])
  t.deepEqual(await daemonAt(p, { script }).ensure(), { pid, started: false, stdout: '', stderr: '' })
})

test('ensure() prints nothing of what the server prints, and gives it: once, to who started it', async (t) => {
  const p = place(t)
  // The line about a missing logger comes from the package, so it is not in the server's output.
  const says = `setup() {
    syslog.openlog('sample', 0, syslog.LOG_DAEMON, { type: 'local', path: process.env.DIR + '/missing' })
    console.log('listening'); console.error('a warning'); process.stdout.write(Buffer.from('sch\\u00f6n'))
  }`
  const server = p.write('server.mjs', sample({ body: says }))
  const last = `const client = new Daemon({ name: 'sample', pidFilePath: process.env.RUN, script: ${JSON.stringify(server)} })
    const told = [await client.ensure(), await client.ensure()]
    fs.writeFileSync(process.env.DIR + '/told', JSON.stringify(told))`
  const { status, stdout, stderr } = await run(p, p.write('client.mjs', sample({ last })))
  t.deepEqual([status, stdout, stderr], [0, '', ''])
  const pid = pidIn(p)
  t.deepEqual(JSON.parse(fs.readFileSync(`${p.dir}/told`, 'utf8')), [
    { pid, started: true, stdout: 'listening\nschön', stderr: 'a warning\n' },
    { pid, started: false, stdout: '', stderr: '' },
  ])
})

test('ensure() detaches, whatever environment the client was called from', async (t) => {
  const p = place(t)
  fs.symlinkSync('/bin/sh', `${p.dir}/runsv`)
  const last = `const { pid, started } = await new Sample(options).ensure()
  console.log(pid, started)`
  const script = p.write('a.mjs', sample({ last }))
  const { status, stdout, stderr } = await command(p, `${p.dir}/runsv`, [
    '-c',
    `SYSTEMD_EXEC_PID=$$ ${process.execPath} ${script}; exit $?`,
  ])
  t.is(status, 0, stderr)
  const pid = pidIn(p)
  t.is(stdout, `${pid} true\n`)
  t.is(proc(pid).ppid, 1)
  t.false(environmentOf(pid).includes('SYSTEMD_EXEC_PID'))
})

test('stop ends a start that is under way, and its launcher says so', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', cli({ before: gate, body: `setup() { return gate('setup') }` }))
  const start = run(p, script, ['start'])
  await waits(p, 'setup')
  const pid = pidIn(p)
  t.deepEqual(await daemonAt(p).stop(), { pid, signal: 'SIGTERM' })
  t.false(isAlive(pid))
  t.deepEqual(fs.readdirSync(p.run), [])
  const { status, stderr } = await start
  t.is(status, 1)
  t.regex(stderr, /^sample: The daemon 'sample' did not start: .*SIGTERM/)
  t.deepEqual(processesOf(p), [])
})

test('a stop at any moment of a start ends it, or comes too early; nothing is left in between', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', sample())
  for (let round = 0; round < 8; round++) {
    const start = daemonAt(p, { script })
      .start()
      .catch((error) => error)
    await sleep(round * 20)
    const stopped = await until(() => daemonAt(p).stop())
    t.is(stopped.signal, 'SIGTERM')
    const started = await start
    if (started instanceof Error) {
      t.is(started.code, 'ERR_DAEMON_START_FAILED')
      t.regex(started.message, /SIGTERM/)
    } else {
      t.is(started.pid, stopped.pid)
    }
    t.deepEqual(processesOf(p), [])
    t.deepEqual(fs.readdirSync(p.run), [])
  }
})

/** Does something over and over, `at` times in parallel, until the returned function is called. */
function hammer(at, work) {
  let done = false
  const results = []
  const loop = async () => {
    while (!done) {
      results.push(await work())
      await new Promise(setImmediate)
    }
  }
  const loops = Array.from({ length: at }, loop)
  return async () => {
    done = true
    await Promise.all(loops)
    return results
  }
}

test("questions and starts that lose, in a loop, never make another's start fail", async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', sample())
  const tryToStart = async () => {
    try {
      return (await daemonAt(p, { script }).start()).pid
    } catch (error) {
      if (error.code !== 'ERR_DAEMON_ALREADY_RUNNING') throw error
    }
  }
  for (let round = 0; round < 5; round++) {
    fs.writeFileSync(p.pidFile(), '999999\n')
    const looks = hammer(4, () => daemonAt(p).status())
    const rivals = hammer(4, tryToStart)
    await until(async () => (await daemonAt(p).status()).state === 'running')
    const winners = (await rivals()).filter((pid) => pid !== undefined)
    t.deepEqual(winners, [pidIn(p)])
    await looks()
    t.deepEqual(processesOf(p), winners)
    t.deepEqual(await daemonAt(p).stop(), { pid: winners[0], signal: 'SIGTERM' })
  }
})

test('stops in a loop end every start that they find, and disturb none that they do not find', async (t) => {
  const p = place(t)
  const server = p.write('server.mjs', sample())
  const last = `const daemon = new Daemon({ ...options, script: '${server}' })
  let begun = 0
  const pids = new Set()
  const stops = [1, 2, 3].map(async () => {
    while (begun < 20) {
      const stopped = await daemon.stop()
      if (stopped) pids.add(stopped.pid)
    }
  })
  const failures = []
  while (begun < 20) {
    const failure = await daemon.start().then(() => undefined, ({ code, message }) => code + message)
    while ((await daemon.status()).state !== 'stopped') await sleep(1)
    if (failure) failures.push(failure)
    begun++
  }
  await Promise.all(stops)
  console.log(JSON.stringify({ pids: pids.size, failures }))`
  // If possible it runs as an ordinary user, who cannot always read what /proc says of a process that ends.
  const nobody = isRoot ? NOBODY : {}
  if (isRoot) {
    fs.chmodSync(p.dir, 0o755)
    fs.chownSync(p.run, nobody.uid, nobody.gid)
  }
  const { status, stdout, stderr } = await run(p, p.write('a.mjs', sample({ last })), [], nobody)
  t.is(status, 0, stderr)
  const { pids, failures } = JSON.parse(stdout)
  t.is(pids, 20)
  for (const failure of failures) t.regex(failure, /^ERR_DAEMON_START_FAILED.*SIGTERM/)
  t.deepEqual(processesOf(p), [])
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('a start that loses names no pid of the daemon before', async (t) => {
  const p = place(t)
  // The file looks like this from when the other start has the lock until it has emptied the file.
  fs.writeFileSync(p.pidFile(), `${process.pid}\n`)
  await lock(t, p.pidFile(), { write: true, flock: true, ranges: STARTING })
  const script = p.write('a.mjs', cli())
  const { status, stderr } = await run(p, script, ['start'])
  t.is(status, 1)
  t.is(stderr, "sample: The daemon 'sample' is already starting\n")
})

test('a start whose file is removed puts it back when it is ready, and loses to another that has come', async (t) => {
  const p = place(t)
  const body = 'setup() { if (process.argv[2]) return gate(process.argv[2]) }'
  const script = p.write('a.mjs', sample({ before: gate, body }))
  for (const [name, rival] of [
    ['alone', false],
    ['rivalled', true],
  ]) {
    const start = run(p, script, [name])
    await waits(p, name)
    fs.unlinkSync(p.pidFile())
    t.is((await daemonAt(p).status()).state, 'stopped')
    if (rival) t.is((await run(p, script)).status, 0)
    open(p, name)
    const { status, stderr } = await start
    t.is(status, rival ? 1 : 0, stderr)
    if (rival) t.regex(stderr, /another one took its pidfile meanwhile/)
    await until(() => fs.existsSync(p.pidFile()) && fs.readFileSync(p.pidFile(), 'utf8') !== '')
    const pid = pidIn(p)
    t.deepEqual(processesOf(p), [pid])
    t.deepEqual(await daemonAt(p).stop(), { pid, signal: 'SIGTERM' })
  }
})

test('a start whose file is gone when it is ready waits for the daemon that may put its own back', async (t) => {
  const p = place(t)
  const body = 'setup() { if (process.argv[2]) return gate(process.argv[2]) }'
  const script = p.write('a.mjs', sample({ before: gate, body }))
  t.is((await run(p, script)).status, 0)
  const pid = pidIn(p)
  // It is stopped, so it cannot put its file back, and another start finds none.
  process.kill(pid, 'SIGSTOP')
  const threads = fs.readdirSync(`/proc/${pid}/task`)
  await until(() => threads.every((tid) => proc(tid).state === 'T'), 'all threads to stop')
  fs.unlinkSync(p.pidFile())
  const start = run(p, script, ['second'])
  await waits(p, 'second')
  const second = pidIn(p)
  fs.unlinkSync(p.pidFile())
  open(p, 'second')
  await until(() => proc(second)?.ppid === 1, 'the end of its guardian')
  process.kill(pid, 'SIGCONT')
  const { status, stderr } = await start
  t.is(status, 1)
  t.regex(stderr, /another one took its pidfile meanwhile/)
  t.is(pidIn(p), pid)
  t.deepEqual(processesOf(p), [pid])
})

// A process that ends frees its memory before it releases its locks.
const weighty = `const weight = Buffer.alloc(256 << 20, 1)`
const NODES = [process.execPath, nodeOf('24'), nodeOf('26')].filter((node) => fs.existsSync(node))
for (const node of NODES) {
  const [, line = 'this Node'] = /nodes.(\d+)/.exec(node) ?? []
  test(`a start right after the kill of a daemon waits for its end (${line})`, async (t) => {
    const p = place(t)
    const server = p.write('server.mjs', sample({ body: `setup() { ${weighty}; this.weight = weight }` }))
    const last = `const daemon = new Daemon({ ...options, script: '${server}' })
    const told = []
    for (const method of ['start', 'ensure', 'start']) {
      const { pid } = await daemon.start()
      let ticks = 0
      const ticking = setInterval(() => ticks++, 1)
      process.kill(pid, 'SIGKILL')
      const second = await daemon[method]().catch(({ message }) => message)
      clearInterval(ticking)
      told.push([second.pid > 0 && second.pid !== pid ? 'started' : second, ticks > 5])
      await daemon.stop()
    }
    console.log(JSON.stringify(told))`
    const { status, stdout, stderr } = await command(p, node, [p.write('a.mjs', sample({ last }))])
    t.is(status, 0, stderr)
    // The event loop is free while it waits.
    t.deepEqual(JSON.parse(stdout), Array(3).fill(['started', true]))
    t.deepEqual(processesOf(p), [])
  })
}

test('a run right after the kill of a daemon waits for its end', async (t) => {
  const p = place(t)
  const body = `setup() { ${weighty}; this.weight = weight }
  action() { fs.writeFileSync(process.env.DIR + '/ran', ''); if (verb === 'run') return this.exit() ; return new Promise(() => {}) }`
  const last = `if (verb === 'run') {
    const pid = Number(fs.readFileSync(process.env.RUN + '/sample.pid', 'utf8'))
    process.kill(pid, 'SIGKILL')
  }
  await new Sample(options).serviced()`
  const script = p.write('a.mjs', sample({ before: 'const verb = process.argv[2]', body, last }))
  for (let round = 0; round < 3; round++) {
    t.is((await run(p, script, ['start'])).status, 0)
    const { status, stderr } = await run(p, script, ['run'])
    t.is(status, 0, stderr)
    t.true(fs.existsSync(`${p.dir}/ran`))
    t.deepEqual(fs.readdirSync(p.run), [])
  }
})

test('a start that has no pid yet and ends is waited for, and not told as one', async (t) => {
  const p = place(t)
  fs.writeFileSync(p.pidFile(), '')
  const held = await lock(t, p.pidFile(), { write: true, flock: true, ranges: STARTING })
  // It releases its locks after the start has looked at it. When the start looks again, it waits.
  const script = p.write(
    'a.mjs',
    cli({
      before: `if (process.argv[2] === 'start' && !isDaemon) setTimeout(() => process.kill(${held.pid}, 'SIGKILL'), 300)`,
    }),
  )
  const { status, stderr } = await run(p, script, ['start'])
  t.is(status, 0, stderr)
  t.deepEqual(processesOf(p), [pidIn(p)])
  t.is((await run(p, script, ['stop'])).status, 0)
})

test('a start that is held up by a lock whose holder is not found says so, in a while', async (t) => {
  const p = place(t)
  fs.writeFileSync(p.pidFile(), '999999\n')
  await lock(t, p.pidFile(), { write: true, flock: true, ranges: RUNNING })
  const script = p.write('a.mjs', cli())
  const { status, stderr } = await run(p, script, ['start'])
  t.is(status, 1)
  t.regex(stderr, /is already running: its pidfile is locked, and its pid is not that of the process/)
  t.deepEqual(processesOf(p), [])
})

withStrace(
  'a start whose file is removed while it locks it gives way to one that came meanwhile',
  async (t) => {
    const p = place(t)
    const script = p.write('a.mjs', cli())
    // It is stopped as soon as it has the lock.
    const first = runWithFaults(p, faults('flock:signal=SIGSTOP:when=1'), script, ['start'])
    // A process, or a descriptor, that is gone meanwhile has no lock.
    const hasLocked = (pid) => {
      const info = `/proc/${pid}/fdinfo`
      const read = (fd) => fs.readFileSync(`${info}/${fd}`, 'utf8')
      try {
        return fs.readdirSync(info).some((fd) => read(fd).includes('FLOCK'))
      } catch {
        return false
      }
    }
    const stopped = await until(() => processesOf(p).find(hasLocked), 'the lock')
    fs.unlinkSync(p.pidFile())
    t.is((await run(p, script, ['start'])).status, 0)
    const pid = pidIn(p)
    process.kill(stopped, 'SIGCONT')
    const { status, stderr } = await first
    t.is(status, 1)
    t.is(stderr, `sample: The daemon 'sample' is already running, with pid ${pid}\n`)
    t.deepEqual(processesOf(p), [pid])
  },
)

withStrace('status never calls a daemon killed that ends while it is looked at', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', cli())
  t.is((await run(p, script, ['start'])).status, 0)
  // It is stopped when it has opened the pidfile and called fstat(3), which is one of these calls. A look-up by
  // name in the directory does not count here.
  const stops = faults('newfstatat:signal=SIGSTOP:when=1', 'fstat:signal=SIGSTOP:when=1')
  const status = runWithFaults(p, ['-P', p.pidFile(), ...stops], script, ['status'])
  const isStopped = (pid) => proc(pid)?.state.toUpperCase() === 'T'
  const looks = (pid) => pid !== pidIn(p) && Object.values(descriptors(pid)).includes(p.pidFile())
  const looking = await until(() => processesOf(p).filter(isStopped).find(looks), 'the stop')
  t.is((await run(p, script, ['stop'])).status, 0)
  process.kill(looking, 'SIGCONT')
  t.like(await status, {
    status: 3,
    stdout: `sample is not running (looked for ${p.pidFile()})\n`,
    stderr: '',
  })
})
