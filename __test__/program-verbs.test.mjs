// The executable's verbs for daemons that run: it says, does and answers what the library does.

import { spawn } from 'node:child_process'
import fs from 'node:fs'
import { join } from 'node:path'
import {
  asRoot,
  cli,
  command,
  isAlive,
  isUnlocked,
  NOBODY,
  pidIn,
  place,
  printed,
  root,
  run,
  stranger,
  test,
  testIf,
  until,
} from './kit.mjs'
import { lock, lockCommand, RUNNING, WHOLE } from './locks.mjs'

const PROGRAM = join(root, 'tsdaemonize')
const VERBS = ['status', 'stop', 'restart', 'reload', 'kill']

/** Runs a verb of the executable on daemons of the place. */
function does(p, verb, ...args) {
  const signal = verb === 'kill' && !args.some((arg) => arg.startsWith('-')) ? ['--signal', 'TERM'] : []
  return command(p, PROGRAM, [verb, ...signal, '--pid-file-path', p.run, ...args])
}

/** What a verb says and ends with. */
const outcome = ({ status, stdout, stderr }) => ({ status, stdout, stderr })

/** What a daemon says of itself in its state file. */
function says(p, state) {
  fs.writeFileSync(join(p.run, '.sample.state'), JSON.stringify({ version: 1, pid: pidIn(p), ...state }))
}

