// Starts that somebody ends, or holds up, while they are under way.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fails, nothingLeft } from './failed.mjs'
import {
  asRoot,
  command,
  end,
  environment,
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
  testIf,
  until,
  works,
} from './kit.mjs'
import { faults, runWithFaults, withStrace } from './strace.mjs'

/** The source of a daemon that has a child, and says when it is in `setup`. */
const inTheMidst = ({ first = '', setup = 'await sleep(60_000)', options } = {}) =>
  sample({
    before: "import { spawn } from 'node:child_process'",
    body: `async setup() {
      ${first}
      await once(spawn('sleep', ['1000'], { stdio: 'ignore' }), 'spawn')
      fs.writeFileSync(process.env.DIR + '/pid', String(process.pid))
      ${setup}
    }`,
    options,
  })

/** Begins a start. Returns its three processes, and a promise of its result. */
async function underWay(p, source) {
  const ended = run(p, p.write('a.mjs', inTheMidst(source)))
  return { launcher: ended.pid, ended, ...(await inSetup(p)) }
}

async function inSetup(p) {
  const file = join(p.dir, 'pid')
  const daemon = await until(() => fs.existsSync(file) && Number(fs.readFileSync(file)), 'setup')
  return { daemon, guardian: proc(daemon).ppid }
}

for (const [who, signal, says] of [
  ['guardian', 'SIGKILL', /did not start: its start was killed from outside/],
  ['daemon', 'SIGKILL', /was killed by SIGKILL before it was ready/],
  ['daemon', 'SIGTERM', /Received SIGTERM while starting/],
]) {
  test(`a ${signal} to the ${who} ends the start, and the launcher says so`, async (t) => {
    const p = place(t)
    const start = await underWay(p)
    process.kill(start[who], signal)
    await fails(t, p, () => start.ended, says)
  })
}

for (const signal of ['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP']) {
  test(`a ${signal} to the launcher ends the start`, async (t) => {
    const p = place(t)
    const start = await underWay(p, { setup: 'for (;;) {}' })
    process.kill(start.launcher, signal)
    t.is((await start.ended).signal, signal)
    await nothingLeft(t, p)
  })
}

test('Ctrl-C ends the start', async (t) => {
  const p = place(t)
  const line = `${process.execPath} ${p.write('a.mjs', inTheMidst())}`
  const terminal = spawn('script', ['-qec', line, '/dev/null'], { cwd: p.dir, env: environment(p) })
  const closed = once(terminal, 'close')
  await inSetup(p)
  terminal.stdin.write('\x03')
  t.deepEqual(await closed, [128 + constants.signals.SIGINT, null])
  await nothingLeft(t, p)
})

test('a start of one that is stopped (SIGSTOP) fails when startTimeout has passed', async (t) => {
  const attempt = async (who) => {
    const p = place(t)
    const start = await underWay(p, { options: 'startTimeout: 15_000' })
    process.kill(start[who], 'SIGSTOP')
    await fails(t, p, () => start.ended, /was not ready within 15000 ms and was ended/)
  }
  await Promise.all([attempt('daemon'), attempt('guardian')])
})

test('a launcher that is stopped (SIGSTOP) cannot hold up the end of a start beyond startTimeout', async (t) => {
  const attempt = async (setup) => {
    const p = place(t)
    const start = await underWay(p, { setup, options: 'startTimeout: 15_000' })
    process.kill(start.launcher, 'SIGSTOP')
    await until(() => !isAlive(start.daemon) && !isAlive(start.guardian), 'the end of the start')
    t.deepEqual(fs.readdirSync(p.run), [])
    t.is(proc(start.launcher).state, 'T')
    process.kill(start.launcher, 'SIGCONT')
    await fails(t, p, () => start.ended, /was not ready within 15000 ms and was ended/)
  }
  // One daemon never gets ready. The other one is ready, but nobody tells it to go.
  await Promise.all([attempt('await sleep(60_000)'), attempt('await sleep(500)')])
})

const killedGuardian = async (t, source) => {
  const p = place(t)
  fs.chmodSync(p.dir, 0o1777)
  const start = await underWay(p, source)
  process.kill(start.launcher, 'SIGSTOP')
  process.kill(start.guardian, 'SIGKILL')
  await until(() => !isAlive(start.daemon), 'the end of the daemon')
  process.kill(start.launcher, 'SIGCONT')
  await fails(t, p, () => start.ended, /did not start: its start was killed from outside/)
}

test('a guardian that is killed takes the daemon with it, even where the launcher is stopped', (t) =>
  killedGuardian(t, { setup: 'for (;;) {}' }))

asRoot('a guardian that is killed takes along a daemon that has dropped its privileges already', (t) =>
  killedGuardian(t, { first: "this.dropPrivileges('games')", setup: 'for (;;) {}' }),
)

