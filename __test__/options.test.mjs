// The options: their defaults, what is refused, and what they do.

import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { pathToFileURL } from 'node:url'
import { Daemon, daemonize, serviced, syslog } from '../dist/index.js'
import {
  asRoot,
  descriptors,
  environment,
  environmentOf,
  library,
  NOBODY,
  pidIn,
  place,
  proc,
  processesOf,
  run,
  sample,
  test,
  until,
} from './kit.mjs'

const TYPE = 'ERR_INVALID_ARG_TYPE'
const VALUE = 'ERR_INVALID_ARG_VALUE'
const NUL = 'a\0b'

// What each option takes, in the words of its error, and values that it refuses.
const refused = {
  detach: { takes: 'a boolean', [TYPE]: ['yes', 1, null] },
  name: {
    takes: 'one path component of 1 to 64 bytes without control characters',
    [TYPE]: [1, null, {}],
    [VALUE]: [
      '',
      '.',
      '..',
      '../x',
      'a/b',
      '/x',
      NUL,
      'a\nb',
      '\x7f',
      '\x85',
      'x'.repeat(65),
      'ä'.repeat(33),
    ],
  },
  pidFilePath: { takes: 'a directory or null', [TYPE]: [1, true], [VALUE]: ['', NUL] },
  syslogOptions: { takes: 'OR’d LOG_\\* options', [TYPE]: ['1', null], [VALUE]: [-1, 0x40, 1.5, Number.NaN] },
  syslogFacility: { takes: 'a facility', [TYPE]: ['24', null], [VALUE]: [1, 25, 192, -8] },
  user: { takes: 'a name or a number', [TYPE]: [true, null, {}], [VALUE]: ['', NUL, -1, 1.5, 2 ** 32 - 1] },
  group: { takes: 'a name or a number', [TYPE]: [true, null, {}], [VALUE]: ['', NUL, -1, 1.5, 2 ** 32 - 1] },
  chroot: { takes: 'an absolute path', [TYPE]: [1, null], [VALUE]: ['', 'jail', './jail', `/${NUL}`] },
  capabilities: { takes: 'an array of names', [TYPE]: ['CAP_CHOWN', null, {}] },
  noNewPrivileges: { takes: 'a boolean', [TYPE]: ['yes', 1, null] },
  limits: { takes: 'an object', [TYPE]: [1, null, []], [VALUE]: [{ files: 1 }, { RLIMIT_CORE: 0 }] },
  nice: { takes: 'an integer from -20 to 19', [TYPE]: ['1', null], [VALUE]: [-21, 20, 0.5, Number.NaN] },
  oomScoreAdjust: {
    takes: 'an integer from -1000 to 1000',
    [TYPE]: ['1', null],
    [VALUE]: [-1001, 1001, 0.5],
  },
  landlock: {
    takes: 'an object with at least one of',
    [TYPE]: [true, null, []],
    [VALUE]: [{}, { bestEffort: true }, { read: undefined }, { all: [] }],
  },
  script: {
    takes: 'a path or a file: URL',
    [TYPE]: [1, null],
    [VALUE]: [
      ...['', NUL, 'file:///a%00b', 'file://host/a', 'file:///a%2Fb'],
      ...['http://host/a', 'file://host/a', 'file:///a%00b'].map((url) => new URL(url)),
    ],
  },
  args: { takes: 'an array of strings', [TYPE]: ['x', {}, null] },
  execPath: {
    takes: 'a path or a name in PATH',
    [TYPE]: [1, null, [], new URL('file:///bin/sh')],
    [VALUE]: ['', NUL],
  },
  execArgv: { takes: 'an array of strings', [TYPE]: ['--no-warnings', {}, null] },
  env: {
    takes: 'an object',
    [TYPE]: ['x', null, []],
    [VALUE]: [{ 'A=B': 'x' }, { [NUL]: 'x' }, { '': 'x' }],
  },
  cwd: { takes: 'an absolute path', [TYPE]: [1, null], [VALUE]: ['', 'run', './run', `/${NUL}`] },
  umask: { takes: 'an integer from 0 to 0o777', [TYPE]: ['022', null], [VALUE]: [-1, 0o1000, 1.5] },
  stdout: { takes: 'an absolute path', [TYPE]: [1, null], [VALUE]: ['', 'log', `/${NUL}`] },
  stderr: { takes: 'an absolute path', [TYPE]: [1, null], [VALUE]: ['', 'log', `/${NUL}`] },
  keepFds: { takes: 'an array of descriptors', [TYPE]: [3, 'x', null] },
  startTimeout: {
    takes: 'a number of milliseconds',
    [TYPE]: ['1', null],
    [VALUE]: [0, -1, Number.NaN, 2 ** 31],
  },
  supervise: { takes: 'a boolean', [TYPE]: ['yes', 1, null] },
  stopTimeout: {
    takes: 'a number of milliseconds',
    [TYPE]: ['1', null],
    [VALUE]: [0, -1, Number.NaN, 2 ** 31],
  },
  blockedTimeout: {
    takes: 'a number of milliseconds',
    [TYPE]: ['1', null],
    [VALUE]: [0, -1, Infinity, 2 ** 31],
  },
}

