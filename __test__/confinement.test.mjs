// What a daemon gives up in addition to its user: its root directory, capabilities, set-user-ID programs, limits,
// files and ports. And what it can still do.

import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { createServer } from 'node:net'
import { ADA, CREW, daemonOf, landlockVersion, publicPlace, threads, withAccounts } from './credentials.mjs'
import {
  asRoot,
  command,
  descriptors,
  isAlive,
  isRoot,
  proc,
  processesOf,
  run,
  sample,
  testIf,
  until,
  works,
} from './kit.mjs'

const withPython = testIf(isRoot && works('python3', '--version'))
const withCompiler = testIf(isRoot && works('cc', '--version'))
const withExtraUsers = testIf(isRoot && library('libnss_extrausers.so.2'))
const withLandlock = testIf(isRoot && landlockVersion >= 4)

/** Whether the dynamic linker finds a library. */
function library(name) {
  return String(spawnSync('ldconfig', ['-p'], { encoding: 'utf8' }).stdout).includes(name)
}

/** For programs: the result of a call, and a report for the test. */
const before = `import { spawnSync } from 'node:child_process'
import net from 'node:net'
import { Worker } from 'node:worker_threads'
const outcome = async (call) => {
  try { return (await call()) ?? 'done' } catch (error) { return error.code }
}
const listens = (port) => outcome(() => new Promise((resolve, reject) => {
  const server = net.createServer().listen(port, '127.0.0.1')
  server.on('listening', () => server.close(() => resolve('done'))).on('error', reject)
}))
const connects = (port) => outcome(() => new Promise((resolve, reject) => {
  const socket = net.connect(port, '127.0.0.1')
  socket.on('connect', () => resolve('done')).on('error', reject).unref()
}))
const out = fs.openSync(process.env.DIR + '/out/report', 'w')
const report = (what) => fs.writeSync(out, JSON.stringify(what) + '\\n')`

/** Starts a daemon with these options and this action. `reported()` is what it has reported. */
async function started(t, options, action, more = {}) {
  const { prepare, args = [], env = {}, members = '', p = publicPlace(t) } = more
  const body = `${members}
  async action(signal) {
    ${action}
    await once(signal, 'abort')
  }`
  const script = p.write('a.mjs', sample({ before, body, options: '...JSON.parse(process.env.OPTIONS)' }))
  const result = await withAccounts(p, [...args, process.execPath, script], {
    prepare,
    env: { OPTIONS: JSON.stringify(options), ...env },
  })
  if (result.status !== 0) return { p, ...result }
  const pid = daemonOf(t, p, options.name)
  const reported = async () => {
    const text = await until(() => {
      const text = fs.readFileSync(`${p.dir}/out/report`, 'utf8')
      return text.endsWith('\n') && text
    }, 'the report')
    return JSON.parse(text)
  }
  return { p, pid, script, ...result, reported }
}

/** Prints each datagram that comes to an address, as a line of JSON. */
const RECEIVER = `
import json, os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o666)
print(json.dumps('bound'), flush=True)
while True:
    print(json.dumps(s.recv(65536).decode()), flush=True)
`

async function receiver(t, p, address) {
  const { child } = command(p, 'python3', ['-c', RECEIVER, address], { timeout: 2 ** 30 })
  const messages = []
  let rest = ''
  child.stdout.on('data', (data) => {
    const lines = (rest + data).split('\n')
    rest = lines.pop()
    messages.push(...lines.map((line) => JSON.parse(line)))
  })
  t.teardown(() => child.kill('SIGKILL'))
  await until(() => messages.shift() === 'bound', 'the receiver')
  return { messages, told: (words) => until(() => messages.some((m) => words.test(m)), `${words}`) }
}

