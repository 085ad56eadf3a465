// The command line: every verb, its exit status, and what it says.

import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { daemonize, serviced } from '../dist/index.js'
import {
  asRoot,
  cli,
  end,
  environment,
  isAlive,
  library,
  NOBODY,
  onTerminal,
  pidIn,
  place,
  proc,
  processesOf,
  run,
  sample,
  test,
  until,
} from './kit.mjs'
import { receive } from './receivers.mjs'

/** Runs a verb that prints nothing, and gives its status. */
async function silent(t, p, script, verb, as) {
  const { status, stdout, stderr } = await run(p, script, [verb], as)
  t.is(stdout + stderr, '', verb)
  return status
}

test('start, stop, restart, reload and status have the exit statuses of an init script', async (t) => {
  const p = place(t)
  const body = `onSignal(signal) {
    fs.appendFileSync(process.env.DIR + '/got', signal + '\\n')
    return super.onSignal(signal)
  }`
  const script = p.write('a.mjs', cli({ body }))
  const status = async (...args) => {
    const { status, stdout, stderr } = await run(p, script, ['status', ...args])
    t.is(stderr, '')
    return [status, stdout]
  }

  const none = `is not running (looked for ${p.pidFile()})`
  t.deepEqual(await status(), [3, `sample ${none}\n`])
  t.deepEqual(await status('--json'), [3, '{"state":"stopped","stalePidFile":false}\n'])
  t.like(await run(p, script, ['stop']), { status: 0, stdout: `sample ${none}\n`, stderr: '' })
  const reload = await run(p, script, ['reload'])
  t.deepEqual([reload.status, reload.stderr], [7, `sample: The daemon 'sample' ${none}\n`])

  t.is(await silent(t, p, script, 'start'), 0)
  const pid = pidIn(p)
  const again = await run(p, script, ['start'])
  t.deepEqual(
    [again.status, again.stderr],
    [1, `sample: The daemon 'sample' is already running, with pid ${pid}\n`],
  )
  const [code, words] = await status()
  t.is(code, 0)
  t.regex(words, new RegExp(`^sample is running: pid ${pid}, user \\S+, since \\S+Z, [\\d.]+ MiB\n$`))
  const [jsonCode, json] = await status('--json')
  t.is(jsonCode, 0)
  const { startedAt, user, rss, ...rest } = JSON.parse(json)
  t.deepEqual(rest, { state: 'running', pid })
  t.false(Number.isNaN(Date.parse(startedAt)))
  t.is(typeof user, 'string')
  t.is(typeof rss, 'number')

  t.is(await silent(t, p, script, 'reload'), 0)
  await until(() => fs.existsSync(`${p.dir}/got`))
  t.is(fs.readFileSync(`${p.dir}/got`, 'utf8'), 'SIGHUP\n')
  t.is(await silent(t, p, script, 'restart'), 0)
  t.false(isAlive(pid))
  const second = pidIn(p)
  t.deepEqual(processesOf(p), [second])
  t.is(await silent(t, p, script, 'stop'), 0)
  t.deepEqual(processesOf(p), [])
  t.is(await silent(t, p, script, 'restart'), 0)

  process.kill(pidIn(p), 'SIGKILL')
  await until(() => processesOf(p).length === 0)
  t.deepEqual(await status(), [1, `sample ${none}, and left a pidfile: it was killed\n`])
  t.deepEqual(await status('--json'), [1, '{"state":"stopped","stalePidFile":true}\n'])
  t.is((await run(p, script, ['reload'])).status, 7)
  // There was no daemon to stop, and the file is gone.
  t.like(await run(p, script, ['stop']), { status: 0, stdout: `sample ${none}\n`, stderr: '' })
  t.deepEqual(await status(), [3, `sample ${none}\n`])
})