for (const [option, { takes, ...wrong }] of Object.entries(refused)) {
  test(`\`${option}\` must be ${takes}`, (t) => {
    for (const [code, values] of Object.entries(wrong)) {
      for (const value of values) {
        const error = t.throws(() => new Daemon({ name: 'sample', [option]: value }), {
          code,
          instanceOf: TypeError,
        })
        t.regex(error.message, new RegExp(`^\`${option}\` must be ${takes}[^]*; got .`), String(value))
      }
    }
    t.notThrows(() => new Daemon({ name: 'sample', [option]: undefined }))
  })
}

test('what is in a list or an object is checked, and named', (t) => {
  for (const [options, code, named] of [
    [{ args: ['a', 1] }, TYPE, 'args[1]'],
    [{ args: [NUL] }, VALUE, 'args[0]'],
    [{ execArgv: ['--no-warnings', 1] }, TYPE, 'execArgv[1]'],
    [{ execArgv: [NUL] }, VALUE, 'execArgv[0]'],
    [{ env: { A: 1 } }, TYPE, 'env.A'],
    [{ env: { A: NUL } }, VALUE, 'env.A'],
    [{ keepFds: [3, '4'] }, TYPE, 'keepFds[1]'],
    [{ keepFds: [2] }, VALUE, 'keepFds[0]'],
    [{ keepFds: [-1] }, VALUE, 'keepFds[0]'],
    [{ keepFds: [3.5] }, VALUE, 'keepFds[0]'],
    [{ capabilities: ['CAP_CHOWN', 1] }, TYPE, 'capabilities[1]'],
    [{ capabilities: ['CAP_EVERYTHING'] }, VALUE, 'capabilities[0]'],
    [{ capabilities: ['cap_chown'] }, VALUE, 'capabilities[0]'],
    [{ limits: { core: '0' } }, TYPE, 'limits.core'],
    [{ limits: { core: -1 } }, VALUE, 'limits.core'],
    [{ limits: { core: Number.POSITIVE_INFINITY } }, VALUE, 'limits.core'],
    [{ limits: { core: {} } }, VALUE, 'limits.core'],
    [{ limits: { core: { both: 1 } } }, VALUE, 'limits.core'],
    [{ limits: { core: { hard: 'none' } } }, TYPE, 'limits.core.hard'],
    [{ limits: { core: { soft: 2, hard: 1 } } }, VALUE, 'limits.core.soft'],
    [{ limits: { core: { soft: 'unlimited', hard: 1 } } }, VALUE, 'limits.core.soft'],
    [{ landlock: { read: '/usr' } }, TYPE, 'landlock.read'],
    [{ landlock: { write: ['/var', 'tmp'] } }, VALUE, 'landlock.write[1]'],
    [{ landlock: { execute: [1] } }, TYPE, 'landlock.execute[0]'],
    [{ landlock: { bind: ['80'] } }, TYPE, 'landlock.bind[0]'],
    [{ landlock: { bind: new Array(1) } }, TYPE, 'landlock.bind[0]'],
    [{ landlock: { connect: [65536] } }, VALUE, 'landlock.connect[0]'],
    [{ landlock: { read: [], bestEffort: 1 } }, TYPE, 'landlock.bestEffort'],
    [{ landlock: { read: [] }, noNewPrivileges: false }, VALUE, 'noNewPrivileges'],
  ]) {
    const error = t.throws(() => new Daemon(options), { code, instanceOf: TypeError })
    t.true(error.message.startsWith(`\`${named}\` must be `), error.message)
  }
})

