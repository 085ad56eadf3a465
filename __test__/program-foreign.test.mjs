// `tsdaemonize start` of programs that know nothing of this package: ready in each way, failed in their own words,
// supervised, and stopped. All is looked at from outside.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { join } from 'node:path'
import {
  asRoot,
  command,
  descriptors,
  environmentOf,
  freePort,
  isAlive,
  isRoot,
  isUnlocked,
  NOBODY,
  pidIn,
  place,
  proc,
  read,
  root,
  test,
  testIf,
  until,
  works,
} from './kit.mjs'

const executable = join(root, 'tsdaemonize')
const program = (p, verb, ...args) => command(p, executable, [verb, ...args])
const start = (p, ...args) => program(p, 'start', '--pid-file-path', p.run, ...args)
const stop = (p, ...names) => program(p, 'stop', '--pid-file-path', p.run, ...names)
/** Where its output goes on any machine, with a logger or without. */
const logged = (p) => ['--stdout', join(p.dir, 'log'), '--stderr', join(p.dir, 'log')]
const log = (p) => read(join(p.dir, 'log'))
const state = (p, name) => JSON.parse(read(join(p.run, `.${name}.state`)))
const childrenOf = (pid) => read(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number)

const stat = (pid) => {
  const line = fs.readFileSync(`/proc/${pid}/stat`, 'utf8')
  const [, parent, group, session] = line
    .slice(line.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number)
  return { parent, group, session }
}

/** The supervisor and the program that were started under a name. */
function pair(t, p, name) {
  const supervisor = pidIn(p, name)
  const [pid, ...others] = childrenOf(supervisor)
  t.deepEqual(others, [])
  t.true(isAlive(pid))
  return { supervisor, pid }
}

async function stopped(t, p, name, { supervisor, pid }) {
  const ended = await stop(p, name)
  t.is(ended.status, 0, ended.stderr)
  t.false(isAlive(pid))
  await until(() => !isAlive(supervisor), 'the end of the supervisor')
  t.deepEqual(fs.readdirSync(p.run), [])
}

/** Lives until it is ended, as the script's last line. */
const FOREVER = 'exec sleep 1000'
const NOTIFY = `
import os, socket, time
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect('\\0' + os.environ['NOTIFY_SOCKET'][1:])
s.send(b'STATUS=soon')
s.send(b'MAINPID=1\\nREADY=1\\nSTATUS=here')
time.sleep(1000)`
const LISTEN = `
import socket, sys, time
s = socket.socket(socket.AF_INET6 if socket.has_ipv6 else socket.AF_INET)
s.bind(('', int(sys.argv[1])))
s.listen()
time.sleep(1000)`

const WAYS = {
  'notify, READY=1': () => [['--ready', 'notify'], 'python3', '-c', NOTIFY],
  'fd, a newline': () => [['--ready', 'fd'], 'bash', '-c', `echo x; echo >&$READY_FD; ${FOREVER}`],
  'listen, at any port': () => [['--ready', 'listen'], 'python3', '-c', LISTEN, '0'],
  'listen=PORT, by its child': (port) => [
    ['--ready', `listen=${port}`],
    'bash',
    '-c',
    `python3 -c "$0" ${port} & wait`,
    LISTEN,
  ],
  'alive=TIME': () => [['--ready', 'alive=50'], 'sleep', '1000'],
  'the default, READY=1': () => [[], 'python3', '-c', NOTIFY],
  'the default, a newline': () => [[], 'bash', '-c', `echo >&$READY_FD; ${FOREVER}`],
  'the default, alive': () => [[], 'sleep', '1000'],
}
for (const [way, of] of Object.entries(WAYS)) {
  test(`ready by ${way}; then its supervisor holds the lock; stopped, nothing is left`, async (t) => {
    const p = place(t)
    const [options, ...words] = of(await freePort())
    const started = await start(p, '--name', 'way', ...logged(p), ...options, ...words)
    t.is(started.status, 0, started.stderr)
    const both = pair(t, p, 'way')
    t.false(isUnlocked(p.pidFile('way')))
    const { pid, supervisor, stopTimeout, program: argv, lastExit, restarts } = state(p, 'way')
    t.deepEqual({ pid, supervisor }, both)
    t.deepEqual([stopTimeout, argv, lastExit, restarts], [10_000, words, null, 0])
    const again = await start(p, '--name', 'way', ...logged(p), ...words)
    t.is(again.status, 1)
    t.regex(again.stderr, /The daemon 'way' is already running/)
    await stopped(t, p, 'way', both)
  })
}

