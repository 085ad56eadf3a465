// `tsdaemonize list`: the daemons that there are, and what they take.

import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { join } from 'node:path'
import {
  asRoot,
  command,
  end,
  isAlive,
  isUnlocked,
  NOBODY,
  pidIn,
  place,
  printed,
  read,
  root,
  run,
  sample,
  test,
  until,
  userName,
  works,
  testIf,
} from './kit.mjs'

const program = join(root, 'tsdaemonize')

/** Starts a daemon. What it prints after `ready` is in DIR/NAME.said. */
async function start(t, p, name, body = '', more = '', env = {}) {
  const options = `name: '${name}', ${more}`
  const source = sample({
    options,
    before:
      "import net from 'node:net'\nimport dgram from 'node:dgram'\nimport { spawn } from 'node:child_process'",
    body: `${body}\nsay(text) { fs.writeFileSync(process.env.DIR + '/${name}.said', JSON.stringify(text)) }`,
  })
  const { status, stderr } = await run(p, p.write(`${name}.mjs`, source), [], { env })
  t.is(status, 0, stderr)
}

const said = (p, name) => JSON.parse(read(join(p.dir, `${name}.said`)))
const list = (p, args = [], more = {}) =>
  command(p, program, ['list', '--pid-file-path', p.run, ...args], more)

/** The objects of the list that are about this place. */
async function objects(t, p, args = [], more = {}) {
  const { status, stdout, stderr } = await list(p, ['--json', ...args], more)
  t.is(status, 0, stderr)
  const all = stdout
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))
  return all.filter(({ pidFile }) => pidFile.startsWith(p.dir))
}

/** A server of each kind, which a child of the daemon may have. */
const LISTENING = `async setup() {
  const tcp = net.createServer().listen(0, '127.0.0.1')
  const any = net.createServer().listen(0)
  const path = process.env.DIR + '/a b.sock'
  const unix = net.createServer().listen(path)
  const udp = dgram.createSocket('udp4').bind(0, '127.0.0.1')
  const connected = net.createServer().listen(0, '127.0.0.1')
  await Promise.all([tcp, any, unix, udp, connected].map((server) => once(server, 'listening')))
  const client = net.connect(connected.address().port, '127.0.0.1')
  await once(client, 'connect')
  connected.close()
  this.say([tcp.address().port, any.address(), path, udp.address().port])
}`

test('a daemon is shown with what it is, what it takes, and what it listens on', async (t) => {
  const p = place(t)
  await start(t, p, 'servers', LISTENING)
  const [tcp, any, path, udp] = said(p, 'servers')
  const before = Date.now()
  const [found, ...more] = await objects(t, p)
  t.deepEqual(more, [])
  const pid = pidIn(p, 'servers')
  const { name, state, user, pidFile, supervisor, unsupervised, restarts, lastExit } = found
  t.deepEqual(
    { name, state, pid: found.pid, user, pidFile, supervisor, unsupervised, restarts, lastExit },
    {
      name: 'servers',
      state: 'running',
      pid,
      user: userName,
      pidFile: p.pidFile('servers'),
      supervisor: null,
      unsupervised: false,
      restarts: 0,
      lastExit: null,
    },
  )
  const sorted = (listens) => listens.map((one) => JSON.stringify(one, Object.keys(one).sort())).sort()
  t.deepEqual(
    sorted(found.listens),
    sorted([
      { protocol: 'tcp', address: '127.0.0.1', port: tcp },
      { protocol: 'tcp', address: any.address, port: any.port },
      { protocol: 'udp', address: '127.0.0.1', port: udp },
      { protocol: 'unix', path },
    ]),
  )
  t.true(Math.abs(new Date(found.startedAt) - before) < 600_000)
  t.true(found.uptime >= 0 && found.uptime < 600)
  // The process has the daemon's name for a title, where nobody has noted the program.
  t.regex(found.program.join(' '), /servers(\.mjs)?$/)
  t.true(found.rss > 10e6 && found.rss < 1e9)
  t.is(found.processes, 1)
  t.true(found.memory > 10e6)
  t.true(found.cpuTime > 0 && found.cpuPercent > 0)
})

