// Ways in which a daemon that drops its privileges could keep some of them: each one is tried.

import fs from 'node:fs'
import { ADA, daemonOf, landlockVersion, publicPlace, threads, withAccounts } from './credentials.mjs'
import { asRoot, isAlive, isRoot, proc, processesOf, sample, testIf, until } from './kit.mjs'

const withLandlock = testIf(isRoot && landlockVersion >= 1)

const before = `import { Worker } from 'node:worker_threads'
const outcome = async (call) => {
  try { return (await call()) ?? 'done' } catch (error) { return error.code }
}
const note = (name, what = '') => {
  const file = process.env.DIR + '/out/' + name
  fs.writeFileSync(file + '.new', JSON.stringify(what))
  fs.renameSync(file + '.new', file)
}`

/** Starts a program whose daemon has these members. `options` can be JSON; `more` is source text. */
function start(p, options, members, { args = [], prepare = '', more = '' } = {}) {
  const all = `...JSON.parse(process.env.OPTIONS), ${more}`
  const script = p.write('a.mjs', sample({ before, body: members, options: all }))
  const env = { OPTIONS: JSON.stringify(options) }
  return withAccounts(p, [...args, process.execPath, script], { env, prepare })
}

const noted = (p, name) => {
  const file = `${p.dir}/out/${name}`
  return fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8')) : undefined
}

const act = "async action(signal) { note('acted'); await once(signal, 'abort') }"

/** Checks that the start has failed, that the program has not gone on, and that nothing is left. */
async function refused(t, p, { status, stderr }, words, what) {
  t.is(status, 1, `${what}: ${stderr}`)
  t.regex(stderr, /ERR_DAEMON_PRIVILEGES/, what)
  t.regex(stderr, words, what)
  t.is(noted(p, 'acted'), undefined, `${what}: the action ran`)
  t.is(noted(p, 'went-on'), undefined, `${what}: the program went on`)
  await until(() => processesOf(p).length === 0, `${what}: the end of all processes`)
}

asRoot('a failed drop ends the daemon, whatever its program has made of the end of a process', async (t) => {
  const ways = {
    'a listener that throws': "process.on('exit', () => { throw new Error('not yet') })",
    'an exit that does nothing': 'process.exit = () => {}',
    'an exit that throws': "process.exit = () => { throw new Error('not yet') }",
  }
  for (const [what, way] of Object.entries(ways)) {
    const setup = `async setup() {
      ${way}
      try { this.dropPrivileges('ada') } catch {}
      note('went-on')
    }`
    for (const detach of [true, false]) {
      const p = publicPlace(t)
      const options = { detach, chroot: '/no/such' }
      const result = await start(p, options, `${setup}\n${act}`)
      await refused(t, p, result, /Cannot make \/no\/such the root directory/, `${what}, ${detach}`)
      const later = await start(p, { ...options, user: 'ada' }, `async setup() { ${way} }\n${act}`)
      await refused(t, p, later, /Cannot make \/no\/such the root directory/, `${what}, later, ${detach}`)
    }
  }
})

asRoot('workers that are just starting, and the pool, have dropped privileges too', async (t) => {
  const p = publicPlace(t)
  fs.writeFileSync(`${p.dir}/secret`, 'secret', { mode: 0o600 })
  const members = `async setup() {
    const source = \`
      const { parentPort } = require('node:worker_threads')
      const fs = require('node:fs')
      const path = process.env.DIR + '/secret'
      parentPort.once('message', async () => {
        const attempts = [() => fs.readFileSync(path), () => fs.promises.readFile(path)]
        const got = []
        for (const attempt of attempts) try { await attempt(); got.push('read') } catch (e) { got.push(e.code) }
        parentPort.postMessage(got)
        setInterval(() => {}, 1000)
      })\`
    this.workers = Array.from({ length: 6 }, () => new Worker(source, { eval: true }))
    this.reads = Promise.allSettled(Array.from({ length: 50 }, () => fs.promises.readFile('/etc/shadow')))
  }
  async action(signal) {
    await this.reads
    const answers = this.workers.map((worker) => once(worker, 'message'))
    for (const worker of this.workers) worker.postMessage('now')
    note('acted', (await Promise.all(answers)).flat(2))
    await once(signal, 'abort')
  }`
  for (let attempt = 0; attempt < 3; attempt++) {
    const name = `d${attempt}`
    const { status, stderr } = await start(p, { user: 'ada', name }, members)
    t.is(status, 0, stderr)
    const pid = daemonOf(t, p, name)
    t.deepEqual([...new Set(await until(() => noted(p, 'acted'), 'the workers'))], ['EACCES'])
    const found = threads(pid)
    t.true(found.length > 10)
    for (const thread of found) {
      t.deepEqual(thread.uids, [ADA, ADA, ADA, ADA], thread.name)
      t.deepEqual(thread.groups, [ADA, 4801, 4802], thread.name)
      t.deepEqual([...thread.capabilities, thread.noNewPrivileges], [0n, 0n, 0n, 0n, true], thread.name)
    }
    process.kill(pid, 'SIGKILL')
    await until(() => !isAlive(pid), 'the end')
    fs.rmSync(`${p.dir}/out/acted`)
  }
})

