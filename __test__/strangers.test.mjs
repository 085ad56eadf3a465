// No other process ever gets a signal: not by a stale pidfile, not by a forged one, not when a pid is used again.

import fs from 'node:fs'
import {
  asRoot,
  cli,
  command,
  daemonAt,
  isAlive,
  isRoot,
  library,
  pidIn,
  place,
  proc,
  run,
  stranger,
  test,
  testIf,
  until,
  works,
} from './kit.mjs'
import { lock, RUNNING, STARTING, WHOLE } from './locks.mjs'

test('a stale pidfile that names a live process: stop says that none ran, and nothing is sent', async (t) => {
  const p = place(t)
  const pid = stranger(t)
  fs.writeFileSync(p.pidFile(), `${pid}\n`)
  t.deepEqual(await daemonAt(p).status(), { state: 'stopped', stalePidFile: true })
  await t.throwsAsync(daemonAt(p).kill('SIGTERM'), { code: 'ERR_DAEMON_NOT_RUNNING' })
  t.is(await daemonAt(p).stop(), null)
  t.true(isAlive(pid))
  t.false(fs.existsSync(p.pidFile()))
})

const foreign = {
  'the whole file, for writing': { write: true, flock: true, ranges: WHOLE },
  'the whole file, and not with flock': { write: true, ranges: WHOLE },
  'the bytes of a running daemon': { write: true, flock: true, ranges: RUNNING },
  'the bytes of a start': { write: true, flock: true, ranges: STARTING },
}

test('a pidfile that is locked by another than it names: an error, and nothing is sent', async (t) => {
  const attempts = Object.entries(foreign).map(async ([what, locks]) => {
    const p = place(t)
    const pid = stranger(t)
    fs.writeFileSync(p.pidFile(), `${pid}\n`)
    const holder = await lock(t, p.pidFile(), locks)
    const daemon = daemonAt(p)
    const asked = await Promise.allSettled([daemon.stop(), daemon.status(), daemon.kill('SIGTERM')])
    const [stop, status, kill] = asked.map(({ reason, value }) => reason?.code ?? value)
    t.is(stop, 'ERR_DAEMON_STOP_FAILED', what)
    t.regex(asked[0].reason.message, new RegExp(`the process ${pid} .*Nothing was sent`), what)
    const starting = locks.ranges === STARTING
    t.deepEqual(status, starting ? { state: 'starting' } : 'ERR_DAEMON_STOP_FAILED', what)
    t.is(kill, starting ? 'ERR_DAEMON_NOT_RUNNING' : 'ERR_DAEMON_STOP_FAILED', what)
    t.true(isAlive(pid), what)
    t.true(isAlive(holder.pid), what)
    t.is(pidIn(p), pid, what)
    const start = await run(p, p.write('a.mjs', cli()), ['start'])
    t.is(start.status, 1, what)
    t.notRegex(start.stderr, /\d{2}/, what)
  })
  await Promise.all(attempts)
})

/** Stops all threads of a process. */
async function halt(pid) {
  process.kill(pid, 'SIGSTOP')
  const threads = fs.readdirSync(`/proc/${pid}/task`)
  await until(() => threads.every((tid) => proc(tid).state === 'T'), 'all threads to stop')
}

// flock alone proves nothing: a process that can only read the file can take it as well.
test('a stale pidfile that somebody holds with flock alone is stale all the same', async (t) => {
  const p = place(t)
  const pid = stranger(t)
  fs.writeFileSync(p.pidFile(), `${pid}\n`)
  const holder = await lock(t, p.pidFile(), { flock: true })
  t.deepEqual(await daemonAt(p).status(), { state: 'stopped', stalePidFile: true })
  t.is(await daemonAt(p).stop(), null)
  t.true(isAlive(pid))
  t.true(isAlive(holder.pid))
})

