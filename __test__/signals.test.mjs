// The signals of a daemon: all of them reach `onSignal`, one at a time, and SIGTERM ends the daemon in order.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { LINES, nodeOf } from '../scripts/nodes.mjs'
import {
  command,
  descriptors,
  environment,
  isAlive,
  pidIn,
  place,
  proc,
  processesOf,
  read,
  run,
  sample,
  sleep,
  test,
  testIf,
  until,
} from './kit.mjs'
import { logged, notes, noting, reaped, start } from './living.mjs'

const SIGNALS = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGALRM', 'SIGUSR1', 'SIGUSR2', 'SIGCHLD', 'SIGPIPE']
const OTHERS = SIGNALS.filter((signal) => signal !== 'SIGTERM')
const exited = (status) => ({ status, signal: 0 })

/** Sends a signal, and waits until the daemon has noted `line` once more. */
async function send(p, pid, signal, line = `seen ${signal}`) {
  const count = () => notes(p).filter((note) => note === line).length
  const before = count()
  process.kill(pid, signal)
  await until(() => count() > before, `the note '${line}'`)
}

/** A listener of the program's own, beside ours, notes what the event loop has seen. */
const SEEN = `for (const signal of ${JSON.stringify(SIGNALS)}) process.on(signal, () => note('seen ' + signal))`

test('where no daemon lives, the default onSignal ends the process at SIGTERM, and does nothing at others', async (t) => {
  const p = place(t)
  const before = `process.on('exit', () => console.log('the end'))`
  const last = `const sample = new Sample(options)
    for (const signal of ${JSON.stringify([...OTHERS, 'SIGTERM'])}) {
      console.log(signal)
      await sample.onSignal(signal)
    }
    console.log('still here')`
  const script = p.write('a.mjs', sample({ before, last }))
  const { status, stdout } = await run(p, script)
  t.deepEqual(stdout.trimEnd().split('\n'), [...OTHERS, 'SIGTERM', 'the end'])
  t.is(status, 0)
})

test('all eight reach onSignal one at a time, in the order in which they came', async (t) => {
  const p = place(t)
  const body = `setup() { ${SEEN} }
  async onSignal(signal) {
    note('begin ' + signal)
    while (!fs.existsSync(process.env.DIR + '/go')) await sleep(5)
    note('end ' + signal)
  }`
  const { pid } = await start(t, p, p.write('a.mjs', noting({ body })))
  for (const signal of SIGNALS) await send(p, pid, signal)
  const handled = () => notes(p).filter((note) => !note.startsWith('seen'))
  t.deepEqual(handled(), ['begin SIGTERM'], 'the first keeps the others waiting')
  fs.writeFileSync(`${p.dir}/go`, '')
  await until(() => handled().length === 16, 'all to be handled')
  t.deepEqual(
    handled(),
    SIGNALS.flatMap((signal) => [`begin ${signal}`, `end ${signal}`]),
  )
  t.true(isAlive(pid), 'SIGTERM was swallowed')
})

test('by default SIGTERM is logged and ends the daemon with status 0, and all others are ignored', async (t) => {
  const p = place(t)
  const daemon = await start(t, p, p.write('a.mjs', noting({ body: `setup() { ${SEEN} }` })))
  for (const signal of OTHERS) await send(p, daemon.pid, signal)
  process.kill(daemon.pid, 'SIGTERM')
  t.deepEqual(await daemon.end(), exited(0))
  t.is(logged(p), 'sample: Received SIGTERM. Exiting.\n')
  t.deepEqual(fs.readdirSync(p.run), [])
})