test('no verb, an unknown one, and an argument too many: usage, status 2, and nothing is done', async (t) => {
  const p = place(t)
  const script = p.write('tool.mjs', cli())
  for (const [args, why] of [
    [[], 'no command'],
    [['frobnicate'], "unknown command 'frobnicate'"],
    [['toString'], "unknown command 'toString'"],
    [['frobnicate', 'now'], "unknown command 'frobnicate'"],
    [['strat'], "unknown command 'strat': did you mean 'start'?"],
    [['reboot'], "unknown command 'reboot'"],
    [['Status'], "unknown command 'Status': did you mean 'status'?"],
    [['relaod'], "unknown command 'relaod': did you mean 'reload'?"],
    [['--'], 'no command'],
    [['--', 'start'], 'no command'],
    [['stop', '--', '--port', '80'], "unexpected argument '--'"],
    [['status', '--jsno'], "unexpected argument '--jsno': did you mean '--json'?"],
    [
      ['start', '--port', '80'],
      "unexpected argument '--port'. The program's own arguments come after --: tool.mjs start -- --port 80",
    ],
    [
      ['run', 'now', '--', 'x'],
      "unexpected argument 'now'. The program's own arguments come after --: tool.mjs run -- now",
    ],
    [['--json'], "unknown command '--json'"],
    [['help'], "unknown command 'help': did you mean '--help'?"],
    [['--hlep'], "unknown command '--hlep': did you mean '--help'?"],
    [['start', 'now'], "unexpected argument 'now'. "],
    [['start', '--json'], "unexpected argument '--json'. "],
    [['status', '--xml'], "unexpected argument '--xml'"],
    [['status', '--json', 'now'], "unexpected argument 'now'"],
  ]) {
    const { status, stdout, stderr } = await run(p, script, args)
    t.is(status, 2, args.join(' '))
    t.is(stdout, '')
    t.true(stderr.startsWith(`tool.mjs: ${why}`), stderr)
    if (!why.endsWith(' '))
      t.true(stderr.startsWith(`tool.mjs: ${why}\n\nUsage: tool.mjs start | stop |`), stderr)
  }
  for (const args of [['--help'], ['-h'], ['start', '--help']]) {
    const { status, stdout, stderr } = await run(p, script, args)
    t.is(status, 0)
    t.is(stderr, '')
    t.regex(stdout, /^Usage: tool.mjs start \| stop \| restart \| reload \| status \[--json\] \| run\n\n/)
  }
  t.deepEqual(fs.readdirSync(p.run), [])
  t.deepEqual(processesOf(p), [])
})

