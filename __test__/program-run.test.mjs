// `tsdaemonize run`: a program in the foreground. The same program runs under tini, dumb-init and catatonit, and the same
// must hold where they promise the same.

import { spawn } from 'node:child_process'
import fs from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import {
  asRoot,
  command,
  environment,
  isAlive,
  isRoot,
  place,
  proc,
  read,
  root,
  sample,
  test,
  testIf,
  until,
  works,
} from './kit.mjs'

const tsdaemonize = join(root, 'tsdaemonize')
const terminal = join(root, '__test__/terminal.py')
const { signals } = constants

/** The command line of a `run` whose pidfile is in this place. */
const runs = (p, ...args) => [tsdaemonize, 'run', '--name', 'sample', '--pid-file-path', p.run, ...args]
/** Runs a command line to its end. */
const line = (p, [file, ...args], more) => command(p, file, args, more)

/** A program that writes down each signal that it gets, one a line, and ends with 7 at the second SIGTERM. */
const CATCHER = `import os, signal, sys
log = open(os.environ['DIR'] + '/caught', 'a', buffering=1)
terms = 0
def caught(number, _):
    global terms
    log.write(f'{number}\\n')
    terms += number == signal.SIGTERM
    if terms == 2:
        sys.exit(7)
for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
    signal.signal(number, caught)
log.write('ready\\n')
while True:
    signal.pause()
`
/** So often is Ctrl-C pressed: two signals that come at the same moment can become one, but not each time. */
const PRESSES = 20
/** The same for SIGINT and SIGTERM, without handlers: two of one signal are two, as far as the kernel keeps them apart. */
const WAITER = `import os, signal, sys
log = open(os.environ['DIR'] + '/caught', 'a', buffering=1)
numbers = {signal.SIGINT, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
log.write('ready\\n')
terms = 0
while terms < 2:
    number = signal.sigwaitinfo(numbers).si_signo
    log.write(f'{number}\\n')
    terms += number == signal.SIGTERM
sys.exit(7)
`
const caught = (p) => read(join(p.dir, 'caught')).split('\n').filter(Boolean)

/** The init that unshare(1) has started, by its pid here. */
const initOf = (pid) =>
  until(() => Number(read(`/proc/${pid}/task/${pid}/children`).trim()) || undefined, 'the init')

/** Sends signals to a process one by one, each when the one before has arrived. */
async function sendEach(p, pid, numbers) {
  await until(() => caught(p).includes('ready'), 'the program')
  for (const [index, number] of numbers.entries()) {
    process.kill(pid, number)
    await until(() => caught(p).length > index + 1, `signal ${number}`)
  }
}

