// `supervise`: a supervisor stays beside the daemon.

import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { join } from 'node:path'
import {
  command,
  daemonAt,
  descriptors,
  exeOf,
  isAlive,
  isRoot,
  isUnlocked,
  nativeFile,
  pidIn,
  place,
  proc,
  processesOf,
  read,
  root,
  run,
  sample,
  test,
  testIf,
  until,
  works,
} from './kit.mjs'
import { assertAll, local, numbers, receive, sampleToReceiver } from './receivers.mjs'

const platform = nativeFile.split('.')[1]
const { version } = JSON.parse(fs.readFileSync(join(root, 'package.json'), 'utf8'))

/** The package and the platform's own, as npm installs them, and a program whose daemon asks for a supervisor. */
function installed(t) {
  const p = place(t)
  const at = join(p.dir, 'node_modules')
  for (const name of ['package.json', 'dist']) {
    fs.cpSync(join(root, name), join(at, 'tsdaemonize', name), { recursive: true })
  }
  const own = join(at, `tsdaemonize-${platform}`)
  fs.mkdirSync(own)
  for (const name of [nativeFile, 'tsdaemonize']) fs.cpSync(join(root, name), join(own, name))
  const last = `try { await new Sample(options).start() }
    catch ({ code, message, path }) { console.log(JSON.stringify({ code, message, path })) }`
  const source = sample({ options: 'supervise: true,', last }).replace(/'file:[^']*'/, "'tsdaemonize'")
  return { ...p, script: p.write('a.mjs', source), program: join(own, 'tsdaemonize') }
}

/** What is wrong with the executable: how it comes to that, and the error's words. */
const UNFIT = [
  [
    'is missing',
    ({ program }) => fs.rmSync(program),
    /There is no executable PROGRAM, beside the native module/,
  ],
  [
    'may not be executed',
    ({ program }) => fs.chmodSync(program, 0o644),
    /PROGRAM cannot be executed: it lacks the permission\. Give it: chmod 755 PROGRAM$/,
  ],
  [
    'is for another machine',
    ({ program }) => fs.writeFileSync(program, '\x7fELF'),
    /The executable PROGRAM cannot be its supervisor: ENOEXEC: .*\. Install it anew: npm install --include=optional tsdaemonize-/,
  ],
  [
    'ends at once',
    ({ program }) => fs.writeFileSync(program, `#!/bin/sh\necho tsdaemonize ${version}\n`),
    /The executable PROGRAM cannot be its supervisor: it has ended at once$/,
  ],
  [
    'is of another version',
    ({ program }) => fs.writeFileSync(program, '#!/bin/sh\necho tsdaemonize 9.8.7\n'),
    new RegExp(
      `The executable PROGRAM is of version 9\\.8\\.7, and this package of version ${version}\\. Install`,
    ),
  ],
]
for (const [what, spoil, words] of UNFIT) {
  test(`a start that asks for a supervisor fails where the executable ${what}, and says so`, async (t) => {
    const p = installed(t)
    spoil(p)
    const { stdout, stderr } = await run(p, p.script)
    t.true(stdout.startsWith('{'), stdout + stderr)
    const { code, message, path } = JSON.parse(stdout)
    t.is(code, 'ERR_DAEMON_UNSUPPORTED')
    t.true(
      message.startsWith("The daemon 'sample' did not start, since it asks for a supervisor (`supervise`). "),
    )
    t.regex(message.replaceAll(p.program, 'PROGRAM'), words)
    t.is(path, p.program)
    t.deepEqual(processesOf(p), [])
    t.deepEqual(fs.readdirSync(p.run), [])
  })
}

testIf(isRoot && works('unshare', '--mount', 'true'))(
  'where the executable is on a file system without execution, the start names it',
  async (t) => {
    const p = installed(t)
    const line = 'mount --bind "$1" "$1" && mount -o remount,bind,noexec "$1" && shift && exec "$@"'
    const args = ['--mount', 'sh', '-ec', line, 'sh', p.program, process.execPath, p.script]
    const { stdout, stderr } = await command(p, 'unshare', args)
    t.true(stdout.startsWith('{'), stdout + stderr)
    t.true(JSON.parse(stdout).message.includes(`: ${p.program} is mounted with \`noexec\`. Install`), stdout)
  },
)