asRoot('chroot: every thread is in it, nothing leads out, and the daemon goes on as any other', async (t) => {
  const p = publicPlace(t)
  fs.mkdirSync(`${p.dir}/jail/inside`, { recursive: true })
  const action = `
    console.log('to the log')
    const { Worker } = await import('node:worker_threads')
    const source = "require('node:worker_threads').parentPort.postMessage(require('node:fs').readdirSync('/'))"
    const [inWorker] = await once(new Worker(source, { eval: true }), 'message')
    report({
      cwd: process.cwd(),
      root: fs.readdirSync('/'),
      pool: await fs.promises.readdir('../../..'),
      inWorker,
      etc: await outcome(() => fs.promises.readFile('/etc/passwd')),
      again: this.dropPrivileges('ada'),
      home: process.env.HOME,
    })`
  const options = { user: 'ada', chroot: `${p.dir}/jail`, stdout: `${p.dir}/log`, stderr: `${p.dir}/errors` }
  const { pid, reported } = await started(t, { ...options, syslogOptions: 0x20 }, action, { p })
  t.deepEqual(await reported(), {
    cwd: '/',
    root: ['inside'],
    pool: ['inside'],
    inWorker: ['inside'],
    etc: 'ENOENT',
    again: { user: 'ada', uid: ADA, group: 'ada', gid: ADA, groups: [ADA, 4801, 4802] },
    home: '/home/ada',
  })
  for (const thread of threads(pid)) t.is(thread.root, `${p.dir}/jail`, thread.name)
  t.is(fs.readlinkSync(`/proc/${pid}/cwd`), `${p.dir}/jail`)
  for (const fd of Object.keys(descriptors(pid))) {
    const found = fs.statSync(`/proc/${pid}/fd/${fd}`, { throwIfNoEntry: false })
    t.not(found?.isDirectory(), true, 'a directory is a way out')
  }
  await until(() => fs.readFileSync(`${p.dir}/log`, 'utf8') === 'to the log\n', 'the log')

  const status = p.write(
    'status.mjs',
    sample({ last: 'console.log((await new Sample(options).status()).state)' }),
  )
  t.is((await run(p, status)).stdout, 'running\n')
  fs.rmSync(p.pidFile())
  const warned = /WARNING|cannot be put back: the daemon has another root directory/
  await until(() => warned.test(fs.readFileSync(`${p.dir}/errors`, 'utf8')), 'the warning')
})

asRoot('chroot: the pidfile is emptied in the end, and `stop` leaves none', async (t) => {
  const p = publicPlace(t)
  // It must leave a file alone that has the same path inside the new root, even if it could remove it.
  const inside = `${p.dir}/jail${p.run}`
  fs.mkdirSync(inside, { recursive: true })
  fs.chmodSync(inside, 0o777)
  fs.writeFileSync(`${p.dir}/jail${p.pidFile()}`, 'inside')
  const options = { user: 'ada', chroot: `${p.dir}/jail` }
  const first = await started(t, options, '', { p })
  process.kill(first.pid, 'SIGTERM')
  await until(() => !isAlive(first.pid), 'the end')
  t.is(fs.readFileSync(p.pidFile(), 'utf8'), '')
  t.is(fs.readFileSync(`${p.dir}/jail${p.pidFile()}`, 'utf8'), 'inside')
  const status = p.write(
    'status.mjs',
    sample({ last: 'console.log(JSON.stringify(await new Sample(options).status()))' }),
  )
  t.is((await run(p, status)).stdout, '{"state":"stopped","stalePidFile":false}\n')

  await started(t, options, '', { p })
  const stop = p.write('stop.mjs', sample({ last: 'console.log((await new Sample(options).stop()).signal)' }))
  t.is((await run(p, stop)).stdout, 'SIGTERM\n')
  t.deepEqual(fs.readdirSync(p.run), [])
})