test("a running daemon's pidfile with another pid in it: nobody is signalled, whatever that process is", async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', cli())
  t.is((await run(p, script, ['start'])).status, 0)
  const pid = pidIn(p)
  const fd = fs.openSync(p.pidFile())
  t.teardown(() => fs.closeSync(fd))
  const thread = fs
    .readdirSync('/proc/self/task')
    .map(Number)
    .find((tid) => tid !== process.pid)
  const named = {
    'a process that reads the file': stranger(t, [fd, fd, 'ignore']),
    'a process that has a write lock of its own': (
      await lock(t, p.pidFile(), { write: true, ranges: [0, 100] })
    ).pid,
    'a thread': thread,
  }
  const signals = []
  const note = (signal) => signals.push(signal)
  process.on('SIGTERM', note)
  t.teardown(() => process.off('SIGTERM', note))
  // The daemon would write its own pid again.
  await halt(pid)
  for (const [what, other] of Object.entries(named)) {
    fs.writeFileSync(p.pidFile(), `${other}\n`)
    const { status, stderr } = await run(p, script, ['stop'])
    t.is(status, 1, what)
    t.regex(stderr, new RegExp(`^sample: The pidfile .* the process ${other} .*Nothing was sent`))
  }
  t.true(isAlive(named['a process that reads the file']))
  t.true(isAlive(named['a process that has a write lock of its own']))
  t.deepEqual(signals, [])
  t.true(isAlive(pid))
  process.kill(pid, 'SIGCONT')
  t.deepEqual(await daemonAt(p).stop(), { pid, signal: 'SIGTERM' })
})

asRoot('a pidfile forged by a daemon that has dropped its privileges: nobody is signalled', async (t) => {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  // Another process forges the file, through the daemon's descriptor: the daemon itself would write its own pid again.
  const forge = `const fs = require('fs')
    const timer = setInterval(() => {
      if (!fs.existsSync(process.env.DIR + '/forged')) return
      fs.ftruncateSync(3)
      fs.writeSync(3, fs.readFileSync(process.env.DIR + '/forged', 'utf8'), 0)
      clearInterval(timer)
    }, 5)`
  const body = `async action(signal) {
    const fds = fs.readdirSync('/proc/self/fd').map(Number)
    const held = fds.find((fd) => {
      try { return fs.readlinkSync('/proc/self/fd/' + fd) === process.env.RUN + '/sample.pid' } catch {}
    })
    const { spawn } = await import('node:child_process')
    spawn(process.execPath, ['-e', ${JSON.stringify(forge)}], { stdio: ['ignore', 'ignore', 'ignore', held] })
    fs.writeSync(1, 'given away')
    await once(signal, 'abort')
  }`
  const script = p.write('a.mjs', cli({ body, options: "user: 'nobody', stdout: process.env.DIR + '/out'" }))
  const { status, stderr } = await run(p, script, ['start'])
  t.is(status, 0, stderr)
  const pid = pidIn(p)
  const fd = fs.openSync(p.pidFile())
  t.teardown(() => fs.closeSync(fd))
  const reader = stranger(t, [fd, 'ignore', 'ignore'])
  await until(() => fs.readFileSync(`${p.dir}/out`, 'utf8') === 'given away', 'the forger')
  await halt(pid)
  p.write('forged', `${reader}\n`)
  await until(() => pidIn(p) === reader, 'the forged pid')
  await t.throwsAsync(daemonAt(p).stop(), { code: 'ERR_DAEMON_STOP_FAILED', message: /Nothing was sent/ })
  t.true(isAlive(reader))
  t.true(isAlive(pid))
})

// The pids that mean "all", "my group" or "init" are tried where a mistake hurts nobody else: in a pid namespace
// whose init is the program itself.
const inNamespace = testIf(isRoot && works('unshare', '-pf', '--mount-proc', 'true'))