test('unknown options, and what is no options at all, are refused', (t) => {
  for (const option of ['colour', 'Name', 'pidfile', 'toString', 'constructor', '__proto__x']) {
    const error = t.throws(() => new Daemon({ [option]: 1 }), { code: VALUE, instanceOf: TypeError })
    t.regex(
      error.message,
      new RegExp(
        `^\`options\` must be made of known options; got '${option}'\\. (Did you mean '\\w+'\\?|Known: detach, name, .*)$`,
      ),
    )
    t.throws(() => new Daemon({ [option]: undefined }), { code: VALUE })
  }
  for (const options of [null, 1, 'sample', [], () => {}]) {
    const error = t.throws(() => new Daemon(options), { code: TYPE, instanceOf: TypeError })
    t.regex(error.message, /^`options` must be an object; got /)
  }
  // Inherited properties are ignored: they are neither checked nor used.
  t.is(
    new Daemon(Object.create({ name: '../x' }, { pidFilePath: { value: '/x', enumerable: true } })).pidFile,
    new Daemon({ pidFilePath: '/x' }).pidFile,
  )
})

test('a name that is misspelt is told with the nearest known one, wherever names are known', async (t) => {
  const refused = (given) => new Daemon(given)
  const transport = (given) => syslog.openlog('sample', 0, syslog.LOG_USER, given)
  for (const [attempt, given, meant] of [
    [refused, { pidfile: '/run' }, 'pidFilePath'],
    [refused, { Name: 'x' }, 'name'],
    [refused, { stdOut: '/x' }, 'stdout'],
    [refused, { keepfds: [] }, 'keepFds'],
    [refused, { start_timeout: 1 }, 'startTimeout'],
    [refused, { 'stop-timeout': 1 }, 'stopTimeout'],
    [refused, { detatch: true }, 'detach'],
    [refused, { umsak: 0 }, 'umask'],
    [refused, { facility: 24 }, 'syslogFacility'],
    [refused, { colour: 1 }],
    [refused, { limits: { nofiles: 1 } }, 'nofile'],
    [refused, { limits: { colour: 1 } }],
    [transport, { type: 'udp', host: 'x', colour: 1 }],
    [refused, { limits: { nofile: { Soft: 1 } } }, 'soft'],
    [refused, { landlock: { reed: [] } }, 'read'],
    [refused, { capabilities: ['NET_BIND_SERVICE'] }, 'CAP_NET_BIND_SERVICE'],
    [refused, { capabilities: ['CAP_NET_BIND_SERVCIE'] }, 'CAP_NET_BIND_SERVICE'],
    [transport, { type: 'UPD', host: 'x' }, 'udp'],
    [transport, { type: 'udp', hots: 'x' }, 'host'],
  ]) {
    const { message } = t.throws(() => attempt(given), { code: VALUE, instanceOf: TypeError })
    const [, named] = message.match(/; got '[^']*'\. (?:Did you mean '(.*)'\?|Known: .*)$/)
    t.is(named, meant, message)
  }
  const daemon = new Daemon({ name: 'nobody', pidFilePath: '/nowhere' })
  for (const signal of ['HUP', 'sighup', 'SIGHPU']) {
    const { message } = await t.throwsAsync(daemon.kill(signal), { code: VALUE })
    t.regex(message, /\. Did you mean 'SIGHUP'\?$/, signal)
  }
  // The functions have options of their own.
  const program = () => {}
  for (const [attempt, meant] of [
    [() => serviced({ programm: program }), 'program'],
    [() => serviced({ program, privilegedaction: program }), 'privilegedAction'],
    [() => serviced({ program, shutdwon: program }), 'shutdown'],
    [() => serviced({ program, nmae: 'x' }), 'name'],
    [() => daemonize(program, { shutDown: program }), 'shutdown'],
    [() => daemonize(program, { umsak: 0 }), 'umask'],
    [() => daemonize(program, { program })],
  ]) {
    const { message } = await t.throwsAsync(attempt, { code: VALUE, instanceOf: TypeError })
    const [, named] = message.match(/; got '[^']*'\. (?:Did you mean '(.*)'\?|Known: .* shutdown)$/) ?? [
      null,
      message,
    ]
    t.is(named, meant, message)
  }
})

