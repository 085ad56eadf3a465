// The hand-over from launcher to daemon is private: it leaves no trace, it reaches no other process, and nobody
// can forge it by setting variables by hand.

import fs from 'node:fs'
import { join } from 'node:path'
import {
  command,
  end,
  environmentOf,
  isAlive,
  library,
  pidIn,
  place,
  proc,
  processesOf,
  run,
  sample,
  test,
  until,
} from './kit.mjs'

const VARIABLE = 'TSDAEMONIZE_HANDOVER'
const read = (p, name) => fs.readFileSync(join(p.dir, name), 'utf8')

test('no trace of it is in the environment of the daemon, nor of its children', async (t) => {
  const p = place(t)
  const source = sample({
    before: `import { spawn } from 'node:child_process'
const inherited = fs.readFileSync('/proc/self/environ', 'latin1')
const child = () => {
  const { pid } = spawn('sleep', ['1000'], { stdio: 'ignore' })
  fs.appendFileSync(process.env.DIR + '/children', pid + '\\n')
}`,
    body: `setup() { child(); console.log(JSON.stringify([inherited, Object.keys(process.env)])) }
      async action(signal) { child(); await once(signal, 'abort') }`,
  })
  const { status, stdout } = await run(p, p.write('a.mjs', source))
  t.is(status, 0)
  t.notRegex(stdout, /TSDAEMONIZE/)
  const pid = pidIn(p)
  const children = await until(() => {
    const found = read(p, 'children').trim().split('\n').map(Number)
    return found.length === 2 && found
  })
  for (const each of [pid, ...children]) {
    const environment = environmentOf(each)
    t.true(environment.includes(`DIR=${p.dir}`))
    t.notRegex(environment, /TSDAEMONIZE|[0-9a-f]{32}/)
  }
})

test('a daemon starts another program that uses this package, and itself, as independent daemons', async (t) => {
  const p = place(t)
  p.write('other.mjs', sample({ options: "name: 'other'" }))
  const source = sample({
    before: `import { execFile } from 'node:child_process'
const again = (script) => new Promise((resolve) => {
  execFile(process.execPath, [process.env.DIR + '/' + script], (error, stdout, stderr) => {
    fs.appendFileSync(process.env.DIR + '/told', script + ' ' + (error?.code ?? 0) + ' ' + stderr + '\\n')
    resolve()
  })
})`,
    body: `async setup() { await again('other.mjs') }
      async action(signal) {
        await again('a.mjs')
        const script = process.env.DIR + '/third.mjs'
        const { pid } = await new Daemon({ name: 'third', pidFilePath: process.env.RUN, script }).start()
        fs.writeFileSync(process.env.DIR + '/third', String(pid))
        await once(signal, 'abort')
      }`,
  })
  p.write('third.mjs', sample({ options: "name: 'third'" }))
  t.is((await run(p, p.write('a.mjs', source))).status, 0)
  const pid = pidIn(p)
  const third = await until(() => fs.existsSync(join(p.dir, 'third')) && Number(read(p, 'third')))
  t.is(pidIn(p, 'third'), third)
  const other = pidIn(p, 'other')
  t.regex(
    read(p, 'told').replace(/ other: There is no logger here: .*\n/, ' '),
    new RegExp(`^other.mjs 0 \\na.mjs 1 [^]*is already running, with pid ${pid}`),
  )
  t.deepEqual(processesOf(p).sort(), [pid, other, third].sort())
  for (const each of [other, third]) {
    t.is(proc(each).ppid, proc(pid).ppid)
    t.is(proc(each).pgrp, each)
    t.not(proc(each).session, proc(pid).session)
  }
  await end(pid)
  t.true(isAlive(other) && isAlive(third))
})

