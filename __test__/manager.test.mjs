// One unchanged script, which only calls `start()`, does the right thing whatever starts it.

import fs from 'node:fs'
import { Place } from 'tsdaemonize/testing'
import {
  asRoot,
  command,
  environmentOf,
  isAlive,
  pidIn,
  place,
  proc,
  run,
  sample,
  sleep,
  test,
  testIf,
  until,
  works,
} from './kit.mjs'

/** A bare Node has handlers for TERM and INT as well. The handler for SIGHUP, the lowest bit, is the daemon's. */
const handlesSignals = (pid) => (Number.parseInt(proc(pid).status.SigCgt.at(-1), 16) & 1) === 1

/** A service manager's socket. It prints every message as a line of JSON, and closes the descriptors that come. */
const RECEIVER = `
import json, os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
name = sys.argv[1]
s.bind('\\0' + name[1:] if name[0] == '@' else name)
print(json.dumps('bound'), flush=True)
if len(sys.argv) > 2:
    import time; time.sleep(1000)
while True:
    data, fds, flags, address = socket.recv_fds(s, 65536, 16)
    for fd in fds: os.close(fd)
    print(json.dumps(data.decode()), flush=True)
`

async function manager(t, p, address = `${p.dir}/notify`, ...more) {
  const receiver = command(p, 'python3', ['-c', RECEIVER, address, ...more], { timeout: 2 ** 30 })
  const messages = []
  let rest = ''
  receiver.child.stdout.on('data', (data) => {
    const lines = (rest + data).split('\n')
    rest = lines.pop()
    messages.push(...lines.map((line) => JSON.parse(line)))
  })
  t.teardown(() => receiver.child.kill('SIGKILL'))
  await until(() => messages.shift() === 'bound', 'the receiver')
  return { address, messages, told: (text) => until(() => messages.some((m) => m.includes(text)), text) }
}

/** Runs it as systemd does: the process finds its own pid in a variable. */
function underSystemd(p, script, env = {}, args = []) {
  const shell = 'SYSTEMD_EXEC_PID=$$ exec "$0" "$@"'
  return command(p, 'sh', ['-c', shell, process.execPath, script, ...args], { env })
}