withPython(
  'chroot: logger and manager are still told, what is printed too, and the time is local',
  async (t) => {
    const p = publicPlace(t)
    fs.mkdirSync(`${p.dir}/jail`)
    const manager = await receiver(t, p, `${p.dir}/notify`)
    const log = await receiver(t, p, `${p.dir}/log`)
    const prepare = `mkdir "$DIR/dev"; mount -t tmpfs none "$DIR/dev"
cp -a /dev/null /dev/zero /dev/urandom "$DIR/dev"; ln -s "$DIR/log" "$DIR/dev/log"
mount --bind "$DIR/dev" /dev
export SYSTEMD_EXEC_PID=$$ NOTIFY_SOCKET="$DIR/notify" TZ=":$DIR/zone"`
    // The zone is 3:15 east of Greenwich, in the format of zic(8).
    spawnSync('zic', ['-d', p.dir, '-'], { input: 'Zone zone 3:15 - XYZ\n' })
    const action = `syslog.syslog('from the jail'); console.log('printed'); report(new Date(0).toString())`
    const body = `async action(signal) { ${action}; await once(signal, 'abort') }`
    const options = `user: 'ada', chroot: '${p.dir}/jail', stdout: 'syslog', limits: { nofile: 100 }, ${landlockVersion > 0 ? 'landlock: { read: [] }' : ''}`
    const script = p.write('a.mjs', sample({ before, body, options }))
    const daemon = withAccounts(p, [process.execPath, script], { prepare })
    await manager.told(/^READY=1$/)
    await log.told(/from the jail$/)
    await log.told(/printed$/)
    const env = { ...process.env, TZ: `:${p.dir}/zone` }
    const date = spawnSync(process.execPath, ['-p', 'JSON.stringify(new Date(0).toString())'], { env })
    t.is(fs.readFileSync(`${p.dir}/out/report`, 'utf8'), String(date.stdout))
    if (fs.existsSync(`${p.dir}/zone`)) {
      const [, hour, minute] = log.messages[0].match(/ (\d\d):(\d\d):\d\d sample/).map(Number)
      const now = new Date()
      const local = (now.getUTCHours() * 60 + now.getUTCMinutes() + 195) % 1440
      t.true(Math.abs(local - (hour * 60 + minute)) <= 2, log.messages[0])
    }
    // The process that reads what the daemon prints has the same ids as the daemon.
    const children = processesOf(p).filter((pid) => proc(pid)?.ppid === daemon.pid)
    t.is(children.length, 1)
    for (const thread of [...threads(daemon.pid), ...children.flatMap(threads)]) {
      t.deepEqual([thread.uids[0], thread.root], [ADA, `${p.dir}/jail`], thread.name)
      t.deepEqual([thread.capabilities[1], thread.noNewPrivileges], [0n, true], thread.name)
    }
    process.kill(daemon.pid, 'SIGTERM')
    t.is((await daemon).status, 0)
    await manager.told(/^STOPPING=1$/)
    await log.told(/Received SIGTERM/)
  },
)

asRoot('chroot: the time is that of /etc/localtime outside', async (t) => {
  const p = publicPlace(t)
  fs.mkdirSync(`${p.dir}/jail`)
  const prepare = `mkdir "$DIR/etc"; cp -a /etc/passwd /etc/group /etc/ld.so.cache "$DIR/etc"
ln -s /usr/share/zoneinfo/Asia/Kolkata "$DIR/etc/localtime"; mount --bind "$DIR/etc" /etc; unset TZ`
  const options = { user: 'ada', chroot: `${p.dir}/jail` }
  const { reported, stderr } = await started(t, options, 'report(new Date(0).getTimezoneOffset())', {
    p,
    prepare,
  })
  t.truthy(reported, stderr)
  t.is(await reported(), -330)
})