inNamespace("0, -1, 1, one's own pid, a huge one and none in a pidfile: nobody is signalled", async (t) => {
  const p = place(t)
  const contents = ['0', '-1', '1', '2147483647', '99999999999', '', ' 1', '1 ', '0x1', '+1']
  const script = p.write(
    'a.mjs',
    `import { Daemon } from '${library}'
    import { spawn } from 'node:child_process'
    import fs from 'node:fs'
    import { once } from 'node:events'
    import { lockCommand, RUNNING } from '${new URL('locks.mjs', import.meta.url)}'
    const got = []
    for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => got.push(signal))
    const child = spawn('sleep', ['1000'], { stdio: 'ignore' })
    async function attempt(content, locked) {
      const name = [...content, locked].join('_')
      const file = process.env.RUN + '/' + name + '.pid'
      fs.writeFileSync(file, content === '' ? '' : content + '\\n')
      if (locked) {
        const command = lockCommand(file, { write: true, flock: true, ranges: RUNNING })
        await once(spawn(...command, { stdio: ['ignore', 'pipe', 'inherit'] }).stdout, 'data')
      }
      const daemon = new Daemon({ name, pidFilePath: process.env.RUN })
      const [kill, stop] = await Promise.allSettled([daemon.kill('SIGHUP'), daemon.stop()])
      return { content, locked, kill: kill.reason?.code, stop: stop.reason?.code ?? stop.value }
    }
    const attempts = ${JSON.stringify(contents)}.flatMap((c) => [attempt(c, false), attempt(c, true)])
    const results = await Promise.all(attempts)
    const alive = child.exitCode === null && child.signalCode === null
    console.log(JSON.stringify({ pid: process.pid, results, got, alive }))
    process.exit()`,
  )
  const { status, stdout, stderr } = await command(p, 'unshare', [
    '-pf',
    '--mount-proc',
    process.execPath,
    script,
  ])
  t.is(status, 0, stderr)
  const { pid, results, got, alive } = JSON.parse(stdout)
  t.is(pid, 1)
  t.is(results.length, 2 * contents.length)
  for (const { content, locked, kill, stop } of results) {
    t.is(kill, locked ? 'ERR_DAEMON_STOP_FAILED' : 'ERR_DAEMON_NOT_RUNNING', content)
    t.is(stop, locked ? 'ERR_DAEMON_STOP_FAILED' : null, content)
  }
  t.deepEqual(got, [])
  t.true(alive)
})

// The kernel gives the next process the pid that is written here, in the writer's pid namespace (proc_sys_kernel(5)).
const LAST_PID = '/proc/sys/kernel/ns_last_pid'
const choosesPids = fs.existsSync(LAST_PID) ? inNamespace : test.skip

choosesPids('a pid that another process got after the daemon was killed is not touched', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', cli())
  const main = p.write(
    'main.mjs',
    `import { spawn, spawnSync } from 'node:child_process'
    import fs from 'node:fs'
    const cli = (...args) => spawnSync(process.execPath, ['${script}', ...args], { encoding: 'utf8' })
    const results = [cli('start').status]
    const pid = Number(fs.readFileSync(process.env.RUN + '/sample.pid', 'utf8'))
    process.kill(pid, 'SIGKILL')
    while (fs.existsSync('/proc/' + pid)) cli('status')
    let other
    while (other?.pid !== pid) {
      other?.kill('SIGKILL')
      fs.writeFileSync('${LAST_PID}', String(pid - 1))
      other = spawn('sleep', ['1000'], { stdio: 'ignore' })
    }
    for (const args of [['status', '--json'], ['reload'], ['stop'], ['status', '--json'], ['start'], ['stop']]) {
      const { status, stdout, stderr } = cli(...args)
      results.push([args[0], status, stdout + (args[0] === 'start' ? '' : stderr)])
    }
    const alive = other.exitCode === null && other.signalCode === null
    console.log(JSON.stringify({ results, alive }))
    process.exit()`,
  )
  // The shell is the init here, and waits for the orphans that it gets.
  const args = ['-pf', '--mount-proc', 'sh', '-c', `${process.execPath} ${main}; exit $?`]
  const { status, stdout, stderr } = await command(p, 'unshare', args)
  t.is(status, 0, stderr)
  const { results, alive } = JSON.parse(stdout)
  t.deepEqual(results, [
    0,
    ['status', 1, '{"state":"stopped","stalePidFile":true}\n'],
    ['reload', 7, `sample: The daemon 'sample' is not running (looked for ${p.pidFile()})\n`],
    ['stop', 0, `sample is not running (looked for ${p.pidFile()})\n`],
    ['status', 3, '{"state":"stopped","stalePidFile":false}\n'],
    ['start', 0, ''],
    ['stop', 0, ''],
  ])
  t.true(alive)
})
