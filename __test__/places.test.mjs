// A user has one daemon of a name, from wherever it is started or asked for: a login, cron, a service, su or
// fakeroot. The tests run in a mount namespace with a /run of its own.

import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import { asRoot, command, environment, isAlive, place, processesOf, sample, until, works } from './kit.mjs'

const UID = 65534
const LOGIN = `/run/user/${UID}`
const hasTools = ['unshare', 'nsenter', 'setpriv'].every((tool) => works(tool, '--version'))
const apart = hasTools ? asRoot : asRoot.skip
const hasFakeroot = works('fakeroot', '--version')

const VERBS = `const daemon = new Sample(options)
for (const verb of process.argv.slice(2)) {
  try {
    const said = typeof daemon[verb] === 'function' ? await daemon[verb]('SIGHUP') : daemon[verb]
    console.log(JSON.stringify(said ?? null))
  } catch (error) {
    console.log(JSON.stringify({ code: error.code, pid: error.pid, message: error.message }))
  }
}`

/** A machine of its own, in which an ordinary user runs a program from several environments. */
async function machine(t, { login = true, name = `tsd-${randomBytes(6).toString('hex')}`, ...more } = {}) {
  const p = place(t)
  const mounts = ['mount -t tmpfs -o mode=755 tmpfs /run', 'mkdir /run/user', 'echo ready', 'exec sleep 600']
  const holder = spawn('unshare', ['-m', '--propagation', 'private', 'sh', '-c', mounts.join(' && ')], {
    cwd: p.dir,
    env: environment(p),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(holder.stdout, 'data')
  const temporary = `/tmp/${name}-${UID}`
  t.teardown(() => fs.rmSync(temporary, { recursive: true, force: true }))
  const inside = (...argv) => spawnSync('nsenter', ['-t', holder.pid, '-m', ...argv], { encoding: 'utf8' })
  const logIn = () => inside('install', '-d', '-m', '0700', '-o', UID, '-g', UID, LOGIN)
  if (login) logIn()
  for (const dir of ['service', 'session', 'home']) {
    fs.mkdirSync(`${p.dir}/${dir}`)
    fs.chownSync(`${p.dir}/${dir}`, UID, UID)
  }
  const script = p.write(
    'a.mjs',
    sample({ options: `name: '${name}', pidFilePath: undefined`, last: VERBS, ...more }),
  )
  const none = { XDG_RUNTIME_DIR: undefined, RUNTIME_DIRECTORY: undefined, INVOCATION_ID: undefined }
  const from = {
    login: { ...none, XDG_RUNTIME_DIR: LOGIN },
    cron: none,
    service: {
      ...none,
      RUNTIME_DIRECTORY: `${p.dir}/service`,
      INVOCATION_ID: '0123456789abcdef0123456789abcdef',
      SYSTEMD_EXEC_PID: '1',
    },
    su: { ...none, XDG_RUNTIME_DIR: '/run/user/0' },
    session: { ...none, XDG_RUNTIME_DIR: `${p.dir}/session` },
  }
  const as = ['setpriv', '--reuid', String(UID), '--regid', String(UID), '--clear-groups']
  const asRoot = (env, ...argv) => command(p, 'nsenter', ['-t', String(holder.pid), '-m', ...argv], { env })
  const tells = (env, ...argv) => asRoot(env, ...as, process.execPath, ...argv)
  const run = async (env, argv) => {
    const { status, stdout, stderr } = await asRoot(env, ...as, ...argv)
    t.is(status, 0, stderr)
    return stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
  }
  const ask = (env, ...verbs) => run(env, [process.execPath, script, ...verbs])
  const asks = async (env, verb, file = script) => (await run(env, [process.execPath, file, verb]))[0]
  const fake = async (env, verb) => (await run(env, ['fakeroot', process.execPath, script, verb]))[0]
  const daemons = () => processesOf(p).filter((pid) => pid !== holder.pid)
  return { p, name, from, ask, asks, tells, asRoot, fake, inside, logIn, temporary, script, daemons }
}

apart('in every environment the same user starts, finds and stops the same daemon', async (t) => {
  const { name, from, ask, daemons } = await machine(t)
  const { session, ...environments } = from
  for (const [where, env] of Object.entries(environments)) {
    const [{ pid }, file] = await ask(env, 'start', 'pidFile')
    t.is(file, `${LOGIN}/${name}.pid`, where)
    for (const [other, env] of Object.entries(from)) {
      const what = `started from ${where}, asked from ${other}`
      const [status, ensured, again, ...rest] = await ask(env, 'status', 'ensure', 'start', 'pidFile', 'kill')
      t.like(status, { state: 'running', pid }, what)
      t.like(ensured, { pid, started: false }, what)
      t.like(again, { code: 'ERR_DAEMON_ALREADY_RUNNING', pid }, what)
      t.deepEqual(rest, [`${LOGIN}/${name}.pid`, null], what)
    }
    t.deepEqual(daemons(), [pid])
    const [stopped, sent] = await ask(session, 'stop', 'kill')
    t.deepEqual(stopped, { pid, signal: 'SIGTERM' })
    t.like(sent, { code: 'ERR_DAEMON_NOT_RUNNING' })
  }
  t.deepEqual(daemons(), [])
})

apart(
  'a daemon that cron has started before the login is found after it, and the other way round',
  async (t) => {
    const { p, name, from, ask, asks, logIn, inside, temporary, daemons } = await machine(t, { login: false })
    const { pid } = await asks(from.cron, 'start')
    t.is(await asks(from.cron, 'pidFile'), `${temporary}/${name}.pid`)
    t.is(await asks(from.login, 'pidFile'), `${temporary}/${name}.pid`)
    logIn()
    for (const env of Object.values(from)) {
      const [ensured, again, file] = await ask(env, 'ensure', 'start', 'pidFile')
      t.like(ensured, { pid, started: false })
      t.like(again, { code: 'ERR_DAEMON_ALREADY_RUNNING', pid })
      t.is(file, `${temporary}/${name}.pid`)
    }
    // A start that gives way leaves nothing.
    t.deepEqual(inside('ls', '-A', LOGIN).stdout, '')
    t.deepEqual(fs.readdirSync(`${p.dir}/session`), [])
    t.deepEqual(daemons(), [pid])
    t.deepEqual(await asks(from.login, 'stop'), { pid, signal: 'SIGTERM' })
    t.deepEqual(fs.readdirSync(temporary), [])
    t.is(await asks(from.cron, 'pidFile'), `${LOGIN}/${name}.pid`)
  },
)

apart('twenty at once, from all environments, make one daemon', async (t) => {
  const { from, asks, daemons } = await machine(t)
  const { session, ...environments } = from
  const all = Object.values(environments)
  const ensured = await Promise.all(Array.from({ length: 20 }, (_, i) => asks(all[i % all.length], 'ensure')))
  const pids = new Set(ensured.map(({ pid }) => pid))
  t.is(pids.size, 1, JSON.stringify(ensured))
  t.is(ensured.filter(({ started }) => started).length, 1)
  t.deepEqual(daemons(), [...pids])
})

apart(
  'starts on both sides of a login make one daemon, and the one that gives way leaves nothing',
  async (t) => {
    const { from, asks, logIn, inside, temporary, daemons } = await machine(t, { login: false })
    for (let round = 0; round < 3; round++) {
      const before = Array.from({ length: 4 }, () => asks(from.cron, 'ensure'))
      logIn()
      const after = Array.from({ length: 4 }, () => asks(from.login, 'ensure'))
      const ensured = await Promise.all([...before, ...after])
      const [pid, ...others] = new Set(ensured.map((said) => said.pid))
      t.deepEqual(others, [], JSON.stringify(ensured))
      t.deepEqual(daemons(), [pid])
      const files = inside('sh', '-c', `ls -A ${LOGIN} ${temporary} | grep -c pid`)
      t.is(files.stdout, '1\n')
      t.like(await asks(from.su, 'stop'), { pid })
      await until(() => !isAlive(pid))
      t.is(inside('rmdir', LOGIN).status, 0)
    }
  },
)

apart(
  'client and server meet at one socket, whatever their environments and however long the name',
  async (t) => {
    const before = `import { connect, createServer } from 'node:net'`
    const body = `async setup() {
      await once(createServer((client) => client.end('here')).listen(this.socketPath), 'listening')
    }
    async meet() {
      for await (const said of connect(this.socketPath)) return String(said)
    }`
    const name = `tsd-${randomBytes(32).toString('hex')}`.slice(0, 45)
    const { from, ask, logIn, temporary } = await machine(t, { login: false, name, before, body })
    const [, socket] = await ask(from.cron, 'start', 'socketPath')
    t.true(fs.statSync(socket).isSocket())
    t.not(socket, `${temporary}/${name}.socket`)
    logIn()
    // The server is started by cron after the login, and then by a login.
    for (const starter of [from.cron, from.login]) {
      const [{ pid }, socket] = await ask(starter, 'ensure', 'socketPath')
      for (const [where, env] of Object.entries(from)) {
        const [found, path, said] = await ask(env, 'ensure', 'socketPath', 'meet')
        t.like(found, { pid, started: false }, where)
        t.deepEqual([path, said], [socket, 'here'], where)
      }
      await ask(starter, 'stop')
    }
  },
)

apart(
  'status, stop and reload say where they looked for a daemon that does not run, and which one runs elsewhere',
  async (t) => {
    const { p, name, from, tells, asRoot, logIn, inside, temporary } = await machine(t, { login: false })
    const cli = p.write(
      'cli.mjs',
      sample({
        options: `name: '${name}', pidFilePath: undefined`,
        last: 'await new Sample(options).serviced()',
      }),
    )
    const file = (dir) => `${dir}/${name}.pid`
    const [TEMPORARY, SYSTEM, FOREIGN] = [temporary, '/var/run', '/run/tsdaemonize'].map(file)
    const byHand = { ...from.cron, RUNTIME_DIRECTORY: `${p.dir}/service` }
    const HAND = `${file(byHand.RUNTIME_DIRECTORY)}, from RUNTIME_DIRECTORY`
    const SESSION = `${file(`${p.dir}/session`)}, from XDG_RUNTIME_DIR`
    const none = (looked, ...others) => [`is not running (looked for ${looked})`, ...others].join('\n')
    const other = (user, pid, path) => `${user}'s ${name} runs, with pid ${pid}: ${path}`
    const asksAll = async (tells, looked, ...others) => {
      for (const [verb, status] of [
        ['status', 3],
        ['stop', 0],
      ]) {
        t.like(
          await tells(verb),
          { status, stdout: `${name} ${none(looked, ...others)}\n`, stderr: '' },
          verb,
        )
      }
      const stderr = `${name}: The daemon '${name}' ${none(looked, ...others).replaceAll('\n', '. ')}\n`
      t.like(await tells('reload'), { status: 7, stdout: '', stderr })
      const stdout = '{"state":"stopped","stalePidFile":false}\n'
      t.like(await tells('status', '--json'), { status: 3, stdout, stderr: '' })
    }
    const user =
      (env) =>
      (verb, ...args) =>
        tells(env, cli, verb, ...args)
    const root = (verb, ...args) => asRoot(from.cron, process.execPath, cli, verb, ...args)
    const starts = async (tells, path) => {
      const { status, stderr } = await tells('start')
      t.is(status, 0, stderr)
      const running = await tells('status')
      t.regex(running.stdout, /^[^\n]* is running: pid \d+, user \w+, [^\n]*\n$/)
      return Number(inside('cat', path).stdout)
    }

    await asksAll(user(from.cron), `${TEMPORARY} and ${file(LOGIN)}`)
    const early = await starts(user(from.cron), TEMPORARY)
    await asksAll(root, `${SYSTEM} and ${FOREIGN}`, other('nobody', early, TEMPORARY))
    await user(from.cron)('stop')

    logIn()
    await asksAll(user(from.login), `${file(LOGIN)}, from XDG_RUNTIME_DIR, and ${TEMPORARY}`)
    await asksAll(user(from.cron), `${file(LOGIN)} and ${TEMPORARY}`)
    await asksAll(user(from.session), `${SESSION}, ${file(LOGIN)}, and ${TEMPORARY}`)
    await asksAll(user(byHand), HAND)

    const theirs = await starts(user(from.login), file(LOGIN))
    await asksAll(root, `${SYSTEM} and ${FOREIGN}`, other('nobody', theirs, file(LOGIN)))
    await asksAll(user(byHand), HAND, other('nobody', theirs, file(LOGIN)))
    const roots = await starts(root, SYSTEM)
    await asksAll(user(byHand), HAND, other('root', roots, SYSTEM), other('nobody', theirs, file(LOGIN)))
    await user(from.login)('stop')
    t.false(isAlive(theirs))
    await asksAll(user(from.cron), `${file(LOGIN)} and ${TEMPORARY}`, other('root', roots, SYSTEM))
    t.true(isAlive(roots))
    t.is((await root('stop')).stdout, '')
  },
)

apart('an error about a directory names the variable that it comes from', async (t) => {
  const body = `setup() { if (process.env.SOCKET) this.socketPath }
    action() { return this.exit() }`
  const { p, name, from, ask, tells, inside } = await machine(t, { body })
  const session = `${p.dir}/session`
  const names = /\. The variable XDG_RUNTIME_DIR names this directory$/
  inside('mount', '-t', 'tmpfs', '-o', `size=4k,mode=700,uid=${UID}`, 'none', session)
  inside('sh', '-c', `head -c 4096 /dev/zero > ${session}/filler`)
  const [full] = await ask(from.session, 'start')
  t.is(full.code, 'ERR_DAEMON_PIDFILE')
  t.true(
    full.message.includes(`ENOSPC: no space left on device, write '${session}/${name}.pid'`),
    full.message,
  )
  t.regex(full.message, names)
  t.is(inside('ls', '-A', session).stdout, 'filler\n')

  const attached = p.write(
    'attached.mjs',
    sample({ body, options: `name: '${name}', pidFilePath: undefined, detach: false` }),
  )
  const { status, stderr } = await tells(from.session, attached)
  t.is(status, 0, stderr)
  t.regex(stderr, /ENOSPC: .*\. The variable XDG_RUNTIME_DIR names this directory\. Going on without\n/)

  inside('chmod', '777', session)
  for (const verb of ['start', 'ensure', 'status', 'stop', 'kill']) {
    const [open] = await ask(from.session, verb)
    t.is(open.code, 'ERR_DAEMON_UNSAFE_PIDFILE', verb)
    t.regex(open.message, names, verb)
  }

  const long = { ...from.session, XDG_RUNTIME_DIR: `${p.dir}/${'s'.repeat(110)}` }
  fs.mkdirSync(long.XDG_RUNTIME_DIR)
  fs.chownSync(long.XDG_RUNTIME_DIR, UID, UID)
  const [asked, started] = await ask({ ...long, SOCKET: '1' }, 'socketPath', 'start')
  t.is(asked.code, 'ERR_DAEMON_PIDFILE')
  t.regex(asked.message, names)
  t.is(started.code, 'ERR_DAEMON_START_FAILED')
  t.regex(started.message, /is too long for a socket.*The variable XDG_RUNTIME_DIR names this directory/)
})

const faked = hasFakeroot ? apart : apart.skip
faked('under fakeroot a user is no root', async (t) => {
  const { name, from, asks, fake } = await machine(t)
  t.is(await fake(from.login, 'pidFile'), `${LOGIN}/${name}.pid`)
  t.deepEqual(await fake(from.login, 'status'), { state: 'stopped', stalePidFile: false })
  const { pid } = await asks(from.cron, 'start')
  t.like(await fake(from.cron, 'ensure'), { pid, started: false })
  t.like(await fake(from.login, 'start'), { code: 'ERR_DAEMON_ALREADY_RUNNING', pid })
  t.deepEqual(await fake(from.service, 'stop'), { pid, signal: 'SIGTERM' })
})

apart('what somebody has planted in /tmp hinders nobody who has a better place', async (t) => {
  const { from, ask, temporary } = await machine(t)
  const planted = {
    'a directory': () => fs.mkdirSync(temporary),
    'a file': () => fs.writeFileSync(temporary, ''),
    'a link': () => fs.symlinkSync('/', temporary),
    'an open directory': () => {
      fs.mkdirSync(temporary)
      fs.chmodSync(temporary, 0o777)
    },
  }
  for (const [what, plant] of Object.entries(planted)) {
    plant()
    const nobody = [{ state: 'stopped', stalePidFile: false }, null]
    t.deepEqual(await ask(from.login, 'status', 'stop'), nobody, what)
    const [{ pid }] = await ask(from.login, 'ensure')
    const [status, stopped] = await ask(from.cron, 'status', 'stop')
    t.like(status, { state: 'running', pid }, what)
    t.like(stopped, { pid }, what)
    fs.rmSync(temporary, { recursive: true, force: true })
  }
})

apart(
  'a service keeps its pidfile in its own $RUNTIME_DIRECTORY, its children do not, by hand one may',
  async (t) => {
    const { p, name, from, asks, script } = await machine(t)
    const own = `${p.dir}/service/${name}.pid`
    const { RUNTIME_DIRECTORY, INVOCATION_ID } = from.service
    const main = p.write('main.sh', `#!/bin/sh\nexport SYSTEMD_EXEC_PID=$$\nexec ${process.execPath} "$@"\n`)
    fs.chmodSync(main, 0o755)
    const started = async (file, verb) => {
      const { status, stdout, stderr } = await command(p, main, [file, verb], {
        uid: UID,
        gid: UID,
        env: { ...from.cron, RUNTIME_DIRECTORY, INVOCATION_ID },
      })
      t.is(status, 0, stderr)
      return JSON.parse(stdout)
    }
    t.is(await started(script, 'pidFile'), own)
    t.is(await asks({ ...from.cron, RUNTIME_DIRECTORY }, 'pidFile'), own)
    t.is(await asks({ ...from.cron, RUNTIME_DIRECTORY: `${RUNTIME_DIRECTORY}:/x` }, 'pidFile'), own)
    t.is(await asks(from.service, 'pidFile'), `${LOGIN}/${name}.pid`)
    t.is(await asks({ ...from.service, SYSTEMD_EXEC_PID: undefined }, 'pidFile'), `${LOGIN}/${name}.pid`)
    t.is(await asks({ ...from.service, INVOCATION_ID: undefined }, 'pidFile'), `${LOGIN}/${name}.pid`)
    // A client of another program ignores the service's variable. Set by hand, as in a test, the variable counts.
    const options = `name: '${name}', pidFilePath: undefined, script: '${script}'`
    const client = p.write('client.mjs', sample({ options, last: VERBS }))
    t.not(await started(client, 'pidFile'), own)
    t.is(await asks({ ...from.cron, RUNTIME_DIRECTORY }, 'pidFile', client), own)
  },
)

apart('a daemon of root that is kept among foreign programs is found by its name', async (t) => {
  const { name, asRoot, inside, script, p } = await machine(t)
  const own = '/run/tsdaemonize'
  const kept = p.write('kept.mjs', sample({ options: `name: '${name}', pidFilePath: '${own}'`, last: VERBS }))
  const none = { XDG_RUNTIME_DIR: undefined, RUNTIME_DIRECTORY: undefined, INVOCATION_ID: undefined }
  const root = async (...argv) => {
    const { status, stdout, stderr } = await asRoot(none, 'sh', '-c', 'umask 077; exec "$@"', 'sh', ...argv)
    t.is(status, 0, stderr)
    return stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
  }
  const ask = (...argv) => root(process.execPath, ...argv)
  t.deepEqual(await ask(script, 'pidFile'), [`/var/run/${name}.pid`])
  const [{ pid }] = await ask(kept, 'start')
  t.is(inside('stat', '-c', '%a %u', own).stdout, '755 0\n', 'whatever the umask is, others may look')
  const [status, again, file] = await ask(script, 'status', 'start', 'pidFile')
  t.like(status, { state: 'running', pid })
  t.like(again, { code: 'ERR_DAEMON_ALREADY_RUNNING', pid })
  t.is(file, `${own}/${name}.pid`)
  t.deepEqual(await ask(script, 'stop'), [{ pid, signal: 'SIGTERM' }])
  t.deepEqual(inside('ls', '-A', own, '/run').stdout.match(new RegExp(`${name}.*`, 'g')), null)
})

apart('in the process of a daemon of a service, the places are those of its launcher', async (t) => {
  const last = `options.detach = true
  const first = new Sample(options)
  const { pid } = await first.start()
  await new (class extends Sample {
    async action(signal) {
      fs.writeFileSync(process.env.DIR + '/home/said', JSON.stringify([pid, await first.status(), first.pidFile]))
      await once(signal, 'abort')
    }
  })({ ...options, name: options.name + '-2' }).start()
  console.log('null')`
  const { p, name, from, script } = await machine(t, { last })
  const { RUNTIME_DIRECTORY, INVOCATION_ID } = from.service
  const exec = `export SYSTEMD_EXEC_PID=$$; exec ${process.execPath} ${script}`
  const { status, stderr } = await command(p, 'sh', ['-c', exec], {
    uid: UID,
    gid: UID,
    env: { ...from.cron, RUNTIME_DIRECTORY, INVOCATION_ID },
  })
  t.is(status, 0, stderr)
  const said = `${p.dir}/home/said`
  await until(() => fs.existsSync(said) && fs.readFileSync(said, 'utf8') !== '')
  const [pid, found, file] = JSON.parse(fs.readFileSync(said, 'utf8'))
  t.like(found, { state: 'running', pid })
  t.is(file, `${p.dir}/service/${name}.pid`)
})