test('kept by a module that is loaded before the package, it makes a daemon of no other process', async (t) => {
  const p = place(t)
  const first = `import { spawnSync } from 'node:child_process'
    import fs from 'node:fs'
    if (process.env.${VARIABLE} && !process.env.SECOND) {
      fs.writeFileSync(process.env.DIR + '/kept', process.env.${VARIABLE})
      const env = { ...process.env, SECOND: '1' }
      const { status } = spawnSync(process.execPath, [process.env.DIR + '/other.mjs'], { env })
      fs.writeFileSync(process.env.DIR + '/status', String(status))
    }`
  const preload = ['--import', p.write('first.mjs', first)]
  p.write('other.mjs', sample({ options: "name: 'other'", before: 'if (isDaemon) console.log(1)' }))
  const { status, stderr } = await run(p, p.write('a.mjs', sample()), [], { execArgv: preload })
  t.is(status, 0, stderr)
  t.is(read(p, 'status'), '0')
  const kept = read(p, 'kept')
  t.regex(kept, new RegExp(`^${pidIn(p)} `))
  const third = p.write('third.mjs', sample({ options: "name: 'third'", before: 'console.log(isDaemon)' }))
  const again = await run(p, third, [], { env: { [VARIABLE]: kept } })
  t.is(again.stdout, 'false\ntrue\n')
  t.deepEqual(processesOf(p).sort(), ['sample', 'other', 'third'].map((name) => pidIn(p, name)).sort())
})

// Becomes the program, with a forged hand-over. Prints what arrived at the other end of its socket. It knows the
// program's pid before, because exec keeps the pid.
const FORGER = `
use Socket;
use POSIX ();
my ($variable, $value, $said, @program) = @ARGV;
$^F = 1000; # no close-on-exec
socketpair my $mine, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC or die $!;
POSIX::dup2(fileno $theirs, 20);
syswrite $mine, pack 'H*', $said;
my $pid = $$;
if (!fork) {
  close $theirs;
  POSIX::close(20);
  my $got = do { local $/; <$mine> };
  print 'got ', length($got // '');
  exit;
}
close $mine;
$ENV{$variable} = $value =~ s/PID/$pid/r =~ s/BYTES/\\xff\\xfe/r;
exec @program;
`
const NONCE = 'f'.repeat(32)
function frame(text, nonce = NONCE) {
  const payload = Buffer.from(nonce + text)
  const head = Buffer.alloc(5)
  head.write('H')
  head.writeUInt32LE(payload.length, 1)
  return Buffer.concat([head, payload]).toString('hex')
}
const forgedHello = (p) =>
  frame(
    JSON.stringify({
      name: 'sample',
      place: { dir: p.run, name: 'sample', private: false },
      startTimeout: 1000,
      earlier: [],
    }),
  )

const forgeries = {
  'an empty value': () => ['', ''],
  garbage: () => ['none of this', ''],
  'bytes that are no text': () => ['PID BYTES', ''],
  'a very long value': () => [`PID 20 -1 ${'f'.repeat(100_000)}`, ''],
  'numbers that overflow': () => ['PID 99999999999 99999999999 x', ''],
  'negative numbers': () => [`PID -1 -1 ${NONCE}`, ''],
  "another process's pid": (p) => [`1 20 -1 ${NONCE}`, forgedHello(p)],
  'a descriptor that is closed': () => [`PID 777 -1 ${NONCE}`, ''],
  'standard input for a descriptor': () => [`PID 0 -1 ${NONCE}`, ''],
  'a socket that says nothing': () => [`PID 20 -1 ${NONCE}`, ''],
  'a socket that says something else': () => [
    `PID 20 -1 ${NONCE}`,
    Buffer.from('GET / HTTP/1.1').toString('hex'),
  ],
  'a socket that says another number': (p) => [`PID 20 -1 ${NONCE}`, frame(p.run, '0'.repeat(32))],
  'a socket that says the same number and nonsense': () => [`PID 20 -1 ${NONCE}`, frame('nonsense')],
  'a socket that says all that a launcher says': (p) => [`PID 20 -1 ${NONCE}`, forgedHello(p)],
  'such a socket, and a descriptor for the pidfile': (p) => [`PID 20 0 ${NONCE}`, forgedHello(p)],
}

for (const [what, forge] of Object.entries(forgeries)) {
  test(`set by hand, it has no effect: ${what}`, async (t) => {
    const p = place(t)
    const script = p.write('a.mjs', sample({ before: 'console.log(isDaemon)' }))
    const [value, said] = forge(p)
    const program = [process.execPath, script]
    const { stdout, stderr, status } = await command(p, 'perl', [
      '-e',
      FORGER,
      VARIABLE,
      value,
      said,
      ...program,
    ])
    t.is(status, 0, stderr)
    // The program is a launcher, its daemon is a daemon, and the forger's socket got nothing.
    t.deepEqual(stdout.match(/false\n|true\n|got \d+/g).sort(), ['false\n', 'got 0', 'true\n'])
    t.deepEqual(processesOf(p), [pidIn(p)])
  })
}