for (const [when, { before = '', setup = '' }] of Object.entries({
  'the script runs, before start()': { before: 'if (isDaemon) await held()' },
  'setup runs': { setup: 'await held()' },
})) {
  test(`in the background, signals that come while ${when} end no start: they are onSignal's`, async (t) => {
    const p = place(t)
    const held = `async function held() {
      fs.writeFileSync(process.env.DIR + '/pid', String(process.pid))
      while (!fs.existsSync(process.env.DIR + '/go')) await sleep(5)
    }`
    const body = `async setup() { ${setup} }
    async onSignal(signal) {
      fs.appendFileSync(process.env.DIR + '/signals', signal + '\\n')
      await super.onSignal(signal)
    }`
    const starting = run(p, p.write('a.mjs', sample({ before: `${held}\n${before}`, body })))
    const pid = await until(() => fs.existsSync(`${p.dir}/pid`) && Number(fs.readFileSync(`${p.dir}/pid`)))
    const sent = OTHERS.filter((signal) => signal !== 'SIGCHLD' && signal !== 'SIGPIPE')
    // Node's own listener takes SIGUSR1 while it boots.
    const awaited = before === '' ? sent : sent.filter((signal) => signal !== 'SIGUSR1')
    for (const signal of sent) process.kill(pid, signal)
    fs.writeFileSync(`${p.dir}/go`, '')
    t.like(await starting, { status: 0, stderr: '' })
    const seen = () => read(`${p.dir}/signals`)
    await until(() => awaited.every((signal) => seen().includes(signal)), 'the signals')
    t.is(pidIn(p), pid)
    t.true(isAlive(pid))
  })
}

test('attached, SIGINT is as SIGTERM', async (t) => {
  const p = place(t)
  const script = p.write(
    'a.mjs',
    noting({
      options: 'detach: false,',
      body: `action(signal) { ${SEEN}; note('up'); return once(signal, 'abort') }`,
    }),
  )
  for (const ending of ['SIGINT', 'SIGTERM']) {
    const daemon = run(p, script)
    await until(() => notes(p).includes('up'), 'the action')
    for (const signal of OTHERS.filter((s) => s !== 'SIGINT')) await send(p, daemon.pid, signal)
    daemon.child.kill(ending)
    const { status, signal } = await daemon
    t.deepEqual([status, signal], [0, null])
    t.is(logged(p), `sample: Received ${ending}. Exiting.\n`)
    for (const file of ['notes', 'log']) fs.rmSync(`${p.dir}/${file}`)
  }
})