test('a daemon that asks for none starts where there is no executable', async (t) => {
  const p = installed(t)
  fs.rmSync(p.program)
  const source = fs.readFileSync(p.script, 'utf8').replace('supervise: true,', '')
  const { status, stdout } = await run(p, p.write('plain.mjs', source))
  t.is(status, 0)
  t.is(stdout, '')
  t.is(processesOf(p).length, 1)
})

test('an attached daemon has no supervisor, and says so in the log', async (t) => {
  const p = place(t)
  const options = 'supervise: true, detach: false, syslogOptions: syslog.LOG_PERROR,'
  const action = { body: "async action() { console.log('parent', process.ppid) }" }
  const source = sample({ options, ...action }).replace(
    "async action(signal) { await once(signal, 'abort') }",
    '',
  )
  const ended = run(p, p.write('a.mjs', source))
  const { status, stdout, stderr } = await ended
  t.is(status, 0)
  t.is(stdout, `parent ${process.pid}\n`)
  t.regex(stderr, /`supervise` changes nothing for an attached daemon/)
})

/** The executable knows how to supervise. */
const supervises = spawnSync(join(root, 'tsdaemonize'), ['--supervisor'], { encoding: 'utf8' })
const withSupervisor = testIf(supervises.stderr.includes('is for the guardian of a start alone'))

/** A supervised daemon, with what it needs to be looked at: both processes. */
async function supervised(t, { body = '', options = '', name = 'sample' } = {}) {
  const p = place(t)
  const script = p.write('s.mjs', sample({ body, options: `supervise: true, ${options}` }))
  const { status, stderr } = await run(p, script)
  t.is(status, 0, stderr)
  const daemon = daemonAt(p, { name })
  const found = await daemon.status()
  return { ...p, daemon, pid: found.pid, supervisor: proc(found.pid).ppid, found, script }
}

const stateFile = (p) => join(p.run, '.sample.state')
const state = (p) => JSON.parse(read(stateFile(p)))
const gone = (...pids) => until(() => !pids.some(isAlive), 'the end of both')

withSupervisor(
  'the guardian of the start is the supervisor: its parent, small, and none of Node',
  async (t) => {
    const p = await supervised(t)
    const { exe, ...beside } = { ...proc(p.supervisor), exe: exeOf(p.supervisor) }
    t.is(exe, fs.realpathSync(join(root, 'tsdaemonize')))
    t.is(beside.status.Threads, '1')
    t.is(proc(p.pid).session, p.supervisor, 'it led the session of the start before')
    t.true(Number.parseInt(beside.status.VmRSS, 10) < 4096, beside.status.VmRSS)
    t.regex(beside.cmdline.join(' '), /^tsdaemonize: sample/)
    t.deepEqual(
      [0, 1, 2].map((fd) => descriptors(p.supervisor)[fd]),
      Array(3).fill('/dev/null'),
    )
    t.is(pidIn(p), p.supervisor, 'the pidfile names it')
    t.false(isUnlocked(p.pidFile()))
    t.like(p.found, { state: 'running', supervisor: { pid: p.supervisor, restarts: 0, lastExit: null } })
    t.like(state(p), { pid: p.pid, supervisor: p.supervisor, name: 'sample', stopTimeout: 10_000 })
    t.deepEqual(processesOf(p).toSorted(), [p.pid, p.supervisor].toSorted())
    const again = await run(p, p.script)
    t.is(again.status, 1)
    t.true(again.stderr.includes(`already running, with pid ${p.pid}`), again.stderr)
  },
)

