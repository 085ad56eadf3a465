// Messages to the local logger: what arrives when the logger comes and goes, and how little the event loop notices.

import fs from 'node:fs'
import {
  asRoot,
  command,
  isAlive,
  isRoot,
  pidIn,
  place,
  printed,
  processesOf,
  run,
  sample,
  test,
  testIf,
  until,
} from './kit.mjs'
import { assertAll, local, logging, numbers, opening, receive } from './receivers.mjs'
import { restartedDuring } from './restarted.mjs'
import { faults, withStrace } from './strace.mjs'

for (const kind of ['datagram', 'stream']) {
  test(`of a stream of messages to a logger (${kind}) that is restarted all arrive, in order, none twice`, async (t) => {
    const p = place(t)
    await restartedDuring(t, p, kind, `${p.dir}/log`, {
      type: 'local',
      path: `${p.dir}/log`,
      port: undefined,
    })
  })
}

test('messages have priority, time, ident and pid as syslog(3) writes them', async (t) => {
  const p = place(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const script = p.write(
    'format.mjs',
    logging(`
    syslog.openlog('clock', syslog.LOG_PID, syslog.LOG_LOCAL3, transport)
    syslog.syslog('information')
    syslog.syslog(syslog.LOG_ERR, 'an error')
    syslog.syslog(syslog.LOG_MAIL | syslog.LOG_ALERT, 'mail')
    syslog.openlog('plain', 0, syslog.LOG_USER, transport)
    syslog.syslog('no pid')
    say(String(syslog.setlogmask(syslog.LOG_UPTO(syslog.LOG_WARNING))))
    syslog.syslog('masked')
    syslog.syslog(syslog.LOG_WARNING, 'let through')
    syslog.log({ message: 'masked as well', fields: { a: 1 } })
    syslog.log({ priority: syslog.LOG_ERR, message: 'fields', fields: { n: 1, 'user.name': 'a "b" \\\\ \\n', left: undefined, big: 7n, yes: true, no: null } })
    say(String(syslog.setlogmask(syslog.LOG_MASK(syslog.LOG_INFO))) + ' ' + process.pid)`),
  )
  const { stdout, status, stderr } = await run(p, script, [], { env: { TZ: 'Asia/Kolkata', ...local(p) } })
  t.is(status, 0, stderr)
  await receiver.stop()
  const [, masks, pid] = /^(255\n31) (\d+)\n$/.exec(stdout) ?? []
  t.truthy(masks, stdout)
  const shape = /^<(\d+)>([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) (.*)$/s
  const found = receiver.messages().map((message) => shape.exec(message).slice(1))
  t.deepEqual(
    found.map(([priority, , rest]) => [Number(priority), rest]),
    [
      [19 * 8 + 6, `clock[${pid}]: information`],
      [19 * 8 + 3, `clock[${pid}]: an error`],
      [2 * 8 + 1, `clock[${pid}]: mail`],
      [1 * 8 + 6, 'plain: no pid'],
      [1 * 8 + 4, 'plain: let through'],
      [1 * 8 + 3, 'plain: fields n="1" user.name="a \\"b\\" \\\\ #012" big="7" yes="true" no="null"'],
    ],
  )
  // The time is local time, which differs by half an hour from UTC.
  const time = new Date(`${found[0][1]} ${new Date().getUTCFullYear()} GMT+0530`)
  t.true(Math.abs(time - Date.now()) < 60_000, found[0][1])
})

test('arguments that cannot be are refused by name', async (t) => {
  const p = place(t)
  const cases = {
    "syslog.syslog(1.5, 'x')": 'ERR_INVALID_ARG_VALUE priority',
    'syslog.syslog(7)': 'ERR_INVALID_ARG_TYPE message',
    "syslog.openlog('x', 0x100)": 'ERR_INVALID_ARG_VALUE logoption',
    "syslog.openlog('x', 0, 7)": 'ERR_INVALID_ARG_VALUE facility',
    "syslog.openlog('x', 0, 8, 'udp')": 'ERR_INVALID_ARG_TYPE transport',
    "syslog.openlog('x', 0, 8, { type: 'tls' })": 'ERR_INVALID_ARG_VALUE transport.type',
    "syslog.openlog('x', 0, 8, { type: 'local', path: 'log' })": 'ERR_INVALID_ARG_VALUE transport.path',
    "syslog.openlog('x', 0, 8, { type: 'local', host: 'a' })": 'ERR_INVALID_ARG_VALUE transport',
    "syslog.openlog('x', 0, 8, { type: 'udp' })": 'ERR_INVALID_ARG_TYPE transport.host',
    "syslog.openlog('x', 0, 8, { type: 'tcp', host: 'a b' })": 'ERR_INVALID_ARG_VALUE transport.host',
    "syslog.openlog('x', 0, 8, { type: 'tcp', host: 'a', port: 0 })": 'ERR_INVALID_ARG_VALUE transport.port',
    "syslog.openlog('x', 0, 8, { type: 'tcp', host: 'a', sdId: 'a]' })":
      'ERR_INVALID_ARG_VALUE transport.sdId',
    "syslog.log('x')": 'ERR_INVALID_ARG_TYPE entry',
    "syslog.log({ message: 'x', fields: [] })": 'ERR_INVALID_ARG_TYPE fields',
    "syslog.log({ message: 'x', fields: { 'a b': 1 } })": 'ERR_INVALID_ARG_VALUE fields',
    "syslog.log({ message: 'x', fields: { 'a=\"': 1 } })": 'ERR_INVALID_ARG_VALUE fields',
    "syslog.log({ message: 'x', fields: { _PID: 1 } })": 'ERR_INVALID_ARG_VALUE fields',
    "syslog.log({ message: 'x', fields: { Syslog_Pid: 1 } })": 'ERR_INVALID_ARG_VALUE fields',
    "syslog.log({ message: 'x', fields: { a: {} } })": 'ERR_INVALID_ARG_TYPE fields.a',
  }
  const calls = Object.keys(cases).map((call) => `() => ${call}`)
  const script = p.write(
    'refused.mjs',
    logging(`
    for (const call of [${calls}]) {
      try { call(); say('none') } catch (error) {
        say(error.code + ' ' + /^\`(.*?)\`/.exec(error.message)[1])
      }
    }
    say(JSON.stringify(syslog.stats()))`),
  )
  const { stdout } = await run(p, script)
  const [stats, ...found] = stdout.trimEnd().split('\n').reverse()
  t.deepEqual(found.reverse(), Object.values(cases))
  t.deepEqual(JSON.parse(stats), { connected: false, queued: 0, queuedBytes: 0, sent: 0, dropped: 0 })
})

test('a socket that is missing, appears later and is replaced: all arrive, in order', async (t) => {
  const p = place(t)
  const body = `async setup() { opened() }
  async onSignal(signal) {
    if (signal === 'SIGHUP') for (let i = 0; i < 100; i++) syslog.syslog('number ' + n++)
    if (signal === 'SIGUSR2') fs.writeFileSync(process.env.DIR + '/stats', JSON.stringify(syslog.stats()))
    await super.onSignal(signal)
  }`
  const script = p.write('a.mjs', sample({ before: `${opening}\nlet n = 0`, body }))
  t.is((await run(p, script, [], { env: local(p) })).status, 0)
  const pid = pidIn(p)
  const stats = async (wanted) => {
    let found
    await until(async () => {
      fs.rmSync(`${p.dir}/stats`, { force: true })
      process.kill(pid, 'SIGUSR2')
      await until(() => fs.existsSync(`${p.dir}/stats`) && fs.statSync(`${p.dir}/stats`).size > 0, 'stats')
      found = JSON.parse(fs.readFileSync(`${p.dir}/stats`))
      return wanted(found)
    }, `stats like ${wanted}`)
    return found
  }
  process.kill(pid, 'SIGHUP')
  t.like(await stats((found) => found.queued === 100 && !found.connected), { sent: 0 })
  const first = await receive(t, p, 'datagram', `${p.dir}/log`)
  t.like(await stats((found) => found.sent === 100), { connected: true, queued: 0 })
  // Another logger takes over the path before the first one is gone.
  const second = await receive(t, p, 'stream', `${p.dir}/log`)
  await first.stop()
  process.kill(pid, 'SIGHUP')
  await stats((found) => found.sent === 200)
  // It is killed, and only its socket is left.
  await second.stop()
  process.kill(pid, 'SIGHUP')
  t.like(await stats((found) => found.queued === 100 && !found.connected), { sent: 200 })
  const third = await receive(t, p, 'datagram', `${p.dir}/log`)
  await stats((found) => found.sent === 300)
  await third.stop()
  assertAll(t, numbers(third.messages()), 300)
})

test('a logger that is stopped is not noticed by the event loop; what the full queue did not take is counted, in one line', async (t) => {
  const p = place(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const script = p.write(
    'stopped.mjs',
    logging(`
    import { monitorEventLoopDelay } from 'node:perf_hooks'
    syslog.openlog('stopped', 0, syslog.LOG_USER, transport)
    const pad = 'x'.repeat(80)
    let n = 0
    async function measure(messages) {
      const delay = monitorEventLoopDelay({ resolution: 1 })
      delay.enable()
      for (let tick = 0; tick < 1000; tick++) {
        for (let i = 0; i < messages; i++) syslog.syslog('number ' + n++ + ' ' + pad)
        await sleep(1)
      }
      delay.disable()
      return delay.percentile(50) / 1e6
    }
    const idle = await measure(0)
    const running = await measure(20)
    await syslog.flush()
    say('stop')
    while (!fs.existsSync(process.env.DIR + '/go')) await sleep(5)
    const stopped = await measure(20)
    while (syslog.stats().dropped === 0) for (let i = 0; i < 1000; i++) syslog.syslog('number ' + n++ + ' ' + pad)
    for (let i = 0; i < 500; i++) syslog.syslog('number ' + n++ + ' ' + pad)
    const { dropped, queuedBytes } = syslog.stats()
    say(JSON.stringify({ idle, running, stopped, dropped, queuedBytes, n }))
    const flushed = await syslog.flush(40_000)
    say(JSON.stringify({ flushed, ...syslog.stats() }))
    process.exit()`),
  )
  const running = run(p, script, [], { env: local(p) })
  const output = printed(running.child)
  await until(() => output().includes('stop\n'), 'half of it')
  receiver.signal('SIGSTOP')
  p.write('go', '')
  const measured = await until(() => /^\{.*\}$/m.exec(output())?.[0], 'the measurements')
  receiver.signal('SIGCONT')
  const { status, stdout, stderr } = await running
  t.is(status, 0, stderr)
  await receiver.stop()
  const { idle, running: busy, stopped, dropped, n, queuedBytes } = JSON.parse(measured)
  t.log({ idle, busy, stopped, dropped })
  // On a quiet machine it takes about 1.1 ms in all three cases. Half of the turns may be as late as a busy machine
  // makes them.
  t.true(stopped < 20 + 5 * Math.max(idle, busy), `${idle} ${busy} ${stopped}`)
  t.true(queuedBytes <= 8 << 20 && queuedBytes > (8 << 20) - 1000)
  const messages = receiver.messages()
  const gaps = messages.filter((message) => message.includes('dropped'))
  t.is(gaps.length, 1)
  t.regex(gaps[0], new RegExp(`stopped: ${dropped} messages were dropped`))
  t.is(messages.at(-1), gaps[0])
  assertAll(t, numbers(messages), n - dropped)
  t.like(JSON.parse(stdout.trimEnd().split('\n').at(-1)), {
    flushed: true,
    queued: 0,
    sent: messages.length,
    dropped,
  })
})

const ends = {
  'returning from its last statement': '',
  'process.exit': 'process.exit(3)',
  'an uncaught error': "throw new Error('uncaught')",
  'a rejection that nobody handles': "Promise.reject(new Error('rejected'))",
  'process.exit in a listener of exit': "process.on('exit', () => { syslog.syslog('number ' + n++) })",
}

test('a program that ends in any way by itself loses nothing', async (t) => {
  const p = place(t)
  for (const [index, [how, end]] of Object.entries(ends).entries()) {
    const receiver = await receive(t, p, 'datagram', `${p.dir}/log`, `${p.dir}/received-${index}`)
    const script = p.write(
      'end.mjs',
      logging(`
      syslog.openlog('end', 0, syslog.LOG_USER, transport)
      let n = 0
      while (n < 5000) syslog.syslog('number ' + n++)
      ${end}`),
    )
    const { status } = await run(p, script, [], { env: local(p) })
    t.is(status, [0, 3, 1, 1, 0][index], how)
    await receiver.stop()
    assertAll(t, numbers(receiver.messages()), how.includes('listener') ? 5001 : 5000)
  }
})

test('a daemon that ends by SIGTERM, an error, its guard or exit loses nothing', async (t) => {
  const p = place(t)
  const body = `async setup() { opened() }
  async onSignal(signal) {
    if (signal === 'SIGUSR2') {
      for (let n = 0; n < 5000; n++) syslog.syslog('number ' + n)
      if (process.argv[2] === 'term') process.kill(process.pid, 'SIGTERM')
      if (process.argv[2] === 'error') setImmediate(() => { throw new Error('uncaught') })
      if (process.argv[2] === 'guard') for (;;);
      if (process.argv[2] === 'exit') void this.exit(4)
    }
    await super.onSignal(signal)
  }`
  const script = p.write('a.mjs', sample({ before: opening, body, options: 'blockedTimeout: 300' }))
  const words = {
    term: / sample\[\d+\]: Received SIGTERM\. Exiting\.$/,
    error: / sample\[\d+\]: Error: uncaught#012 .*at /,
    guard: / sample\[\d+\]: The event loop of sample is blocked: /,
    exit: /number 4999/,
  }
  for (const [how, last] of Object.entries(words)) {
    const receiver = await receive(t, p, 'datagram', `${p.dir}/log`, `${p.dir}/received-${how}`)
    const { status, stderr } = await run(p, script, [how], { env: local(p) })
    t.is(status, 0, stderr)
    const pid = pidIn(p)
    process.kill(pid, 'SIGUSR2')
    if (how === 'guard') await until(() => receiver.messages().length >= 5000, 'the loop to be blocked')
    if (how === 'guard') process.kill(pid, 'SIGTERM')
    await until(() => !isAlive(pid), `the end by ${how}`)
    await receiver.stop()
    const messages = receiver.messages()
    assertAll(t, numbers(messages), 5000)
    t.regex(messages.at(-2), last, how)
    t.regex(messages.at(-1), / sample\[\d+\]: Ended after /, how)
  }
  t.deepEqual(
    processesOf(p).filter((pid) => isAlive(pid)),
    [],
  )
})

test('with a logger that does not read, and with none, the end is bounded', async (t) => {
  const p = place(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  receiver.signal('SIGSTOP')
  const script = p.write(
    'end.mjs',
    logging(`
    syslog.openlog('end', 0, syslog.LOG_USER, transport)
    for (let n = 0; n < 5000; n++) syslog.syslog('number ' + n)
    const begun = performance.now()
    const flushed = await syslog.flush(500)
    say(JSON.stringify([flushed, performance.now() - begun]))`),
  )
  for (const env of [
    local(p),
    { TRANSPORT: JSON.stringify({ type: 'udp', host: 'no-such-host.invalid' }) },
    { TRANSPORT: JSON.stringify({ type: 'tcp', host: '127.0.0.1', port: 1 }) },
  ]) {
    const { status, stdout } = await run(p, script, [], { env })
    t.is(status, 0)
    const [flushed, took] = JSON.parse(stdout)
    t.false(flushed)
    t.true(took >= 490, `${took}`)
  }
})

test('without any logger an attached program says so, and its messages go to stderr', async (t) => {
  const p = place(t)
  const script = p.write(
    'bare.mjs',
    logging(`
    syslog.openlog('bare', syslog.LOG_PID, syslog.LOG_USER, transport)
    syslog.syslog('one')
    syslog.log({ message: 'tw\\no', fields: { n: 2 } })
    const flushed = await syslog.flush()
    say(JSON.stringify({ flushed, ...syslog.stats() }))
    syslog.syslog('three')`),
  )
  const running = run(p, script, [], { env: local(p) })
  const { stdout, stderr } = await running
  const ident = `bare[${running.pid}]: `
  t.is(stderr, `${ident}one\n${ident}tw#012o n="2"\n${ident}three\n`)
  t.like(JSON.parse(stdout), { flushed: true, connected: false, queued: 0 })
})

test('LOG_PERROR writes to stderr as well, each message once, also while the logger is missing', async (t) => {
  const p = place(t)
  const script = p.write(
    'perror.mjs',
    logging(`
    syslog.openlog('perror', syslog.LOG_PERROR, syslog.LOG_USER, transport)
    process.stderr.write('') // makes it non-blocking, where it is a pipe
    for (let n = 0; n < 3000; n++) syslog.syslog('number ' + n)
    say('logged')
    say(String(await syslog.flush(20_000)))`),
  )
  // There was a logger before, so stderr does not replace it.
  let receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  receiver.signal('SIGSTOP')
  const running = run(p, script, [], { env: local(p) })
  await until(
    () => running.child.exitCode !== null || fs.readdirSync(`/proc/${running.pid}/task`).length,
    'it',
  )
  await receiver.stop('SIGKILL')
  fs.rmSync(`${p.dir}/log`)
  receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const { stdout, stderr } = await running
  t.is(stdout, 'logged\ntrue\n')
  const lines = stderr.trimEnd().split('\n')
  assertAll(t, numbers(lines), 3000)
  t.is(lines[0], 'perror: number 0')
  await receiver.stop()
})

test('LOG_PERROR does not wait for a logger that takes nothing, nor for what was logged without it', async (t) => {
  const p = place(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  receiver.signal('SIGSTOP')
  const script = p.write(
    'full.mjs',
    logging(`
    syslog.openlog('full', 0, syslog.LOG_USER, transport)
    for (let n = 0; n < 3000; n++) syslog.syslog('number ' + n)
    await syslog.flush(100)
    syslog.openlog('shown', syslog.LOG_PERROR, syslog.LOG_USER, transport)
    for (const word of ['one', 'two']) {
      syslog.syslog(word)
      while (!fs.existsSync(process.env.DIR + '/' + word)) await sleep(5)
    }
    process.exit()`),
  )
  const running = run(p, script, [], { env: local(p) })
  let told = ''
  running.child.stderr.on('data', (data) => {
    told += data
  })
  for (const word of ['one', 'two']) {
    await until(() => told.includes(`shown: ${word}\n`), `'${word}' on stderr`)
    p.write(word, '')
  }
  receiver.signal('SIGCONT')
  const { status, stderr } = await running
  t.deepEqual([status, stderr], [0, 'shown: one\nshown: two\n'])
  await receiver.stop()
})

// A try to reach the logger takes longer than the end of a process waits for one that was never reached.
const SLOW = faults('connect:delay_enter=300000')

for (const [option, shown] of [
  ['LOG_PERROR', ({ stderr }) => stderr],
  ['LOG_CONS', ({ console }) => fs.readFileSync(console, 'utf8')],
]) {
  const title = `${option} shows the last words of a process, however long a try to reach the logger takes`
  testIf(isRoot && withStrace === test)(title, async (t) => {
    const p = place(t)
    const console = p.write('console', '')
    const script = p.write(
      'last.mjs',
      logging(`
      syslog.openlog('last', syslog.${option}, syslog.LOG_USER, transport)
      syslog.syslog('first')
      await sleep(50)
      syslog.syslog('last words')
      process.exit()`),
    )
    // Nobody listens there. Where there is no such file, stderr would get the messages in any case.
    p.write('log', '')
    const inside = 'mount --bind "$1" /dev/console && shift && exec "$@"'
    const args = ['-m', 'sh', '-c', inside, 'sh', console, 'strace', ...SLOW, process.execPath, script]
    const ended = await command(p, 'unshare', args, { env: local(p) })
    t.is(ended.status, 0, ended.stderr)
    t.true(shown({ ...ended, console }).includes('last: last words\n'))
  })
}

asRoot(
  'LOG_CONS writes to the console what the logger does not get, and the logger gets it later',
  async (t) => {
    const p = place(t)
    const console = p.write('console', '')
    const script = p.write(
      'cons.mjs',
      logging(`
    syslog.openlog('cons', syslog.LOG_CONS | syslog.LOG_NDELAY, syslog.LOG_USER, transport)
    const { existsSync } = fs
    // This is not the case "without any logger", because there was one.
    await sleep(10)
    while (!syslog.stats().connected) await sleep(10)
    say('connected')
    while (existsSync(transport.path)) await sleep(10)
    for (let n = 0; n < 10; n++) syslog.syslog('number ' + n)
    while (!fs.readFileSync('/dev/console', 'utf8').includes('number 9')) await sleep(10)
    say(fs.readFileSync('/dev/console', 'utf8'))
    for (let n = 10; n < 20; n++) syslog.syslog('number ' + n)
    while (!fs.readFileSync('/dev/console', 'utf8').includes('number 19')) await sleep(10)
    say('shown again')
    await syslog.flush(20_000)`),
    )
    let receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
    const inside = 'mount --bind "$1" /dev/console && shift && exec "$@"'
    const running = command(
      p,
      'unshare',
      ['-m', 'sh', '-c', inside, 'sh', console, process.execPath, script],
      { env: local(p) },
    )
    const output = printed(running.child)
    await until(() => output().includes('connected'), 'the connection')
    await receiver.stop()
    fs.rmSync(`${p.dir}/log`)
    await until(() => output().includes('shown again'), 'the console')
    receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
    t.is((await running).status, 0)
    await receiver.stop()
    assertAll(t, numbers(receiver.messages()), 20)
    // Unlike a console, a file is written from its beginning each time it is opened. So only the last of each ten
    // messages stays.
    const shown = numbers([...output().split('\n'), ...fs.readFileSync(console, 'utf8').split('\n')])
    t.true(shown.includes(9) && shown.includes(19))
  },
)
