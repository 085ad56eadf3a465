// A launcher that goes on running keeps nothing of a start, and a start does not block it.

import fs from 'node:fs'
import { freemem } from 'node:os'
import { join } from 'node:path'
import {
  descriptors,
  end,
  isAlive,
  library,
  pidIn,
  place,
  proc,
  processesOf,
  run,
  sample,
  test,
  testIf,
  until,
} from './kit.mjs'
import { faults, runWithFaults, withStrace } from './strace.mjs'

/** A program that starts daemons of any name. Each of them ends when it is asked to. */
const MANY = `import { Daemon, isDaemon } from '${library}'
import fs from 'node:fs'
class Any extends Daemon {
  async setup() { console.log('x'.repeat(1 << 20)) }
  async action() {}
}
const any = (name) => new Any({ name, pidFilePath: process.env.RUN, script: process.env.DIR + '/any.mjs', args: [name] })
`
const ANY = `${MANY}
await new Any({ name: process.argv[2] }).start()`

/** What a process holds, as /proc shows it. */
const HELD = `
const status = (field) => fs.readFileSync('/proc/self/status', 'utf8').match(new RegExp(field + ':\\\\s+(.*)'))[1]
const held = () => ({
  descriptors: fs.readdirSync('/proc/self/fd').map((fd) => {
    try { return fd + ' ' + fs.readlinkSync('/proc/self/fd/' + fd).replace(/\\d+/g, '') } catch { return '' }
  }).filter(Boolean),
  threads: Number(status('Threads')),
  signals: ['SigBlk', 'SigIgn', 'SigCgt', 'ShdPnd'].map(status),
  children: fs.readdirSync('/proc').filter((pid) => {
    try { return fs.readFileSync('/proc/' + pid + '/stat', 'latin1').split(') ')[1].split(' ')[1] === String(process.pid) } catch { return false }
  }),
  locks: fs.readFileSync('/proc/locks', 'utf8').split('\\n').filter((line) => line.split(/ +/)[4] === String(process.pid)),
})`

test('one that lives on keeps no descriptor, lock, thread, child or memory of twenty starts', async (t) => {
  const p = place(t)
  p.write('any.mjs', ANY)
  const program = `${MANY}${HELD}
    const { signals } = held()
    // With the first start, Node creates what it needs only once: its output, its timers.
    await any('first').start()
    await new Promise((resolve) => setTimeout(resolve, 100))
    const before = held()
    const collect = async () => {
      globalThis.gc()
      await new Promise((resolve) => setTimeout(resolve, 50))
      globalThis.gc()
    }
    await collect()
    const memory = process.memoryUsage()
    const pids = []
    for (let i = 0; i < 10; i++) pids.push((await any('a' + i).start()).pid)
    pids.push(...(await Promise.all(Array.from({ length: 10 }, (_, i) => any('b' + i).start()))).map((one) => one.pid))
    // The threads end when they have resolved. The daemons end at once, each with its lock.
    const same = () => JSON.stringify(held()) === JSON.stringify(before)
    for (let i = 0; i < 500 && !same(); i++) await new Promise((resolve) => setTimeout(resolve, 10))
    // What the last starts returned is freed after a few rounds.
    for (let i = 0; i < 20; i++) {
      await collect()
      if (process.memoryUsage().external - memory.external < 1 << 20) break
    }
    const grown = process.memoryUsage()
    console.error(JSON.stringify({ signals, before, after: held(), pids,
      rss: grown.rss - memory.rss, external: grown.external - memory.external, heap: grown.heapUsed - memory.heapUsed }))`
  const { status, stdout, stderr } = await run(p, p.write('a.mjs', program), [], {
    execArgv: ['--expose-gc'],
  })
  t.is(status, 0, stderr)
  t.is(stdout.length, 21 * ((1 << 20) + 1))
  const { signals, before, after, pids, rss, external, heap } = JSON.parse(stderr)
  t.deepEqual(after, before)
  t.deepEqual(after.signals, signals)
  t.deepEqual(after.children, [])
  t.deepEqual(after.locks, [])
  t.is(new Set(pids).size, 20)
  const MIB = 1 << 20
  t.true(external < 2 * MIB && heap < 2 * MIB && rss < 40 * MIB, JSON.stringify({ external, heap, rss }))
})

test('its event loop goes on, whatever the daemon does and prints', async (t) => {
  const p = place(t)
  const source = {
    // The daemon is ready only when the launcher's loop has turned often enough meanwhile.
    before: `const file = process.env.DIR + '/turns'
      const turns = () => Number(fs.readFileSync(file, 'utf8'))
      let count = 0
      const timer = isDaemon ? undefined : setInterval(() => fs.writeFileSync(file, String(++count)), 5)`,
    body: `async setup() {
      for (const print of [() => {}, () => console.log('x'.repeat(1 << 20))]) {
        while (!fs.existsSync(file)) await sleep(5)
        for (const before = turns(); turns() < before + 20; await sleep(5)) print()
      }
    }`,
    last: `await new Sample(options).start()
      clearInterval(timer)`,
  }
  const { status, stderr } = await run(p, p.write('a.mjs', sample(source)))
  t.is(status, 0, stderr)
})