asRoot(
  'what reads the output has no more than the daemon, also when privileges are dropped in the action',
  async (t) => {
    for (const [name, members] of [
      ['setup', `async setup() { this.dropPrivileges('ada') }\n${act}`],
      [
        'action',
        `async action(signal) { this.dropPrivileges('ada'); note('acted'); await once(signal, 'abort') }`,
      ],
    ]) {
      const p = publicPlace(t)
      const limits = { nofile: 111, core: 0 }
      const options = { stdout: 'syslog', limits, nice: 3, oomScoreAdjust: 77 }
      // The other options take effect at the end of \`setup\`.
      const all = name === 'setup' ? { ...options, capabilities: ['CAP_NET_RAW'] } : options
      const { status, stderr } = await start(p, all, members)
      t.is(status, 0, stderr)
      const pid = daemonOf(t, p)
      await until(() => noted(p, 'acted') !== undefined, 'the action')
      const children = processesOf(p).filter((other) => proc(other)?.ppid === pid)
      t.is(children.length, 1, name)
      const kept = name === 'setup' ? 1n << 13n : 0n
      for (const thread of children.flatMap(threads)) {
        t.deepEqual(thread.uids, [ADA, ADA, ADA, ADA], name)
        t.deepEqual(thread.gids, [ADA, ADA, ADA, ADA], name)
        t.deepEqual(thread.groups, [ADA, 4801, 4802], name)
        t.deepEqual(thread.capabilities, [kept, kept, kept, kept], name)
        if (name === 'setup') t.is(thread.bounding, kept)
        t.true(thread.noNewPrivileges, name)
      }
      const [relay] = children
      t.regex(fs.readFileSync(`/proc/${relay}/limits`, 'utf8'), /^Max open files +111 +111 /m)
      t.is(fs.readFileSync(`/proc/${relay}/oom_score_adj`, 'utf8'), '77\n')
      const stat = fs.readFileSync(`/proc/${relay}/stat`, 'latin1')
      t.is(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16], '3')
    }
  },
)

asRoot('limits that leave no room for the drop itself are told, and the daemon ends', async (t) => {
  for (const [limits, words, more] of [
    [{ nofile: 5 }, /Raise the limit `nofile`/],
    [{ sigpending: 0 }, /Raise the limit `sigpending`/],
    [
      { nproc: 0 },
      /sends the daemon's last words cannot be started now.*Raise the limit `nproc`/,
      { stdout: 'syslog' },
    ],
  ]) {
    const p = publicPlace(t)
    const result = await start(p, { user: 'ada', limits, ...more }, act)
    await refused(t, p, result, words, Object.keys(limits)[0])
  }
})

withLandlock('/proc of another pid namespace proves nothing, and is refused', async (t) => {
  // The numbers of threads in it are not those of this process: Landlock would reach only the main thread.
  const args = ['unshare', '-pf', 'setpriv', '--no-new-privs']
  for (const options of [{ landlock: { read: [] } }, { user: 'ada' }]) {
    const p = publicPlace(t)
    const result = await start(p, { ...options, detach: false }, act, { args, more: 'pidFilePath: null' })
    await refused(t, p, result, /\/proc is that of another pid namespace/, JSON.stringify(options))
  }
})

asRoot('in a user namespace that knows one user alone there is nobody to become', async (t) => {
  const p = publicPlace(t)
  const result = await start(p, { user: 'ada' }, act, { args: ['unshare', '-Ur'] })
  await refused(t, p, result, /syscall: 'setgroups'/, 'setgroups')
  t.regex(result.stderr, /In a user namespace, check its \/proc\/self\/setgroups/)
})

asRoot('a directory of /proc leads out of a chroot as any other does: the start is refused', async (t) => {
  for (const open of ["fs.openSync('/proc')", "await fs.promises.opendir('/proc/self')"]) {
    const p = publicPlace(t)
    fs.mkdirSync(`${p.dir}/jail`)
    const members = `async setup() { this.kept = ${open} }\n${act}`
    const result = await start(p, { user: 'ada', chroot: `${p.dir}/jail` }, members)
    await refused(t, p, result, /is the directory \/proc.*, and through it the new root can be left/, open)
  }
})

asRoot('chroot with the right to leave it is a warning', async (t) => {
  for (const [options, warned] of [
    [{ user: 'ada' }, false],
    [{ user: 'ada', capabilities: ['CAP_SYS_CHROOT'] }, true],
    [{}, true],
  ]) {
    const p = publicPlace(t)
    fs.mkdirSync(`${p.dir}/jail`)
    const all = { ...options, chroot: `${p.dir}/jail`, detach: false, syslogOptions: 0x20 }
    const { status, stderr } = await start(p, all, 'async action() {}')
    t.is(status, 0, stderr)
    t.is(/CAP_SYS_CHROOT, can leave the new root/.test(stderr), warned, JSON.stringify(options))
  }
})

asRoot(
  'what the options gave up before the action cannot be given up again in it: the daemon ends',
  async (t) => {
    const members = `async action() {
    note('began')
    try { this.dropPrivileges('ada') } catch {}
    note('went-on')
  }`
    for (const [options, words] of [
      [{ chroot: '' }, /Mount \/proc where the daemon runs. In a chroot/],
      [{ landlock: { read: [] } }, /In a chroot or under Landlock privileges are not dropped a second time/],
      [{ capabilities: [] }, /has not got CAP_SETUID and CAP_SETGID/],
    ]) {
      const p = publicPlace(t)
      if (options.landlock !== undefined && !(landlockVersion >= 1)) continue
      if (options.chroot === '') options.chroot = `${p.dir}/jail`
      // In a new root directory no note can be written.
      fs.mkdirSync(`${p.dir}/jail${p.dir}/out`, { recursive: true })
      const all = { ...options, detach: false, syslogOptions: 0x20 }
      const { status, stderr } = await start(p, all, members)
      t.is(status, 1, stderr)
      t.regex(stderr, words)
      t.false(fs.existsSync(`${p.dir}/jail${p.dir}/out/went-on`))
      t.is(noted(p, 'went-on'), undefined)
    }
  },
)