asRoot(
  'who keeps CAP_SETUID and CAP_SETGID becomes another once more, and all else stays given up',
  async (t) => {
    const capabilities = ['CAP_SETUID', 'CAP_SETGID']
    const members = `setup() { this.dropPrivileges('ada') }`
    const options = { capabilities, oomScoreAdjust: 77, nice: -3, limits: { nofile: 500 } }
    const action = `report([this.dropPrivileges('games'), process.env.HOME])`
    const { pid, stderr, reported } = await started(t, options, action, { members })
    t.truthy(pid, stderr)
    const identity = { user: 'games', uid: 5, group: 'games', gid: 60, groups: [60] }
    t.deepEqual(await reported(), [identity, '/usr/games'])
    for (const thread of threads(pid)) {
      t.deepEqual([...thread.uids, ...thread.gids, ...thread.groups], [5, 5, 5, 5, 60, 60, 60, 60, 60])
      t.deepEqual([...thread.capabilities, thread.bounding], Array(5).fill(192n))
      t.true(thread.noNewPrivileges)
    }
    t.is(fs.readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8'), '77\n')
  },
)

asRoot(
  'capabilities: what is kept, on every thread, in every set and in children; all else is gone',
  async (t) => {
    const action = `
    const child = spawnSync('cat', ['/proc/self/status'], { encoding: 'utf8' }).stdout
    report({
      child: child.match(/^Cap.*$/gm).map((line) => line.split(':\\t')),
      listens: await listens(83),
      shadow: await outcome(() => fs.promises.readFile('/etc/shadow', 'utf8')),
      chown: await outcome(() => fs.promises.chown(process.env.DIR + '/out/report', 0, 0)),
    })`
    const options = {
      user: 'ada',
      group: 'crew',
      capabilities: ['CAP_NET_BIND_SERVICE', 'CAP_NET_BIND_SERVICE'],
    }
    const { pid, reported } = await started(t, options, action)
    const expected = 1n << 10n
    const { child, ...rest } = await reported()
    for (const thread of threads(pid)) {
      t.deepEqual(thread.capabilities, [expected, expected, expected, expected], thread.name)
      t.is(thread.bounding, expected, thread.name)
      t.deepEqual([thread.uids[1], thread.gids[1]], [ADA, CREW])
    }
    t.deepEqual(rest, { listens: 'done', shadow: 'EACCES', chown: 'EPERM' })
    t.is(child.length, 5)
    for (const [name, set] of child) t.is(BigInt(`0x${set}`), expected, name)
  },
)

asRoot('capabilities of a daemon that stays root: it has no others', async (t) => {
  const action = `report({
    shadow: await outcome(() => fs.promises.readFile('/etc/shadow', 'utf8').then(() => 'read')),
    chown: await outcome(() => fs.promises.chown(process.env.DIR + '/out/report', ${ADA}, 0)),
    child: spawnSync('chown', ['${ADA}', process.env.DIR + '/out/report']).status,
  })`
  const { pid, reported } = await started(t, { capabilities: ['CAP_DAC_OVERRIDE'] }, action)
  for (const thread of threads(pid)) {
    t.deepEqual([thread.uids[1], ...thread.capabilities, thread.bounding], [0, 2n, 2n, 2n, 2n, 2n])
    t.true(thread.noNewPrivileges, thread.name)
  }
  t.deepEqual(await reported(), { shadow: 'read', chown: 'EPERM', child: 1 })
})

asRoot(
  'set-user-ID programs give nothing, unless noNewPrivileges is false; root is left alone',
  async (t) => {
    const p = publicPlace(t)
    fs.copyFileSync('/usr/bin/id', `${p.dir}/id`)
    fs.chmodSync(`${p.dir}/id`, 0o4755)
    const action = `report(spawnSync(process.env.DIR + '/id', ['-u'], { encoding: 'utf8' }).stdout.trim())`
    for (const [options, id, set] of [
      [{ user: 'ada' }, `${ADA}`, true],
      [{ user: 'ada', noNewPrivileges: false }, '0', false],
      [{ user: 0 }, '0', false],
      [{ nice: 1 }, '0', false],
      [{ noNewPrivileges: true }, '0', true],
    ]) {
      const name = `d${Object.values(options).join('')}`
      const { pid, reported } = await started(t, options, action, { p })
      t.is(await reported(), id, name)
      for (const thread of threads(pid)) t.is(thread.noNewPrivileges, set, `${name} ${thread.name}`)
      process.kill(pid, 'SIGKILL')
      await until(() => !isAlive(pid), 'the end')
      fs.rmSync(`${p.dir}/out/report`)
    }
  },
)

asRoot('limits, nice and oomScoreAdjust: as the kernel shows them, for every thread', async (t) => {
  const limits = {
    nofile: 123,
    core: 0,
    nproc: { soft: 500, hard: 600 },
    cpu: { soft: 7200 },
    fsize: 'unlimited',
  }
  const { pid } = await started(t, { user: 'ada', limits, nice: 7, oomScoreAdjust: 321 }, '')
  const shown = fs.readFileSync(`/proc/${pid}/limits`, 'utf8')
  t.regex(shown, /^Max open files +123 +123 /m)
  t.regex(shown, /^Max core file size +0 +0 /m)
  t.regex(shown, /^Max processes +500 +600 /m)
  t.regex(shown, /^Max cpu time +7200 +unlimited /m)
  t.regex(shown, /^Max file size +unlimited +unlimited /m)
  t.is(fs.readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8'), '321\n')
  for (const { tid, name } of threads(pid)) {
    const stat = fs.readFileSync(`/proc/${pid}/task/${tid}/stat`, 'latin1')
    t.is(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16], '7', name)
  }
})

withLandlock('landlock: files and ports that were not named are out of reach of every thread', async (t) => {
  const p = publicPlace(t)
  for (const name of ['read', 'write', 'hidden']) {
    fs.mkdirSync(`${p.dir}/${name}`)
    fs.writeFileSync(`${p.dir}/${name}/file`, 'text')
    for (const path of [name, `${name}/file`]) fs.chmodSync(`${p.dir}/${path}`, 0o777)
  }
  fs.writeFileSync(`${p.dir}/own`, '')
  fs.chownSync(`${p.dir}/own`, ADA, ADA)
  const server = createServer((socket) => socket.end()).listen(0, '127.0.0.1')
  t.teardown(() => server.close())
  await until(() => server.listening, 'the server')
  const { port } = server.address()
  const action = `
    const { DIR } = process.env
    const attempts = \`
      const path = (name) => process.env.DIR + '/' + name
      const text = (data) => String(data)
      const read = async (name) => text(await fs.promises.readFile(path(name)))
      const stream = (name) => new Promise((resolve, reject) =>
        fs.createReadStream(path(name)).on('data', (data) => resolve(text(data))).on('error', reject))
      const outcome = async (call) => { try { return (await call()) ?? 'done' } catch (error) { return error.code } }
      const tryAll = async () => ({
        readable: await outcome(() => read('read/file')),
        readableSync: await outcome(() => text(fs.readFileSync(path('read/file')))),
        readableStream: await outcome(() => stream('read/file')),
        notWritable: await outcome(() => fs.promises.appendFile(path('read/file'), 'x')),
        writable: await outcome(() => fs.promises.appendFile(path('write/file'), 'x')),
        notReadable: await outcome(() => read('write/file')),
        made: await outcome(() => fs.promises.mkdir(path('write/made'))),
        removed: await outcome(() => fs.promises.rmdir(path('write/made'))),
        hidden: await outcome(() => read('hidden/file')),
        hiddenSync: await outcome(() => text(fs.readFileSync(path('hidden/file')))),
        hiddenStream: await outcome(() => stream('hidden/file')),
        hiddenCut: await outcome(() => fs.promises.truncate(path('hidden/file'))),
        hiddenRemoved: await outcome(() => fs.promises.unlink(path('hidden/file'))),
        root: await outcome(() => fs.promises.readdir('/')),
        // Landlock does not restrict these.
        seen: await outcome(async () => (await fs.promises.stat(path('hidden/file'))).size),
        mode: await outcome(() => fs.promises.chmod(path('own'), 0o600)),
      })\`
    const here = await new Function('fs', attempts + '; return tryAll()')(fs)
    const source = "const fs = require('node:fs');" + attempts +
      ";tryAll().then((all) => require('node:worker_threads').parentPort.postMessage(all))"
    const [inWorker] = await once(new Worker(source, { eval: true }), 'message')
    report({
      here,
      inWorker,
      executed: spawnSync('/bin/true', { stdio: ['pipe', 'pipe', 'pipe'] }).status,
      notExecuted: spawnSync('/bin/false', { stdio: ['pipe', 'pipe', 'pipe'] }).error?.code,
      bound: await listens(0),
      notBound: await listens(${port + 1 > 65535 ? 4711 : port + 1}),
      connected: await connects(${port}),
      notConnected: await connects(${port === 80 ? 81 : 80}),
    })
    syslog.syslog('still there')`
  const landlock = {
    read: [`${p.dir}/read`, '/lib', '/lib64', '/etc/ld.so.cache'].filter((path) => fs.existsSync(path)),
    write: [`${p.dir}/write`],
    execute: ['/bin/true', '/lib', '/lib64'].filter((path) => fs.existsSync(path)),
    bind: [0],
    connect: [port],
  }
  const { pid, reported } = await started(t, { user: 'ada', landlock }, action, { p })
  const everywhere = {
    readable: 'text',
    readableSync: 'text',
    readableStream: 'text',
    notWritable: 'EACCES',
    writable: 'done',
    notReadable: 'EACCES',
    made: 'done',
    removed: 'done',
    hidden: 'EACCES',
    hiddenSync: 'EACCES',
    hiddenStream: 'EACCES',
    hiddenCut: 'EACCES',
    hiddenRemoved: 'EACCES',
    root: 'EACCES',
    seen: 4,
    mode: 'done',
  }
  t.deepEqual(await reported(), {
    here: everywhere,
    inWorker: everywhere,
    executed: 0,
    notExecuted: 'EACCES',
    bound: 'done',
    notBound: 'EACCES',
    connected: 'done',
    notConnected: 'EACCES',
  })
  for (const thread of threads(pid)) t.true(thread.noNewPrivileges)
  process.kill(pid, 'SIGTERM')
  await until(() => !isAlive(pid), 'the end')
  t.is(fs.readFileSync(p.pidFile(), 'utf8'), '', 'the directory is out of reach: the pidfile is emptied')
})

asRoot(
  'after the drop files of root are out of reach: of promises, streams, workers and old threads',
  async (t) => {
    const p = publicPlace(t)
    fs.writeFileSync(`${p.dir}/secret`, 'secret', { mode: 0o600 })
    const members = `async setup() {
    // All threads of the pool, and a worker, exist before the drop.
    const secret = process.env.DIR + '/secret'
    this.before = await Promise.all(Array.from({ length: 8 }, () => fs.promises.readFile(secret, 'utf8')))
    const source = "const { parentPort } = require('node:worker_threads'); const fs = require('node:fs');" +
      "parentPort.on('message', (path) => { let got; try { got = fs.readFileSync(path, 'utf8') }" +
      "catch (error) { got = error.code } parentPort.postMessage(got) })"
    this.worker = new Worker(source, { eval: true })
    this.worker.postMessage(secret)
    this.before.push((await once(this.worker, 'message'))[0])
  }`
    const action = `
    const secret = process.env.DIR + '/secret'
    const promises = await Promise.all(Array.from({ length: 8 }, () => outcome(() => fs.promises.readFile(secret))))
    this.worker.postMessage(secret)
    const [worker] = await once(this.worker, 'message')
    const streams = await Promise.all([
      outcome(() => once(fs.createReadStream(secret), 'data')),
      outcome(() => once(fs.createWriteStream(secret), 'open')),
    ])
    report({ before: [...new Set(this.before)], after: [...new Set([...promises, worker, ...streams])] })`
    const { reported } = await started(t, { user: 'ada' }, action, { p, members })
    t.deepEqual(await reported(), { before: ['secret'], after: ['EACCES'] })
  },
)

// What each caller asks for, and what it is told.
const refusals = {
  'a root that others could change': [
    { chroot: '/tmp' },
    /belong to root, and be writable by root alone/,
    { path: '/tmp' },
  ],
  'a root that does not exist': [
    { chroot: '/no/such' },
    /Create it/,
    { errno: -2, syscall: 'open', path: '/no/such' },
  ],
  'a file as the root': [
    { chroot: '/etc/passwd' },
    /ENOTDIR: not a directory, open/,
    { errno: -20, errnoCode: 'ENOTDIR', syscall: 'open' },
  ],
  'a hard limit that may not be raised': [
    { limits: { nofile: { hard: 1_000_000_000 } } },
    /only CAP_SYS_RESOURCE may raise it/,
    { errno: -1, syscall: 'setrlimit' },
  ],
  'a soft limit above the hard one': [
    { limits: { nproc: { soft: 'unlimited' } } },
    /not above the hard one/,
    { errno: -22, syscall: 'setrlimit' },
    'prlimit --pid $$ --nproc=500:1000',
  ],
  'a path that does not exist': [
    { landlock: { read: ['/no/such'] } },
    /Cannot keep \/no\/such within reach/,
    { errno: -2, syscall: 'open', path: '/no/such' },
  ],
  'a user whose number changes nothing': [
    { user: 'nix' },
    /4294967295 is no user id/,
    {},
    `echo 'nix:x:4294967295:4711:::' >> "$DIR/accounts/passwd"`,
  ],
  'a directory that is open': [
    { chroot: '/usr' },
    /descriptor 7 is the directory \/etc/,
    {},
    'exec 7</etc',
    { keepFds: [7] },
  ],
}

asRoot(
  'what cannot be done is refused, in words and with the call that failed, and nothing is left',
  async (t) => {
    for (const [what, [options, words, details, prepare, more]] of Object.entries(refusals)) {
      const all = { user: 'ada', ...options, ...more }
      const { status, stderr, p } = await started(t, all, "report('acted')", { prepare })
      t.is(status, 1, what)
      t.regex(stderr, words, what)
      t.regex(stderr, /code: 'ERR_DAEMON_PRIVILEGES'/, what)
      for (const [key, value] of Object.entries(details)) {
        t.true(
          stderr.includes(typeof value === 'string' ? `${key}: '${value}'` : `${key}: ${value}`),
          `${what}: ${stderr}`,
        )
      }
      t.notRegex(stderr, /Some privileges may be left/, what)
      t.deepEqual(fs.readdirSync(p.run), [], what)
      t.is(processesOf(p).length, 0, what)
    }
  },
)

asRoot('who is not root is refused what only root can do, and given the rest', async (t) => {
  const args = ['setpriv', '--reuid', `${ADA}`, '--regid', `${ADA}`, '--init-groups']
  const own = () => {
    const p = publicPlace(t)
    fs.chownSync(p.run, ADA, ADA)
    fs.mkdirSync(`${p.dir}/jail`)
    return p
  }
  const p = own()
  for (const [options, syscall] of [
    [{ chroot: `${p.dir}/jail` }, 'chroot'],
    [{ capabilities: [] }, 'prctl'],
    [{ capabilities: ['CAP_NET_RAW'] }, 'capset'],
    [{ nice: -5 }, 'setpriority'],
    [{ oomScoreAdjust: -500 }, 'write'],
  ]) {
    const { status, stderr } = await started(t, options, "report('acted')", { p, args })
    t.is(status, 1, syscall)
    t.regex(stderr, /code: 'ERR_DAEMON_PRIVILEGES'/, syscall)
    t.regex(stderr, new RegExp(`errno: -(1|13),\\s+errnoCode: 'E(PERM|ACCES)',\\s+syscall: '${syscall}'`))
    t.deepEqual(fs.readdirSync(p.run), [], syscall)
  }
  const rest = { limits: { nofile: 200 }, nice: 19, noNewPrivileges: true }
  const { pid, stderr } = await started(t, rest, '', { p: own(), args })
  t.truthy(pid, stderr)
  t.true(threads(pid).every((thread) => thread.noNewPrivileges && thread.uids[0] === ADA))
})

withCompiler('users and groups of another NSS module than `files` are found', async (t) => {
  const p = publicPlace(t)
  const source = p.write('nss.c', NSS)
  const { status, stderr } = spawnSync(
    'cc',
    ['-shared', '-fPIC', '-o', `${p.dir}/libnss_elsewhere.so.2`, source],
    {
      encoding: 'utf8',
    },
  )
  t.is(status, 0, stderr)
  fs.mkdirSync(`${p.dir}/jail`)
  p.write(
    'accounts/nsswitch.conf',
    'passwd: files elsewhere\ngroup: files elsewhere\ninitgroups: elsewhere\n',
  )
  const env = { LD_LIBRARY_PATH: p.dir }
  // In a chroot, where the module itself cannot be found any more.
  const options = { user: 'grace', chroot: `${p.dir}/jail` }
  const { pid, reported } = await started(t, options, 'report([process.env.HOME, process.env.SHELL])', {
    p,
    env,
  })
  for (const thread of threads(pid)) {
    t.deepEqual([thread.uids[0], thread.gids[0], thread.groups], [7001, 7002, [7002, 7003, 7004]])
  }
  t.deepEqual(await reported(), ['/home/grace', '/bin/grace'])

  // A database that cannot answer does not mean that there is no such user.
  const silent = await started(t, { name: 'other', user: 'silent' }, "report('acted')", { p, env })
  t.is(silent.status, 1)
  t.regex(
    silent.stderr,
    /Cannot look up whom to drop privileges to: EAGAIN: .*getpwnam_r.*nsswitch.conf, LDAP, sssd/,
  )
  t.regex(
    silent.stderr,
    /code: 'ERR_DAEMON_PRIVILEGES',\s+errno: -11,\s+errnoCode: 'EAGAIN',\s+syscall: 'getpwnam_r'/,
  )
})

withExtraUsers('users and groups of libnss-extrausers are found, with all their groups', async (t) => {
  const p = publicPlace(t)
  p.write('extra/passwd', 'hedy:x:7101:7102:Hedy:/home/hedy:/bin/hedy\n')
  p.write(
    'extra/group',
    'actors:x:7102:\ninventors:x:7103:ada,hedy\nplayers:x:7104:hedy\nothers:x:7105:ada\n',
  )
  p.write('extra/shadow', 'hedy:*:1::::::\n')
  p.write('accounts/nsswitch.conf', 'passwd: files extrausers\ngroup: files extrausers\n')
  const prepare = `mount --bind "$DIR/extra" /var/lib/extrausers`
  for (const [options, ids, groups] of [
    [{ user: 'hedy' }, [7101, 7102], [7102, 7103, 7104]],
    [{ user: 'hedy', group: 'others' }, [7101, 7105], [7103, 7104, 7105]],
    [{ user: 7101, group: 'players' }, [7101, 7104], [7103, 7104]],
    [{ name: 'hedy', user: 'no-such' }, [7101, 7102], [7102, 7103, 7104]],
    [{ user: 'ada' }, [ADA, ADA], [ADA, 4801, 4802, 7103, 7105]],
  ]) {
    const action = `report({ ...this.dropPrivileges(options.user, options.group), home: process.env.HOME })`
    const { pid, stderr, reported } = await started(t, options, action, { p, prepare })
    t.truthy(pid, stderr)
    for (const thread of threads(pid)) {
      t.deepEqual([thread.uids[0], thread.gids[0], thread.groups], [...ids, groups], thread.name)
    }
    const { uid, gid, groups: told, home } = await reported()
    t.deepEqual([uid, gid, told], [...ids, groups])
    t.is(home, ids[0] === ADA ? '/home/ada' : '/home/hedy')
    process.kill(pid, 'SIGKILL')
    await until(() => !isAlive(pid), 'the end')
    fs.rmSync(`${p.dir}/out/report`)
  }
})

/** A user `grace` who is in no file (the GNU C Library manual, "Extending NSS"). */
const NSS = `
#include <errno.h>
#include <grp.h>
#include <nss.h>
#include <pwd.h>
#include <string.h>

static enum nss_status user(struct passwd *found) {
  *found = (struct passwd){"grace", "x", 7001, 7002, "", "/home/grace", "/bin/grace"};
  return NSS_STATUS_SUCCESS;
}
enum nss_status _nss_elsewhere_getpwnam_r(const char *name, struct passwd *found, char *b, size_t n, int *e) {
  if (!strcmp(name, "silent")) {
    *e = EAGAIN;
    return NSS_STATUS_TRYAGAIN;
  }
  return strcmp(name, "grace") ? NSS_STATUS_NOTFOUND : user(found);
}
enum nss_status _nss_elsewhere_getpwuid_r(uid_t uid, struct passwd *found, char *b, size_t n, int *e) {
  return uid != 7001 ? NSS_STATUS_NOTFOUND : user(found);
}
enum nss_status _nss_elsewhere_getgrgid_r(gid_t gid, struct group *found, char *b, size_t n, int *e) {
  static char *nobody[] = {0};
  if (gid != 7002) return NSS_STATUS_NOTFOUND;
  *found = (struct group){"hoppers", "x", 7002, nobody};
  return NSS_STATUS_SUCCESS;
}
enum nss_status _nss_elsewhere_initgroups_dyn(const char *name, gid_t skip, long *start, long *size,
                                              gid_t **groups, long limit, int *e) {
  if (strcmp(name, "grace")) return NSS_STATUS_NOTFOUND;
  if (*size < *start + 2) return NSS_STATUS_TRYAGAIN;
  (*groups)[(*start)++] = 7003;
  (*groups)[(*start)++] = 7004;
  return NSS_STATUS_SUCCESS;
}
`