/** A process that holds a pidfile as a daemon does, and names itself there. `signals` is Perl, run before. */
async function keeper(t, p, signals) {
  fs.writeFileSync(p.pidFile(), '')
  const [perl, [flag, source, ...args]] = lockCommand(p.pidFile(), {
    write: true,
    flock: true,
    ranges: RUNNING,
  })
  const named = source
    .replace('syswrite STDOUT', () => 'syswrite $file, "$$\\n"; syswrite STDOUT')
    .replace('sleep 1000;', 'sleep 1000 while 1;')
  const child = spawn(perl, [flag, `use POSIX;\n${signals}\n${named}`, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  await new Promise((resolve) => child.stdout.once('data', resolve).once('end', resolve))
  return child
}

test('in each state of a daemon both fronts say the same, with the same status', async (t) => {
  const p = place(t)
  const body = `async setup() {
    while (fs.existsSync(process.env.DIR + '/hangs')) await sleep(10)
  }`
  const script = p.write('sample.mjs', cli({ body }))
  const same = async (what, verb, ...more) => {
    const library = outcome(await run(p, script, [verb, ...more]))
    const program = outcome(await does(p, verb, ...more, 'sample'))
    const memory = (text) => text.replace(/\d+\.\d MiB/, 'N MiB').replace(/"rss":\d+/, '"rss":N')
    t.deepEqual(
      { ...program, stdout: memory(program.stdout) },
      { ...library, stdout: memory(library.stdout) },
      `${what}: ${verb} ${more}`,
    )
    return program
  }
  const looks = async (what, status) => {
    t.is((await same(what, 'status')).status, status)
    const { stdout } = await same(what, 'status', '--json')
    t.deepEqual(Object.keys(JSON.parse(stdout)), Object.keys(JSON.parse(stdout)).filter(Boolean))
  }
  await looks('never started', 3)
  await same('never started', 'stop')
  await same('never started', 'reload')

  p.write('hangs', '')
  const start = run(p, script, ['start'])
  await until(() => fs.existsSync(p.pidFile()) && pidIn(p) > 0, 'a pid')
  await looks('starting', 3)
  fs.rmSync(join(p.dir, 'hangs'))
  t.is((await start).status, 0)
  await looks('running', 0)
  await same('running', 'reload')

  const pid = pidIn(p)
  process.kill(pid, 'SIGKILL')
  await until(() => !isAlive(pid), 'its end')
  await until(() => isUnlocked(p.pidFile()), 'its lock to go')
  await looks('killed', 1)
  await same('killed', 'reload')

  // Of an end that nobody asked for a supervisor leaves the reason.
  const lastExit = { at: '2026-11-28T09:00:00.000Z', code: 3, signal: null, reason: 'exit status 3' }
  for (const exit of [
    lastExit,
    { ...lastExit, code: null, signal: 'SIGSEGV' },
    { ...lastExit, at: 5 },
    null,
  ]) {
    p.write('run/.sample.state', JSON.stringify({ version: 1, pid, restarts: 2, lastExit: exit }))
    await looks(`ended: ${JSON.stringify(exit)}`, 1)
  }
})

test('stop waits as long as the daemon has said, then kills it, and says so as the library does', async (t) => {
  const p = place(t)
  const options = 'stopTimeout: 300'
  const script = p.write('sample.mjs', cli({ options, body: 'onSignal() {}' }))
  const killed = async (stop) => {
    t.is((await run(p, script, ['start'])).status, 0)
    says(p, { stopTimeout: 300 })
    const pid = pidIn(p)
    const { status, stdout, stderr } = await stop()
    t.deepEqual([status, stdout], [0, ''])
    t.false(isAlive(pid))
    t.deepEqual(fs.readdirSync(p.run), [])
    return stderr.replace(` ${pid} `, ' PID ')
  }
  const library = await killed(() => run(p, script, ['stop']))
  t.regex(library, /did not end within 1.3 s of SIGTERM and was killed/)
  t.is(await killed(() => does(p, 'stop', 'sample')), library)
})

test('while stop waits, a terminal shows for what, and then nothing of it', async (t) => {
  const p = place(t)
  const body = `async shutdown() { while (!fs.existsSync(process.env.DIR + '/go')) await sleep(10) }`
  t.is(
    (await run(p, p.write('sample.mjs', cli({ body, options: 'stopTimeout: 45_000' })), ['start'])).status,
    0,
  )
  says(p, { stopTimeout: 45_000 })
  const terminal = join(root, '__test__/terminal.py')
  const stop = command(p, 'python3', [terminal, PROGRAM, 'stop', '--pid-file-path', p.run, 'sample'])
  const shown = printed(stop.child)
  const line = (seconds) => `\rsample: waiting for the daemon's end: ${seconds} s of 46 s, then SIGKILL`
  await until(() => shown().includes(line(2)), 'the line, renewed')
  t.true(shown().includes(line(1)))
  p.write('go', '')
  t.is((await stop).status, 0)
  t.regex(shown(), /\r +\r$/)
  t.is(
    shown()
      .replace(/\rsample: waiting[^\r]*/g, '')
      .trim(),
    '',
  )
})

test('stop ends a daemon of the library, leaves nothing, and removes what a killed one has left', async (t) => {
  const p = place(t)
  const script = p.write('sample.mjs', cli())
  t.is((await run(p, script, ['start'])).status, 0)
  const pid = pidIn(p)
  t.deepEqual(outcome(await does(p, 'stop', 'sample')), { status: 0, stdout: '', stderr: '' })
  t.false(isAlive(pid))
  t.deepEqual(fs.readdirSync(p.run), [])

  t.is((await run(p, script, ['start'])).status, 0)
  const second = pidIn(p)
  process.kill(second, 'SIGKILL')
  await until(() => !isAlive(second), 'its end')
  const none = `sample is not running (looked for ${p.pidFile()})\n`
  t.deepEqual(outcome(await does(p, 'stop', 'sample')), { status: 0, stdout: none, stderr: '' })
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('several NAMEs: each is done whatever becomes of the others, the status is the highest', async (t) => {
  const p = place(t)
  for (const name of ['one', 'two']) {
    const script = p.write(`${name}.mjs`, cli({ options: `name: '${name}'` }))
    t.is((await run(p, script, ['start'])).status, 0)
  }
  p.write('run/left.pid', '0\n')
  const status = await does(p, 'status', 'one', 'none', 'left', 'two')
  t.is(status.status, 3)
  t.deepEqual(
    status.stdout.split('\n').map((line) => line.replace(/ (running|\(looked).*/, '')),
    ['one is', 'none is not', 'left is not', 'two is', ''],
  )
  const json = await does(p, 'status', '--json', 'one', 'none', 'two')
  t.is(json.status, 3)
  const objects = json.stdout.trimEnd().split('\n').map(JSON.parse)
  t.deepEqual(
    objects.map(({ name, state, pid }) => [name, state, pid]),
    [
      ['one', 'running', pidIn(p, 'one')],
      ['none', 'stopped', undefined],
      ['two', 'running', pidIn(p, 'two')],
    ],
  )
  const reload = await does(p, 'reload', 'none', 'one')
  t.is(reload.status, 7)
  t.is(reload.stderr, `none: The daemon 'none' is not running (looked for ${p.pidFile('none')})\n`)
  t.is((await does(p, 'stop', 'two', 'none', 'one', 'left')).status, 0)
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('a NAME that is no name is refused before anything is done to the others', async (t) => {
  const p = place(t)
  t.is((await run(p, p.write('sample.mjs', cli()), ['start'])).status, 0)
  const refused = async (args, message) => {
    const { status, stdout, stderr } = await command(p, PROGRAM, args)
    t.deepEqual([status, stdout], [2, ''], `${args}`)
    t.regex(stderr, message, `${args}`)
  }
  for (const verb of VERBS.filter((verb) => verb !== 'kill')) {
    for (const [name, message] of [
      [p.pidFile(), `is a path. Did you mean \`tsdaemonize ${verb} --pid-file-path ${p.run} sample\``],
      ['./sample', `is a path. Did you mean \`tsdaemonize ${verb} sample\``],
      ['/usr/sbin/sample', `is a path. Did you mean \`tsdaemonize ${verb} sample\``],
      ['..', 'is a path. `tsdaemonize list`'],
      ['/', 'is a path. `tsdaemonize list`'],
      ['', "'' is no daemon's name: it is empty"],
      ['a\nb', "'a\\\\nb' is no daemon's name: it has control characters"],
      ['n'.repeat(65), 'it is longer than 64 bytes'],
    ]) {
      const escaped = new RegExp(message.replace(/[.`()^$]/g, '\\$&').replace(/\\\\n/, '\\\\n'))
      await refused([verb, '--pid-file-path', p.run, 'sample', name], escaped)
    }
  }
  await refused(['status', '--pid-file-path', '', 'sample'], /`--pid-file-path` is empty/)
  t.is((await does(p, 'status', 'sample')).status, 0)
  // The directory is found from the working directory on.
  t.is((await command(p, PROGRAM, ['stop', '--pid-file-path=run', 'sample'])).status, 0)
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('the pidfile of another program, which lives, is left alone: said, status 1, nothing is sent', async (t) => {
  const p = place(t)
  const pid = stranger(t)
  const refuses = async (what) => {
    const content = fs.readFileSync(p.pidFile(), 'utf8')
    const asked = VERBS.map(async (verb) => {
      const { status, stdout, stderr } = await does(p, verb, 'sample')
      t.is(status, 1, `${what}: ${verb}: ${stdout}${stderr}`)
      t.is(stdout, '', what)
      t.regex(stderr, /^sample: .*Nothing was sent/, what)
    })
    await Promise.all(asked)
    t.true(isAlive(pid), what)
    t.is(fs.readFileSync(p.pidFile(), 'utf8'), content, what)
  }
  for (const content of [`${pid}\n`, `${pid}`, `  ${pid}\n`, `${pid}\n/var/lib/data\n5432\n`]) {
    fs.writeFileSync(p.pidFile(), content)
    await refuses(JSON.stringify(content))
  }
  const others = {
    'the whole file, for writing': { write: true, flock: true, ranges: WHOLE },
    'flock alone': { flock: true },
    'the bytes of a running daemon': { write: true, flock: true, ranges: RUNNING },
  }
  for (const [what, locks] of Object.entries(others)) {
    fs.writeFileSync(p.pidFile(), `${pid}\n`)
    const holder = await lock(t, p.pidFile(), locks)
    await refuses(what)
    t.true(isAlive(holder.pid), what)
    holder.kill('SIGKILL')
    await until(() => !isAlive(holder.pid), 'its end')
  }
})

test('reload reaches a daemon that takes SIGHUP in any way, and is refused where it would end by it', async (t) => {
  const HANDLES = `$SIG{HUP} = sub { open my $said, '>', '${'$ENV{DIR}'}/hup'; };`
  const BLOCKS = 'POSIX::sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGHUP));'
  for (const [what, signals, status, words] of [
    ['default', '', 1, /\(pid \d+\) does not catch SIGHUP, and would end by it.*Nothing was sent/],
    ['ignored', "$SIG{HUP} = 'IGNORE';", 1, /\(pid \d+\) ignores SIGHUP.*Nothing was sent/],
    ['caught', HANDLES, 0, /^$/],
    ['blocked, for sigwait(3) or signalfd(2)', BLOCKS, 0, /^$/],
  ]) {
    const p = place(t)
    const { pid } = await keeper(t, p, signals.replace('$ENV{DIR}', p.dir))
    const { stderr, ...reload } = await does(p, 'reload', 'sample')
    t.is(reload.status, status, `${what}: ${stderr}`)
    t.regex(stderr, words, what)
    t.true(isAlive(pid), what)
    const pending = /^(?:ShdPnd|SigPnd):\s*0*1$/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))
    t.is(pending, signals === BLOCKS, what)
    if (signals === HANDLES) await until(() => fs.existsSync(join(p.dir, 'hup')), 'SIGHUP')
  }
})

test('kill sends a signal by its name or its number, and no other', async (t) => {
  const p = place(t)
  const body = `onSignal(signal) { fs.appendFileSync(process.env.DIR + '/got', signal + ' ') }`
  t.is((await run(p, p.write('sample.mjs', cli({ body })), ['start'])).status, 0)
  const got = () => fs.readFileSync(join(p.dir, 'got'), 'utf8')
  let expected = ''
  for (const [given, signal] of [
    ['USR1', 'SIGUSR1'],
    ['SIGUSR2', 'SIGUSR2'],
    ['usr1', 'SIGUSR1'],
    ['14', 'SIGALRM'],
    ['hup', 'SIGHUP'],
  ]) {
    const sent = await does(p, 'kill', '-s', given, 'sample')
    t.deepEqual(outcome(sent), { status: 0, stdout: '', stderr: '' }, given)
    expected += `${signal} `
    await until(() => fs.existsSync(join(p.dir, 'got')) && got() === expected, expected)
  }
  for (const [args, words] of [
    [['-s', 'usr22'], /unknown signal 'usr22': did you mean 'USR2'\?/],
    [['--signal=0'], /unknown signal '0'\. `kill -l` lists them/],
    [['--signal=65'], /unknown signal '65'/],
    [['--signal', '-1'], /unknown signal '-1'/],
    [['--signal='], /unknown signal ''/],
    [['-9'], /unknown option '-9': did you mean '--signal 9'\?/],
    [['-HUP'], /unknown option '-HUP': did you mean '--signal HUP'\?/],
  ]) {
    const { status, stderr } = await does(p, 'kill', ...args, 'sample')
    t.is(status, 2, `${args}`)
    t.regex(stderr, words)
  }
  const bare = await command(p, PROGRAM, ['kill', 'sample'])
  t.deepEqual([bare.status, /^tsdaemonize: `kill` takes `--signal SIGNAL`/.test(bare.stderr)], [2, true])
  t.is(got(), expected)
  const pid = pidIn(p)
  t.is((await does(p, 'kill', '-s', 'KILL', 'sample')).status, 0)
  await until(() => !isAlive(pid), 'its end')
  t.is((await does(p, 'kill', 'sample')).status, 7)
})

test('restart starts a daemon of the library again: its program, arguments and directory, in the environment of the caller', async (t) => {
  const p = place(t)
  const body = `setup() {
    fs.writeFileSync(process.env.DIR + '/seen', JSON.stringify([
      process.argv.slice(2), process.env.WORD, process.execArgv.filter((flag) => !flag.includes('sigusr1')),
    ]))
  }`
  const script = p.write('sample.mjs', cli({ body }))
  const more = { env: { WORD: 'a b=c' }, execArgv: ['--no-warnings'] }
  t.is((await run(p, script, ['start', '--', '--own', 'x y'], more)).status, 0)
  const first = pidIn(p)
  const seen = fs.readFileSync(join(p.dir, 'seen'), 'utf8')
  t.deepEqual(JSON.parse(seen), [['--own', 'x y'], 'a b=c', ['--no-warnings']])
  fs.rmSync(join(p.dir, 'seen'))
  const program = [process.execPath, '--no-warnings', './sample.mjs', 'start', '--', '--own', 'x y']
  says(p, { program, cwd: p.dir })
  // The caller's own directory does not count.
  const line = 'cd / && exec "$0" restart --pid-file-path "$1" sample'
  const other = command(p, 'sh', ['-c', line, PROGRAM, p.run], { env: { WORD: 'new' } })
  t.deepEqual(outcome(await other), { status: 0, stdout: '', stderr: '' })
  t.false(isAlive(first))
  t.true(isAlive(pidIn(p)))
  t.not(pidIn(p), first)
  t.is(fs.readFileSync(join(p.dir, 'seen'), 'utf8'), seen.replace('a b=c', 'new'))
  t.is((await does(p, 'stop', 'sample')).status, 0)
})

test('restart stops nothing that it cannot start again in the same way', async (t) => {
  const p = place(t)
  const refuses = async (words) => {
    const before = fs.existsSync(p.pidFile()) && pidIn(p)
    const { status, stdout, stderr } = await does(p, 'restart', 'sample')
    t.deepEqual([status, stdout], [1, ''])
    t.regex(stderr, words)
    t.is(before, fs.existsSync(p.pidFile()) && pidIn(p))
    if (before) t.true(isAlive(before))
  }
  await refuses(/^sample: The daemon 'sample' is not running \(looked for/)
  t.is((await run(p, p.write('sample.mjs', cli()), ['start'])).status, 0)
  const cannot = /^sample: The daemon 'sample' cannot be started again in the same way: .*Nothing was stopped/
  for (const state of [{ program: [] }, { program: ['node', 5], cwd: '/' }, { program: ['node', 'x'] }]) {
    says(p, state)
    await refuses(cannot)
  }
  says(p, { program: [process.execPath, 'x'], cwd: p.dir, pid: 1 })
  await refuses(cannot)
})

asRoot('restart by root executes nothing that another user says', async (t) => {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  fs.chownSync(p.run, NOBODY.uid, NOBODY.gid)
  const script = p.write('sample.mjs', cli())
  t.is((await run(p, script, ['start'], NOBODY)).status, 0)
  says(p, { program: ['/bin/touch', join(p.dir, 'touched')], cwd: '/' })
  fs.chownSync(join(p.run, '.sample.state'), NOBODY.uid, NOBODY.gid)
  const pid = pidIn(p)
  const { status, stderr } = await does(p, 'restart', 'sample')
  t.is(status, 1)
  t.regex(stderr, /is another user's, as whom it must be started\. Nothing was stopped/)
  t.true(isAlive(pid))
  t.false(fs.existsSync(join(p.dir, 'touched')))
})

/** A build without it starts no foreign programs. */
const supervises = fs.existsSync(join(root, 'crate/program/src/supervisor'))
testIf(supervises)(
  'restart calls a foreign program as it was called, from the same place, however often',
  async (t) => {
    const p = place(t)
    const file = p.write('sample.sh', '#!/bin/sh\necho "$PWD $WORD $*" >> "$DIR/seen"\nexec sleep 1000\n')
    fs.chmodSync(file, 0o755)
    const options = [
      '--pid-file-path',
      './run',
      '--stop-timeout',
      '300',
      '--ready',
      'alive=50',
      '--cwd',
      p.dir,
    ]
    const start = ['start', ...options, './sample.sh', 'one', 'two three']
    const started = await command(p, PROGRAM, start, { env: { WORD: 'a b=c' } })
    t.is(started.status, 0, started.stderr)
    const pids = [pidIn(p)]
    for (const cwd of ['/', p.run]) {
      const again = await command(p, PROGRAM, ['restart', '--pid-file-path', p.run, 'sample'], { cwd })
      t.deepEqual(outcome(again), { status: 0, stdout: '', stderr: '' })
      t.false(isAlive(pids.at(-1)))
      pids.push(pidIn(p))
    }
    t.is(new Set(pids).size, 3)
    t.is(fs.readFileSync(join(p.dir, 'seen'), 'utf8'), `${p.dir} a b=c one two three\n`.repeat(3))

    // As its supervisor has the same patience, it may be the one that kills.
    const deaf = ['--name', 'deaf', 'sh', '-c', 'trap "" TERM; while :; do sleep 1; done']
    t.is((await command(p, PROGRAM, ['start', ...options, ...deaf])).status, 0)
    const stop = await does(p, 'stop', 'deaf', 'sample')
    t.is(stop.status, 0)
    t.regex(
      stop.stderr,
      /^deaf: The daemon with pid \d+ did not end within 1\.3 s of SIGTERM and was killed\. If it needs/,
    )
    t.deepEqual(fs.readdirSync(p.run), [])
  },
)

asRoot(
  'restart by root executes nothing that a daemon says which has dropped root and poses as a supervisor',
  async (t) => {
    const p = place(t)
    fs.chmodSync(p.dir, 0o755)
    fs.chmodSync(p.run, 0o755)
    fs.writeFileSync(p.pidFile(), '')
    const touched = join(p.dir, 'touched')
    const again = { arguments: ['start', '--', '/bin/touch', touched], cwd: '/', env: [] }
    const plan = p.write('plan', JSON.stringify({ version: 1, name: 'sample', kind: 'foreign', again }))
    const source = `use POSIX; use Fcntl ':flock';
    my ($path, $plan) = @ARGV;
    sub locks { fcntl($_[0], 37, pack('s s x4 q q l x4', 1, 0, $_[1], 1, 0)) or die $! }
    open my $file, '+<', $path or die $!;
    open my $mark, '+<', $path or die $!;
    locks($file, 0x40000000); flock($file, LOCK_EX) or die $!; locks($mark, 0x40000003);
    syswrite $file, "$$\\n";
    open my $text, '<', $plan or die $!;
    POSIX::dup2(fileno($text), 5);
    fork or do { sleep 1000; exit };
    $) = '65534 65534'; $( = 65534; POSIX::setuid(65534) or die $!;
    syswrite STDOUT, 'stands'; sleep 1000 while 1;`
    const posing = spawn('perl', ['-e', source, p.pidFile(), plan], {
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    t.teardown(() => process.kill(-posing.pid, 'SIGKILL'))
    await new Promise((resolve) => posing.stdout.once('data', resolve).once('end', resolve))
    t.regex((await does(p, 'status', 'sample')).stdout, new RegExp(`, supervisor ${posing.pid}`))
    const { status, stderr } = await does(p, 'restart', 'sample')
    t.is(status, 1)
    t.regex(stderr, /Nothing was stopped/)
    t.true(isAlive(posing.pid))
    t.false(fs.existsSync(touched))
  },
)