test('a manager is told READY=1 when it is set up, RELOADING=1 around a reload, and STOPPING=1', async (t) => {
  const p = place(t)
  const { address, messages, told } = await manager(t, p)
  const body = `async setup() {
    await sleep(100)
    fs.writeFileSync(process.env.DIR + '/setup', '')
    const { spawnSync } = await import('node:child_process')
    fs.writeFileSync(process.env.DIR + '/child', spawnSync('env').stdout)
  }
  async onSignal(signal) {
    if (signal === 'SIGHUP') await sleep(50)
    await super.onSignal(signal)
  }
  async shutdown() { fs.writeFileSync(process.env.DIR + '/shutdown', '') }`
  const daemon = underSystemd(p, p.write('a.mjs', sample({ body })), { NOTIFY_SOCKET: address })
  await told('READY=1')
  t.true(fs.existsSync(`${p.dir}/setup`), 'not before setup is done')
  t.deepEqual(messages, ['READY=1'])
  t.is(pidIn(p), daemon.pid, 'attached: the process that was started is the daemon')
  t.notRegex(fs.readFileSync(`${p.dir}/child`, 'utf8'), /NOTIFY_SOCKET/)

  const now = () => process.hrtime.bigint() / 1000n
  const times = []
  for (let reload = 1; reload <= 4; reload++) {
    const asked = now()
    process.kill(daemon.pid, 'SIGHUP')
    await until(() => messages.length === 1 + 2 * reload, 'the reload')
    const [begun, done] = messages.slice(-2)
    t.regex(begun, /^RELOADING=1\nMONOTONIC_USEC=\d+$/)
    t.is(done, 'READY=1')
    times.push(BigInt(begun.match(/\d+$/)))
    t.true(times.at(-1) >= asked && times.at(-1) <= now(), 'CLOCK_MONOTONIC')
  }
  t.true(
    times.some((time) => time % 1000n !== 0n),
    'to the microsecond',
  )

  process.kill(daemon.pid, 'SIGTERM')
  const { status, stdout } = await daemon
  t.deepEqual([status, stdout], [0, ''])
  t.is(messages.at(-1), 'STOPPING=1')
  t.true(fs.existsSync(`${p.dir}/shutdown`))
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('a failing setup is told as STATUS= and ERRNO=, on stderr, and by the exit status', async (t) => {
  const p = place(t)
  const { address, messages, told } = await manager(t, p)
  const body = `async setup() { fs.readFileSync('/no/such/file') }`
  const { status, stderr } = await underSystemd(p, p.write('a.mjs', sample({ body })), {
    NOTIFY_SOCKET: address,
  })
  t.is(status, 1)
  t.regex(stderr, /ENOENT: no such file or directory, open '\/no\/such\/file'[\s\S]*at .*setup/)
  await told('STATUS=')
  t.deepEqual(messages, ["STATUS=ENOENT: no such file or directory, open '/no/such/file'\nERRNO=2"])
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('an abstract socket is a socket', async (t) => {
  const p = place(t)
  const { address, told } = await manager(t, p, `@${p.dir}/notify`)
  const daemon = underSystemd(p, p.write('a.mjs', sample()), { NOTIFY_SOCKET: address })
  await told('READY=1')
  process.kill(daemon.pid, 'SIGTERM')
  t.is((await daemon).status, 0)
})

test('a manager that cannot be reached is a warning, and one that does not read blocks nobody', async (t) => {
  const p = place(t)
  const options = 'syslogOptions: syslog.LOG_PERROR,'
  const script = p.write(
    'a.mjs',
    sample({ options, body: 'async onSignal(s) { await super.onSignal(s); syslog.flush() }' }),
  )
  const alone = underSystemd(p, script, { NOTIFY_SOCKET: `${p.dir}/nobody` })
  await until(() => fs.existsSync(p.pidFile()) && pidIn(p) === alone.pid, 'the daemon')
  await until(() => handlesSignals(alone.pid), 'its signal handlers')
  await sleep(200)
  process.kill(alone.pid, 'SIGTERM')
  const ended = await alone
  t.is(ended.status, 0)
  t.regex(ended.stderr, /Cannot tell the service manager at .*nobody: E[A-Z]+: [a-z ]+$/m)

  const { address } = await manager(t, p, `${p.dir}/deaf`, 'deaf')
  // It is full before the daemon comes: a datagram socket takes net.unix.max_dgram_qlen messages.
  const fill = `import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.setblocking(False)
try:
    while True: s.sendto(b'x', '${address}')
except BlockingIOError: pass`
  t.is((await command(p, 'python3', ['-c', fill])).status, 0)
  const body = `async action(signal) { fs.writeFileSync(process.env.DIR + '/acts', ''); await once(signal, 'abort') }`
  const daemon = underSystemd(p, p.write('b.mjs', sample({ body })), { NOTIFY_SOCKET: address })
  await until(() => fs.existsSync(`${p.dir}/acts`), 'the action')
  process.kill(daemon.pid, 'SIGTERM')
  t.is((await daemon).status, 0)
})

test('SYSTEMD_EXEC_PID of another process, and a NOTIFY_SOCKET alone, change nothing: detached', async (t) => {
  const p = place(t)
  const { address, messages } = await manager(t, p)
  const script = p.write('a.mjs', sample())
  const { status, pid } = await run(p, script, [], {
    env: { SYSTEMD_EXEC_PID: '1', NOTIFY_SOCKET: address },
  }).then((r) => ({ ...r, pid: pidIn(p) }))
  t.is(status, 0)
  t.true(isAlive(pid))
  t.notRegex(
    environmentOf(pid),
    /NOTIFY_SOCKET|SYSTEMD_EXEC_PID/,
    'what speaks of the launcher is not handed on',
  )
  t.deepEqual(messages, [])
})

for (const name of ['runsv', 's6-supervise', 'supervise', 'perpd', 'service-manager', 'supervise-daemon']) {
  test(`a child of ${name} stays attached, and SIGTERM ends it with 0`, async (t) => {
    const p = place(t)
    const script = p.write('a.mjs', sample())
    // What counts is the parent's name: a shell under that name, which waits for the daemon.
    const shell = `${p.dir}/${name}`
    fs.copyFileSync('/bin/sh', shell)
    fs.chmodSync(shell, 0o755)
    const parent = command(p, shell, ['-c', '"$0" "$@"; echo "status $?"', process.execPath, script])
    await until(() => fs.existsSync(p.pidFile()) && pidIn(p) > 0, 'the daemon')
    const pid = pidIn(p)
    t.is(proc(pid).ppid, parent.pid)
    await until(() => handlesSignals(pid), 'its signal handlers')
    process.kill(pid, 'SIGTERM')
    const { status, stdout } = await parent
    t.deepEqual([status, stdout], [0, 'status 0\n'])
  })
}

const installed = (program) => testIf(works('which', program))

for (const [what, ...supervisord] of [
  ['supervisord', 'supervisord'],
  ['supervisord as a module', '/usr/bin/python3', '-m', 'supervisor.supervisord'],
]) {
  installed('supervisord')(
    `under ${what} a service stays attached, and what it starts does not`,
    async (t) => {
      const p = place(t)
      const script = p.write('a.mjs', sample())
      const inner = p.write('inner.mjs', sample({ options: "name: 'inner'" }))
      const outer = `import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
const { status } = spawnSync(process.execPath, ['${inner}'])
fs.writeFileSync(process.env.DIR + '/inner', String(status))
setInterval(() => {}, 1000)`
      const configuration = p.write(
        'supervisord.conf',
        `[supervisord]
nodaemon=true
logfile=${p.dir}/supervisord.log
pidfile=${p.dir}/supervisord.pid
[program:a]
command=${process.execPath} ${script}
[program:outer]
command=${process.execPath} ${p.write('outer.mjs', outer)}
`,
      )
      const [file, ...args] = supervisord
      const parent = command(p, file, [...args, '-c', configuration])
      await until(() => fs.existsSync(p.pidFile()) && pidIn(p) > 0, 'the daemon')
      await until(() => fs.existsSync(`${p.dir}/inner`) && fs.readFileSync(`${p.dir}/inner`, 'utf8') !== '')
      const [pid, other] = [pidIn(p), pidIn(p, 'inner')]
      t.is(proc(pid).ppid, parent.pid, 'attached')
      t.is(fs.readFileSync(`${p.dir}/inner`, 'utf8'), '0')
      t.true(isAlive(other))
      t.not(proc(other).session, proc(pid).session, 'detached')
      await until(() => handlesSignals(pid), 'its signal handlers')
      parent.child.kill('SIGTERM')
      await parent
      t.false(isAlive(pid))
      t.regex(fs.readFileSync(`${p.dir}/supervisord.log`, 'utf8'), /stopped: a \(exit status 0\)/)
      t.true(isAlive(other))
    },
  )
}

installed('supervise')(
  'under the supervise of daemontools it stays attached, and `svc -dx` ends it',
  async (t) => {
    const p = place(t)
    const service = `${p.dir}/service`
    p.write('service/run', `#!/bin/sh\nexec ${process.execPath} ${p.write('a.mjs', sample())}\n`)
    fs.chmodSync(`${service}/run`, 0o755)
    const parent = command(p, 'supervise', [service])
    await until(() => fs.existsSync(p.pidFile()) && pidIn(p) > 0, 'the daemon')
    const pid = pidIn(p)
    t.is(proc(pid).ppid, parent.pid)
    await until(() => handlesSignals(pid), 'its signal handlers')
    t.is((await command(p, 'svc', ['-dx', service])).status, 0)
    t.is((await parent).status, 0)
    t.false(isAlive(pid))
    t.deepEqual(fs.readdirSync(p.run), [])
  },
)

test('a service of a systemd before version 248, which sets no SYSTEMD_EXEC_PID, stays attached', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', sample())
  const shell = `${p.dir}/systemd`
  fs.copyFileSync('/bin/sh', shell)
  fs.chmodSync(shell, 0o755)
  const start = (how, env) =>
    command(p, shell, ['-c', `${how} "$0" "$@"; echo "status $?"`, process.execPath, script], { env })

  const attached = start('setsid', { INVOCATION_ID: '0123' })
  await until(() => fs.existsSync(p.pidFile()) && pidIn(p) > 0, 'the daemon')
  t.is(proc(pidIn(p)).ppid, attached.pid)
  await until(() => handlesSignals(pidIn(p)), 'its signal handlers')
  process.kill(pidIn(p), 'SIGTERM')
  t.is((await attached).stdout, 'status 0\n')

  for (const [what, how, env] of [
    ['one of its scripts, or an orphan that it was given, leads no session', '', { INVOCATION_ID: '0123' }],
    ['no service', 'setsid', {}],
    [
      'a newer one, which started another process',
      'setsid',
      { INVOCATION_ID: '0123', SYSTEMD_EXEC_PID: '1' },
    ],
  ]) {
    t.is((await start(how, { INVOCATION_ID: undefined, ...env })).stdout, 'status 0\n', what)
    const pid = pidIn(p)
    t.not(proc(pid).session, pid, what)
    process.kill(pid, 'SIGTERM')
    await until(() => !isAlive(pid), 'its end')
  }
})

test('from a shell, from cron, and from a daemon: detached', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', sample())
  for (const [file, ...args] of [
    ['sh', '-c', '"$0" "$@"; echo done', process.execPath, script],
    ['setsid', '--wait', process.execPath, script],
  ]) {
    t.is((await command(p, file, args)).status, 0)
    const pid = pidIn(p)
    t.is(proc(pid).status.NSpid.split('\t').length, 1)
    t.not(proc(pid).session, pid)
    process.kill(pid, 'SIGTERM')
    await until(() => !isAlive(pid), 'its end')
  }
  const body = `async action(signal) {
    const { spawnSync } = await import('node:child_process')
    const { status } = spawnSync(process.execPath, ['${p.write('inner.mjs', sample())}'], { env: { ...process.env } })
    fs.writeFileSync(process.env.DIR + '/inner', String(status))
    await once(signal, 'abort')
  }`
  t.is((await run(p, p.write('outer.mjs', sample({ options: "name: 'outer'", body })))).status, 0)
  await until(() => fs.existsSync(`${p.dir}/inner`), 'the inner daemon')
  await until(() => fs.readFileSync(`${p.dir}/inner`, 'utf8') === '0')
  t.not(pidIn(p), pidIn(p, 'outer'))
  t.not(proc(pidIn(p)).session, proc(pidIn(p, 'outer')).session)
})

// The daemon is the first process of a pid namespace, and the namespace ends with it.
const NAMESPACE = ['--pid', '--fork', '--mount-proc', '--kill-child']

asRoot(
  'as PID 1 it stays attached, reaps the orphans, and loses no exit status of its own children',
  async (t) => {
    const p = place(t)
    const body = `async action(signal) {
    const { spawn, execFile } = await import('node:child_process')
    const own = []
    for (let i = 0; i < 30; i++) {
      // The shell ends at once, and PID 1 gets the processes that it leaves.
      spawn('sh', ['-c', '(sleep 0.0' + (i % 10) + '; exit 3) & exit 0'])
      own.push(new Promise((resolve) => execFile('sh', ['-c', 'exit ' + (i + 1)], (error) => resolve(error.code))))
    }
    const codes = await Promise.all(own)
    fs.writeFileSync(process.env.DIR + '/codes', JSON.stringify(codes))
    const zombies = () => fs.readdirSync('/proc').filter((pid) => {
      try { return /^\\d+$/.test(pid) && /\\) Z 1 /.test(fs.readFileSync('/proc/' + pid + '/stat', 'utf8')) } catch { return false }
    })
    const children = () => fs.readdirSync('/proc').filter((pid) => /^\\d+$/.test(pid) && pid !== '1').length
    while (children() > 0) await sleep(20)
    fs.writeFileSync(process.env.DIR + '/done', JSON.stringify(zombies()))
    await once(signal, 'abort')
  }`
    const inner = sample({ body })
    const daemon = command(p, 'unshare', [...NAMESPACE, process.execPath, p.write('a.mjs', inner)])
    await until(() => fs.existsSync(`${p.dir}/done`), 'all orphans to be gone')
    t.deepEqual(
      JSON.parse(fs.readFileSync(`${p.dir}/codes`, 'utf8')),
      Array.from({ length: 30 }, (_, i) => i + 1),
    )
    t.is(fs.readFileSync(`${p.dir}/done`, 'utf8'), '[]')
    t.is(fs.readFileSync(p.pidFile(), 'utf8'), '1\n')
    const [pid] = childrenOf(daemon.pid)
    process.kill(pid, 'SIGTERM')
    t.is((await daemon).status, 0)
    t.deepEqual(fs.readdirSync(p.run), [])
  },
)

function childrenOf(pid) {
  return fs
    .readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry) && proc(Number(entry))?.ppid === pid)
    .map(Number)
}