for (const [how, words] of [
  ['notify', /It has not sent READY=1 to \$NOTIFY_SOCKET/],
  ['fd', /It has not written a newline to the descriptor \$READY_FD/],
  ['listen', /It does not listen at any TCP port/],
  ['listen=1', /It does not listen at TCP port 1:/],
]) {
  test(`one that is never ready by ${how} is ended, and told what it did not do`, async (t) => {
    const p = place(t)
    const script = `echo $$ > pid; echo working; ${FOREVER}`
    const where = ['--cwd', p.dir, ...logged(p)]
    const limit = ['--start-timeout', '700', '--ready', how]
    const { status, stderr } = await start(p, '--name', 'never', ...where, ...limit, 'sh', '-c', script)
    t.is(status, 1)
    t.regex(stderr, /'never' was not ready within 700 ms and was ended/)
    t.regex(stderr, words)
    t.regex(stderr, /working/)
    t.false(isAlive(Number(read(join(p.dir, 'pid')))))
    t.deepEqual(fs.readdirSync(p.run), [])
  })
}

test('READY=1 of another process does not count', async (t) => {
  const p = place(t)
  const script = `echo $NOTIFY_SOCKET > socket; ${FOREVER}`
  const options = [
    '--name',
    'false',
    '--cwd',
    p.dir,
    ...logged(p),
    '--ready',
    'notify',
    '--start-timeout',
    '3s',
  ]
  const starting = start(p, ...options, 'sh', '-c', script)
  const name = await until(() => read(join(p.dir, 'socket')).trim(), 'the name of the socket')
  const stranger = spawn('python3', ['-c', NOTIFY], { env: { ...process.env, NOTIFY_SOCKET: name } })
  t.teardown(() => stranger.kill('SIGKILL'))
  const { status, stderr } = await starting
  t.is(status, 1)
  t.regex(stderr, /It has not sent READY=1/)
})

test('from outside it is a daemon: descriptors, session, mask, dispositions, environment', async (t) => {
  const p = place(t)
  p.write('vars', 'FROM_FILE="a # b"\nBOTH=file\n')
  const options = ['--umask', '027', '--env', 'GIVEN=x=y', '--env-file', 'vars', '--env', 'BOTH=given']
  const blocking = `
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGTERM])
signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])`
  const env = { NOTIFY_SOCKET: '/run/of/another', LISTEN_FDS: '1', WATCHDOG_USEC: '1' }
  const args = [
    'start',
    '--pid-file-path',
    p.run,
    '--name',
    'outside',
    ...logged(p),
    ...options,
    'sleep',
    '1000',
  ]
  const started = await command(p, 'python3', ['-c', blocking, executable, ...args], { env })
  t.is(started.status, 0, started.stderr)
  const both = pair(t, p, 'outside')
  const { pid, supervisor } = both
  t.deepEqual(stat(pid), { parent: supervisor, group: pid, session: supervisor })
  t.is(stat(supervisor).session, supervisor)
  const { 0: stdin, 1: stdout, 2: stderr, ...others } = descriptors(pid)
  t.deepEqual([stdin, stdout, stderr], ['/dev/null', join(p.dir, 'log'), join(p.dir, 'log')])
  const [readyFd, ...more] = Object.entries(others)
  t.deepEqual(more, [])
  t.regex(readyFd[1], /^pipe:/)
  const { SigBlk, SigIgn, SigCgt, Umask } = proc(pid).status
  t.deepEqual([SigBlk, SigIgn, SigCgt], ['0000000000000000', '0000000000000000', '0000000000000000'])
  t.is(Umask, '0027')
  t.is(fs.readlinkSync(`/proc/${pid}/cwd`), '/')
  const variables = Object.fromEntries(
    environmentOf(pid)
      .split('\0')
      .filter(Boolean)
      .map((variable) => variable.split(/=(.*)/s).slice(0, 2)),
  )
  t.deepEqual(
    [variables.GIVEN, variables.FROM_FILE, variables.BOTH, variables.READY_FD],
    ['x=y', 'a # b', 'given', readyFd[0]],
  )
  t.regex(variables.NOTIFY_SOCKET, /^@/)
  for (const name of ['LISTEN_FDS', 'WATCHDOG_USEC', 'TSDAEMONIZE_HANDOVER']) t.false(name in variables)
  t.is((fs.statSync(join(p.dir, 'log')).mode & 0o777).toString(8), '640')

  t.is(proc(supervisor).status.Threads, '1')
  t.is(read(`/proc/${supervisor}/cmdline`).split('\0')[0], 'tsdaemonize: outside')
  await until(() => !(3 in descriptors(supervisor)), 'the end of its socket to the launcher')
  const held = Object.values(descriptors(supervisor))
  t.deepEqual(
    held.filter((path) => !/^(\/dev\/null|anon_inode:.*|\/memfd:plan.*)$/.test(path)),
    [p.pidFile('outside'), p.pidFile('outside')],
  )
  t.is(fs.readlinkSync(`/proc/${supervisor}/cwd`), '/')
  await stopped(t, p, 'outside', both)
})

