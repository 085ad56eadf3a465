// The guard: a native thread that ends a daemon whose event loop is blocked, and no other.

import fs from 'node:fs'
import { isAlive, pidIn, place, proc, run, sample, sleep, test, until } from './kit.mjs'

/** Starts a daemon; its messages are in `log()`, and its end in `ended()`. */
async function started(t, more) {
  const p = place(t)
  const options = `syslogOptions: syslog.LOG_PERROR, stderr: process.env.DIR + '/log', blockedTimeout: 300, ${more.options ?? ''}`
  // Only the parent sees a process's exit status. So the daemon is attached, and the test is its parent.
  const script = p.write('a.mjs', sample({ ...more, options: `detach: false, ${options}` }))
  const daemon = run(p, script)
  await until(() => fs.existsSync(`${p.dir}/acts`), 'the action')
  return { p, daemon, log: () => fs.readFileSync(`${p.dir}/log`, 'utf8') }
}

const ACTS = `fs.writeFileSync(process.env.DIR + '/acts', '')`

for (const [signal, expected] of [
  ['SIGTERM', 143],
  ['SIGINT', 130],
]) {
  test(`a blocked event loop ends at ${signal} with status ${expected}, says so, and leaves no pidfile`, async (t) => {
    const { p, daemon, log } = await started(t, { body: `async action() { ${ACTS}; for (;;) {} }` })
    process.kill(daemon.pid, signal)
    const { status } = await daemon
    t.is(status, expected)
    t.regex(log(), /The event loop of sample is blocked: SIG\w+ was not taken within 300 ms/)
    t.deepEqual(fs.readdirSync(p.run), [])
  })
}

test('detached, the smallest daemon of all ends at SIGTERM', async (t) => {
  const p = place(t)
  const script = p.write(
    'a.mjs',
    sample({ options: 'blockedTimeout: 200', body: 'action() { while (true) {} }' }),
  )
  t.is((await run(p, script)).status, 0)
  const pid = pidIn(p)
  process.kill(pid, 'SIGTERM')
  await until(() => !isAlive(pid), 'its end')
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('in the background SIGINT is for onSignal, however long the event loop is blocked', async (t) => {
  const p = place(t)
  // This is far longer than the guard waits.
  const body = `async action(signal) {
    ${ACTS}
    for (const end = Date.now() + 2500; Date.now() < end; ) {}
    await once(signal, 'abort')
  }
  async onSignal(signal) {
    fs.appendFileSync(process.env.DIR + '/signals', signal + '\\n')
    await super.onSignal(signal)
  }`
  const options = `blockedTimeout: 200, stderr: process.env.DIR + '/log', syslogOptions: syslog.LOG_PERROR`
  t.is((await run(p, p.write('a.mjs', sample({ options, body })))).status, 0)
  const pid = pidIn(p)
  await until(() => fs.existsSync(`${p.dir}/acts`), 'the action')
  process.kill(pid, 'SIGINT')
  const signals = () => fs.existsSync(`${p.dir}/signals`) && fs.readFileSync(`${p.dir}/signals`, 'utf8')
  await until(() => !isAlive(pid) || signals() === 'SIGINT\n', 'the signal')
  t.true(isAlive(pid))
  t.is(fs.readFileSync(`${p.dir}/log`, 'utf8'), '')
  process.kill(pid, 'SIGTERM')
  await until(() => !isAlive(pid), 'its end')
})

test('a shutdown that blocks the event loop is ended after stopTimeout', async (t) => {
  const { p, daemon, log } = await started(t, {
    options: 'stopTimeout: 200',
    body: `async action(signal) { ${ACTS}; await once(signal, 'abort') }
    shutdown() { for (;;) {} }`,
  })
  process.kill(daemon.pid, 'SIGTERM')
  t.is((await daemon).status, 143)
  t.regex(log(), /Received SIGTERM\. Exiting\.[\s\S]*the way out was not done within 200 ms/)
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('a further SIGTERM gives a shutdown that blocks the event loop no less than stopTimeout', async (t) => {
  const { p, daemon, log } = await started(t, {
    options: 'stopTimeout: 30_000',
    body: `async action(signal) { ${ACTS}; await once(signal, 'abort') }
    shutdown() { fs.writeFileSync(process.env.DIR + '/leaves', ''); for (const end = Date.now() + 2000; Date.now() < end; ) {} }`,
  })
  process.kill(daemon.pid, 'SIGTERM')
  await until(() => fs.existsSync(`${p.dir}/leaves`), 'the shutdown')
  process.kill(daemon.pid, 'SIGTERM')
  t.is((await daemon).status, 0)
  t.notRegex(log(), /blocked/)
})

test('a shutdown that only takes too long is cut off, with status 1, and not called blocked', async (t) => {
  const { daemon, log } = await started(t, {
    options: 'stopTimeout: 200',
    body: `async action(signal) { ${ACTS}; await once(signal, 'abort') }
    async shutdown() { await sleep(60_000) }`,
  })
  process.kill(daemon.pid, 'SIGTERM')
  t.is((await daemon).status, 1)
  t.regex(log(), /shutdown was cut off after 200 ms/)
  t.notRegex(log(), /blocked/)
})

test('an event loop that is only slow is left alone', async (t) => {
  const { daemon, log } = await started(t, {
    body: `async action(signal) {
      ${ACTS}
      while (!signal.aborted) {
        const until = Date.now() + 200
        while (Date.now() < until);
        await sleep(1)
      }
    }
    async onSignal(signal) {
      await sleep(1500)
      await super.onSignal(signal)
    }`,
  })
  process.kill(daemon.pid, 'SIGTERM')
  t.is((await daemon).status, 0)
  t.notRegex(log(), /blocked/)
})

test('a process that was stopped meanwhile was not blocked', async (t) => {
  const { daemon, log } = await started(t, {
    body: `async action(signal) { ${ACTS}; await once(signal, 'abort') }`,
  })
  for (let round = 0; round < 3; round++) {
    process.kill(daemon.pid, 'SIGSTOP')
    await until(() => proc(daemon.pid).state === 'T', 'the stop')
    if (round === 0) process.kill(daemon.pid, 'SIGTERM')
    // This is longer than blockedTimeout and its margin together.
    await sleep(1200)
    process.kill(daemon.pid, 'SIGCONT')
    if (round === 0) break
  }
  t.is((await daemon).status, 0)
  t.notRegex(log(), /blocked/)
})

test('a program that takes all listeners away and adds its own is not blocked, and is guarded still', async (t) => {
  const { p, daemon, log } = await started(t, {
    body: `async action() {
      process.removeAllListeners('SIGTERM')
      process.on('SIGTERM', () => fs.appendFileSync(process.env.DIR + '/own', '.'))
      process.on('SIGUSR2', () => { fs.writeFileSync(process.env.DIR + '/blocked', ''); for (;;) {} })
      const server = (await import('node:net')).createServer().listen(0)
      server.on('listening', () => ${ACTS})
    }`,
  })
  process.kill(daemon.pid, 'SIGTERM')
  await until(() => fs.existsSync(`${p.dir}/own`), "the program's own listener")
  // Longer than blockedTimeout and its margin together.
  await sleep(1500)
  t.true(isAlive(daemon.pid))
  t.notRegex(fs.existsSync(`${p.dir}/log`) ? log() : '', /blocked/)
  process.kill(daemon.pid, 'SIGUSR2')
  await until(() => fs.existsSync(`${p.dir}/blocked`), 'the loop to be blocked')
  process.kill(daemon.pid, 'SIGTERM')
  t.is((await daemon).status, 143)
})