for (const init of ['tini', 'dumb-init', 'catatonit']) {
  const testInit = works(init, '--version') ? asRoot : test.skip
  testInit(`under ${init} as PID 1 it stays attached, and SIGTERM to ${init} ends it with 0`, async (t) => {
    const p = place(t)
    const args = init === 'dumb-init' ? [] : ['--']
    const container = command(p, 'unshare', [
      ...NAMESPACE,
      init,
      ...args,
      process.execPath,
      p.write('a.mjs', sample()),
    ])
    await until(() => fs.existsSync(p.pidFile()) && pidIn(p) > 1, 'the daemon')
    const [pid1] = childrenOf(container.pid)
    const [daemon] = await until(() => childrenOf(pid1).length > 0 && childrenOf(pid1))
    await until(() => handlesSignals(daemon), 'its signal handlers')
    process.kill(pid1, 'SIGTERM')
    t.is((await container).status, 0)
    t.deepEqual(fs.readdirSync(p.run), [])
  })
}

/** If there is no logger, standard error has the last line of the log, too. */
const NOTHING_BUT_ERR = /^err\n(?:sample: Ended after .*\n)?$/

test('attached, its output is left alone, and a file that is named gets it', async (t) => {
  const p = place(t)
  const body = `async action() { console.log('out'); console.error('err') }`
  const plain = p.write('a.mjs', sample({ options: 'detach: false', body }))
  const { status, stdout, stderr } = await run(p, plain)
  t.deepEqual([status, stdout], [0, 'out\n'])
  t.regex(stderr, NOTHING_BUT_ERR)
  const file = p.write('b.mjs', sample({ options: "detach: false, stdout: process.env.DIR + '/log'", body }))
  const logged = await run(p, file)
  t.deepEqual([logged.status, logged.stdout], [0, ''])
  t.regex(logged.stderr, NOTHING_BUT_ERR)
  t.is(fs.readFileSync(`${p.dir}/log`, 'utf8'), 'out\n')
})