test('the processes that a daemon has started count', async (t) => {
  const p = place(t)
  const child = `const net = require('net')
const block = Buffer.alloc(100e6, 1)
const server = net.createServer().listen(0, '127.0.0.1', () => console.log(server.address().port))
setTimeout(() => block, 1e9)`
  await start(
    t,
    p,
    'parent',
    `async setup() {
  const child = spawn(process.execPath, ['-e', ${JSON.stringify(child)}], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [port] = await once(child.stdout, 'data')
  this.say([child.pid, Number(port)])
}`,
  )
  const [pid, port] = said(p, 'parent')
  const [found] = await objects(t, p)
  t.is(found.processes, 2)
  t.true(found.memory > found.rss + 100e6)
  t.deepEqual(found.listens, [{ protocol: 'tcp', address: '127.0.0.1', port }])
  process.kill(pid, 'SIGKILL')
  await until(() => !isAlive(pid), 'the end of the child')
  await until(async () => (await objects(t, p))[0].processes === 1, 'one process')
})

test('daemons are found in all places, by start() and by ensure(); what is none of ours is not', async (t) => {
  const p = place(t)
  // No other test's daemon is called so.
  const own = process.pid
  const other = join(p.dir, 'other')
  const session = join(p.dir, 'session')
  for (const dir of [other, session]) fs.mkdirSync(dir, { mode: 0o700 })
  await start(t, p, `b${own}`)
  await start(t, p, `a b${own}`)
  await start(t, p, `other${own}`, '', `pidFilePath: ${JSON.stringify(other)},`)
  const ensured = p.write(
    'ensured.mjs',
    sample({
      options: `name: 'ensured${own}', pidFilePath: ${JSON.stringify(session)}`,
      last: 'await new Sample(options).ensure()',
    }),
  )
  t.is((await run(p, ensured)).status, 0)
  // A foreign pidfile of a process that runs; one that somebody locks; a directory; a link.
  fs.writeFileSync(p.pidFile(`foreign${own}`), `${process.pid}\n`)
  const locked = command(p, 'flock', [
    p.pidFile(`locked${own}`),
    'sh',
    '-c',
    `echo $$ > ${p.pidFile(`locked${own}`)}; exec sleep 1000`,
  ])
  t.teardown(() => end(locked.pid))
  await until(() => read(p.pidFile(`locked${own}`)) !== '', 'the lock')
  fs.mkdirSync(p.pidFile(`directory${own}`))
  fs.symlinkSync(`b${own}.pid`, p.pidFile(`link${own}`))
  const env = { XDG_RUNTIME_DIR: session }
  const names = async (...args) => {
    const { stdout, stderr } = await list(p, ['--names', ...args], { env })
    t.is(stderr, '')
    return stdout.split('\n').filter((name) => name.endsWith(String(own)))
  }
  t.deepEqual(await names(), [`a b${own}`, `b${own}`, `ensured${own}`])
  t.deepEqual(await names('--pid-file-path', other), [`a b${own}`, `b${own}`, `ensured${own}`, `other${own}`])
  const found = await objects(t, p, ['--pid-file-path', other], { env })
  t.deepEqual(
    found.map(({ name }) => name).filter((name) => name.endsWith(String(own))),
    [`a b${own}`, `b${own}`, `ensured${own}`, `other${own}`],
  )
  await end(pidIn(p, `b${own}`))
  // The last of its threads lets go.
  await until(() => isUnlocked(p.pidFile(`b${own}`)), 'the end of its lock')
  t.deepEqual(await names(), [`a b${own}`, `ensured${own}`])
})

test('the table is whole on a pipe, and fits a terminal', async (t) => {
  const p = place(t)
  const long = 'n'.repeat(64)
  await start(t, p, long, LISTENING)
  await start(t, p, 'short')
  const { stdout } = await list(p)
  const [heading, ...rows] = stdout.split('\n')
  t.regex(heading, /^NAME +STATE +PID +USER +UPTIME +RESTARTS +CPU +MEMORY +LISTENS +PROGRAM$/)
  const row = rows.find((line) => line.startsWith(`${long} `))
  t.regex(
    row,
    /^n{64} {2}running +\d+ +\S+ +(\d+m )?\d+s +0 +\d+\.\d% +\d+\.\d MiB {2}.*127\.0\.0\.1:\d+.* .*a b\.sock {2}.*n{64}/,
  )
  const at = heading.indexOf('PID') + 3
  t.regex(row.slice(0, at), / \d+$/, 'numbers stand at the right edge')
  const terminal = join(import.meta.dirname, 'terminal.py')
  for (const width of [60, 90, 400]) {
    const shell = `stty cols ${width} rows 50; exec "$0" "$@"`
    const args = [terminal, 'sh', '-c', shell, program, 'list', '--pid-file-path', p.run]
    const shown = (await command(p, 'python3', args)).stdout.split('\r\n')
    t.true(
      shown.every((line) => [...line].length <= width),
      `${width}\n${shown.join('\n')}`,
    )
    const mine = shown.find((line) => line.startsWith('short'))
    t.regex(mine, /^short +running/)
  }
})