for (const [what, end] of [
  ['stop()', async ({ daemon, pid }, t) => t.deepEqual(await daemon.stop(), { pid, signal: 'SIGTERM' })],
  ['SIGTERM to the supervisor', ({ supervisor }) => process.kill(supervisor, 'SIGTERM')],
]) {
  withSupervisor(`${what} ends both, as asked for: nothing is left`, async (t) => {
    const body = "async shutdown() { fs.writeFileSync(process.env.DIR + '/ended', '') }"
    const p = await supervised(t, { body })
    await end(p, t)
    await gone(p.pid, p.supervisor)
    t.true(fs.existsSync(join(p.dir, 'ended')), 'it has ended in order')
    t.deepEqual(fs.readdirSync(p.run), [])
    t.deepEqual(await p.daemon.status(), { state: 'stopped', stalePidFile: false })
  })
}

for (const [what, body, end, wanted] of [
  ['is killed', '', ({ pid }) => process.kill(pid, 'SIGKILL'), { code: null, signal: 'SIGKILL' }],
  [
    'ends by itself',
    'async onSignal() { await this.exit(3) }',
    ({ daemon }) => daemon.kill('SIGHUP'),
    { code: 3, signal: null },
  ],
]) {
  withSupervisor(`the supervisor of a daemon that ${what} ends too, and leaves word of it`, async (t) => {
    const p = await supervised(t, { body })
    await end(p)
    await gone(p.pid, p.supervisor)
    t.false(fs.existsSync(p.pidFile()))
    t.like(state(p).lastExit, wanted)
    const { state: now, lastExit } = await p.daemon.status()
    t.is(now, 'stopped')
    t.like(lastExit, wanted)
    t.true(Math.abs(Date.now() - Date.parse(lastExit.at)) < 600_000, lastExit.at)
    // A new start begins anew.
    t.is((await run(p, p.script)).status, 0)
    t.is(state(p).lastExit, null)
  })
}

withSupervisor(
  'a pidfile that is removed is put back by the supervisor, and not by the daemon',
  async (t) => {
    const p = await supervised(t)
    fs.rmSync(p.pidFile())
    await until(() => read(p.pidFile()) !== '', 'the pidfile')
    t.is(pidIn(p), p.supervisor)
    t.is((await p.daemon.stop()).pid, p.pid)
    await gone(p.pid, p.supervisor)
    t.deepEqual(fs.readdirSync(p.run), [])
  },
)

withSupervisor('a daemon whose supervisor is killed goes on, and is stopped as before', async (t) => {
  const p = await supervised(t)
  process.kill(p.supervisor, 'SIGKILL')
  await gone(p.supervisor)
  t.like(await p.daemon.status(), { state: 'running', pid: p.pid, supervisor: null, unsupervised: true })
  t.is((await p.daemon.stop()).pid, p.pid)
  t.deepEqual(fs.readdirSync(p.run), [])
})

;(isRoot ? withSupervisor : test.skip)(
  'the supervisor of a daemon that has dropped root removes its pidfile',
  async (t) => {
    const p = await supervised(t, { options: "user: 'nobody'," })
    t.is(proc(p.supervisor).status.Uid.split('\t')[1], '0')
    t.not(proc(p.pid).status.Uid.split('\t')[1], '0')
    t.is((await p.daemon.stop()).pid, p.pid)
    await gone(p.pid, p.supervisor)
    t.deepEqual(fs.readdirSync(p.run), [])
  },
)

withSupervisor(
  'the last words of a daemon that is killed arrive: its supervisor spares the relay',
  async (t) => {
    const p = place(t)
    const body = `async action() {
    for (let i = 0; i < 2000; i++) console.log('number ' + i)
    await sleep(300)
    process.kill(process.pid, 'SIGKILL')
  }`
    const options = "supervise: true, stdout: 'syslog', stderr: 'syslog',"
    const script = p.write('a.mjs', sampleToReceiver({ body, options }))
    t.is((await run(p, script, [], { env: local(p) })).status, 0)
    const supervisor = pidIn(p)
    await until(() => !isAlive(supervisor), 'the end of the supervisor')
    // There is a logger only now.
    const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
    await until(() => processesOf(p).length === 1, 'the end of the relay')
    await receiver.stop()
    assertAll(t, numbers(receiver.messages()), 2000)
  },
)
