// Attacks that no other file tests: somebody plants a file, forges a pidfile, prepares an environment or floods
// the logger. The table in docs/hostile.md names all attacks, with their tests.

import { spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  asRoot,
  cli,
  command,
  daemonAt,
  environment,
  environmentOf,
  isAlive,
  isRoot,
  NOBODY,
  pidIn,
  place,
  processesOf,
  root,
  run,
  sample,
  stranger,
  test,
  testIf,
  until,
  works,
} from './kit.mjs'
import { lock, lockCommand, RUNNING } from './locks.mjs'
import { assertAll, numbers, opening, receive } from './receivers.mjs'

// Planted files.

const makesDevices = testIf(isRoot && canMakeDevices())
function canMakeDevices() {
  const dir = fs.mkdtempSync(join(tmpdir(), 'tsd-device-'))
  const able = works('mknod', `${dir}/null`, 'c', '1', '3')
  fs.rmSync(dir, { recursive: true })
  return able
}

const devices = {
  '/dev/null': ['c', '1', '3'],
  'a device that cannot be opened': ['c', '10', '250'],
  'a block device': ['b', '7', '200'],
}
for (const [what, numbers] of Object.entries(devices)) {
  makesDevices(`${what} in the place of the pidfile is refused, and not opened`, async (t) => {
    const p = place(t)
    spawnSync('mknod', [p.pidFile(), ...numbers])
    const script = p.write('a.mjs', cli())
    const started = await run(p, script, ['start'])
    t.is(started.status, 1)
    t.regex(started.stderr, /Refusing the pidfile .*it is not a regular file/)
    t.is((await run(p, script, ['status'])).status, 4)
    t.is((await run(p, script, ['stop'])).status, 1)
    t.deepEqual(fs.readdirSync(p.run), ['sample.pid'])
    t.deepEqual(processesOf(p), [])
  })
}

asRoot("another user's log, planted where all can write, is refused, and gets no line", async (t) => {
  const p = place(t)
  for (const mode of [0o1777, 0o777]) {
    const shared = join(p.dir, mode.toString(8))
    fs.mkdirSync(shared)
    fs.chmodSync(shared, mode)
    const log = join(shared, 'sample.log')
    fs.writeFileSync(log, 'planted\n')
    fs.chmodSync(log, 0o666)
    const script = p.write('a.mjs', cli({ options: `stderr: '${log}'` }))
    fs.chownSync(log, NOBODY.uid, NOBODY.gid)
    const { status, stderr } = await run(p, script, ['start'])
    t.is(status, 1)
    t.regex(stderr, /Refusing the log file .*sample\.log: it belongs to another user \(65534\)/)
    t.is(fs.readFileSync(log, 'utf8'), 'planted\n')
    t.deepEqual(fs.readdirSync(p.run), [])
    // The caller's own file is accepted, and so is one that belongs to the owner of the directory.
    fs.chownSync(log, 0, 0)
    t.is((await run(p, script, ['start'])).status, 0)
    t.is((await run(p, script, ['stop'])).status, 0)
    fs.chownSync(log, NOBODY.uid, NOBODY.gid)
    fs.chownSync(shared, NOBODY.uid, NOBODY.gid)
    t.is((await run(p, script, ['start'])).status, 0)
    t.is((await run(p, script, ['stop'])).status, 0)
  }
})

test('a FIFO in the place of a log, which somebody reads, is refused', async (t) => {
  const p = place(t)
  const log = join(p.dir, 'log')
  t.is(spawnSync('mkfifo', [log]).status, 0)
  const reader = fs.openSync(log, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK)
  t.teardown(() => fs.closeSync(reader))
  const { status, stderr } = await run(p, p.write('a.mjs', sample({ options: `stdout: '${log}'` })))
  t.is(status, 1)
  t.regex(stderr, /Refusing the log file .*: it must be a regular file/)
  t.deepEqual(processesOf(p), [])
})

// Forged pidfiles.