test('its own signal handlers, children and timers work while a daemon starts', async (t) => {
  const p = place(t)
  const source = {
    before: `import { spawn } from 'node:child_process'
      const seen = []
      if (!isDaemon) for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR2']) process.on(signal, () => seen.push(signal))`,
    body: `async setup() {
      fs.writeFileSync(process.env.DIR + '/pid', String(process.pid))
      while (!fs.existsSync(process.env.DIR + '/on')) await sleep(10)
    }`,
    last: `const child = spawn('sh', ['-c', 'exit 7'])
      const exit = once(child, 'exit')
      const { pid } = await new Sample(options).start()
      console.log(JSON.stringify({ seen, exit: await exit, pid }))`,
  }
  const started = run(p, p.write('a.mjs', sample(source)))
  await until(() => fs.existsSync(join(p.dir, 'pid')))
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR2']) {
    process.kill(started.pid, signal)
    // They come one after the other, so that each is seen.
    await until(() => !BigInt(`0x${proc(started.pid).status.ShdPnd}`))
  }
  p.write('on', '')
  const { status, stdout, stderr } = await started
  t.is(status, 0, stderr)
  const { seen, exit, pid } = JSON.parse(stdout)
  t.deepEqual(seen.sort(), ['SIGHUP', 'SIGINT', 'SIGTERM', 'SIGUSR2'])
  t.deepEqual(exit, [7, null])
  t.is(pidIn(p), pid)
})

test('one that exits in the midst of a start undoes it', async (t) => {
  const p = place(t)
  const source = {
    body: `async setup() {
      fs.writeFileSync(process.env.DIR + '/pid', String(process.pid))
      await sleep(60_000)
    }`,
    last: `new Sample(options).start()
      while (!fs.existsSync(process.env.DIR + '/pid')) await sleep(10)
      if (!isDaemon) process.exit(5)`,
  }
  t.is((await run(p, p.write('a.mjs', sample(source)))).status, 5)
  await until(() => processesOf(p).length === 0)
  t.deepEqual(fs.readdirSync(p.run), [])
})

// This launcher takes a second to prepare the fork, while the pidfile is already locked.
const SLOW = faults('memfd_create:delay_enter=1000000:when=1')

withStrace('a SIGTERM in the midst of the preparations waits until nothing is half done', async (t) => {
  for (const [before, expected] of [
    ['', { status: null, signal: 'SIGTERM' }],
    [
      "if (!isDaemon) process.on('SIGTERM', () => console.log('taken'))",
      { status: 0, stdout: 'taken\nready\n' },
    ],
  ]) {
    const p = place(t)
    const script = p.write(
      'a.mjs',
      sample({ before, last: "await new Sample(options).start(); console.log('ready')" }),
    )
    const traced = runWithFaults(p, SLOW, script)
    await until(() => fs.existsSync(p.pidFile()))
    const [launcher] = processesOf(p).filter((pid) => pid !== traced.pid)
    process.kill(launcher, 'SIGTERM')
    await until(() => !isAlive(launcher), 'the end of the launcher')
    // strace ends with the last process that it traces.
    if (expected.status === 0) await end(pidIn(p))
    t.like(await traced, expected)
    t.deepEqual(processesOf(p), [])
    const left = fs.readdirSync(p.run).filter((name) => name !== '.sample.state')
    t.deepEqual(left, expected.status === 0 ? ['sample.pid'] : [])
  }
})

const GIB = 2 ** 30
const available = process.availableMemory?.() ?? freemem()
const withMemory = testIf(available > 4 * GIB)
withMemory('one with 2 GB of Buffers starts a daemon, and no process keeps them', async (t) => {
  const p = place(t)
  const source = {
    before: 'const held = isDaemon ? [] : [1, 2, 3, 4].map((byte) => Buffer.alloc(512 << 20, byte))',
    body: `async setup() {
      fs.writeFileSync(process.env.DIR + '/pid', String(process.pid))
      while (!fs.existsSync(process.env.DIR + '/on')) await sleep(10)
    }`,
    last: `const { pid } = await new Sample(options).start()
      console.log(pid, held.length)
      while (!fs.existsSync(process.env.DIR + '/off')) await sleep(10)`,
  }
  const rss = (pid) => Number.parseInt(proc(pid).status.VmRSS, 10) * 1024
  const launcher = run(p, p.write('a.mjs', sample(source)))
  await until(() => fs.existsSync(join(p.dir, 'pid')))
  t.true(rss(launcher.pid) > 2 * GIB)
  p.write('on', '')
  await until(() => processesOf(p).length === 2, 'the end of the guardian')
  t.true(rss(pidIn(p)) < GIB / 4)
  p.write('off', '')
  const { status, stdout, stderr } = await launcher
  t.is(status, 0, stderr)
  t.is(stdout, `${pidIn(p)} 4\n`)
  t.deepEqual(processesOf(p), [pidIn(p)])
  t.true(isAlive(pidIn(p)))
  t.false(Object.values(descriptors(pidIn(p))).some((target) => target.startsWith('socket:')))
})