for (const [what, script, words] of [
  ['with a status', 'echo to stdout; echo to stderr >&2; exit 3', /exited with status 3 before it was ready/],
  ['by a signal', 'echo to stderr >&2; kill -SEGV $$', /was killed by SIGSEGV before it was ready/],
  [
    'with 0',
    'echo to stderr >&2; exit 0',
    /it went into the background by itself, or had nothing to do. Give the option that keeps it in the foreground/,
  ],
]) {
  for (const syslog of [false, true]) {
    test(`one that ends ${what} before it is ready is told in its own words: ${syslog ? 'a pipe' : 'a file'}`, async (t) => {
      const p = place(t)
      const where = syslog
        ? ['--stdout', 'syslog', '--stderr', 'syslog']
        : ['--stdout', 'out', '--stderr', 'err']
      const failed = await start(p, '--name', 'short', ...where, 'sh', '-c', script)
      t.is(failed.status, 1)
      t.is(failed.stdout, script.includes('stdout') ? 'to stdout\n' : '')
      t.regex(failed.stderr, words)
      t.true(failed.stderr.endsWith(':\nto stderr\n'), failed.stderr)
      t.deepEqual(fs.readdirSync(p.run), [])
    })
  }
}

test('what stood in its log file before is not taken for its words', async (t) => {
  const p = place(t)
  p.write('log', 'from yesterday\n')
  const failed = await start(p, '--name', 'old', ...logged(p), 'sh', '-c', 'echo of today; exit 1')
  t.is(failed.stderr, "old: The daemon 'old' exited with status 1 before it was ready:\nof today\n")
  t.is(log(p), 'from yesterday\nof today\n')
})