// The same, but in the position of a real daemon: below a session's leader, in a process group of its own.
const IMITATOR = `
use POSIX ();
POSIX::setsid();
if (my $child = fork) { waitpid $child, 0; exit $? >> 8 }
POSIX::setpgid(0, 0);
POSIX::dup2(POSIX::open('/etc/passwd', 0), 21);
${FORGER.replace("'got ', length($got // '')", '$got')}`

for (const lock of [-1, 0, 21, 777]) {
  test(`a launcher that hands over no lock on the pidfile (${lock}) makes no daemon`, async (t) => {
    const p = place(t)
    const script = p.write('a.mjs', sample())
    const forged = [VARIABLE, `PID 20 ${lock} ${NONCE}`, forgedHello(p)]
    const program = ['-e', IMITATOR, ...forged, process.execPath, script]
    const { stdout, stderr, status } = await command(p, 'perl', program)
    t.is(status, 1, stderr)
    // What its socket got, which a launcher shows.
    t.regex(stdout, /The launcher of this process did not hand over the lock on the pidfile .*sample\.pid/)
    t.regex(stdout, /ERR_DAEMON_PIDFILE/)
    t.deepEqual(processesOf(p), [])
    t.deepEqual(fs.readdirSync(p.run), [])
  })
}

test('other variables of this prefix have no effect, and the daemon gets none of them', async (t) => {
  const p = place(t)
  const env = { TSDAEMONIZE_NAME: 'x', TSDAEMONIZE_HANDOVER: 'x', TSDAEMONIZE_: '' }
  const options = `env: { ...process.env, ...${JSON.stringify(env)} }`
  const { status, stderr } = await run(p, p.write('a.mjs', sample({ options })), [], { env })
  t.is(status, 0, stderr)
  t.notRegex(environmentOf(pidIn(p)), /TSDAEMONIZE/)
})

const WORKER = `import { Daemon, isDaemon } from '${library}'
  import { parentPort } from 'node:worker_threads'
  const sample = new Daemon({ name: 'sample', pidFilePath: process.env.RUN })
  const codes = []
  for (const method of ['start', 'ensure', 'restart']) {
    codes.push(await sample[method]().catch((e) => e.code + ' ' + e.message))
  }
  parentPort.postMessage({ isDaemon, left: process.env.TSDAEMONIZE_HANDOVER, codes, status: await sample.status() })`

test('a worker thread may import the package, and cannot become a daemon', async (t) => {
  const p = place(t)
  p.write('worker.mjs', WORKER)
  const source = `import { Worker } from 'node:worker_threads'
    new Worker(process.env.DIR + '/worker.mjs').on('message', (m) => console.log(JSON.stringify(m)))`
  const { status, stdout } = await run(p, p.write('a.mjs', source))
  t.is(status, 0)
  const { isDaemon, codes, status: found } = JSON.parse(stdout)
  t.false(isDaemon)
  t.is(codes.length, 3)
  for (const code of codes) t.regex(code, /^ERR_DAEMON_UNSUPPORTED A worker thread cannot become a daemon/)
  t.deepEqual(found, { state: 'stopped', stalePidFile: false })
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('a worker thread that imports the package before the main thread does, does not take it', async (t) => {
  const p = place(t)
  p.write('worker.mjs', WORKER.replace(/for .*?\n {2}}/s, '').replace(', status: await sample.status()', ''))
  const source = `import { Worker } from 'node:worker_threads'
    import { once } from 'node:events'
    const worker = new Worker(process.env.DIR + '/worker.mjs')
    const [{ isDaemon: inWorker, left }] = await once(worker, 'message')
    const { isDaemon } = await import('${library}')
    console.log(inWorker, left, isDaemon)
    await import('./sample.mjs')`
  p.write('sample.mjs', sample())
  const { status, stdout, stderr } = await run(p, p.write('a.mjs', source))
  t.is(status, 0, stderr)
  t.is(stdout, 'false undefined false\nfalse undefined true\n')
  t.deepEqual(processesOf(p), [pidIn(p)])
})