test('a launcher that is killed at any moment leaves a daemon that runs, or nothing', async (t) => {
  for (let delay = 0; delay < 300; delay += 25) {
    const p = place(t)
    // It does this when it was told "go": one that was not will end.
    const body = `async action(signal) {
      fs.writeFileSync(process.env.DIR + '/acts', String(process.pid))
      await once(signal, 'abort')
    }`
    const script = p.write('a.mjs', sample({ body }))
    const ended = run(p, script)
    await sleep(delay)
    ended.child.kill('SIGKILL')
    await ended
    const left = await until(() => {
      const pids = processesOf(p)
      const content = (path) => (fs.existsSync(path) ? fs.readFileSync(path, 'utf8') : '')
      if (pids.map((pid) => `${pid}\n`).join('') !== content(p.pidFile())) return false
      return (pids.length === 0 || content(join(p.dir, 'acts')) === String(pids[0])) && { pids }
    }, 'the daemon alone, or nothing')
    t.is((await run(p, script)).status, left.pids.length, `killed after ${delay} ms`)
    await end(pidIn(p))
  }
})

// Between "ready" and "go": the guardian is gone, and the launcher takes a second to see it.
const SLOW = faults('waitid:delay_enter=1000000:when=1')

/** Begins a start whose daemon is ready, but has not been told to go. */
async function readyToGo(p, options, first = '') {
  const setup = `${first}
    while (!fs.existsSync(process.env.DIR + '/on')) await sleep(10)`
  const ended = runWithFaults(p, SLOW, p.write('a.mjs', inTheMidst({ setup, options })))
  const { daemon, guardian } = await inSetup(p)
  const launcher = proc(guardian).ppid
  p.write('on', '')
  await until(() => !isAlive(guardian), 'the end of the guardian')
  return { launcher, daemon, ended }
}

withStrace('a launcher that is killed before it says "go" leaves nothing', async (t) => {
  const p = place(t)
  const { launcher, ended } = await readyToGo(p)
  process.kill(launcher, 'SIGKILL')
  await ended
  await nothingLeft(t, p)
})

withStrace(
  'a launcher that is stopped (SIGSTOP) until startTimeout has passed cannot say "go" any more',
  async (t) => {
    const p = place(t)
    const { launcher, daemon, ended } = await readyToGo(p, 'startTimeout: 20_000')
    process.kill(launcher, 'SIGSTOP')
    await until(() => !isAlive(daemon), 'the end of the daemon')
    t.deepEqual(fs.readdirSync(p.run), [])
    process.kill(launcher, 'SIGCONT')
    await fails(t, p, () => ended, /was not ready within 20000 ms/)
  },
)

withStrace('a daemon that is killed when it is ready and was not told to go did not start', async (t) => {
  const p = place(t)
  const { daemon, ended } = await readyToGo(p)
  process.kill(daemon, 'SIGKILL')
  await fails(t, p, () => ended, /did not start: its start was killed from outside/)
})

// After "ready" and before "go" the launcher does not wait for the program. An error there is still its own.
for (const [what, source, says] of [
  ['throws', "throw new Error('too late')", /did not start: Error: too late/],
  ['rejects', "Promise.reject(new Error('too late'))", /did not start: Error: too late/],
  ['leaves', 'this.exit(3)', /did not start: Error: The daemon called exit\(3\) while it was starting/],
]) {
  // One daemon ends while the guardian watches, the other one when the guardian has stood down.
  test(`a daemon that ${what} when it is ready, and its launcher is stopped, says why itself`, async (t) => {
    const p = place(t)
    const setup = `while (!fs.existsSync(process.env.DIR + '/on')) await sleep(5)
      setTimeout(() => { ${source} }, 500)`
    const start = await underWay(p, { setup })
    process.kill(start.launcher, 'SIGSTOP')
    p.write('on', '')
    await until(() => !isAlive(start.daemon), 'the end of the daemon')
    process.kill(start.launcher, 'SIGCONT')
    await fails(t, p, () => start.ended, says)
  })

  withStrace(`a daemon that ${what} when it is ready and its guardian is gone says why itself`, async (t) => {
    const p = place(t)
    const daemon = `const poll = setInterval(() => {
      if (fs.existsSync(process.env.DIR + '/now')) { clearInterval(poll); ${source} }
    }, 5)`
    const { launcher, daemon: pid, ended } = await readyToGo(p, undefined, daemon)
    p.write('now', '')
    await until(() => !isAlive(pid), 'the end of the daemon')
    t.true(isAlive(launcher))
    await fails(t, p, () => ended, says)
  })
}

/** Ends strace, which releases the processes that it holds up, and then ends those. */
async function endTraced(p, traced) {
  await end(traced.pid)
  for (const pid of processesOf(p)) await end(pid)
  await traced
}

// With this, a guardian that has stood down takes a minute to end.
const LINGERING = faults('exit_group:delay_enter=60000000')