test('a program that cannot be executed is told by what its errno means for it', async (t) => {
  const p = place(t)
  const write = (name, text, mode) => {
    p.write(name, text)
    fs.chmodSync(join(p.dir, name), mode)
  }
  write('plain', '#!/bin/sh\n', 0o644)
  write('format', 'neither a program\n', 0o755)
  write('orphan', '#!/no/such/interpreter -x\n', 0o755)
  write('nested', `#!${join(p.dir, 'plain')}\n`, 0o755)
  fs.mkdirSync(join(p.dir, 'dir'))
  p.write('loop', '')
  fs.rmSync(join(p.dir, 'loop'))
  fs.symlinkSync('loop', join(p.dir, 'loop'))
  for (const [file, words] of [
    ['./none', /Cannot execute '.*\/none': ENOENT: no such file or directory, execve$/m],
    ['./dir', /EACCES: permission denied, execve. It is a directory/],
    ['./plain', /EACCES.* It has no permission to be executed: `chmod \+x .*plain`/],
    ['./format', /ENOEXEC.* It is neither a program for this machine nor a script whose first line/],
    ['./orphan', /ENOENT.* the interpreter that its first line names is not: \/no\/such\/interpreter/],
    ['./nested', /EACCES.* It is run by .*plain, which has no permission to be executed/],
    ['./loop', /ELOOP/],
    ['./format/x', /ENOTDIR/],
  ]) {
    const failed = await start(p, '--name', 'bad', ...logged(p), file)
    t.is(failed.status, 1, file)
    t.regex(failed.stderr, words)
    t.deepEqual(fs.readdirSync(p.run), [], file)
    t.false(fs.existsSync(join(p.dir, 'log')), 'a log file that was made in vain')
  }
  const nowhere = await start(p, '--name', 'bad', '--cwd', '/no/such/directory', ...logged(p), 'sleep', '1')
  t.regex(nowhere.stderr, /Cannot use the working directory '\/no\/such\/directory': ENOENT/)
  const nolog = ['--stdout', '/no/such/log', '--stderr', '/no/such/log']
  const unwritable = await start(p, '--name', 'bad', ...nolog, 'sleep', '1')
  t.regex(unwritable.stderr, /Cannot open the log file \/no\/such\/log: ENOENT.* Create its directory/)
})

test('a relative program is the caller’s, and a name is looked for in the PATH of the daemon', async (t) => {
  const p = place(t)
  p.write('bin/tool', `#!/bin/sh\necho "$0 $1"\n${FOREVER}\n`)
  fs.chmodSync(join(p.dir, 'bin/tool'), 0o755)
  for (const words of [
    ['bin/tool', 'a'],
    ['--env', `PATH=${p.dir}/none:bin:${process.env.PATH}`, 'tool', 'a'],
  ]) {
    fs.rmSync(join(p.dir, 'log'), { force: true })
    const started = await start(p, ...logged(p), ...words)
    t.is(started.status, 0, started.stderr)
    t.is(started.stderr, `${p.dir}/bin/tool a\n`)
    await stopped(t, p, 'tool', pair(t, p, 'tool'))
  }
})

test('an end that nobody asked for: a line in the log, why in the state file, no pidfile, no process', async (t) => {
  const p = place(t)
  for (const [end, told, last] of [
    [
      'exit 7',
      /: The program \(pid \d+\) ended after .* with status 7: it exited with status 7$/m,
      [7, null],
    ],
    ['kill -KILL $$', /ended after .* by SIGKILL: it was killed by SIGKILL/, [null, 'SIGKILL']],
  ]) {
    fs.rmSync(join(p.dir, 'log'), { force: true })
    const script = `sleep 1000 & echo $! > rest; read line < go; ${end}`
    if (!fs.existsSync(join(p.dir, 'go'))) await command(p, 'mkfifo', ['go'])
    const options = ['--name', 'ends', '--cwd', p.dir, ...logged(p)]
    const started = await start(p, ...options, 'sh', '-c', script)
    t.is(started.status, 0, started.stderr)
    const { supervisor, pid } = pair(t, p, 'ends')
    const rest = Number(read(join(p.dir, 'rest')))
    t.true(isAlive(rest))
    fs.writeFileSync(join(p.dir, 'go'), 'now\n')
    await until(() => !isAlive(supervisor), 'the end of the supervisor')
    t.false(isAlive(rest))
    t.regex(log(p), told)
    t.deepEqual(fs.readdirSync(p.run), ['.ends.state'])
    const { lastExit, pid: noted } = state(p, 'ends')
    t.is(noted, pid)
    t.deepEqual([lastExit.code, lastExit.signal], last)
    t.true(Date.now() - Date.parse(lastExit.at) < 600_000)
  }
})