test('attached, what keeps it from starting is told once: to stderr, and to the logger, if there is one', async (t) => {
  const p = place(t)
  const logger = new Place()
  t.teardown(() => logger.end())
  const body = "async setup() { throw new Error('no luck') }"
  const script = p.write('a.mjs', sample({ options: 'detach: false', body }))
  const fail = async () => {
    const { status, stderr } = await logger.run(script, [], { env: { RUN: p.run, DIR: p.dir } })
    t.is(status, 1)
    t.regex(stderr, /^Error: no luck\n {4}at /)
    t.is(stderr.split('Error: no luck').length, 2, stderr)
  }
  await fail()
  await logger.message('Error: no luck')
  fs.rmSync(`${logger.dir}/dev/log`)
  await fail()
})

test('attached, where no logger is there, what ends it comes to stderr in lines', async (t) => {
  const p = place(t)
  const logger = new Place()
  t.teardown(() => logger.end())
  fs.rmSync(`${logger.dir}/dev/log`)
  const body = "async action() { throw new Error('no luck') }"
  const script = p.write('a.mjs', sample({ options: 'detach: false', body }))
  const { status, stderr } = await logger.run(script, [], { env: { RUN: p.run, DIR: p.dir } })
  t.is(status, 1)
  t.regex(stderr, /^Error: no luck\n {4}at /)
  t.is(stderr.split('Error: no luck').length, 2, stderr)
})

