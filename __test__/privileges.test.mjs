// Dropping privileges, as a daemon does it: on every thread, for good, or not at all.

import fs from 'node:fs'
import { threads } from './credentials.mjs'
import { asRoot, command, isAlive, isRoot, pidIn, place, proc, run, sample, test, until } from './kit.mjs'

/** Starts a daemon, and waits until its action has begun. */
async function started(t, more) {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  fs.mkdirSync(`${p.dir}/out`)
  fs.chmodSync(`${p.dir}/out`, 0o777)
  const body = `${more.body ?? ''}
  async action(signal) {
    const { HOME, USER, LOGNAME, SHELL } = process.env
    fs.writeFileSync(process.env.DIR + '/out/acts.new', JSON.stringify({ HOME, USER, LOGNAME, SHELL }))
    fs.renameSync(process.env.DIR + '/out/acts.new', process.env.DIR + '/out/acts')
    await once(signal, 'abort')
  }`
  const options = `syslogOptions: syslog.LOG_PERROR, stderr: process.env.DIR + '/printed', ${more.options ?? ''}`
  const script = p.write('a.mjs', sample({ ...more, body, options }))
  const result = more.start ? await more.start(p, script) : await run(p, script, [], { env: more.env })
  if (result.status !== 0) return { p, ...result, pid: undefined }
  const pid = pidIn(p, more.name)
  fs.appendFileSync(`${p.dir}/printed`, result.stderr)
  const file = `${p.dir}/out/acts`
  await until(() => fs.existsSync(file), 'the action')
  return { p, ...result, pid, environment: JSON.parse(fs.readFileSync(file, 'utf8')) }
}

asRoot('user: every thread has its ids, its groups and no others, and no capabilities', async (t) => {
  const { pid, environment, p } = await started(t, {
    options: "user: 'games'",
    start: (p, script) => command(p, 'setpriv', ['--groups', '0,4,24,42', process.execPath, script]),
  })
  const all = threads(pid)
  t.true(all.length > 5)
  for (const { uids, gids, groups, capabilities } of all) {
    t.deepEqual([uids, gids, groups], [[5, 5, 5, 5], [60, 60, 60, 60], [60]])
    t.deepEqual(capabilities, [0n, 0n, 0n, 0n])
  }
  t.deepEqual(environment, {
    HOME: '/usr/games',
    USER: 'games',
    LOGNAME: 'games',
    SHELL: '/usr/sbin/nologin',
  })
  t.is(fs.statSync(p.pidFile()).uid, 0)
})

asRoot('group alone, a number, and a number without an entry', async (t) => {
  const named = await started(t, { options: "user: 'games', group: 'daemon'" })
  t.deepEqual(threads(named.pid)[0].gids, [1, 1, 1, 1])
  t.deepEqual(threads(named.pid)[0].groups, [1])
  const number = await started(t, { options: 'user: 5' })
  t.deepEqual(threads(number.pid)[0].gids, [60, 60, 60, 60])
  const nobody = await started(t, { options: 'user: 123456, group: 654321' })
  for (const thread of threads(nobody.pid)) {
    t.deepEqual([thread.uids[0], thread.gids[3], thread.groups], [123456, 654321, []])
  }
  t.deepEqual(nobody.environment, { HOME: '/' })
})

asRoot('a name that does not exist: the daemon’s own, else `daemon`, with a warning', async (t) => {
  for (const [name, used, uid] of [
    ['sample', 'daemon', 1],
    ['games', 'games', 5],
  ]) {
    const { pid, p } = await started(t, { name, options: `name: '${name}', user: 'no-such-user'` })
    t.deepEqual(threads(pid)[0].uids, [uid, uid, uid, uid])
    const warning = `The user "no-such-user" does not exist: using "${used}" instead`
    await until(() => fs.readFileSync(`${p.dir}/printed`, 'utf8').includes(warning), 'the warning')
  }
})

asRoot(
  'such a warning is printed by the start, in the background and attached, and not twice by itself',
  async (t) => {
    const warning = 'sample: The user "no-such-user" does not exist: using "daemon" instead'
    const elsewhere =
      "syslog.openlog('sample', 0, syslog.LOG_DAEMON, { type: 'udp', host: '127.0.0.1', port: 9 })"
    for (const [what, options, setup = ''] of [
      ['in the background', ''],
      ['in the background, with LOG_PERROR', 'syslogOptions: syslog.LOG_PERROR'],
      ['attached', 'detach: false'],
      ['attached, with LOG_PERROR', 'detach: false, syslogOptions: syslog.LOG_PERROR'],
      ['attached, with a log elsewhere', 'detach: false', elsewhere],
    ]) {
      const p = place(t)
      fs.chmodSync(p.dir, 0o755)
      const body = `setup() { ${setup} }
    action() {}`
      const source = sample({ options: `user: 'no-such-user', ${options}`, body })
      const { status, stderr } = await run(p, p.write('a.mjs', source))
      t.is(status, 0, `${what}: ${stderr}`)
      // With LOG_PERROR, the output of a daemon in the background can have its messages to syslog as well.
      const most = what.includes('background, with LOG_PERROR') ? 2 : 1
      const times = stderr.split(warning).length - 1
      t.true(times >= 1 && times <= most, `${what}: ${stderr}`)
    }
  },
)