test('names and paths that are unusual are taken as they are', (t) => {
  for (const name of ['%s', '-x', 'a b', '...', '.x', 'x'.repeat(64), 'ä'.repeat(32), '$HOME', 'a.b.pid']) {
    const daemon = new Daemon({ name, pidFilePath: '/nowhere/x' })
    t.is(daemon.name, name)
    t.is(daemon.pidFile, `/nowhere/x/${name}.pid`)
  }
  t.is(new Daemon({ name: 'x', pidFilePath: 'some/where' }).pidFile, `${process.cwd()}/some/where/x.pid`)
  t.is(new Daemon({ name: 'x', pidFilePath: null }).pidFile, null)
  t.notThrows(
    () => new Daemon({ syslogFacility: syslog.LOG_LOCAL7, syslogOptions: 0x3f, umask: 0, keepFds: [3, 3] }),
  )
  t.notThrows(
    () =>
      new Daemon({
        env: { A: undefined, B: '' },
        args: [''],
        startTimeout: 0.5,
        user: 0,
        group: 2 ** 32 - 2,
      }),
  )
  const error = t.throws(() => new Daemon({ script: '/x.mjs', detach: false }), { code: VALUE })
  t.regex(error.message, /^`detach` must be left out where `script` is given/)
})

test('a socket beside the pidfile fits, whatever the name', (t) => {
  const at = (name, dir) => new Daemon({ name, pidFilePath: dir }).socketPath
  t.is(at('x', '/run'), '/run/x.socket')
  t.is(at('x', null), null)
  const seen = new Set()
  for (const name of [
    'n'.repeat(45),
    `${'n'.repeat(44)}m`,
    'n'.repeat(64),
    'ü'.repeat(32),
    `a${'ü'.repeat(31)}`,
  ]) {
    const dir = `/tmp/${name}-65534`
    const path = at(name, dir)
    t.true(path.startsWith(`${dir}/`) && path.endsWith('.socket'), path)
    t.true(Buffer.byteLength(path) <= 107, path)
    t.false(path.includes('\ufffd'))
    t.is(path, at(name, dir))
    seen.add(path.slice(dir.length))
  }
  t.is(seen.size, 5)
  const dir = `/${'d'.repeat(100)}`
  const error = t.throws(() => at('x', dir), { code: 'ERR_DAEMON_PIDFILE' })
  t.true(error.message.startsWith(`The directory ${dir} is too long for a socket`))
})

/** What a program says about daemons with these options, in this environment. */
const asks = `import { Daemon } from '${library}'
const [cases] = process.argv.slice(2)
const answers = JSON.parse(cases).map(([options, env = {}]) => {
  for (const name of ['RUNTIME_DIRECTORY', 'XDG_RUNTIME_DIR']) delete process.env[name]
  Object.assign(process.env, env)
  const { name, pidFile } = new Daemon(options)
  return [name, pidFile]
})
console.log(JSON.stringify(answers))`

async function ask(t, p, script, cases, as) {
  const { status, stdout, stderr } = await run(p, script, [JSON.stringify(cases)], as)
  t.is(status, 0, stderr)
  return JSON.parse(stdout)
}

test("the name is the script's, without extension", async (t) => {
  const p = place(t)
  const names = async (script, options = {}) => {
    const [[name]] = await ask(t, p, p.write(script, asks), [[{ pidFilePath: null, ...options }]])
    return name
  }
  t.is(await names('my tool.v2.mjs'), 'my tool.v2')
  t.is(await names('.hidden.mjs'), '.hidden')
  // This one cannot be a name.
  t.is(await names(`${'x'.repeat(70)}.mjs`), 'daemon')
  t.is(await names('client.mjs', { script: '/some/where/server.mjs' }), 'server')
})