asRoot("an ordinary user's pidfile that names a process of root's: root's stop signals nobody", async (t) => {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  fs.chownSync(p.run, NOBODY.uid, NOBODY.gid)
  const pid = stranger(t)
  const forge = () => {
    fs.writeFileSync(p.pidFile(), `${pid}\n`)
    fs.chownSync(p.pidFile(), NOBODY.uid, NOBODY.gid)
  }
  forge()
  t.is(await daemonAt(p).stop(), null)
  t.true(isAlive(pid))
  forge()
  const holder = await lock(t, p.pidFile(), { write: true, flock: true, ranges: RUNNING }, NOBODY)
  const refused = { code: 'ERR_DAEMON_STOP_FAILED', message: /Nothing was sent/ }
  const asked = [daemonAt(p).stop(), daemonAt(p).kill('SIGTERM')]
  await Promise.all(asked.map((each) => t.throwsAsync(each, refused)))
  t.true(isAlive(pid))
  t.true(isAlive(holder.pid))
  t.is(pidIn(p), pid)
})

// A process can pass a locked descriptor to another one (SCM_RIGHTS in unix(7)): to a message bus, a service
// manager, or a set-user-ID program that it starts.
asRoot(
  "a process of root's that was given the lock of an ordinary user's pidfile is no daemon",
  async (t) => {
    const p = place(t)
    fs.chmodSync(p.dir, 0o755)
    fs.chownSync(p.run, NOBODY.uid, NOBODY.gid)
    fs.writeFileSync(p.pidFile(), '')
    fs.chownSync(p.pidFile(), NOBODY.uid, NOBODY.gid)
    // Locks belong to the open file description: it does not matter which process took them.
    const [perl, args] = lockCommand(p.pidFile(), { write: true, flock: true, ranges: RUNNING })
    const child = spawn(perl, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    t.teardown(() => child.kill('SIGKILL'))
    await new Promise((resolve) => child.stdout.once('data', resolve))
    fs.writeFileSync(p.pidFile(), `${child.pid}\n`)
    const refused = {
      code: 'ERR_DAEMON_STOP_FAILED',
      message: new RegExp(`the process ${child.pid} .*Nothing was sent`),
    }
    const asked = [daemonAt(p).stop(), daemonAt(p).kill('SIGTERM'), daemonAt(p).status()]
    await Promise.all(asked.map((each) => t.throwsAsync(each, refused)))
    t.true(isAlive(child.pid))
  },
)

// The kernel gives the next process the pid that is written here (proc_sys_kernel(5)). A small pid_max has the
// same effect, but takes longer.
const LAST_PID = '/proc/sys/kernel/ns_last_pid'
const choosesPids = testIf(
  isRoot &&
    fs.existsSync(LAST_PID) &&
    works('unshare', '-pf', '--mount-proc', 'strace', '-e', 'inject=pidfd_open:delay_enter=1', 'true'),
)

for (const [call, number] of Object.entries({ pidfd_open: 434, pidfd_send_signal: 424 })) {
  choosesPids(
    `a pid that another process gets while stop is about to call ${call} is not touched`,
    async (t) => {
      const p = place(t)
      const script = p.write('a.mjs', cli())
      const main = p.write(
        'main.mjs',
        `import { spawn, spawnSync } from 'node:child_process'
      import { once } from 'node:events'
      import fs from 'node:fs'
      import { setTimeout as sleep } from 'node:timers/promises'
      const started = spawnSync(process.execPath, ['${script}', 'start'])
      const pid = Number(fs.readFileSync(process.env.RUN + '/sample.pid', 'utf8'))
      // It waits before the call until strace is gone.
      const inject = ['-e', 'trace=${call}', '-e', 'inject=${call}:delay_enter=1000000000']
      const line = process.execPath + ' ${script} stop > /dev/null; echo $? > ' + process.env.DIR + '/status'
      const stop = spawn('strace', ['-f', '-qq', '-o', '/dev/null', ...inject, 'sh', '-c', line], { stdio: 'inherit' })
      const reached = () => fs.readdirSync('/proc').filter(Number).some((pid) => {
        try {
          return fs.readdirSync('/proc/' + pid + '/task')
            .some((tid) => fs.readFileSync('/proc/' + pid + '/task/' + tid + '/syscall', 'utf8').startsWith('${number} '))
        } catch {}
      })
      while (!reached()) await sleep(5)
      process.kill(pid, 'SIGKILL')
      while (fs.existsSync('/proc/' + pid)) await sleep(5)
      let other
      while (other?.pid !== pid) {
        other?.kill('SIGKILL')
        fs.writeFileSync('${LAST_PID}', String(pid - 1))
        other = spawn('sleep', ['1000'], { stdio: 'ignore' })
      }
      stop.kill('SIGKILL')
      while (!fs.existsSync(process.env.DIR + '/status')) await sleep(5)
      const alive = other.exitCode === null && other.signalCode === null
      console.log(JSON.stringify({ started: started.status, alive, left: fs.readdirSync(process.env.RUN) }))
      process.exit()`,
      )
      // The shell is the init here, and waits for the orphans that it gets.
      const args = ['-pf', '--mount-proc', 'sh', '-c', `${process.execPath} ${main}; exit $?`]
      const { status, stdout, stderr } = await command(p, 'unshare', args)
      t.is(status, 0, stderr)
      t.deepEqual(JSON.parse(stdout), { started: 0, alive: true, left: [] }, stderr)
      t.is(fs.readFileSync(`${p.dir}/status`, 'utf8'), '0\n', stderr)
    },
  )
}

// Names.

test('a name that looks like a format, an option or a command is a name, in the log as well', async (t) => {
  const p = place(t)
  const path = join(p.dir, 'log')
  const receiver = await receive(t, p, 'datagram', path)
  const env = { TRANSPORT: JSON.stringify({ type: 'local', path }) }
  const body = `setup() {
    syslog.openlog(this.name, 0, syslog.LOG_DAEMON, JSON.parse(process.env.TRANSPORT))
    syslog.syslog('%s %n')
  }`
  for (const name of ['%s%n%1$n', '-x', '$(id); #', '..x']) {
    const script = p.write('a.mjs', cli({ options: `name: ${JSON.stringify(name)},`, body }))
    const { status, stderr } = await run(p, script, ['start'], { env })
    t.is(status, 0, stderr)
    const pid = pidIn(p, name)
    t.is(fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1').replace(/\0+$/, ''), name)
    t.is((await run(p, script, ['stop'], { env })).status, 0)
    const ends = (line) => line.endsWith(` ${name}: %s %n`)
    await until(() => receiver.messages().some(ends), `the message of ${name}`)
  }
  t.deepEqual(fs.readdirSync(p.run), [])
})

// A prepared environment.

test('what a launcher was given in its environment: what speaks of itself is gone, and with `env` all is', async (t) => {
  const gone = {
    NOTIFY_SOCKET: '/run/attacker',
    LISTEN_FDS: '3',
    LISTEN_PID: '1',
    TSDAEMONIZE_HANDOVER: '1 2 3 4',
  }
  const p = place(t)
  const mark = p.write(
    'mark.cjs',
    `require('fs').appendFileSync(process.env.DIR + '/marks', process.pid + '\\n')`,
  )
  // Both have done their work in the launcher, before the first line of its program.
  const acting = { NODE_OPTIONS: `--require ${mark}`, LD_PRELOAD: join(p.dir, 'missing.so') }
  const marks = () => fs.readFileSync(join(p.dir, 'marks'), 'utf8').trim().split('\n').map(Number)
  for (const [options, expected] of [
    ['', Object.keys(acting)],
    ['env: { DIR: process.env.DIR, RUN: process.env.RUN }', []],
  ]) {
    fs.rmSync(join(p.dir, 'marks'), { force: true })
    const script = p.write('a.mjs', cli({ options }))
    const started = run(p, script, ['start'], { env: { ...gone, ...acting } })
    const { status, stderr } = await started
    t.is(status, 0, stderr)
    const pid = pidIn(p)
    const names = environmentOf(pid)
      .split('\0')
      .map((line) => line.split('=')[0])
    const hostile = names.filter((name) => name in gone || name in acting)
    t.deepEqual(hostile.sort(), expected.sort())
    t.deepEqual(marks(), expected.length > 0 ? [started.pid, pid] : [started.pid])
    t.is((await run(p, script, ['stop'])).status, 0)
  }
})

// A flooded logger.

const FLOOD = `
use Socket;
socket my $log, AF_UNIX, SOCK_DGRAM, 0 or die $!;
connect $log, pack_sockaddr_un $ARGV[0] or die $!;
syswrite STDOUT, "flooding\\n";
while (1) { send $log, '<13>flood', 0 or sleep 1 }
`

test('a process that floods the logger holds up no event loop, and keeps no message from its place', async (t) => {
  const p = place(t)
  const path = join(p.dir, 'log')
  const receiver = await receive(t, p, 'datagram', path)
  const flooders = [1, 2, 3].map(() => {
    const child = spawn('perl', ['-e', FLOOD, path], {
      env: environment(p),
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    t.teardown(() => child.kill('SIGKILL'))
    return child
  })
  await Promise.all(flooders.map(({ stdout }) => new Promise((resolve) => stdout.once('data', resolve))))
  const count = 500
  const body = `setup() { opened() }
  async action(signal) {
    for (let i = 0; i < ${count}; i++) {
      if (i === ${count / 2}) {
        fs.writeFileSync(process.env.DIR + '/half', '')
        while (!fs.existsSync(process.env.DIR + '/go')) await sleep(5)
      }
      syslog.syslog('number ' + i)
      await sleep(1)
    }
    fs.writeFileSync(process.env.DIR + '/logged', '')
    const flushed = await syslog.flush(100_000)
    fs.writeFileSync(process.env.DIR + '/said', JSON.stringify({ flushed, ...syslog.stats() }))
    await once(signal, 'abort')
  }`
  const script = p.write('a.mjs', cli({ before: opening, body }))
  const env = { TRANSPORT: JSON.stringify({ type: 'local', path }) }
  const { status, stderr } = await run(p, script, ['start'], { env })
  t.is(status, 0, stderr)
  // The logger is full of the flood at first, and then it takes nothing at all: the event loop turns on.
  await until(() => fs.existsSync(join(p.dir, 'half')), 'the first half')
  receiver.signal('SIGSTOP')
  p.write('go', '')
  await until(() => fs.existsSync(join(p.dir, 'logged')), 'all to be logged')
  receiver.signal('SIGCONT')
  const said = await until(
    () => {
      try {
        return JSON.parse(fs.readFileSync(join(p.dir, 'said'), 'utf8'))
      } catch {
        return undefined
      }
    },
    'the messages to be sent',
    100_000,
  )
  for (const child of flooders) t.is(child.exitCode, null, 'it floods still')
  t.like(said, { flushed: true, queued: 0, dropped: 0 })
  t.is((await run(p, script, ['stop'], { env })).status, 0)
  for (const child of flooders) child.kill('SIGKILL')
  await receiver.stop()
  const messages = receiver.messages()
  assertAll(t, numbers(messages), count)
  t.true(messages.filter((line) => line.endsWith('flood')).length > count)
})

test('every test that docs/hostile.md names is there', (t) => {
  const page = fs.readFileSync(join(root, 'docs/hostile.md'), 'utf8')
  const rows = [...page.matchAll(/^\| .* \| .* \| `(\w[\w-]*)`: (.*) \|$/gm)]
  t.true(rows.length > 20)
  for (const [, file, names] of rows) {
    const source = fs.readFileSync(join(root, `__test__/${file}.test.mjs`), 'utf8').replaceAll('\\', '')
    for (const name of names.split('; ')) {
      // A name may have a part that differs from case to case.
      for (const part of name.split('…')) t.true(source.includes(part.trim()), `${file}: ${part}`)
    }
  }
})