test('--watch renews the list until it is interrupted, without a busy loop', async (t) => {
  const p = place(t)
  await start(t, p, 'watched')
  const watching = list(p, ['--watch'])
  const shown = printed(watching.child)
  const blocks = () => shown().split('\n\n').length
  await until(() => blocks() >= 2 && shown().endsWith('\n'), 'a second block')
  t.regex(shown(), /^NAME .*\n(.*\n)*watched .*\n(.*\n)*\nNAME .*\n(.*\n)*watched .*\n/)
  const status = fs.readFileSync(`/proc/${watching.pid}/status`, 'utf8')
  t.true(Number(/^voluntary_ctxt_switches:\s*(\d+)/m.exec(status)[1]) < 100, status)
  watching.child.kill('SIGINT')
  await watching
  t.is(watching.child.signalCode, 'SIGINT')
  const unread = list(p, ['--watch', '--json'])
  const objects = printed(unread.child)
  await until(() => objects().includes('"watched"'), 'an object')
  unread.child.stdout.destroy()
  await until(() => unread.child.signalCode !== null || unread.child.exitCode !== null, 'its end')
  t.is(unread.child.signalCode, 'SIGPIPE')
})

asRoot('what may not be read is counted in one line', async (t) => {
  const p = place(t)
  await start(t, p, 'servers', LISTENING)
  for (const dir of [p.dir, p.run]) fs.chmodSync(dir, 0o755)
  const closed = join(p.dir, 'closed')
  fs.mkdirSync(closed, { mode: 0o700 })
  const { status, stdout, stderr } = await list(p, ['--json', '--pid-file-path', closed], NOBODY)
  t.is(status, 0)
  const found = JSON.parse(stdout.split('\n').find((line) => line.includes(p.run)))
  t.deepEqual([found.name, found.pid, found.listens], ['servers', pidIn(p, 'servers'), null])
  t.is(stderr, "tsdaemonize: Could not read 1 directory or pidfile and 1 daemon's sockets. Root can\n")
})

/** The file systems whose numbers of files are those of the list of locks: ext4, tmpfs, XFS, btrfs. */
const listsLocks = [0xef53, 0x01021994, 0x58465342, 0x9123683e]

testIf(works('strace', '-V'))('ten thousand foreign files do not slow it', async (t) => {
  const p = place(t)
  await start(t, p, 'one')
  if (!listsLocks.includes(fs.statfsSync(p.run).type)) {
    t.log('the kernel does not tell which files of this file system are locked')
    return t.pass()
  }
  const opened = async () => {
    const trace = join(p.dir, 'trace')
    spawnSync('strace', ['-o', trace, '-e', 'trace=openat', program, 'list', '--pid-file-path', p.run])
    return read(trace)
      .split('\n')
      .filter((line) => /"(?:one|foreign\d*)\.pid"/.test(line)).length
  }
  const before = await opened()
  t.true(before > 0)
  for (let n = 0; n < 10_000; n++) fs.writeFileSync(p.pidFile(`foreign${n}`), '1\n')
  t.is(await opened(), before)
})

test('--all shows those that have ended, with why', async (t) => {
  const p = place(t)
  for (const name of ['killed', 'stopped', 'lives']) await start(t, p, name)
  await end(pidIn(p, 'killed'))
  t.is((await command(p, program, ['stop', '--pid-file-path', p.run, 'stopped'])).status, 0)
  fs.writeFileSync(p.pidFile('foreign'), '1\n')
  // As a supervisor writes it.
  const lastExit = {
    at: '2026-11-28T10:00:00.000Z',
    code: null,
    signal: 'SIGKILL',
    reason: 'was killed\u001b[2J',
  }
  const state = { version: 1, pid: pidIn(p, 'killed'), program: ['/bin/a', 'b c'], restarts: 3, lastExit }
  fs.writeFileSync(join(p.run, '.killed.state'), JSON.stringify(state), { mode: 0o644 })
  const states = (found) => found.map(({ name, state, pid }) => [name, state, pid])
  t.deepEqual(states(await objects(t, p)), [['lives', 'running', pidIn(p, 'lives')]])
  const all = await objects(t, p, ['--all'])
  t.deepEqual(states(all), [
    ['killed', 'stopped', null],
    ['lives', 'running', pidIn(p, 'lives')],
  ])
  t.deepEqual([all[0].lastExit, all[0].restarts, all[0].program], [lastExit, 3, state.program])
  const { stdout } = await list(p, ['--all'])
  t.regex(stdout, /^killed +stopped +- .* was killed\\x1b\[2J \(2026-11-28T10:00:00\.000Z\) +\/bin\/a b c$/m)
})