asRoot("root's pidfiles are in $RUNTIME_DIRECTORY, else in /var/run", async (t) => {
  const p = place(t)
  const options = { name: 'x' }
  const answers = await ask(t, p, p.write('a.mjs', asks), [
    [options],
    [options, { RUNTIME_DIRECTORY: '/run/a:/run/b', XDG_RUNTIME_DIR: '/run/user/0' }],
    [options, { XDG_RUNTIME_DIR: '/run/user/0' }],
    [options, { RUNTIME_DIRECTORY: '' }],
    [options, { RUNTIME_DIRECTORY: 'relative' }],
  ])
  t.deepEqual(
    answers.map(([, file]) => file),
    ['/var/run/x.pid', '/run/a/x.pid', '/var/run/x.pid', '/var/run/x.pid', '/var/run/x.pid'],
  )
})

asRoot(
  "others' are in $RUNTIME_DIRECTORY, in $XDG_RUNTIME_DIR if it is theirs, or in a directory of their own in /tmp",
  async (t) => {
    const p = place(t)
    fs.chmodSync(p.dir, 0o755)
    const session = `${p.dir}/session`
    fs.mkdirSync(session)
    fs.chownSync(session, NOBODY.uid, NOBODY.gid)
    const options = { name: 'x' }
    const cases = [
      [options, { RUNTIME_DIRECTORY: '/run/a:/run/b', XDG_RUNTIME_DIR: session }],
      [options, { XDG_RUNTIME_DIR: session }],
      [options, { XDG_RUNTIME_DIR: p.run }],
      [options, { XDG_RUNTIME_DIR: `${p.dir}/missing` }],
      [options],
      [options, { XDG_RUNTIME_DIR: 'relative' }],
    ]
    const answers = await ask(t, p, p.write('a.mjs', asks), cases, NOBODY)
    t.deepEqual(
      answers.map(([, file]) => file),
      ['/run/a/x.pid', `${session}/x.pid`, ...Array(4).fill('/tmp/x-65534/x.pid')],
    )
  },
)

asRoot(
  'the directory in /tmp is made with mode 0700, and never trusted when it is not like that',
  async (t) => {
    const p = place(t)
    fs.chmodSync(p.dir, 0o755)
    const name = `tsd-${randomBytes(6).toString('hex')}`
    const dir = `/tmp/${name}-${NOBODY.uid}`
    t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }))
    const last = `const daemon = new Sample({ ...options, name: '${name}', pidFilePath: undefined })
  const [verb] = process.argv.slice(2)
  try { console.log(JSON.stringify(await daemon[verb]('SIGHUP'))) } catch (error) { console.log(error.code) }`
    const script = p.write('a.mjs', sample({ last }))
    const as = { ...NOBODY, env: { XDG_RUNTIME_DIR: '', RUNTIME_DIRECTORY: '' } }
    const says = async (verb) => (await run(p, script, [verb], as)).stdout.trim()

    t.deepEqual(JSON.parse(await says('status')), { state: 'stopped', stalePidFile: false })
    t.is(await says('stop'), 'null')
    t.false(fs.existsSync(dir))
    const { pid } = JSON.parse(await says('start'))
    const { mode, uid, gid } = fs.statSync(dir)
    t.deepEqual([mode & 0o7777, uid, gid], [0o700, NOBODY.uid, NOBODY.gid])
    t.is(fs.readFileSync(`${dir}/${name}.pid`, 'utf8'), `${pid}\n`)
    t.deepEqual(JSON.parse(await says('ensure')), { pid, started: false, stdout: '', stderr: '' })
    t.deepEqual(JSON.parse(await says('stop')), { pid, signal: 'SIGTERM' })

    const planted = {
      'with a wrong mode': () => fs.chmodSync(dir, 0o755),
      "another user's": () => {
        fs.mkdirSync(dir, { mode: 0o755 })
        fs.chownSync(dir, 1, 1)
      },
      "another user's that all can write": () => {
        fs.mkdirSync(dir)
        fs.chmodSync(dir, 0o777)
      },
      'a symbolic link': () => {
        fs.mkdirSync(`${p.dir}/theirs`, { mode: 0o700 })
        fs.chownSync(`${p.dir}/theirs`, NOBODY.uid, NOBODY.gid)
        fs.symlinkSync(`${p.dir}/theirs`, dir)
      },
      'a file': () => fs.writeFileSync(dir, ''),
    }
    for (const [what, plant] of Object.entries(planted)) {
      plant()
      for (const verb of ['start', 'ensure', 'status', 'stop', 'kill']) {
        t.is(await says(verb), 'ERR_DAEMON_UNSAFE_PIDFILE', `${what}: ${verb}`)
      }
      fs.rmSync(dir, { recursive: true })
    }
    t.deepEqual(processesOf(p), [])
  },
)