test('an onSignal that throws is logged with its stack and the daemon goes on; for SIGTERM it ends with status 1', async (t) => {
  const p = place(t)
  const body = `async onSignal(signal) {
    note(signal)
    if (signal === 'SIGHUP') throw new SyntaxError('a bad configuration file')
    if (signal === 'SIGUSR2') return Promise.reject('no Error at all')
    if (signal === 'SIGTERM') throw new Error('no good at ending')
  }
  shutdown() { note('shutdown') }`
  const daemon = await start(t, p, p.write('a.mjs', noting({ body })))
  for (const signal of ['SIGHUP', 'SIGUSR2', 'SIGHUP', 'SIGALRM']) await send(p, daemon.pid, signal, signal)
  await until(() => logged(p).includes('a bad configuration file'), 'the log')
  t.regex(logged(p), /^sample: SyntaxError: a bad configuration file#012 {4}at Sample\.onSignal \(.*a\.mjs/)
  process.kill(daemon.pid, 'SIGTERM')
  t.deepEqual(await daemon.end(), exited(1))
  t.deepEqual(notes(p).slice(-2), ['SIGTERM', 'shutdown'])
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('an onSignal that never settles keeps the next signals waiting, SIGTERM too', async (t) => {
  const p = place(t)
  const body = `setup() { ${SEEN} }
  async onSignal(signal) { note(signal); if (signal === 'SIGHUP') await new Promise(() => {}); await super.onSignal(signal) }`
  const script = p.write(
    'a.mjs',
    noting({
      body,
      options: 'stopTimeout: 300, blockedTimeout: 200,',
      last: 'await new Sample(options).serviced()',
    }),
  )
  const daemon = await start(t, p, script, ['start'])
  await send(p, daemon.pid, 'SIGHUP')
  await send(p, daemon.pid, 'SIGUSR1')
  await send(p, daemon.pid, 'SIGTERM')
  t.deepEqual(
    notes(p).filter((note) => !note.startsWith('seen')),
    ['SIGHUP'],
  )
  // The event loop is not blocked: the guard has nothing to say. `stop` has.
  t.is((await run(p, script, ['stop'])).status, 0)
  t.deepEqual(await daemon.end(), { status: 0, signal: 9 })
  t.is(logged(p), '')
})

test('a second SIGTERM during shutdown changes nothing, and of several exit codes the first counts', async (t) => {
  const p = place(t)
  const body = `setup() { ${SEEN} }
  async onSignal(signal) {
    if (signal === 'SIGHUP') await this.exit(3)
    await super.onSignal(signal)
  }
  async shutdown() {
    note('shutdown')
    void this.exit(4)
    while (!fs.existsSync(process.env.DIR + '/go')) await sleep(5)
    note('done')
  }`
  const script = p.write('a.mjs', noting({ body }))
  for (const [first, code] of [
    ['SIGTERM', 0],
    ['SIGHUP', 3],
  ]) {
    const daemon = await start(t, p, script)
    await send(p, daemon.pid, first, 'shutdown')
    for (const signal of SIGNALS) await send(p, daemon.pid, signal)
    t.is(notes(p).filter((note) => note === 'shutdown').length, 1)
    fs.writeFileSync(`${p.dir}/go`, '')
    t.deepEqual(await daemon.end(), exited(code))
    t.is(notes(p).at(-1), 'done')
    for (const file of ['go', 'notes']) fs.rmSync(`${p.dir}/${file}`)
  }
  t.is(logged(p), 'sample: Received SIGTERM. Exiting.\n')
})

test('listeners of the program’s own are called as well, and what they throw keeps no signal from onSignal', async (t) => {
  const p = place(t)
  const body = `onSignal(signal) { note('onSignal ' + signal); return super.onSignal(signal) }`
  const before = `process.on('uncaughtException', (error) => note(error.message))
  process.on('SIGHUP', () => note('first')).on('SIGTERM', () => { throw new Error('thrown') })`
  const last = `const started = new Sample(options).start()
  process.on('SIGHUP', () => note('second'))
  await started`
  const daemon = await start(t, p, p.write('a.mjs', noting({ body, before, last })))
  await send(p, daemon.pid, 'SIGHUP', 'onSignal SIGHUP')
  t.deepEqual(notes(p), ['first', 'second', 'onSignal SIGHUP'])
  process.kill(daemon.pid, 'SIGTERM')
  t.deepEqual(await daemon.end(), exited(0))
  t.deepEqual(notes(p).slice(3), ['thrown', 'onSignal SIGTERM'])
  // An error with which a listener of the program has dealt is logged nevertheless.
  t.regex(logged(p), /^sample: Error: thrown#012.*\nsample: Received SIGTERM\. Exiting\.\n$/)
})

test('one that blocks the event loop is ended by the guard, though it was called', async (t) => {
  const p = place(t)
  const body = `setup() { process.on('SIGTERM', () => { for (;;) {} }) }`
  const daemon = await start(t, p, p.write('a.mjs', noting({ body, options: 'blockedTimeout: 200' })))
  process.kill(daemon.pid, 'SIGTERM')
  t.deepEqual(await daemon.end(), exited(143))
  t.regex(logged(p), /The event loop of sample is blocked: SIGTERM was not taken within 200 ms/)
})

test('a program that takes all listeners of a signal away and adds its own gets it, and onSignal does not', async (t) => {
  const p = place(t)
  const body = `async action(signal) {
    process.removeAllListeners('SIGTERM')
    process.on('SIGTERM', () => { note('own SIGTERM'); if (fs.existsSync(process.env.DIR + '/go')) void this.exit(5) })
    process.removeAllListeners('SIGHUP')
    process.once('SIGHUP', () => note('own SIGHUP'))
    note('up')
    await once(signal, 'abort')
  }
  onSignal(signal) { note('onSignal ' + signal) }`
  const daemon = await start(t, p, p.write('a.mjs', noting({ body, options: 'blockedTimeout: 200' })))
  await until(() => notes(p).includes('up'), 'the action')
  for (const signal of ['SIGTERM', 'SIGTERM', 'SIGHUP']) await send(p, daemon.pid, signal, `own ${signal}`)
  await send(p, daemon.pid, 'SIGUSR2', 'onSignal SIGUSR2')
  // This is longer than the loop may be blocked, with the guard's margin.
  await sleep(1200)
  fs.writeFileSync(`${p.dir}/go`, '')
  process.kill(daemon.pid, 'SIGTERM')
  t.deepEqual(await daemon.end(), exited(5))
  t.false(notes(p).some((note) => /onSignal SIG(TERM|HUP)/.test(note)))
  t.is(logged(p), '')
})

test('10,000 mixed signals under load: no crash, and onSignal one at a time', async (t) => {
  const p = place(t)
  const body = `async action(signal) {
    const fill = () => { if (!signal.aborted) fs.promises.readFile(process.execPath).then(fill, note) }
    fill()
    await once(signal, 'abort')
  }
  async onSignal(signal) {
    if (this.inside) note('two at once')
    this.inside = true
    this.counts = { ...this.counts, [signal]: (this.counts?.[signal] ?? 0) + 1 }
    await sleep(Math.random() < 0.1 ? 1 : 0)
    this.inside = false
    if (!fs.existsSync(process.env.DIR + '/enough')) return
    note(JSON.stringify(this.counts))
    await super.onSignal(signal)
  }`
  const daemon = await start(t, p, p.write('a.mjs', noting({ body, options: 'blockedTimeout: 60_000' })))
  for (let i = 0; i < 10_000; i++) {
    process.kill(daemon.pid, SIGNALS[(i * 7919 + (i >> 3)) % 8])
    if (i % 50 === 0) await sleep(1)
  }
  fs.writeFileSync(`${p.dir}/enough`, '')
  process.kill(daemon.pid, 'SIGTERM')
  t.deepEqual(await daemon.end(), exited(0))
  t.false(notes(p).includes('two at once'))
  const counts = JSON.parse(notes(p).at(-1))
  for (const signal of SIGNALS) t.true(counts[signal] > 1, `${signal}: ${counts[signal]}`)
  t.is(logged(p), 'sample: Received SIGTERM. Exiting.\n')
})

const cli = (more) => noting({ last: 'await new Sample(options).serviced()', ...more })

for (const [when, body, before, says] of [
  ['is imported', '', "if (isDaemon) { note('here'); await sleep(60_000) }", /was killed by SIGTERM/],
  [
    'waits in setup',
    "async setup() { note('here'); await sleep(60_000) }",
    '',
    /Received SIGTERM while starting/,
  ],
  ['blocks in setup', "setup() { note('here'); for (;;) {} }", '', /exited with status 143/],
]) {
  test(`SIGTERM while it ${when} ends the start, and nothing is left`, async (t) => {
    const p = place(t)
    const launcher = run(p, p.write('a.mjs', cli({ body, before, options: 'blockedTimeout: 200' })), [
      'start',
    ])
    await until(() => notes(p).includes('here'), 'the step')
    process.kill(pidIn(p), 'SIGTERM')
    const { status, stderr } = await launcher
    t.is(status, 1)
    t.regex(stderr, says)
    t.deepEqual([processesOf(p), fs.readdirSync(p.run)], [[], []])
  })
}

test('SIGTERM at any moment of a start ends the start or the daemon, each in its way', async (t) => {
  const p = place(t)
  const body = `async setup() { await sleep(20) }
  action(signal) { process.on('exit', (code) => note('status ' + code)); return once(signal, 'abort') }`
  const script = p.write('a.mjs', cli({ body }))
  const seen = { failed: 0, started: 0 }
  for (let round = 0; round < 16; round++) {
    fs.rmSync(`${p.dir}/notes`, { force: true })
    const launcher = run(p, script, ['start'])
    const pid = await until(() => fs.existsSync(p.pidFile()) && pidIn(p), 'the pidfile')
    await sleep(round * 8)
    process.kill(pid, 'SIGTERM')
    const { status, stderr } = await launcher
    await until(() => !isAlive(pid), 'the end')
    t.deepEqual([processesOf(p), fs.readdirSync(p.run)], [[], []])
    if (status === 0) t.true(notes(p).every((note) => note === 'status 0'))
    else t.regex(stderr, /SIGTERM/)
    seen[status === 0 ? 'started' : 'failed']++
  }
  t.true(seen.failed > 0, 'some ended the start')
})

test('SIGTERM between "ready" and "go" ends the daemon in its own way, even one whose action blocks', async (t) => {
  const p = place(t)
  const before = `process.env.LAUNCHER ??= String(process.pid)`
  const body = `setup() {
    process.on('SIGTERM', () => note('seen SIGTERM'))
    process.kill(Number(process.env.LAUNCHER), 'SIGSTOP')
    setImmediate(() => process.kill(process.pid, 'SIGTERM'))
  }
  action() { for (;;) {} }
  shutdown() { note('shutdown') }`
  const script = p.write('a.mjs', noting({ before, body }))
  const reaper = reaped(p, process.execPath, [script])
  await until(() => notes(p).includes('seen SIGTERM'), 'the signal')
  const pid = pidIn(p)
  const [launcher] = processesOf(p).filter((other) => proc(other).state === 'T')
  process.kill(launcher, 'SIGCONT')
  t.deepEqual(await reaper.first(), exited(0))
  t.deepEqual(await reaper.end(pid), exited(0))
  t.deepEqual(notes(p), ['seen SIGTERM', 'shutdown'])
})

// Follows a launcher to its guardian and on to the daemon, and sends that signal after signal.
const STORM = `
sub child {
  my $pid = shift;
  while (-d "/proc/$pid") {
    for (glob "/proc/$pid/task/*/children") {
      open my $f, '<', $_ or next;
      return $1 if (<$f> // '') =~ /([0-9]+)/;
    }
  }
  exit 1;
}
$| = 1;
print 'ready';
chomp(my $launcher = <STDIN>);
my $daemon = child(child($launcher));
my $count = 0;
$SIG{TERM} = sub { print $count; exit };
# With a breath between the squalls: one storm without end leaves a process no time for its own work.
while (kill 'USR1', $daemon) {
  select undef, undef, undef, 0.0002 if ++$count % 50 == 0;
}
die "after $count signals";
`

/** The TCP ports that a process listens on, by the inodes of its sockets (proc_pid_net(5)). */
function listening(pid) {
  const inodes = Object.values(descriptors(pid)).flatMap(
    (leads) => /^socket:\[(\d+)\]$/.exec(leads)?.[1] ?? [],
  )
  return ['tcp', 'tcp6']
    .flatMap((name) => fs.readFileSync(`/proc/${pid}/net/${name}`, 'utf8').split('\n').slice(1))
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , , state, , , , , , inode]) => state === '0A' && inodes.includes(inode))
    .map(([, local]) => Number.parseInt(local.split(':')[1], 16))
}

/** A test on the Node of a release line; it is named as skipped if that is not installed (scripts/nodes.mjs). */
const onNode = (line, title, what) => testIf(fs.existsSync(nodeOf(line)))(title, what)

for (const line of LINES) {
  onNode(
    line,
    `a storm of SIGUSR1 from its first moment on opens no debugger port (Node ${line})`,
    async (t) => {
      const p = place(t)
      const body = `async onSignal(signal) {
      if (signal !== 'SIGUSR1') return super.onSignal(signal)
      if (!this.told || fs.existsSync(process.env.DIR + '/calm')) note('SIGUSR1')
      this.told = true
    }`
      const script = p.write('a.mjs', cli({ body }))
      for (let storms = 0; storms < 3; ) {
        const storm = spawn('perl', ['-e', STORM], {
          env: environment(p),
          stdio: ['pipe', 'pipe', 'inherit'],
        })
        await once(storm.stdout, 'data')
        const launcher = command(p, nodeOf(line), [script, 'start'])
        storm.stdin.write(`${launcher.pid}\n`)
        const { status, stderr } = await launcher
        t.is(status, 0, stderr)
        const pid = pidIn(p)
        t.deepEqual(listening(pid), [])
        await sleep(200)
        // On a busy machine the start can be over before the storm has found the daemon: once more.
        if (storm.exitCode !== null) {
          t.is((await run(p, script, ['stop'])).status, 0)
          continue
        }
        storms++
        t.deepEqual(listening(pid), [])
        storm.kill()
        t.true(Number(await once(storm.stdout, 'data')) > 100, 'it was a storm')
        // This comes only now: on a busy machine a storm can leave a process no time for anything else.
        await until(() => notes(p).length > 0, 'onSignal to be called')
        t.deepEqual(listening(pid), [])
        fs.writeFileSync(`${p.dir}/calm`, '')
        await sleep(20)
        const before = notes(p).length
        process.kill(pid, 'SIGUSR1')
        await until(() => notes(p).length > before, 'a last SIGUSR1')
        t.is((await run(p, script, ['stop'])).status, 0)
        for (const file of ['calm', 'notes']) fs.rmSync(`${p.dir}/${file}`)
      }
    },
  )
}