test('what comes after -- is all that the program gets as its arguments, in the daemon and attached', async (t) => {
  const p = place(t)
  const body = `setup() { fs.appendFileSync(process.env.DIR + '/got', JSON.stringify(process.argv.slice(1)) + '\\n') }`
  const script = p.write('a.mjs', cli({ body }))
  const got = () =>
    fs
      .readFileSync(`${p.dir}/got`, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
  const own = ['--port', '80', '--', '--help', 'start', '']
  for (const [verb, ...args] of [
    ['start', '--', ...own],
    ['restart'],
    ['restart', '--', 'x'],
    ['restart', '--'],
  ]) {
    const { status, stderr } = await run(p, script, [verb, ...args])
    t.is(status, 0, stderr)
  }
  t.is((await run(p, script, ['stop'])).status, 0)
  const running = run(p, script, ['run', '--', ...own])
  await until(() => got().length === 5)
  process.kill(running.pid, 'SIGTERM')
  t.is((await running).status, 0)
  t.deepEqual(got(), [[script, ...own], [script], [script, 'x'], [script], [script, ...own]])

  // A program that reads its arguments itself, and passes the verb, keeps them.
  const last = 'await new Sample(options).serviced([process.argv[3]])'
  const other = p.write('b.mjs', sample({ body, last }))
  t.is((await run(p, other, ['8080', 'start'])).status, 0)
  t.deepEqual(got().at(-1), [other, '8080', 'start'])
  t.is((await run(p, other, ['8080', 'stop'])).status, 0)
})

test('run is the daemon itself, attached: its exit status is the command’s', async (t) => {
  const p = place(t)
  const body = `async action(signal) {
    console.log('here')
    process.on('SIGUSR2', () => this.exit(5))
    process.on('SIGUSR1', () => { throw new Error('thrown') })
    await once(signal, 'abort')
  }`
  const script = p.write('a.mjs', cli({ body }))
  for (const [signal, expected] of [
    ['SIGTERM', 0],
    ['SIGINT', 0],
    ['SIGUSR2', 5],
    ['SIGUSR1', 1],
  ]) {
    const running = run(p, script, ['run'])
    await new Promise((resolve) => running.child.stdout.once('data', resolve))
    t.is(pidIn(p), running.pid)
    t.is(proc(running.pid).ppid, process.pid)
    t.is((await run(p, script, ['status'])).status, 0)
    const second = await run(p, script, ['run'])
    t.is(second.status, 1)
    t.regex(second.stderr, new RegExp(`already running, with pid ${running.pid}`))
    process.kill(running.pid, signal)
    const { status, stdout } = await running
    t.is(status, expected, signal)
    t.is(stdout, 'here\n')
    t.deepEqual(fs.readdirSync(p.run), [])
  }
})

const LOGGERS = {
  'no logger': '',
  'a logger': `syslog.openlog('sample', 0, syslog.LOG_DAEMON, { type: 'local', path: process.env.DIR + '/log' })`,
}
for (const [which, opened] of Object.entries(LOGGERS)) {
  test(`run shows the log on a terminal, each line once, and on a pipe what failed: ${which}`, async (t) => {
    const p = place(t)
    const logger = opened && (await receive(t, p, 'datagram', `${p.dir}/log`))
    const failing = `async setup() { ${opened} }
    async onSignal(signal) {
      if (signal === 'SIGHUP') throw new Error('no configuration')
      return super.onSignal(signal)
    }
    async shutdown() { throw new Error('cannot close') }
    async action(signal) {
      syslog.syslog('tick'); syslog.syslog(syslog.LOG_DEBUG, 'tock')
      process.kill(process.pid, 'SIGHUP')
      await until(() => fs.existsSync(process.env.DIR + '/go'))
      throw new Error('no disk', { cause: 'a full one' })
    }`
    const before = `const until = async (done) => { while (!done()) await sleep(10) }`
    const script = p.write('a.mjs', cli({ body: failing, before }))
    const failures = ['Error: no configuration', 'Error: no disk', 'Error: cannot close']
    const times = (text, words) => text.split(words).length - 1

    const terminal = onTerminal(p, script, ['run'])
    await until(() => /sample: tick\nsample: tock\n/.test(terminal.shown()), 'the log')
    fs.writeFileSync(`${p.dir}/go`, '')
    t.is((await terminal).status, 1)
    for (const words of [...failures, 'sample: tick', "[cause]: 'a full one'"]) {
      t.is(times(terminal.shown(), words), 1, `${words}: ${terminal.shown()}`)
    }
    t.regex(terminal.shown(), /^Error: no disk\n {4}at Sample\.action /m)

    fs.rmSync(`${p.dir}/go`)
    const running = run(p, script, ['run'])
    await new Promise((resolve) => {
      running.child.stderr.on('data', (text) => text.includes('no configuration') && resolve())
    })
    fs.writeFileSync(`${p.dir}/go`, '')
    const piped = await running
    t.is(piped.status, 1)
    for (const words of failures) t.is(times(piped.stderr, words), 1, `${words}: ${piped.stderr}`)
    t.is(times(piped.stderr, 'tick'), opened ? 0 : 1, piped.stderr)
    if (!logger) return
    await logger.stop()
    const messages = logger.messages()
    for (const words of failures) {
      t.is(messages.filter((message) => message.includes(words)).length, 2, `${words}: ${messages}`)
    }
  })
}

test('where there is no logger, a start says so in one line; not where what goes wrong leaves a trace', async (t) => {
  const p = place(t)
  // The kit leaves that line out.
  const start = (source, args = []) => {
    const script = p.write('a.mjs', sample(source))
    return p.own.run(process.execPath, [script, ...args], { execPath: null, cwd: p.dir, env: environment(p) })
  }
  const listening = await receive(t, p, 'datagram', `${p.dir}/log`)
  spawnSync('python3', ['-c', `import socket; socket.socket(1, 2).bind('${p.dir}/stale')`])
  const at = (path) =>
    `syslog.openlog('sample', 0, syslog.LOG_DAEMON, { type: 'local', path: process.env.DIR + '/${path}' })`
  const line = (path) =>
    `sample: There is no logger here: nobody listens at ${p.dir}/${path}. What goes wrong from now on leaves no trace. ` +
    'Name log files with `stdout` and `stderr`, or start a logger\n'
  const last = 'await new Sample(options).serviced()'
  const log = "process.env.DIR + '/errors'"
  const udp = "syslog.openlog('sample', 0, syslog.LOG_DAEMON, { type: 'udp', host: '127.0.0.1', port: 9 })"
  const server = p.write('server.mjs', sample({ body: `setup() { ${at('missing')} }` }))
  const client = `await new Daemon({ ...options, script: '${server}' })`
  for (const [says, source, ...args] of [
    [line('missing'), { body: `setup() { ${at('missing')} }` }],
    [line('missing'), { last: `${client}.start()` }],
    ['', { last: `${client}.ensure()` }],
    [line('missing'), { body: `setup() { ${at('missing')} }`, last }, 'start'],
    [line('missing'), { body: `setup() { ${at('missing')} }`, last }, 'restart'],
    [line('stale'), { body: `setup() { ${at('stale')} }`, options: `stdout: ${log}` }],
    [line('missing'), { body: `setup() { ${at('missing')} }`, options: `stderr: '/dev/null'` }],
    [line('missing'), { body: `setup() { ${at('missing')} }`, options: `stderr: 'syslog'` }],
    ['', { body: `setup() { ${at('missing')} }`, options: `stderr: ${log}` }],
    ['', { body: `setup() { ${at('missing')} }`, last: 'await new Sample(options).ensure()' }],
    ['', { body: `setup() { ${at('log')} }` }],
    ['', { body: `setup() { ${udp} }` }],
    ['', { body: 'action() {}', options: 'detach: false' }],
  ]) {
    const { status, stdout, stderr } = await start(source, args)
    // An attached daemon shows its log there, and the log ends with this line.
    const told = stderr.replace(/^sample: Ended after .*\n/m, '')
    t.deepEqual([status, stdout, told], [0, '', says], JSON.stringify(source))
    if (fs.existsSync(p.pidFile()) && args[0] !== 'start') await end(pidIn(p))
  }
  await listening.stop()
})

test('run says on a terminal and on a pipe that its event loop was blocked, beside the log', async (t) => {
  const p = place(t)
  const body = `setup() { ${LOGGERS['a logger']} }
  action() { fs.writeFileSync(process.env.DIR + '/acts', ''); for (;;); }`
  const script = p.write('a.mjs', cli({ body, options: 'blockedTimeout: 200' }))
  const logger = await receive(t, p, 'datagram', `${p.dir}/log`)
  const says = /sample: The event loop of sample is blocked: SIGTERM was not taken within 200 ms/g
  for (const start of [run, onTerminal]) {
    const running = start(p, script, ['run'])
    await until(() => fs.existsSync(`${p.dir}/acts`), 'the action')
    fs.rmSync(`${p.dir}/acts`)
    process.kill(pidIn(p), 'SIGTERM')
    const { status, stdout, stderr } = await running
    t.is(status, 143)
    t.is([...(stdout + stderr).matchAll(says)].length, 1, stdout + stderr)
  }
  await logger.stop()
  t.is(logger.messages().filter((message) => message.match(says)).length, 2)
})

test('a failed start or run says why, in the words of the daemon, with status 1', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', cli({ body: `setup() { throw new Error('no disk') }` }))
  for (const verb of ['start', 'restart', 'run']) {
    const { status, stderr } = await run(p, script, [verb])
    t.is(status, 1, verb)
    t.regex(stderr, /no disk/)
    t.deepEqual(fs.readdirSync(p.run), [])
  }
  t.deepEqual(processesOf(p), [])
})