/** Starts a daemon with options, from the test's own process. */
async function start(p, { env = {}, ...options } = {}, source = sample()) {
  const script = p.write('a.mjs', source)
  const daemon = new Daemon({
    name: 'sample',
    pidFilePath: p.run,
    script,
    env: environment(p, env),
    ...options,
  })
  return { daemon, ...(await daemon.start()) }
}

test('without options: cwd /, umask 022, output to /dev/null; with them, as they say', async (t) => {
  const plain = place(t)
  const { pid } = await start(plain)
  t.is(fs.readlinkSync(`/proc/${pid}/cwd`), '/')
  t.is(proc(pid).status.Umask, '0022')
  t.is(proc(pid).status.Name, 'sample')
  // The launcher says "go". The daemon redirects its output when it gets that message.
  await until(() => [0, 1, 2].every((fd) => descriptors(pid)[fd] === '/dev/null'), 'the output to go')

  const p = place(t)
  const args = ['a b', '', '"q"', "it's", 'ü\n', '--x', '$HOME']
  const env = { DIR: p.dir, RUN: p.run, PATH: process.env.PATH, ONLY: 'a "b"\n=ü', LEFT_OUT: undefined }
  const name = 'a-rather-long-name'
  const source = sample({
    options: `name: '${name}', cwd: process.env.DIR, umask: 0o027, stdout: process.env.DIR + '/log', stderr: '/dev/zero'`,
    body: `action(signal) {
      fs.writeFileSync(process.env.DIR + '/said', JSON.stringify({ args: process.argv.slice(2), env: process.env }))
      return once(signal, 'abort')
    }`,
  })
  const script = p.write('b.mjs', source)
  const daemon = new Daemon({ name, pidFilePath: p.run, script: pathToFileURL(script), args, env })
  const second = await daemon.start()
  t.is(daemon.pidFile, p.pidFile(name))
  t.is(pidIn(p, name), second.pid)
  t.is(fs.readlinkSync(`/proc/${second.pid}/cwd`), p.dir)
  t.is(proc(second.pid).status.Umask, '0027')
  t.is(proc(second.pid).status.Name, name.slice(0, 15))
  await until(() => fs.existsSync(`${p.dir}/said`) && fs.readFileSync(`${p.dir}/said`, 'utf8') !== '')
  const said = JSON.parse(fs.readFileSync(`${p.dir}/said`, 'utf8'))
  t.deepEqual(said.args, args)
  const { LEFT_OUT, ...given } = env
  t.deepEqual(said.env, given)
  t.true(environmentOf(second.pid).includes(`ONLY=${env.ONLY}\0`))
  t.is(descriptors(second.pid)[1], `${p.dir}/log`)
  t.is(descriptors(second.pid)[2], '/dev/zero')
})

