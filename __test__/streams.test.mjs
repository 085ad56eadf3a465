// What a daemon prints arrives as syslog messages: every line, also the last ones before it dies.

import fs from 'node:fs'
import {
  asRoot,
  descriptors,
  isAlive,
  pidIn,
  place,
  proc,
  processesOf,
  run,
  sample,
  test,
  until,
} from './kit.mjs'
import { assertAll, local, numbers, receive, sampleToReceiver } from './receivers.mjs'

const SYSLOG = "stdout: 'syslog', stderr: 'syslog',"
const shape = /^<(\d+)>([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d) ([^:]*): (.*)$/s
/** The messages that arrived: the priority's number, and the text. */
const texts = (receiver) =>
  receiver.messages().map((message) => {
    const [, priority, , , text] = shape.exec(Buffer.from(message, 'latin1').toString())
    return [Number(priority) - 24, text]
  })
const program = ({ options = '', ...more }) => sampleToReceiver({ options: `${SYSLOG} ${options}`, ...more })

test('each line that a daemon or its child prints is a message, and nothing can forge one', async (t) => {
  const p = place(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const before = "import { spawnSync } from 'node:child_process'"
  const body = `async action(signal) {
    console.log('one\\ntwo\\n\\n\\nthree')
    console.error('an error')
    fs.writeSync(1, 'in two ')
    fs.writeSync(1, 'parts\\n<8>Jan  1 00:00:00 root: \\0forged\\x1b[2J\\u0085\\r\\n')
    fs.writeSync(1, Buffer.from([0xff, 0xc3, 0x78, 0xe2, 0x82, 0x0a]))
    process.stdout.write('\\u00e9\\u20ac' + '\\u{1f600}'.repeat(5000) + '\\n')
    spawnSync('sh', ['-c', 'echo from a child; echo and its error >/dev/stderr'], { stdio: 'inherit' })
    process.stdout.write('without its end')
    await once(signal, 'abort')
  }`
  const script = p.write('a.mjs', program({ body, before }))
  const { status, stderr, stdout } = await run(p, script, [], { env: local(p) })
  t.is(status, 0, stderr)
  t.is(stdout, '')
  // A line without a newline comes too, a little later.
  await until(() => texts(receiver).some(([, text]) => text === 'without its end'))
  process.kill(pidIn(p), 'SIGTERM')
  await until(() => processesOf(p).length === 1, 'the end of daemon and relay')
  await receiver.stop()
  const found = texts(receiver)
  const long = found.filter(([, text]) => text.includes('\u{1f600}'))
  t.is(long.map(([, text]) => text).join(''), `\u00e9\u20ac${'\u{1f600}'.repeat(5000)}`)
  t.true(long.length === 3 && long.every(([, text]) => Buffer.byteLength(text) <= 8192))
  const of = (priority) =>
    found
      .filter((one) => one[0] === priority && !long.includes(one))
      .map(([, text]) => text.replace(/^(Ended after) .*/, '$1'))
  t.deepEqual(of(6), [
    'one',
    'two',
    'three',
    'in two parts',
    '<8>Jan  1 00:00:00 root: #000forged#033[2J#302#205#015',
    '#377#303x#342#202',
    'from a child',
    'without its end',
    'Received SIGTERM. Exiting.',
    'Ended after',
  ])
  t.deepEqual(of(3), ['an error', 'and its error'])
})

test('what V8 says when its heap is exhausted arrives, once, and so does all that was printed before', async (t) => {
  const p = place(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const body = `async action() {
    for (let i = 0; i < 20_000; i++) console.log('number ' + i)
    const all = []
    for (;;) all.push(new Array(1000).fill({}))
  }`
  const script = p.write('a.mjs', program({ body }))
  const { status, stderr } = await run(p, script, [], {
    env: local(p),
    execArgv: ['--max-old-space-size=24'],
  })
  t.is(status, 0, stderr)
  await until(() => processesOf(p).length === 1, 'the end of daemon and relay')
  await receiver.stop()
  const found = texts(receiver)
  assertAll(t, numbers(found.map(([, text]) => text)), 20_000)
  const report = found.filter(([priority]) => priority === 3).map(([, text]) => text)
  t.is(
    report.filter((text) => /FATAL ERROR: .* JavaScript heap out of memory/.test(text)).length,
    1,
    report.join('\n'),
  )
  t.true(report.some((text) => text.includes('Native stack trace')))
  t.is(
    new Set(report.filter((text) => /^ *\d+: 0x/.test(text))).size,
    report.filter((text) => /^ *\d+: 0x/.test(text)).length,
  )
})

test('whatever a daemon dies of, what it printed just before arrives, once and with local time', async (t) => {
  const p = place(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const body = `async action() {
    const how = process.argv[2]
    for (let i = 0; i < 500; i++) console.log(how + ' number ' + i)
    process.stderr.write(how + ' last words\\n')
    if (how === 'SIGKILL' || how === 'SIGSEGV') process.kill(process.pid, how)
    if (how === 'abort') process.abort()
    if (how === 'exit') process.exit(0)
    if (how === 'exitNow') this.exitNow(0)
    if (how === 'throw') throw new Error('thrown')
    if (how === 'blocked') for (;;) {}
  }`
  const script = p.write('a.mjs', program({ body, options: 'blockedTimeout: 100,' }))
  const ways = ['SIGKILL', 'SIGSEGV', 'abort', 'exit', 'exitNow', 'throw', 'blocked']
  for (const how of ways) {
    const env = { ...local(p), TZ: 'Asia/Kolkata' }
    const { status, stderr } = await run(p, script, [how], { env })
    t.is(status, 0, stderr)
    if (how === 'blocked') {
      await until(() => fs.readFileSync(`${p.dir}/received`, 'utf8').includes('blocked last words'))
      process.kill(pidIn(p), 'SIGTERM')
    }
    await until(() => processesOf(p).length === 1, `the end by ${how}`)
  }
  await receiver.stop()
  for (const how of ways) {
    const own = texts(receiver).filter(([, text]) => text.startsWith(`${how} `))
    assertAll(t, numbers(own.map(([, text]) => text)), 500)
    t.deepEqual(
      own.filter(([priority]) => priority === 3),
      [[3, `${how} last words`]],
      how,
    )
  }
  const thrown = texts(receiver).filter(([, text]) => text.includes('Error: thrown'))
  t.is(thrown.length, 1)
  // Local time differs by half an hour from UTC, whichever process has sent the message.
  for (const message of receiver.messages()) {
    const stamp = shape.exec(message)[2]
    const behind = Date.now() + 19_800_000 - Date.parse(`${stamp} ${new Date().getUTCFullYear()} UTC`)
    t.true(Math.abs(behind) < 600_000, message)
  }
})

for (const [type, kind] of [
  ['local', 'stream'],
  ['journal', 'datagram'],
]) {
  test(`the last words reach a ${type} logger (${kind}) that was down when the daemon died`, async (t) => {
    const p = place(t)
    const body = `async action() {
      for (let i = 0; i < 2000; i++) console.log('number ' + i)
      await sleep(300)
      process.kill(process.pid, 'SIGKILL')
    }`
    const script = p.write('a.mjs', program({ body }))
    const env = { TRANSPORT: JSON.stringify({ type, path: `${p.dir}/log` }) }
    t.is((await run(p, script, [], { env })).status, 0)
    const pid = pidIn(p)
    await until(() => !isAlive(pid), 'the end of the daemon')
    const receiver = await receive(t, p, kind, `${p.dir}/log`)
    await until(() => processesOf(p).length === 1, 'the end of the relay')
    await receiver.stop()
    const found = receiver.messages()
    assertAll(t, numbers(found), 2000)
    const expected =
      type === 'journal'
        ? /^PRIORITY=6\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=sample\nSYSLOG_PID=PID\nMESSAGE=number 0\n$/
        : /^<30>\w{3} [ \d]\d [\d:]{8} sample\[PID\]: number 0$/
    t.regex(found[0].replaceAll(String(pid), 'PID'), expected)
  })
}

test('a logger that takes nothing does not hold up the daemon: what is too much is counted', async (t) => {
  const p = place(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const body = `async action(signal) {
    const line = 'x'.repeat(990)
    for (let i = 0; i < 40_000; i++) {
      console.log('number ' + i + ' ' + line)
      if (i % 100 === 0) await sleep(0)
    }
    fs.writeFileSync(process.env.DIR + '/done', '')
    await once(signal, 'abort')
  }`
  const script = p.write('a.mjs', program({ body }))
  receiver.signal('SIGSTOP')
  t.is((await run(p, script, [], { env: local(p) })).status, 0)
  // The logger takes nothing before all is printed.
  await until(() => fs.existsSync(`${p.dir}/done`), 'all to be printed')
  receiver.signal('SIGCONT')
  await until(() => fs.readFileSync(`${p.dir}/received`, 'utf8').includes('were dropped'), 'the count')
  process.kill(pidIn(p), 'SIGTERM')
  await until(() => processesOf(p).length === 1, 'the end of the daemon')
  await receiver.stop()
  const found = texts(receiver).map(([, text]) => text)
  const dropped = found.map((text) => Number(/^(\d+) messages were dropped/.exec(text)?.[1] ?? 0))
  const kept = numbers(found)
  t.is(kept.length + dropped.reduce((sum, count) => sum + count), 40_000)
  // The oldest lines are kept, 8 MiB of them.
  assertAll(t, kept.slice(0, 8000), 8000)
})

test('the relay is small, holds nothing of the daemon, and is seen by nothing that waits for children', async (t) => {
  const p = place(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const before = `import { execFileSync } from 'node:child_process'
    const large = isDaemon ? [Buffer.alloc(300 << 20, 1), new Array(1e6).fill(1.5)] : []`
  const body = `async action(signal) {
    execFileSync('true')
    await once(signal, 'abort')
    fs.writeFileSync(process.env.DIR + '/large', String(large[0][1] + large[1][1]))
  }
  async onSignal(signal) {
    fs.appendFileSync(process.env.DIR + '/signals', signal + '\\n')
    await super.onSignal(signal)
  }`
  const options = 'cwd: process.env.DIR, keepFds: [],'
  const script = p.write(
    'a.mjs',
    program({ body, before, options, last: 'await new Sample(options).serviced()' }),
  )
  t.is((await run(p, script, ['start'], { env: local(p) })).status, 0)
  const pid = pidIn(p)
  const relay = processesOf(p).find((one) => one !== pid && one !== receiver.pid)
  const found = proc(relay)
  t.is(found.ppid, pid)
  t.is(found.status.Name, 'to-syslog')
  t.regex(fs.readFileSync(`/proc/${relay}/cmdline`, 'utf8'), /^sample: its output to syslog/)
  t.is(fs.readlinkSync(`/proc/${relay}/cwd`), '/')
  t.deepEqual(
    Object.values(descriptors(relay))
      .map((to) => to.split(':')[0])
      .sort(),
    ['pipe', 'pipe', 'pipe'],
  )
  let rollup
  const kib = (name) => Number(new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(rollup)[1])
  await until(() => {
    rollup = fs.readFileSync(`/proc/${relay}/smaps_rollup`, 'utf8')
    return kib('Rss') < 8 << 10
  }, 'the daemon’s memory to be given back')
  t.true(kib('Anonymous') < 4 << 10, rollup)
  // If somebody kills the relay, it is replaced. A process that waits for children does not notice.
  process.kill(relay, 'SIGTERM')
  process.kill(relay, 'SIGKILL')
  await until(() => !isAlive(relay))
  await until(() => processesOf(p).length === 3, 'another relay')
  t.is(proc(relay), undefined, 'no zombie is left')
  const { stdout } = await run(p, script, ['status', '--json'], { env: local(p) })
  t.is(JSON.parse(stdout).pid, pid)
  t.is((await run(p, script, ['stop'], { env: local(p) })).status, 0)
  t.deepEqual(fs.readFileSync(`${p.dir}/signals`, 'utf8').split('\n').filter(Boolean), ['SIGCHLD', 'SIGTERM'])
  t.is(fs.readFileSync(`${p.dir}/large`, 'utf8'), '2.5')
  await until(() => processesOf(p).length === 1, 'the end of the relay')
  await receiver.stop()
  t.is(texts(receiver).filter(([priority, text]) => priority === 4 && /was killed/.test(text)).length, 1)
})

test('a start that fails leaves no relay, and shows what was printed', async (t) => {
  const p = place(t)
  const setup = "async setup() { console.log('shown'); throw new Error('no luck') }"
  const script = p.write(
    'a.mjs',
    sample({ body: setup, options: SYSLOG, last: 'await new Sample(options).serviced()' }),
  )
  const { status, stderr } = await run(p, script, ['start'])
  t.is(status, 1)
  t.regex(stderr, /no luck/)
  await until(() => processesOf(p).length === 0)
})

test('what openlog and setlogmask have set last counts for what is printed after the daemon is dead', async (t) => {
  const p = place(t)
  const early = await receive(t, p, 'datagram', `${p.dir}/log`)
  const before = "import { spawn } from 'node:child_process'"
  // The shell prints when its standard input ends, and that is with the daemon.
  const body = `async action() {
    const path = process.env.DIR + '/later'
    syslog.openlog('early', 0, syslog.LOG_LOCAL1, { type: 'local', path })
    syslog.openlog('later', 0, syslog.LOG_LOCAL3, { type: 'local', path })
    syslog.setlogmask(syslog.LOG_UPTO(syslog.LOG_ERR))
    const script = 'cat; echo masked; echo shown >&2'
    spawn('sh', ['-c', script], { stdio: ['pipe', 'inherit', 'inherit'] })
    process.kill(process.pid, 'SIGKILL')
  }`
  const script = p.write('a.mjs', program({ body, before }))
  t.is((await run(p, script, [], { env: local(p) })).status, 0)
  const pid = pidIn(p)
  await until(() => !isAlive(pid), 'the end of the daemon')
  const later = await receive(t, p, 'datagram', `${p.dir}/later`)
  await until(() => processesOf(p).length === 2, 'the end of child and relay')
  await Promise.all([early.stop(), later.stop()])
  t.deepEqual(
    later.messages().map((message) => message.replace(/>.{15} /, '> ')),
    ['<155> later: shown'],
  )
})

test('a child that outlives the daemon is still read', async (t) => {
  const p = place(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const before = "import { spawn } from 'node:child_process'"
  const body = `async action(signal) {
    const script = 'while ! test -e go; do sleep 0.05; done; echo from the child'
    spawn('sh', ['-c', script], { stdio: 'inherit', detached: true, cwd: process.env.DIR })
    await once(signal, 'abort')
  }`
  const script = p.write('a.mjs', program({ body, before }))
  t.is((await run(p, script, [], { env: local(p) })).status, 0)
  const pid = pidIn(p)
  process.kill(pid, 'SIGTERM')
  await until(() => !isAlive(pid))
  fs.writeFileSync(`${p.dir}/go`, '')
  await until(() => processesOf(p).length === 1, 'the end of child and relay')
  await receiver.stop()
  t.true(texts(receiver).some(([, text]) => text === 'from the child'))
})

asRoot(
  'where privileges are dropped, the relay has none either, and /dev/stdout can be opened',
  async (t) => {
    const p = place(t)
    fs.chmodSync(p.dir, 0o755)
    const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
    fs.chmodSync(`${p.dir}/log`, 0o666)
    const before = "import { execFileSync } from 'node:child_process'"
    const body = `async action() {
    execFileSync('sh', ['-c', 'echo opened >/dev/stdout'], { stdio: 'inherit' })
    console.log('number 0')
    if (process.argv[2] === 'die') process.abort()
  }
  async shutdown() { console.log('number 1') }`
    const script = p.write('a.mjs', program({ body, before, options: "user: 'nobody'," }))
    t.is((await run(p, script, ['live'], { env: local(p) })).status, 0)
    await until(() => processesOf(p).length === 1, 'the end')
    const waiting = program({
      body: "async action(signal) { await once(signal, 'abort') }",
      options: "user: 'nobody',",
    })
    t.is((await run(p, p.write('b.mjs', waiting), [], { env: local(p) })).status, 0)
    const pid = pidIn(p)
    const uids = processesOf(p)
      .filter((one) => one !== receiver.pid)
      .map((one) => proc(one).status.Uid)
    t.deepEqual(uids, Array(2).fill('65534\t65534\t65534\t65534'))
    process.kill(pid, 'SIGKILL')
    t.is((await run(p, script, ['die'], { env: local(p) })).status, 0)
    await until(() => processesOf(p).length === 1, 'the end')
    await receiver.stop()
    const found = texts(receiver).map(([, text]) => text)
    t.deepEqual(numbers(found), [0, 1, 0])
    t.is(found.filter((text) => text === 'opened').length, 2)
  },
)

test('attached, a daemon prints to syslog as well, and nothing goes there twice', async (t) => {
  const p = place(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const body = `async action() {
    syslog.openlog('sample', syslog.LOG_PERROR, syslog.LOG_DAEMON, transport)
    console.log('printed')
    syslog.syslog('logged')
    throw new Error('thrown')
  }`
  const options = 'syslogOptions: syslog.LOG_PERROR,'
  const before = 'console.error("before")'
  const script = p.write(
    'a.mjs',
    program({ body, options, before, last: 'await new Sample(options).serviced()' }),
  )
  const { status, stdout, stderr } = await run(p, script, ['run'], { env: local(p) })
  t.is(status, 1)
  t.is(stdout, '')
  t.is(stderr, 'before\n')
  await until(() => processesOf(p).length === 1, 'the end of the relay')
  await receiver.stop()
  const found = texts(receiver).map(([, text]) => text)
  t.deepEqual(found.map((text) => /printed|logged|Error: thrown|Ended after/.exec(text)?.[0]).sort(), [
    'Ended after',
    'Error: thrown',
    'logged',
    'printed',
  ])
})

test("an output is an absolute path or 'syslog'", async (t) => {
  const p = place(t)
  const last = `for (const stdout of ['relative', 'SYSLOG', '', 7]) {
    try { new Sample({ ...options, stdout }) } catch ({ code, message }) { console.log(code, message) }
  }`
  const { stdout } = await run(p, p.write('a.mjs', sample({ last })))
  const must = "`stdout` must be an absolute path or 'syslog'; got"
  t.deepEqual(stdout.split('\n'), [
    `ERR_INVALID_ARG_VALUE ${must} 'relative'`,
    `ERR_INVALID_ARG_VALUE ${must} 'SYSLOG'`,
    `ERR_INVALID_ARG_VALUE ${must} ''`,
    `ERR_INVALID_ARG_TYPE ${must} 7`,
    '',
  ])
})