test('without a pidfile directory none runs', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', cli({ options: `pidFilePath: process.env.RUN + '/missing'` }))
  const stopped = await run(p, script, ['stop'])
  t.deepEqual([stopped.status, stopped.stderr], [0, ''])
  t.regex(stopped.stdout, /^sample is not running \(looked for \S+missing\/sample\.pid\)\n$/)
  t.is((await run(p, script, ['status'])).status, 3)
  t.is((await run(p, script, ['reload'])).status, 7)
  const { status, stderr } = await run(p, script, ['start'])
  t.is(status, 1)
  t.regex(stderr, /^sample: Cannot keep a pidfile in the directory \S+missing: .*Create it/)
})

asRoot('who lacks the right gets status 4, and is told what to do', async (t) => {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  const script = p.write('a.mjs', cli({ options: `user: process.env.AS` }))
  const verbs = async (expected, env = {}) => {
    for (const [verb, status] of Object.entries(expected)) {
      const done = await run(p, script, [verb], { ...NOBODY, env })
      t.is(done.status, status, `${verb}: ${done.stderr}`)
      if (status === 4)
        t.regex(done.stderr, /^sample: Cannot .*(EACCES: permission denied|EPERM: operation not permitted), /)
    }
  }
  // This is root's directory, which all can read.
  await verbs({ start: 4, restart: 4, run: 4, status: 3, stop: 0, reload: 7 })
  fs.writeFileSync(p.pidFile(), '999999\n')
  await verbs({ start: 4, restart: 4, run: 4, status: 1, stop: 0, reload: 7 })
  fs.rmSync(p.pidFile())
  // And this is one that only root can read.
  fs.chmodSync(p.run, 0o700)
  await verbs({ start: 4, restart: 4, run: 4, status: 4, stop: 4, reload: 4 })
  // This user has a directory of its own, but no right to become root.
  fs.chownSync(p.run, NOBODY.uid, NOBODY.gid)
  for (const verb of ['start', 'run']) {
    const { status, stderr } = await run(p, script, [verb], { ...NOBODY, env: { AS: 'root' } })
    t.is(status, 4, stderr)
    t.deepEqual(fs.readdirSync(p.run), [])
  }
})