test('a log gets what the daemon prints when it runs: appended, mode 0640 where it is new', async (t) => {
  const p = place(t)
  p.write('old.log', 'old\n')
  fs.chmodSync(`${p.dir}/old.log`, 0o604)
  const options = `umask: 0, stdout: process.env.DIR + '/new.log', stderr: process.env.DIR + '/old.log'`
  const body = `setup() { console.log('to the launcher'); console.error('to the launcher, too') }
  action(signal) { console.log('out'); console.error('err'); return once(signal, 'abort') }`
  const script = p.write('a.mjs', sample({ options, body }))
  const started = await run(p, script)
  t.deepEqual(started, {
    status: 0,
    signal: null,
    stdout: 'to the launcher\n',
    stderr: 'to the launcher, too\n',
  })
  const content = (name) => fs.readFileSync(`${p.dir}/${name}`, 'utf8')
  await until(() => content('old.log').includes('err') && content('new.log') !== '')
  t.is(content('new.log'), 'out\n')
  t.is(content('old.log'), 'old\nerr\n')
  t.is(fs.statSync(`${p.dir}/new.log`).mode & 0o777, 0o640)
  t.is(fs.statSync(`${p.dir}/old.log`).mode & 0o777, 0o604)
  const [, flags] = /^flags:\s+(\d+)$/m.exec(fs.readFileSync(`/proc/${pidIn(p)}/fdinfo/1`, 'utf8'))
  t.is(Number.parseInt(flags, 8) & 0o2003, fs.constants.O_APPEND | fs.constants.O_WRONLY)
})

test('a log that is a link, or no file, is refused, and nothing is started', async (t) => {
  const p = place(t)
  const target = p.write('target', 'untouched\n')
  const logs = {
    'a symbolic link': [(log) => fs.symlinkSync(target, log), /symbolic link/],
    'a symbolic link to nothing': [(log) => fs.symlinkSync(`${p.dir}/nothing`, log), /symbolic link/],
    'a hard link': [(log) => fs.linkSync(target, log), /regular file with one link/],
    'a FIFO': [(log) => spawnSync('mkfifo', [log]), /log file/],
    'a directory': [(log) => fs.mkdirSync(log), /log file/],
    'in a directory that does not exist': [() => {}, /Create its directory/, 'missing/log'],
  }
  let number = 0
  for (const [what, [make, expected, name = `log${number++}`]] of Object.entries(logs)) {
    const log = `${p.dir}/${name}`
    make(log)
    const option = number % 2 ? 'stdout' : 'stderr'
    const source = sample({ options: `${option}: '${log}'` })
    const error = await t.throwsAsync(start(p, {}, source), { code: 'ERR_DAEMON_START_FAILED' }, what)
    t.regex(error.message, expected, what)
    t.is(error.cause.path, log, what)
    t.deepEqual(fs.readdirSync(p.run), [], what)
  }
  t.is(fs.readFileSync(target, 'utf8'), 'untouched\n')
  t.false(fs.existsSync(`${p.dir}/nothing`))
  t.deepEqual(processesOf(p), [])
})

test('a working directory that does not exist fails the start', async (t) => {
  const p = place(t)
  const source = sample({ options: `cwd: '${p.dir}/missing'` })
  const error = await t.throwsAsync(start(p, {}, source), { code: 'ERR_DAEMON_START_FAILED' })
  const says = `Cannot change to the working directory ${p.dir}/missing: ENOENT: no such file or directory, chdir. `
  t.true(error.message.endsWith(`${says}Create it, or name another with \`cwd\``), error.message)
  t.deepEqual(processesOf(p), [])
})

test('a closed descriptor in `keepFds` is an error before anything is done', async (t) => {
  const p = place(t)
  const error = await t.throwsAsync(start(p, { keepFds: [987_654] }), { code: 'ERR_DAEMON_START_FAILED' })
  t.like(error, { errno: -9, syscall: 'fcntl' })
  t.regex(error.message, /`keepFds` names descriptor 987654, which is not open/)
  t.deepEqual(fs.readdirSync(p.run), [])
})

test("a relative `pidFilePath` and `script` are meant from the launcher's working directory", async (t) => {
  const p = place(t)
  fs.mkdirSync(`${p.dir}/sub`)
  p.write('sub/server.mjs', sample({ options: `pidFilePath: 'run'` }))
  const last = `const client = new Daemon({ name: 'sample', pidFilePath: 'run', script: 'sub/server.mjs' })
  const { pid } = await client.start()
  process.chdir('/')
  console.log(JSON.stringify([pid, (await client.status()).pid, client.pidFile]))`
  const { status, stdout, stderr } = await run(p, p.write('client.mjs', sample({ last })))
  t.is(status, 0, stderr)
  t.deepEqual(JSON.parse(stdout), [pidIn(p), pidIn(p), p.pidFile()])
})