test('attached, a second one is refused with the pid', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', sample({ options: 'detach: false' }))
  const daemon = run(p, script)
  await until(() => fs.existsSync(p.pidFile()) && pidIn(p) === daemon.pid, 'the first')
  const second = await run(p, script)
  t.is(second.status, 1)
  t.regex(second.stderr, new RegExp(`already running, with pid ${daemon.pid}|already starting`))
  daemon.child.kill('SIGTERM')
  await daemon
})

asRoot('attached, a default place that cannot be written is a warning, and it goes on without', async (t) => {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  const options = 'detach: false, pidFilePath: undefined, syslogOptions: syslog.LOG_PERROR,'
  const body = `async action() { await syslog.flush(); console.log('pidFile', this.pidFile) }`
  const script = p.write('a.mjs', sample({ options, body }))
  const read = await command(
    p,
    'unshare',
    [
      '-m',
      'sh',
      '-c',
      'mount -t tmpfs -o ro,mode=755 none "$(readlink -f /var/run)" && exec "$0" "$@"',
      process.execPath,
      script,
    ],
    { env: { RUNTIME_DIRECTORY: undefined } },
  )
  t.is(read.status, 0, read.stderr)
  t.regex(
    read.stderr,
    /^sample: Cannot keep the pidfile .*sample\.pid: EROFS: read-only file system, open.* Going on without/,
  )
  const asked = await run(p, p.write('b.mjs', sample({ options: "detach: false, pidFilePath: '/proc'" })))
  t.is(asked.status, 1, 'one that was asked for is an error')
})

test('detach: true goes through daemonization under a manager, as Type=forking needs it', async (t) => {
  const p = place(t)
  const { status } = await underSystemd(p, p.write('a.mjs', sample({ options: 'detach: true' })))
  t.is(status, 0)
  t.true(isAlive(pidIn(p)))
  const p2 = place(t)
  const verb = p2.write('a.mjs', sample({ last: 'await new Sample(options).serviced()' }))
  t.is((await underSystemd(p2, verb, {}, ['start'])).status, 0)
  t.true(isAlive(pidIn(p2)))
})