test('serviced() without a class: `program` gets what `privilegedAction` returned', async (t) => {
  const p = place(t)
  const script = p.write(
    'sample.mjs',
    `import { serviced } from '${library}'
    import fs from 'node:fs'
    import { once } from 'node:events'
    await serviced({
      pidFilePath: process.env.RUN,
      ...(process.getuid() === 0 && { user: 'nobody' }),
      async privilegedAction(daemon) { return { uid: process.getuid(), fd: fs.openSync(process.env.DIR + '/out', 'w'), name: daemon.name } },
      async program({ uid, fd, name }, signal, daemon) {
        fs.writeSync(fd, JSON.stringify([uid, process.getuid(), name, daemon.name, signal.aborted]))
        await once(signal, 'abort')
        fs.writeSync(fd, 'end')
      },
    })`,
  )
  t.is((await run(p, script, ['start'])).status, 0)
  const uid = process.getuid()
  const out = () => fs.readFileSync(`${p.dir}/out`, 'utf8')
  const said = JSON.stringify([uid, uid || 65534, 'sample', 'sample', false])
  await until(() => out() === said, said)
  t.is((await run(p, script, ['status'])).status, 0)
  t.is((await run(p, script, ['stop'])).status, 0)
  t.is(out(), `${said}end`)
})

test('daemonize() without a class starts its function as a daemon', async (t) => {
  const p = place(t)
  const script = p.write(
    'sample.mjs',
    `import { daemonize } from '${library}'
    import fs from 'node:fs'
    import { once } from 'node:events'
    const { pid } = await daemonize(async (signal, daemon) => {
      fs.writeFileSync(process.env.DIR + '/out', daemon.name)
      await once(signal, 'abort')
    }, { pidFilePath: process.env.RUN })
    console.log(pid)`,
  )
  const { status, stdout } = await run(p, script)
  t.is(status, 0)
  t.is(Number(stdout), pidIn(p))
  await until(() => fs.existsSync(`${p.dir}/out`) && fs.readFileSync(`${p.dir}/out`, 'utf8') === 'sample')
})

test('without a function to run, serviced() and daemonize() refuse, before anything is done', async (t) => {
  const wrong = { code: 'ERR_INVALID_ARG_TYPE', instanceOf: TypeError }
  const none = () => {}
  for (const service of [{}, { program: 1 }, undefined, null, 'x', { program: none, privilegedAction: 1 }]) {
    await t.throwsAsync(serviced(service), wrong)
  }
  for (const action of [undefined, null, {}, 'x']) await t.throwsAsync(daemonize(action), wrong)
  await t.throwsAsync(daemonize(none, null), wrong)
  await t.throwsAsync(daemonize(none, { colour: 1 }), { code: 'ERR_INVALID_ARG_VALUE' })
  await t.throwsAsync(serviced({ program: none, colour: 1 }), { code: 'ERR_INVALID_ARG_VALUE' })
})
