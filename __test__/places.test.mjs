// Which daemon is meant does not depend on who asks: from a login, from cron, from a service, by su, under
// fakeroot, one user's daemon of a name is one. In a mount namespace with a /run of its own.

import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import fs from 'node:fs'
import { asRoot, command, environment, isAlive, place, processesOf, sample, until } from './kit.mjs'

const UID = 65534
const LOGIN = `/run/user/${UID}`
const hasTools = ['unshare', 'nsenter', 'setpriv'].every(
  (tool) => spawnSync(tool, ['--version']).status === 0,
)
const apart = hasTools ? asRoot : asRoot.skip
const hasFakeroot = spawnSync('fakeroot', ['--version']).status === 0

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
  const run = async (env, argv) => {
    const all = ['-t', String(holder.pid), '-m', ...as, ...argv]
    const { status, stdout, stderr } = await command(p, 'nsenter', all, { env })
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
  return { p, name, from, ask, asks, fake, inside, logIn, temporary, script, daemons }
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
    // Who gives way leaves nothing.
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
    // Cron's server, after the login; then a login's.
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
    // A client of another program is a client, wherever it is; by hand, as in a test, the place counts.
    const options = `name: '${name}', pidFilePath: undefined, script: '${script}'`
    const client = p.write('client.mjs', sample({ options, last: VERBS }))
    t.not(await started(client, 'pidFile'), own)
    t.is(await asks({ ...from.cron, RUNTIME_DIRECTORY }, 'pidFile', client), own)
  },
)

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