test('signals to the supervisor reach the program, and SIGTERM ends all of its session', async (t) => {
  const p = place(t)
  const script = `
    for signal in HUP USR1 USR2 QUIT ALRM WINCH; do trap "echo $signal >> signals" $signal; done
    trap 'exit 0' TERM
    (trap 'sleep 0.1; echo child >> signals; exit' TERM; while :; do sleep 0.05; done) &
    echo > up
    while :; do sleep 0.05; done`
  const started = await start(p, '--name', 'sig', '--cwd', p.dir, ...logged(p), 'bash', '-c', script)
  t.is(started.status, 0, started.stderr)
  const { supervisor, pid } = pair(t, p, 'sig')
  await until(() => fs.existsSync(join(p.dir, 'up')), 'its traps')
  const seen = () => read(join(p.dir, 'signals')).split('\n').filter(Boolean)
  for (const signal of ['HUP', 'USR1', 'USR2', 'QUIT', 'ALRM', 'WINCH']) {
    spawn('kill', ['-s', signal, String(supervisor)])
    await until(() => seen().includes(signal), signal)
  }
  t.true(isAlive(pid))
  process.kill(supervisor, 'SIGTERM')
  await until(() => !isAlive(supervisor), 'the end of the supervisor')
  t.false(isAlive(pid))
  t.true(seen().includes('child'), 'its child was asked to end, and did so in order')
  t.deepEqual(fs.readdirSync(p.run), [])
  t.regex(log(p), /ended after .* with status 0: its supervisor got SIGTERM/)
})