asRoot('a group alone makes the user another, which the start and the log say', async (t) => {
  for (const [who, becomes, more] of [
    ["group: 'games'", 'daemon', {}],
    ['group: 60', 'daemon', {}],
    ["name: 'games', group: 'daemon'", 'games', { name: 'games' }],
    ['', 'daemon', { body: "setup() { this.dropPrivileges(null, 'games') }" }],
  ]) {
    const { pid, p, stderr } = await started(t, { ...more, options: who })
    const user = becomes === 'games' ? 5 : 1
    t.deepEqual(threads(pid)[0].uids, [user, user, user, user], who)
    const warning =
      /^(\w+: )?Only the group "\w+" was given, and no user: the user becomes "(\w+)"\. Give `user` with `group`\.$/gm
    const [[, , told]] = stderr.matchAll(warning)
    t.is(told, becomes, stderr)
    // With LOG_PERROR, this has what goes to the log.
    const logged = () =>
      [...fs.readFileSync(`${p.dir}/printed`, 'utf8').matchAll(warning)].some(([, ident]) => ident)
    await until(logged, 'the log')
  }
  for (const who of ["user: 'games', group: 'daemon'", "user: 'games'"]) {
    const { p } = await started(t, { options: who })
    t.notRegex(fs.readFileSync(`${p.dir}/printed`, 'utf8'), /Only the group/)
  }
})

asRoot('dropPrivileges() in setup, after what only root can do; the identity is told', async (t) => {
  const { pid, p } = await started(t, {
    body: `async setup() {
      fs.readFileSync('/etc/shadow')
      const identity = this.dropPrivileges('games')
      fs.writeFileSync(process.env.DIR + '/out/identity', JSON.stringify(identity))
      let denied
      try { fs.readFileSync('/etc/shadow') } catch (error) { denied = error.code }
      fs.writeFileSync(process.env.DIR + '/out/denied', denied)
    }`,
  })
  t.deepEqual(JSON.parse(fs.readFileSync(`${p.dir}/out/identity`, 'utf8')), {
    user: 'games',
    uid: 5,
    group: 'games',
    gid: 60,
    groups: [60],
  })
  t.is(fs.readFileSync(`${p.dir}/out/denied`, 'utf8'), 'EACCES')
  t.is(threads(pid)[0].uids[0], 5)
})

asRoot('root that was asked for is root', async (t) => {
  const { pid } = await started(t, { options: 'user: 0, group: 0' })
  t.deepEqual(threads(pid)[0].uids, [0, 0, 0, 0])
})

asRoot('without the right to do so the daemon ends, even if its program catches the error', async (t) => {
  const start = (p, script) => {
    fs.chownSync(p.run, 5, 60)
    return command(p, 'setpriv', [
      '--reuid',
      '5',
      '--regid',
      '60',
      '--clear-groups',
      process.execPath,
      script,
    ])
  }
  const { status, stderr, p } = await started(t, {
    options: 'stderr: undefined, syslogOptions: 0,',
    body: `async setup() {
      try { this.dropPrivileges('daemon') } catch {}
      fs.writeFileSync(process.env.DIR + '/out/went-on', '')
    }`,
    start,
  })
  t.is(status, 1)
  t.regex(stderr, /ERR_DAEMON_PRIVILEGES/)
  t.regex(stderr, /Not permitted to drop privileges to user "daemon"/)
  t.false(fs.existsSync(`${p.dir}/out/went-on`))
  t.deepEqual(fs.readdirSync(p.run), [])
  const same = await started(t, { options: "stderr: undefined, syslogOptions: 0, user: 'games'", start })
  t.is(same.status, 0, same.stderr)
})

asRoot('in the action as well: the daemon ends with status 1', async (t) => {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  const body = `async action() {
    this.dropPrivileges('games')
    try { this.dropPrivileges('daemon') } catch {}
    console.log('went on')
  }`
  const script = p.write(
    'a.mjs',
    sample({ body, options: 'detach: false, syslogOptions: syslog.LOG_PERROR,' }),
  )
  const { status, stdout, stderr } = await run(p, script)
  t.is(status, 1)
  t.is(stdout, '')
  t.regex(stderr, /Not permitted to drop privileges/)
})

asRoot('refused where libuv uses io_uring, which would go on opening files as root', async (t) => {
  const { status, stderr } = await started(t, { options: "user: 'games'", env: { UV_USE_IO_URING: '1' } })
  t.is(status, 1)
  t.regex(stderr, /Cannot drop privileges while io_uring is enabled in libuv/)
})

asRoot('a daemon that dropped privileges ends, and is stopped, like any other', async (t) => {
  const { pid, p } = await started(t, { options: "user: 'games'" })
  const stop = p.write(
    'stop.mjs',
    sample({ last: 'console.log(JSON.stringify(await new Sample(options).stop()))' }),
  )
  t.deepEqual(JSON.parse((await run(p, stop)).stdout), { pid, signal: 'SIGTERM' })
  t.false(isAlive(pid))
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('outside of a daemon dropPrivileges() is refused', async (t) => {
  const p = place(t)
  const last = `try { new Sample(options).dropPrivileges('nobody') } catch (error) { console.log(error.code, process.getuid()) }`
  const { stdout } = await run(p, p.write('a.mjs', sample({ last })))
  t.is(stdout, `ERR_DAEMON_PRIVILEGES ${process.getuid()}\n`)
  t.is(isRoot, proc(process.pid).status.Uid.startsWith('0'))
})