withStrace('a guardian that does not end is not waited for: the start is done', async (t) => {
  const p = place(t)
  const source = {
    options: 'startTimeout: 20_000',
    last: `const begun = performance.now()
      const { pid } = await new Sample(options).start()
      fs.writeFileSync(process.env.DIR + '/new', JSON.stringify([pid, performance.now() - begun]))
      fs.renameSync(process.env.DIR + '/new', process.env.DIR + '/started')`,
  }
  const traced = runWithFaults(p, LINGERING, p.write('a.mjs', sample(source)))
  const file = join(p.dir, 'started')
  const [pid, took] = await until(
    () => fs.existsSync(file) && JSON.parse(fs.readFileSync(file, 'utf8')),
    'the start',
  )
  t.true(took < 40_000, `${took}`)
  t.is(pidIn(p), pid)
  t.true(isAlive(pid))
  await endTraced(p, traced)
})

withStrace('a guardian that does not end when the time is up is not waited for either', async (t) => {
  const p = place(t)
  const source = {
    options: 'startTimeout: 2000',
    setup: 'for (;;) {}',
  }
  const begun = performance.now()
  const script = p.write(
    'a.mjs',
    `${inTheMidst(source).replace('await new Sample(options).start()', '')}
    await new Sample(options).start().catch((error) => fs.writeFileSync(process.env.DIR + '/code', error.code))`,
  )
  const traced = runWithFaults(p, LINGERING, script)
  const file = join(p.dir, 'code')
  const code = await until(() => fs.existsSync(file) && fs.readFileSync(file, 'utf8'), 'the failure')
  t.is(code, 'ERR_DAEMON_START_TIMEOUT')
  t.true(performance.now() - begun < 50_000)
  t.deepEqual(fs.readdirSync(p.run), [])
  await endTraced(p, traced)
})

test('a daemon that stops in the midst of a message, with its guardian, does not hold up its launcher', async (t) => {
  const p = place(t)
  const setup = `const socket = fs.readdirSync('/proc/self/fd').map(Number).find((fd) => {
      try { return fd > 2 && fs.readlinkSync('/proc/self/fd/' + fd).startsWith('socket:') } catch {}
    })
    process.kill(process.ppid, 'SIGSTOP')
    fs.writeSync(socket, Buffer.from([70, 100, 0, 0, 0, 65]))
    process.kill(process.pid, 'SIGSTOP')`
  const start = await underWay(p, { setup, options: 'startTimeout: 15_000' })
  await fails(t, p, () => start.ended, /was not ready within 15000 ms and was ended/)
})

// The kernel forgets PR_SET_PDEATHSIG when it executes a program that has file capabilities.
const capable = () => {
  const node = `${fs.mkdtempSync(join(tmpdir(), 'tsd-node-'))}/node`
  fs.copyFileSync(process.execPath, node)
  fs.chmodSync(join(node, '..'), 0o755)
  return works('setcap', 'cap_net_bind_service+ep', node) ? node : undefined
}
const withCapabilities = testIf(isRoot && works('which', 'setcap'))

for (const [when, source] of [
  ['in setup', { body: `async setup() { tell(); for (;;) {} }` }],
  // If this process believed that it is a launcher, no lock would keep it from starting another daemon.
  ['while it boots', { options: 'pidFilePath: null' }],
  ['while it boots to a setup that never ends', { body: 'setup() { for (;;) {} }' }],
]) {
  withCapabilities(
    `with a Node that has file capabilities, launcher and guardian killed ${when}: the daemon ends`,
    async (t) => {
      const p = place(t)
      const node = capable()
      t.teardown(() => node && fs.rmSync(join(node, '..'), { recursive: true }))
      t.truthy(node)
      fs.chmodSync(p.dir, 0o1777)
      fs.chownSync(p.run, NOBODY.uid, NOBODY.gid)
      // This happens before the package is imported, and only in the daemon.
      const boot = p.write(
        'boot.cjs',
        `if (process.env.TSDAEMONIZE_HANDOVER && process.env.WHEN.startsWith('while it boots')) {
        const fs = require('node:fs')
        fs.writeFileSync(process.env.DIR + '/pid', String(process.pid))
        while (!fs.existsSync(process.env.DIR + '/on')) {}
      }`,
      )
      const before = "const tell = () => fs.writeFileSync(process.env.DIR + '/pid', String(process.pid))"
      const script = p.write('a.mjs', sample({ before, ...source }))
      const launcher = command(p, node, ['--require', boot, script], {
        env: { WHEN: when },
        ...NOBODY,
      })
      const { daemon, guardian } = await inSetup(p)
      t.is(fs.readlinkSync(`/proc/${daemon}/exe`), node)
      t.is(proc(daemon).status.CapPrm, '0000000000000400')
      process.kill(launcher.pid, 'SIGSTOP')
      process.kill(guardian, 'SIGKILL')
      process.kill(launcher.pid, 'SIGKILL')
      await launcher
      p.write('on', '')
      await until(() => !isAlive(daemon), 'the end of the daemon')
      t.deepEqual(processesOf(p), [])
    },
  )
}