test('one that ignores SIGTERM is killed with its session a second after its stop timeout', async (t) => {
  const p = place(t)
  const script = `trap '' TERM; sleep 1000 & echo $! > rest; echo > up; wait; ${FOREVER}`
  const options = ['--name', 'deaf', '--cwd', p.dir, '--stop-timeout', '100', ...logged(p)]
  const started = await start(p, ...options, 'sh', '-c', script)
  t.is(started.status, 0, started.stderr)
  const both = pair(t, p, 'deaf')
  await until(() => fs.existsSync(join(p.dir, 'up')), 'its trap')
  process.kill(both.supervisor, 'SIGTERM')
  await until(() => !isAlive(both.supervisor), 'the end of the supervisor')
  t.false(isAlive(both.pid))
  t.false(isAlive(Number(read(join(p.dir, 'rest')))))
  t.regex(log(p), /ended after .* by SIGKILL: its supervisor got SIGTERM/)
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('a pidfile that is removed is put back by the supervisor', async (t) => {
  const p = place(t)
  const started = await start(p, '--name', 'back', ...logged(p), 'sleep', '1000')
  t.is(started.status, 0, started.stderr)
  const both = pair(t, p, 'back')
  fs.rmSync(p.pidFile('back'))
  await until(() => Number(read(p.pidFile('back'))) === both.supervisor, 'the pidfile')
  await until(() => /The pidfile .* was removed. Put it back/.test(log(p)), 'the warning')
  await stopped(t, p, 'back', both)
})

test('a launcher that is killed leaves nothing, and neither does a supervisor that is', async (t) => {
  const p = place(t)
  const script = `echo $$ > pid; ${FOREVER}`
  const options = ['--name', 'gone', '--cwd', p.dir, ...logged(p)]
  const starting = start(p, ...options, '--ready', 'fd', 'sh', '-c', script)
  const pid = Number(await until(() => read(join(p.dir, 'pid')), 'the program'))
  process.kill(starting.pid, 'SIGKILL')
  await starting
  await until(() => !isAlive(pid), 'the end of the program')
  await until(() => fs.readdirSync(p.run).length === 0, 'the removal of the pidfile')

  const started = await start(p, ...options, 'sh', '-c', script)
  t.is(started.status, 0, started.stderr)
  const both = pair(t, p, 'gone')
  process.kill(both.supervisor, 'SIGKILL')
  await until(() => !isAlive(both.pid), 'the end of the program')
})

test('Ctrl-C gives a start up', async (t) => {
  const p = place(t)
  const script = `echo $$ > pid; ${FOREVER}`
  const starting = start(p, '--name', 'up', '--cwd', p.dir, ...logged(p), '--ready', 'fd', 'sh', '-c', script)
  const pid = Number(await until(() => read(join(p.dir, 'pid')), 'the program'))
  process.kill(starting.pid, 'SIGINT')
  const { signal, stderr } = await starting
  t.is(signal, 'SIGINT')
  t.regex(stderr, /'up' was not ready when SIGINT interrupted its start, and was ended/)
  t.false(isAlive(pid))
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('ensure starts it once, whoever asks', async (t) => {
  const p = place(t)
  const ensure = () =>
    program(p, 'ensure', '--pid-file-path', p.run, '--name', 'once', ...logged(p), 'sleep', '1000')
  const answers = await Promise.all([ensure(), ensure(), ensure(), ensure()])
  const { pid, supervisor } = pair(t, p, 'once')
  for (const { status, stdout, stderr } of [...answers, await ensure()]) {
    t.deepEqual([status, stdout, stderr], [0, `${pid}\n`, ''])
  }
  await stopped(t, p, 'once', { pid, supervisor })
})

asRoot(
  'as another user it has that user’s ids, groups, variables and log file, and its supervisor is root',
  async (t) => {
    const p = place(t)
    fs.chmodSync(p.dir, 0o755)
    const options = ['--name', 'other', '--user', 'nobody', ...logged(p)]
    const started = await start(p, ...options, 'sleep', '1000')
    t.is(started.status, 0, started.stderr)
    const both = pair(t, p, 'other')
    const { Uid, Gid, CapEff, CapPrm } = proc(both.pid).status
    t.regex(Uid, /^65534\s65534\s65534\s65534$/)
    t.regex(Gid, /^65534\s65534\s65534\s65534$/)
    t.deepEqual([CapEff, CapPrm], ['0000000000000000', '0000000000000000'])
    t.regex(proc(both.supervisor).status.Uid, /^0\s0\s0\s0$/)
    const variables = environmentOf(both.pid).split('\0')
    t.true(variables.includes('USER=nobody'))
    t.true(variables.includes('LOGNAME=nobody'))
    t.is(fs.statSync(join(p.dir, 'log')).uid, 65534)
    process.kill(both.supervisor, 'SIGKILL')
    await until(() => !isAlive(both.pid), 'its end with its supervisor, though its ids have changed')
    const refused = await command(
      p,
      executable,
      ['start', '--user', 'root', ...logged(p), 'sleep', '1'],
      NOBODY,
    )
    t.not(refused.status, 0)
  },
)

asRoot(
  'root’s are kept in /run/tsdaemonize, where users look too; what an ordinary user starts is theirs',
  async (t) => {
    const p = place(t)
    const name = `tsd-${process.pid}`
    const started = await command(p, executable, ['start', '--name', name, ...logged(p), 'sleep', '1000'])
    t.is(started.status, 0, started.stderr)
    const file = `/run/tsdaemonize/${name}.pid`
    t.is((fs.statSync('/run/tsdaemonize').mode & 0o777).toString(8), '755')
    const supervisor = Number(read(file))
    t.is(stat(supervisor).session, supervisor)
    const ended = await command(p, executable, ['stop', name])
    t.is(ended.status, 0, ended.stderr)
    t.false(isAlive(supervisor))
    t.false(fs.existsSync(file))
  },
)

// Real programs.

test('python3 -m http.server', async (t) => {
  const p = place(t)
  p.write('index.html', 'served')
  const port = await freePort()
  const options = ['--name', 'web', '--cwd', p.dir, ...logged(p), '--ready', `listen=${port}`]
  const started = await start(p, ...options, 'python3', '-m', 'http.server', String(port))
  t.is(started.status, 0, started.stderr)
  const both = pair(t, p, 'web')
  t.is(await (await fetch(`http://127.0.0.1:${port}/index.html`)).text(), 'served')
  await stopped(t, p, 'web', both)
})

test('a program that makes a daemon of itself is told so', async (t) => {
  const p = place(t)
  const itself = `
import os, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
open('pid', 'w').write(str(os.getpid()))
time.sleep(5)`
  const failed = await start(
    p,
    '--name',
    'itself',
    '--cwd',
    p.dir,
    ...logged(p),
    '--ready',
    'fd',
    'python3',
    '-c',
    itself,
  )
  t.is(failed.status, 1)
  t.regex(failed.stderr, /it went into the background by itself/)
  t.deepEqual(fs.readdirSync(p.run), [])
})

testIf(works('nginx', '-v'))('nginx with `daemon off`', async (t) => {
  const p = place(t)
  const port = await freePort()
  const conf = p.write(
    'nginx.conf',
    `${isRoot ? 'user root;' : ''} pid ${p.dir}/nginx.pid; error_log stderr; events {}
    http { access_log off; server { listen 127.0.0.1:${port}; return 200 served; }
      client_body_temp_path ${p.dir}/a; proxy_temp_path ${p.dir}/b; fastcgi_temp_path ${p.dir}/c;
      uwsgi_temp_path ${p.dir}/d; scgi_temp_path ${p.dir}/e; }`,
  )
  const options = [...logged(p), '--ready', `listen=${port}`]
  const words = ['nginx', '-e', 'stderr', '-c', conf]
  const started = await start(p, ...options, ...words, '-g', 'daemon off;')
  t.is(started.status, 0, started.stderr)
  const both = pair(t, p, 'nginx')
  t.is(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'served')
  await stopped(t, p, 'nginx', both)
  // Not by `listen`: its first process listens for a moment before it ends.
  const background = await start(p, ...logged(p), '--ready', 'fd', ...words)
  t.is(background.status, 1)
  t.regex(background.stderr, /it went into the background by itself/)
  process.kill(Number(await until(() => read(join(p.dir, 'nginx.pid')), 'its pid')), 'SIGKILL')
})

// Its compiler keeps a cache in the home, which makes a minute a second.
testIf(isRoot && works('go', 'version'))('a Go binary', async (t) => {
  const p = place(t)
  const port = await freePort()
  p.write(
    'main.go',
    // The package syscall alone: Go compiles its library anew on each machine.
    `package main
import "syscall"
func main() {
  fd, _ := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
  address := &syscall.SockaddrInet4{Port: PORT, Addr: [4]byte{127, 0, 0, 1}}
  if err := syscall.Bind(fd, address); err != nil { println(err.Error()); syscall.Exit(1) }
  syscall.Listen(fd, 1)
  println("up")
  syscall.Accept(fd)
}`.replace('PORT', port),
  )
  const cache = { GOFLAGS: '-mod=mod', GO111MODULE: 'off' }
  const built = await command(p, 'go', ['build', '-o', 'server', 'main.go'], { env: cache })
  t.is(built.status, 0, built.stderr)
  const started = await start(p, ...logged(p), '--ready', `listen=${port}`, './server')
  t.is(started.status, 0, started.stderr)
  const both = pair(t, p, 'server')
  const second = await start(
    p,
    '--name',
    'second',
    ...logged(p),
    '--ready',
    'listen',
    './server',
    String(port),
  )
  t.regex(second.stderr, /exited with status 1 before it was ready:\n.*address already in use/)
  await stopped(t, p, 'server', both)
})

testIf(works('java', '-version') && works('javac', '-version'))('a Java program', async (t) => {
  const p = place(t)
  p.write(
    'Server.java',
    `import java.net.*;
public class Server { public static void main(String[] a) throws Exception {
  ServerSocket s = new ServerSocket(Integer.parseInt(a[0]));
  System.out.println("up"); s.accept(); } }`,
  )
  t.is((await command(p, 'javac', ['Server.java'])).status, 0)
  await command(p, 'jar', ['cfe', 'server.jar', 'Server', 'Server.class'])
  const port = await freePort()
  const options = ['--name', 'jar', ...logged(p), '--ready', `listen=${port}`]
  const started = await start(p, ...options, 'java', '-jar', join(p.dir, 'server.jar'), String(port))
  t.is(started.status, 0, started.stderr)
  await stopped(t, p, 'jar', pair(t, p, 'jar'))
})

// The logger is at /dev/log, in a mount namespace of the test's own.

const mounts = testIf(isRoot && works('unshare', '-m', 'true') && works('perl', '-v'))
const RECEIVER = `
use Socket;
my ($path, $file) = @ARGV;
socket(my $socket, AF_UNIX, SOCK_DGRAM, 0) or die $!;
bind($socket, sockaddr_un($path)) or die $!;
syswrite STDOUT, 'bound';
open my $log, '>>', $file or die $!;
while (defined recv($socket, my $message, 65536, 0)) { syswrite $log, "$message\\n" }
`

/** Runs a command that sees the directory `dev` of the place as /dev. */
function withDev(p, args) {
  const nodes = ['null', 'zero', 'full', 'random', 'urandom', 'tty']
  for (const node of nodes) p.write(`dev/${node}`, '')
  const script = `for node in ${nodes.join(' ')}; do mount --bind /dev/$node "$DIR/dev/$node" || exit 99; done
  mount --rbind "$DIR/dev" /dev && exec "$0" "$@"`
  return command(p, 'unshare', ['-m', 'sh', '-c', script, executable, ...args])
}

mounts('without `--stdout` its lines go to the logger, those of the start too, each whole', async (t) => {
  const p = place(t)
  fs.mkdirSync(join(p.dir, 'dev'))
  const file = join(p.dir, 'received')
  const receiver = spawn('perl', ['-e', RECEIVER, join(p.dir, 'dev/log'), file], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => receiver.kill('SIGKILL'))
  await once(receiver.stdout, 'data')
  await command(p, 'mkfifo', ['go'])
  const script = `echo first; printf 'a line in'; echo bad >&2; echo >&$READY_FD
    read line < go; echo ' two parts'; printf 'x\\033y\\n'; seq 1 5000; exec sleep 1000`
  const options = ['--pid-file-path', p.run, '--name', 'lines', '--cwd', p.dir]
  const started = await withDev(p, ['start', ...options, 'bash', '-c', script])
  t.is(started.status, 0, started.stderr)
  t.is(started.stdout, 'first\na line in')
  t.is(started.stderr, 'bad\n')
  const both = pair(t, p, 'lines')
  fs.writeFileSync(join(p.dir, 'go'), 'now\n')
  const lines = () => read(file).split('\n').slice(0, -1)
  const texts = () => lines().map((line) => line.replace(/^<(\d+)>\w{3} [ \d]\d [\d:]{8} lines: /, '$1 '))
  await until(() => texts().includes('30 5000'), 'the last line')
  const numbers = Array.from({ length: 5000 }, (_, i) => `30 ${i + 1}`)
  t.deepEqual(
    texts().filter((text) => text.startsWith('30 ')),
    ['30 first', '30 a line in two parts', '30 x#033y', ...numbers],
  )
  t.true(texts().includes('27 bad'))
  t.deepEqual(state(p, 'lines').stdout, 'syslog')
  process.kill(both.pid, 'SIGKILL')
  await until(() => !isAlive(both.supervisor), 'the end of the supervisor')
  await until(() => texts().some((text) => /^29 The program .* by SIGKILL/.test(text)), 'its last line')
})

mounts('where there is no logger, a user’s output goes to a file of the user’s own', async (t) => {
  const p = place(t)
  fs.mkdirSync(join(p.dir, 'dev'))
  fs.mkdirSync(join(p.dir, 'state'), { mode: 0o700 })
  fs.chmodSync(p.dir, 0o755)
  for (const dir of [p.run, join(p.dir, 'state')]) fs.chownSync(dir, NOBODY.uid, NOBODY.gid)
  const nodes = ['null', 'urandom']
  for (const node of nodes) p.write(`dev/${node}`, '')
  const script = `for node in ${nodes.join(' ')}; do mount --bind /dev/$node "$DIR/dev/$node" || exit 99; done
  mount --rbind "$DIR/dev" /dev && exec setpriv --reuid 65534 --regid 65534 --clear-groups "$0" "$@"`
  const words = ['start', '--pid-file-path', p.run, '--name', 'mine', 'sh', '-c', `echo hello; ${FOREVER}`]
  const env = { XDG_STATE_HOME: join(p.dir, 'state') }
  const started = await command(p, 'unshare', ['-m', 'sh', '-c', script, executable, ...words], { env })
  t.is(started.status, 0, started.stderr)
  const both = pair(t, p, 'mine')
  const file = join(p.dir, 'state/tsdaemonize/mine.log')
  t.is(read(file), 'hello\n')
  t.is((fs.statSync(file).mode & 0o777).toString(8), '640')
  t.is((fs.statSync(join(file, '..')).mode & 0o777).toString(8), '700')
  process.kill(both.supervisor, 'SIGTERM')
  await until(() => !isAlive(both.supervisor), 'the end of the supervisor')
})