test('ends with the status of its program, as a shell tells it', async (t) => {
  const p = place(t)
  for (const status of [0, 1, 2, 42, 126, 127, 143, 255]) {
    const ended = await line(p, runs(p, 'sh', '-c', `echo out; echo err >&2; exit ${status}`))
    t.deepEqual(ended, { status, signal: null, stdout: 'out\n', stderr: 'err\n' })
  }
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGKILL', 'SIGSEGV', 'SIGABRT', 'SIGUSR1']) {
    const ended = await line(p, runs(p, 'sh', '-c', `ulimit -c 0; kill -${signal.slice(3)} $$`))
    t.deepEqual([ended.status, ended.stderr], [128 + signals[signal], ''], signal)
  }
  // A real-time signal.
  t.is((await line(p, runs(p, 'sh', '-c', 'kill -40 $$'))).status, 128 + 40)
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('126 and 127 as a shell: what cannot be executed is told with the errno’s words', async (t) => {
  const p = place(t)
  p.write('plain', 'echo no\n')
  p.write('orphan', '#!/no/interpreter\n')
  p.write('text', 'this is no program\n')
  for (const name of ['orphan', 'text']) fs.chmodSync(join(p.dir, name), 0o755)
  for (const [name, status, words] of [
    ['no-such-program', 127, /'no-such-program' is in no directory of PATH/],
    ['./nothing', 127, /ENOENT: no such file or directory/],
    ['./plain', 126, /EACCES: permission denied.*chmod \+x/],
    ['./run', 126, /EACCES: permission denied.*directory/],
    ['./plain/below', 126, /ENOTDIR: not a directory/],
    ['./text', 126, /ENOEXEC: exec format error/],
    ['./orphan', 126, /ENOENT.*interpreter.*\/no\/interpreter/],
    ['./nothing.js', 127, /ENOENT: no such file or directory/],
  ]) {
    const ended = await line(p, runs(p, name))
    t.is(ended.status, status, `${name}: ${ended.stderr}`)
    t.regex(ended.stderr, words)
    t.is(ended.stdout, '')
  }
  const misspelt = await line(p, [tsdaemonize, 'run', '--nmae', 'x', 'true'])
  t.is(misspelt.status, 2)
  t.regex(misspelt.stderr, /did you mean '--name'/)
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('each signal reaches the program, once', async (t) => {
  const p = place(t)
  const running = line(p, runs(p, 'python3', p.write('catcher.py', CATCHER)))
  const all = Array.from({ length: 64 }, (_, index) => index + 1)
  const not = [signals.SIGKILL, signals.SIGSTOP, signals.SIGCHLD, 32, 33]
  const sent = all.filter((number) => !not.includes(number))
  await sendEach(p, running.pid, sent)
  process.kill(running.pid, 'SIGTERM')
  t.is((await running).status, 7)
  t.deepEqual(caught(p).slice(1).map(Number), [...sent, signals.SIGTERM])
})

test('what is ignored, and what is blocked, is so in the program too; SIGPIPE and SIGCHLD are as they are elsewhere', async (t) => {
  const p = place(t)
  const show = `grep -E '^Sig(Blk|Ign)' /proc/self/status`
  const within = (script) =>
    command(p, 'sh', ['-c', `${script}; exec ${runs(p, 'sh', '-c', `"${show}"`).join(' ')}`])
  const plain = await command(p, 'sh', ['-c', show])
  t.is((await within(':')).stdout, plain.stdout)
  const ignoring = await within("trap '' HUP USR2")
  const bits = (1n << 0n) | (1n << BigInt(signals.SIGUSR2 - 1))
  const ignored = ({ stdout }) => BigInt(`0x${/SigIgn:\s*(\w+)/.exec(stdout)[1]}`)
  t.is(ignored(ignoring), ignored(plain) | bits)
  // A parent that ignores SIGCHLD hands that on; the status is the program's all the same.
  const deaf = `trap '' CHLD; exec ${runs(p, 'sh', '-c', "'exit 5'").join(' ')}`
  t.is((await command(p, 'sh', ['-c', deaf])).status, 5)
  const blocked = `import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
os.execv(sys.argv[1], sys.argv[1:])`
  const shown = await command(p, 'python3', [
    p.write('blocked.py', blocked),
    ...runs(p, 'grep', '^SigBlk', '/proc/self/status'),
  ])
  t.is(BigInt(`0x${/SigBlk:\s*(\w+)/.exec(shown.stdout)[1]}`), 1n << BigInt(signals.SIGUSR1 - 1))
})

test('its daemon is found by its name as long as it runs, and leaves nothing', async (t) => {
  const p = place(t)
  const running = line(p, runs(p, 'sleep', '1000'))
  await until(() => read(p.pidFile()) === `${running.pid}\n`, 'the pidfile')
  const ask = async (verb, ...args) =>
    line(p, [tsdaemonize, verb, '--pid-file-path', p.run, ...args, 'sample'])
  await until(
    async () => JSON.parse((await ask('status', '--json')).stdout).state === 'running',
    'the status',
  )
  const status = JSON.parse((await ask('status', '--json')).stdout)
  const pid = Number(read(`/proc/${running.pid}/task/${running.pid}/children`))
  t.is(status.pid, pid)
  const state = JSON.parse(read(join(p.run, '.sample.state')))
  t.like(state, { pid, supervisor: running.pid, program: ['sleep', '1000'], attached: true })
  const second = await line(p, runs(p, 'true'))
  t.is(second.status, 1)
  t.regex(second.stderr, /The daemon 'sample' is already running, with pid \d+/)
  const stopped = await ask('stop')
  t.is(stopped.status, 0, stopped.stderr)
  t.is((await running).status, 143)
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('a program that does not end is killed a second after --stop-timeout, and only where that was given', async (t) => {
  const p = place(t)
  const deaf = p.write('deaf.sh', "trap '' TERM; echo ready > $DIR/ready; exec sleep 1000")
  const running = line(p, runs(p, '--stop-timeout', '100ms', 'sh', deaf))
  await until(() => read(join(p.dir, 'ready')), 'the program')
  const begun = performance.now()
  process.kill(running.pid, 'SIGTERM')
  const { status, stderr } = await running
  t.is(status, 137)
  t.regex(stderr, /has not ended in time: SIGKILL/)
  t.true(performance.now() - begun >= 1100)
})

test('a program does not outlive its `run` that is killed', async (t) => {
  const p = place(t)
  const running = line(p, runs(p, 'sh', '-c', 'echo $$ > $DIR/pid; exec sleep 1000'))
  const pid = await until(() => Number(read(join(p.dir, 'pid'))) || undefined, 'the program')
  process.kill(running.pid, 'SIGKILL')
  t.is((await running).signal, 'SIGKILL')
  await until(() => !isAlive(pid), 'the end of the program')
})

test('cwd, umask, variables and outputs are the caller’s, where no option says otherwise', async (t) => {
  const p = place(t)
  const show = 'pwd; umask; echo $A-$B; cat'
  const input = { input: 'from stdin\n', env: { A: 'a' } }
  const plain = await line(p, runs(p, 'sh', '-c', show), input)
  t.deepEqual(plain, {
    status: 0,
    signal: null,
    stdout: `${p.dir}\n${process.umask().toString(8).padStart(4, '0')}\na-\nfrom stdin\n`,
    stderr: '',
  })
  const options = ['--cwd', '/', '--umask', '027', '--env', 'B=b', '--stdout', join(p.dir, 'out')]
  const other = await line(p, runs(p, ...options, 'sh', '-c', show), input)
  t.deepEqual([other.status, other.stdout, other.stderr], [0, '', ''])
  t.is(read(join(p.dir, 'out')), '/\n0027\na-b\nfrom stdin\n')
  t.is(fs.statSync(join(p.dir, 'out')).mode & 0o777, 0o640)
  const syslog = await line(p, runs(p, '--stdout', 'syslog', 'true'))
  t.is(syslog.status, 2)
  t.regex(syslog.stderr, /logger\(1\)/)
})

test('what a manager says to the process that it started, it says to the program', async (t) => {
  const p = place(t)
  const script = `echo $NOTIFY_SOCKET $LISTEN_FDS; [ $LISTEN_PID = $$ ] && [ $WATCHDOG_PID = $$ ] && [ $OTHER != $$ ] && echo same; cat <&3`
  const manager = `exec 3<${p.write('three', 'three\n')}; export NOTIFY_SOCKET=/x LISTEN_FDS=1 LISTEN_PID=$$ WATCHDOG_PID=$$ OTHER=$$; exec ${runs(p, 'sh', '-c', `'${script}'`).join(' ')}`
  const { stdout, stderr } = await command(p, 'sh', ['-c', manager])
  t.is(stdout, '/x 1\nsame\nthree\n', stderr)
})

test('a pipe ends when the program closes its end, though `run` goes on', async (t) => {
  const p = place(t)
  const script = `exec ${runs(p, 'sh', '-c', "'echo shown; exec >&- 3>&-; while ! [ -e $DIR/go ]; do sleep 0.05; done'").join(' ')} 3>&1 | { cat; echo closed > $DIR/closed; }`
  const running = command(p, 'sh', ['-c', script])
  await until(() => read(join(p.dir, 'closed')), 'the end of the pipe')
  p.write('go', '')
  t.is((await running).stdout, 'shown\n')
})

asRoot('--user and --group: the program runs as them, and nothing else does', async (t) => {
  const p = place(t)
  const show = 'id -u; id -g; id -G; echo $HOME $USER'
  const { status, stdout, stderr } = await line(p, runs(p, '--user', 'nobody', 'sh', '-c', show))
  t.deepEqual([status, stdout.split('\n').slice(0, 3)], [0, ['65534', '65534', '65534']], stderr)
  t.true(stdout.endsWith(' nobody\n'))
  const none = await line(p, runs(p, '--user', '4294967295', 'sh', '-c', 'echo never'))
  t.deepEqual([none.status, none.stdout], [4, ''], none.stderr)
  t.deepEqual(fs.readdirSync(p.run), [])
})

// A terminal.

/** A shell with job control on a terminal, to which `type` sends keys. */
function shellOnTerminal(t, p) {
  const child = spawn('python3', [terminal, 'bash', '--norc', '--noprofile', '--noediting', '-i'], {
    cwd: p.dir,
    env: environment(p, { PS1: '$ ', TERM: 'dumb', RUN_IT: runs(p).join(' ') }),
  })
  t.teardown(() => child.kill('SIGKILL'))
  let shown = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    shown += text.replaceAll('\r', '')
  })
  return {
    type: (keys) => child.stdin.write(keys),
    /** Waits until a text has been shown so often. */
    shows: (text, times = 1) => until(() => shown.split(text).length > times, `'${text}' on the terminal`),
  }
}
const CTRL = { c: '\x03', z: '\x1a', d: '\x04' }
const hasTerminal = testIf(works('bash', '-c', 'true') && works('python3', '-c', 'import pty'))

hasTerminal(
  'on a terminal: the program reads it; Ctrl-C reaches it once; Ctrl-Z gives the shell back, and fg goes on',
  async (t) => {
    const p = place(t)
    const shell = shellOnTerminal(t, p)
    shell.type('$RUN_IT cat\n')
    await until(() => fs.existsSync(p.pidFile()), 'the program')
    shell.type('one line\n')
    await shell.shows('one line\n', 2)
    shell.type(CTRL.z)
    await shell.shows('Stopped')
    shell.type('echo the shell is ba""ck\n')
    await shell.shows('the shell is back')
    shell.type('fg\n')
    shell.type('two lines\n')
    await shell.shows('two lines\n', 2)
    shell.type(CTRL.d)
    shell.type('echo status=$?=\n')
    await shell.shows('status=0=')

    shell.type(`$RUN_IT python3 ${p.write('waiter.py', WAITER)}\n`)
    await until(() => caught(p).includes('ready'), 'the program')
    for (let times = 1; times <= PRESSES; times++) {
      shell.type(CTRL.c)
      await until(() => caught(p).length > times, 'SIGINT')
    }
    const pid = Number(read(p.pidFile()))
    process.kill(pid, 'SIGTERM')
    await until(() => caught(p).includes('15'), 'SIGTERM')
    process.kill(pid, 'SIGTERM')
    shell.type('echo status=$?=\n')
    await shell.shows('status=7=')
    t.deepEqual(caught(p), ['ready', ...Array(PRESSES).fill('2'), '15', '15'])

    shell.type('$RUN_IT cat | sed s/^/seen:/\n')
    await until(() => fs.existsSync(p.pidFile()), 'the program')
    shell.type(`x\n${CTRL.d}`)
    await shell.shows('seen:x')
    shell.type('$RUN_IT sleep 1000\n')
    await until(() => fs.existsSync(p.pidFile()), 'the program')
    shell.type(CTRL.c)
    shell.type('echo status=$?=\n')
    await shell.shows('status=130=')
  },
)

hasTerminal(
  'in the background of a terminal: reading stops it, as every program, and SIGCONT alone lets it go on',
  async (t) => {
    const p = place(t)
    const shell = shellOnTerminal(t, p)
    shell.type('$RUN_IT cat &\n')
    await until(() => read(p.pidFile()), 'the pidfile')
    const pid = Number(read(p.pidFile()))
    await until(() => proc(pid)?.state === 'T', 'the stop')
    shell.type('fg\n')
    shell.type('typed\n')
    await shell.shows('typed\n', 2)
    shell.type(CTRL.d)
    await until(() => !isAlive(pid), 'the end')
    shell.type('$RUN_IT sleep 1000\n')
    const other = await until(() => Number(read(p.pidFile())) || undefined, 'the pidfile')
    const program = await until(() => Number(read(`/proc/${other}/task/${other}/children`)), 'the program')
    await until(() => read(`/proc/${program}/comm`) === 'sleep\n', 'its execve')
    const stopped = () => [other, program].map((pid) => proc(pid)?.state === 'T').join()
    process.kill(other, 'SIGTSTP')
    await until(() => stopped() === 'true,true', 'the stop of both')
    process.kill(other, 'SIGCONT')
    await until(() => stopped() === 'false,false', 'both to go on')
    process.kill(other, 'SIGTERM')
    await until(() => !isAlive(other) && !isAlive(program), 'the end')
    t.pass()
  },
)

// PID 1.

const NAMESPACE = ['--pid', '--fork', '--mount-proc', '--kill-child']
const asInit = testIf(isRoot && works('unshare', ...NAMESPACE, 'true'))
/** What each init of a container is given to run a program. */
const INITS = {
  tsdaemonize: (p) => runs(p),
  tini: () => ['tini', '--'],
  'dumb-init': () => ['dumb-init'],
  catatonit: () => ['catatonit', '--'],
}
/** What each of them passes on as it is. */
const COMMON = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGUSR1',
  'SIGUSR2',
  'SIGALRM',
  'SIGCONT',
  'SIGWINCH',
  'SIGIO',
  'SIGPWR',
]

for (const [name, init] of Object.entries(INITS)) {
  const orphans = name === 'tsdaemonize' ? 10_000 : 2000
  const able =
    name === 'tsdaemonize'
      ? asInit
      : testIf(isRoot && works('unshare', ...NAMESPACE, 'true') && works(name, '--version'))
  const contained = (p, ...args) => command(p, 'unshare', [...NAMESPACE, ...init(p), ...args])

  able(`as PID 1, beside others: ${name} ends as its program ends, and passes signals on`, async (t) => {
    const p = place(t)
    for (const status of [0, 1, 42, 143]) {
      const ended = await contained(p, 'sh', '-c', `exit ${status}`)
      t.deepEqual([ended.status, ended.stderr], [status, ''])
    }
    t.is((await contained(p, 'sh', '-c', 'kill -KILL $$')).status, 137)
    const running = contained(p, 'python3', p.write('catcher.py', CATCHER))
    const pid = await initOf(running.pid)
    const numbers = [...COMMON, 'SIGTERM'].map((signal) => signals[signal])
    await sendEach(p, pid, numbers)
    process.kill(pid, 'SIGTERM')
    t.is((await running).status, 7)
    t.deepEqual(caught(p).slice(1).map(Number), [...numbers, signals.SIGTERM])
  })

  able(`as PID 1, beside others: ${name} waits for ${orphans} orphans`, async (t) => {
    const p = place(t)
    const script = `i=0; while [ $i -lt ${orphans} ]; do (: &); i=$((i+1)); done
echo done > $DIR/done; while ! [ -e $DIR/go ]; do sleep 0.1; done`
    const running = contained(p, 'sh', '-c', script)
    const pid = await initOf(running.pid)
    await until(() => read(join(p.dir, 'done')), 'the orphans')
    const children = () => read(`/proc/${pid}/task/${pid}/children`).trim().split(' ')
    await until(() => children().length === 1, 'an init with no child but the program')
    p.write('go', '')
    t.is((await running).status, 0)
  })
}

asInit('as PID 1, orphans that end all the time hold up no signal', async (t) => {
  const p = place(t)
  const script = `trap 'echo got > $DIR/got; exit 9' TERM; echo ready > $DIR/ready; while :; do (: &) ; done`
  const running = command(p, 'unshare', [...NAMESPACE, ...runs(p, 'sh', '-c', script)])
  const pid = await initOf(running.pid)
  await until(() => read(join(p.dir, 'ready')), 'the program')
  process.kill(pid, 'SIGTERM')
  t.is((await running).status, 9)
  t.is(read(join(p.dir, 'got')), 'got\n')
})

asInit('as PID 1 with a root that cannot be written: it says so, and runs', async (t) => {
  const p = place(t)
  const script = `mount -t tmpfs -o ro tmpfs /run && exec ${tsdaemonize} run --name sample sh -c 'echo here; exit 3'`
  const ended = await command(p, 'unshare', ['--mount', ...NAMESPACE, 'sh', '-c', script], {
    env: { RUNTIME_DIRECTORY: undefined },
  })
  t.is(ended.status, 3)
  t.is(ended.stdout, 'here\n')
  t.regex(ended.stderr, /^sample: Cannot keep (?:a|the) pidfile.*Going on without\n$/)
})

// Scripts that use the library.

/** A script from whose directory the package can be found. */
function scriptOf(p, options = {}) {
  fs.mkdirSync(join(p.dir, 'node_modules'))
  fs.symlinkSync(root, join(p.dir, 'node_modules/tsdaemonize'))
  return p.write('sample.mjs', sample(options))
}
const SAY = `async setup() {
  const shown = [this.name, process.pid, process.cwd(), process.argv.slice(2), Object.keys(process.env).filter((name) => name.startsWith('TSDAEMONIZE_'))]
  fs.writeFileSync(process.env.DIR + '/said', JSON.stringify(shown))
}
async shutdown() { console.log('shut down') }`
const said = (p) => until(() => read(join(p.dir, 'said')), 'the daemon').then(JSON.parse)

for (const last of ['start()', 'ensure()', 'serviced()', "serviced(['start'])", 'restart()']) {
  test(`a script of the library takes the place of \`run\`, attached: ${last}`, async (t) => {
    const p = place(t)
    const script = scriptOf(p, {
      options: "detach: true, name: 'other',",
      last: `await new Sample(options).${last}`,
      body: SAY,
    })
    const running = line(p, runs(p, '--cwd', '/usr', script, 'an argument'))
    t.deepEqual(await said(p), ['sample', running.pid, '/usr', ['an argument'], []])
    await until(() => read(p.pidFile()) === `${running.pid}\n`, 'the pidfile')
    t.is(fs.readlinkSync(`/proc/${running.pid}/exe`), fs.realpathSync(process.execPath))
    const stopped = await line(p, [tsdaemonize, 'stop', '--pid-file-path', p.run, 'sample'])
    t.is(stopped.status, 0, stopped.stderr)
    const { status, stdout } = await running
    t.deepEqual([status, stdout], [0, 'shut down\n'])
    t.deepEqual(fs.readdirSync(p.run), [])
  })
}

asInit(
  'as PID 1, `run` stays beside a script of the library, waits for its orphans and ends as it ends',
  async (t) => {
    const p = place(t)
    const orphan = '(while ! [ -e $DIR/go ]; do sleep 0.05; done > /dev/null 2>&1 &)'
    const body = `${SAY}
  async action(signal) {
    process.getBuiltinModule('node:child_process').execSync('${orphan}')
    await once(signal, 'abort')
  }
  async onSignal(signal) { if (signal === 'SIGTERM') await this.exit(5) }`
    const running = command(p, 'unshare', [...NAMESPACE, ...runs(p, scriptOf(p, { body }))])
    const init = await initOf(running.pid)
    const [, pid] = await said(p)
    t.not(pid, 1)
    const children = () => read(`/proc/${init}/task/${init}/children`).trim().split(' ').length
    await until(() => children() > 1, 'an orphan')
    p.write('go', '')
    await until(() => children() === 1, 'an init with no child but the program')
    process.kill(init, 'SIGTERM')
    t.is((await running).status, 5)
    t.deepEqual(fs.readdirSync(p.run), [])
  },
)
