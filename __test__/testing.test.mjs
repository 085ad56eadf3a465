// The kit for users' own tests: a daemon runs in a place of its own, and leaves nothing.

import { existsSync, fstatSync, openSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { DaemonError, syslog } from 'tsdaemonize'
import { Place, proc, until } from 'tsdaemonize/testing'
import { asRoot, isAlive, library, sleep, test } from './kit.mjs'

/** A daemon with a command line; `name` is its first argument. */
const program = ({ options = '', body = '', before = '' } = {}) => `
import { Daemon, syslog } from '${library}'
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import { once } from 'node:events'
${before}
const [name, ...verbs] = process.argv.slice(2)
class Sample extends Daemon {
  async action(signal) {
    syslog.syslog(\`\${name} begins: [1]: with "\${process.argv.slice(4)}"\`)
    await once(signal, 'abort')
  }
  async onSignal(signal) {
    if (signal === 'SIGHUP') syslog.syslog(syslog.LOG_ERR, 'again\\nand again')
    else await super.onSignal(signal)
  }
  async shutdown() { syslog.syslog('the end') }
  ${body}
}
console.log('words of', name)
await new Sample({ name, ${options} }).serviced(verbs.slice(0, 1))
`

/** A place that ends with the test, with a program in it. */
function place(t, source = {}, options = {}) {
  const made = new Place(options)
  t.teardown(() => made.end())
  const script = join(made.dir, 'sample.mjs')
  writeFileSync(script, program(source))
  return Object.assign(made, { script })
}

test('a daemon is started, read, signalled and stopped in a place of its own', async (t) => {
  const p = place(t, { options: 'syslogOptions: syslog.LOG_PID' })
  const daemon = await p.start(p.script, ['one', 'start', 'x', 'y'])
  t.is(daemon.name, 'one')
  t.is(daemon.pidFile, join(p.runtimeDirectory, 'one.pid'))
  t.is(Number(readFileSync(daemon.pidFile, 'utf8')), daemon.pid)
  t.is(daemon.stdout, 'words of one\nwords of one\n', 'of the launcher, and of the daemon')
  t.is(daemon.stderr, '')
  t.like(await daemon.exit, { status: 0, signal: null })

  const { ppid, session, tty, status, environ, cwd, fd, cmdline } = daemon.proc
  t.is(ppid, 1)
  t.not(session, proc(process.pid).session)
  t.is(tty, 0)
  t.is(status.Umask, '0022')
  t.is(environ.RUNTIME_DIRECTORY, p.runtimeDirectory)
  t.is(cwd, '/')
  t.is(fd[0], '/dev/null')
  t.is(cmdline[0], 'one')
  t.deepEqual(p.processes(), [daemon.pid])

  t.deepEqual(await p.message('begins'), {
    priority: syslog.LOG_INFO,
    facility: syslog.LOG_DAEMON,
    ident: 'one',
    pid: daemon.pid,
    message: 'one begins: [1]: with "x,y"',
  })
  await daemon.kill('SIGHUP')
  t.like(await p.message(/^again#012/), { priority: syslog.LOG_ERR, message: 'again#012and again' })
  t.is((await daemon.status()).state, 'running')
  t.is((await p.run(p.script, ['one', 'status'])).status, 0)

  t.deepEqual(await daemon.stop(), { pid: daemon.pid, signal: 'SIGTERM' })
  await p.message('the end')
  t.is(await daemon.stop(), null)
  t.is((await daemon.status()).state, 'stopped')
  t.is(daemon.proc, undefined)
  await t.throwsAsync(daemon.kill('SIGHUP'), { instanceOf: DaemonError, code: 'ERR_DAEMON_NOT_RUNNING' })
})

test('an attached daemon is ready when it says so, whatever it prints, and its exit status is seen', async (t) => {
  const p = place(t, {
    body: "setup() { console.log('not yet'); return new Promise((r) => setTimeout(r, 200)) }",
  })
  const daemon = await p.start(p.script, ['one', 'run'], { timeout: 30_000 })
  t.is(daemon.proc.ppid, process.pid)
  t.is((await daemon.status()).state, 'running')
  await p.message('begins')
  process.kill(daemon.pid, 'SIGINT')
  const { status, stdout } = await daemon.exit
  t.is(status, 0)
  t.is(stdout, 'words of one\nnot yet\n')
  await p.message((message) => message.message === 'Received SIGINT. Exiting.')
})

test('an attached daemon outlives the time that it had to be ready', async (t) => {
  const p = place(t)
  const daemon = await p.start(p.script, ['one', 'run'], { timeout: 5000 })
  await sleep(5100)
  t.not(daemon.proc, undefined)
})

test('a start that fails says so, with what the program printed', async (t) => {
  const p = place(t, { body: "setup() { console.error('a word'); throw new Error('no port') }" })
  const error = await t.throwsAsync(p.start(p.script, ['one', 'start']), { instanceOf: DaemonError })
  t.like(error, { code: 'ERR_DAEMON_START_FAILED', exitCode: 1 })
  t.regex(error.message, /sample\.mjs ended with status 1 before its daemon was ready:\n.*no port/s)
  t.regex(error.stderr, /a word/)
  t.regex(error.stdout, /words of one/)

  const none = await t.throwsAsync(p.start(p.script, ['one', '--help']))
  t.like(none, { code: 'ERR_DAEMON_START_FAILED', exitCode: 0 })
  t.regex(none.message, /left no daemon with a pidfile in \$RUNTIME_DIRECTORY/)
  await t.throwsAsync(p.start(p.script, ['one', 'start'], { execPath: '/nonexistent' }), { code: 'ENOENT' })
  t.deepEqual(p.processes(), [])
})

test('a start that takes too long fails, and leaves nothing', async (t) => {
  for (const verb of ['start', 'run']) {
    const p = place(t, { body: 'setup() { return new Promise((r) => setTimeout(r, 60_000)) }' })
    const error = await t.throwsAsync(p.start(p.script, ['one', verb], { timeout: 1500 }))
    t.like(error, { code: 'ERR_DAEMON_START_TIMEOUT' }, verb)
    t.regex(error.message, /was not ready within 1500 ms/)
    await until(() => p.processes().length === 0, 'the end of all')
  }
})

test('several daemons in one place: each start gives its own, a name chooses', async (t) => {
  const p = place(t)
  const one = await p.start(p.script, ['one', 'start'])
  const two = await p.start(p.script, ['two', 'start'])
  const three = await p.start(p.script, ['three', 'run'])
  t.deepEqual([one.name, two.name, three.name], ['one', 'two', 'three'])
  const other = await t.throwsAsync(
    p.start(p.script, ['any', 'status', '|| true'], { execPath: '/bin/true' }),
  )
  t.regex(other.message, /several daemons run: one, three, two. Say which one with `name`/)
  const found = await p.start('/bin/true', [], { execPath: null, name: 'one' })
  t.is(found.pid, one.pid)
  const again = await t.throwsAsync(p.start(p.script, ['one', 'start']))
  t.regex(again.message, new RegExp(`already running, with pid ${one.pid}`))
})

test('a message is given once, and one that does not come is an error that tells what came', async (t) => {
  const p = place(t)
  const daemon = await p.start(p.script, ['one', 'start'])
  for (let i = 0; i < 3; i++) {
    await daemon.kill('SIGHUP')
    await p.message('again')
  }
  t.is(p.messages.filter(({ message }) => message.startsWith('again')).length, 3)
  const { message } = await t.throwsAsync(p.message(/again/, 100))
  t.regex(
    message,
    /^Waited 100 ms in vain for a message that matches \/again\/. Received: \n {2}one: one begins/,
  )
})

test('programs have the environment of the test, without what belongs to its runner', async (t) => {
  process.env.NODE_TEST_CONTEXT = 'child'
  process.env.NODE_OPTIONS = '--inspect=0 --no-warnings'
  process.env.OF_THE_TEST = 'seen'
  t.teardown(() => {
    for (const name of ['NODE_TEST_CONTEXT', 'NODE_OPTIONS', 'OF_THE_TEST']) delete process.env[name]
  })
  const p = place(t, {}, { env: { OF_THE_PLACE: 'seen', HOME: undefined } })
  const daemon = await p.start(p.script, ['one', 'start'], { env: { OWN: 'a b' } })
  const { environ } = daemon.proc
  t.like(environ, { OF_THE_TEST: 'seen', OF_THE_PLACE: 'seen', OWN: 'a b', PATH: process.env.PATH })
  t.false('HOME' in environ)
  t.false('NODE_TEST_CONTEXT' in environ)
  t.is(environ.NODE_OPTIONS, `--require ${p.dir}/dev/log.cjs --no-warnings`)
  t.is(p.env.OWN, undefined)
})

test('a script by path, relative path and file: URL; flags; standard input; another program', async (t) => {
  const p = place(t)
  writeFileSync(
    join(p.dir, 'say.mjs'),
    'console.log(process.argv.slice(2), process.execArgv, process.cwd()); process.stdin.pipe(process.stderr)',
  )
  for (const script of ['say.mjs', join(p.dir, 'say.mjs'), pathToFileURL(join(p.dir, 'say.mjs'))]) {
    const how = { execArgv: ['--no-warnings'], cwd: p.dir, input: 'input' }
    t.deepEqual(await p.run(script, ['x'], how), {
      status: 0,
      signal: null,
      stdout: `[ 'x' ] [ '--no-warnings' ] ${p.dir}\n`,
      stderr: 'input',
    })
  }
  t.like(await p.run('/bin/sh', ['-c', 'kill $$'], { execPath: null }), { status: null, signal: 'SIGTERM' })
  t.like(await p.run('/bin/sleep', ['100'], { execPath: null, timeout: 100 }), { signal: 'SIGKILL' })
})

/** The daemon starts a child that has an environment and a session of its own. */
const WITH_CHILD = `async setup() {
  const child = spawn('sleep', ['1000'], { env: { NOTHING: '1' }, detached: true, stdio: 'ignore' })
  await once(child, 'spawn')
  fs.writeFileSync(process.env.CHILD ?? '/dev/null', String(child.pid))
}`

test('the end of a place is the end of all that was started there, and of its directory', async (t) => {
  const options = 'env: { CHILD: process.env.CHILD }'
  const p = place(t, { body: WITH_CHILD, options })
  const daemon = await p.start(p.script, ['one', 'start'], { env: { CHILD: join(p.dir, 'child') } })
  t.is(daemon.proc.environ.RUNTIME_DIRECTORY, undefined, 'its pidfile alone says where it belongs')
  const child = Number(readFileSync(join(p.dir, 'child'), 'utf8'))
  const attached = await p.start(p.script, ['two', 'run'])
  const running = p.run('/bin/sleep', ['1000'], { execPath: null })
  t.deepEqual(
    new Set(p.processes().filter((pid) => proc(pid).ppid !== attached.pid)),
    new Set([daemon.pid, child, attached.pid, running.child.pid]),
  )
  const pids = p.processes()
  t.is(pids.length, 5)
  await p.end()
  for (const pid of pids) t.false(isAlive(pid))
  t.false(existsSync(p.dir))
  t.like(await running, { signal: 'SIGKILL' })
  // A second call changes nothing, and nothing can be started there any more.
  await p.end()
  t.throws(() => p.run(p.script), { message: /has ended/ })
  await t.throwsAsync(p.message('x'), { message: /has ended/ })
})

test('a place can be disposed of', async (t) => {
  const p = place(t)
  const daemon = await p.start(p.script, ['one', 'start'])
  await p[Symbol.asyncDispose]()
  t.false(isAlive(daemon.pid))
})

test("when the test's own process is killed, or forgets the place, nothing is left of it either", async (t) => {
  const kill = "process.kill(process.pid, 'SIGKILL')"
  // The whole process group gets the signal, as from a terminal or a runner.
  const killGroup = "process.kill(-process.pid, 'SIGKILL')"
  for (const last of [kill, killGroup, 'process.exit(1)', '']) {
    const p = place(t, { body: WITH_CHILD })
    writeFileSync(
      join(p.dir, 'test.mjs'),
      `import { Place } from '${new URL('testing/index.js', library)}'
      const place = new Place()
      const daemon = await place.start('sample.mjs', ['one', 'start'])
      const { writeSync } = await import('node:fs')
      writeSync(1, JSON.stringify({ dir: place.dir, pids: place.processes() }))
      ${last}`,
    )
    const { stdout } = await p.run('test.mjs', [], { cwd: p.dir, detached: true })
    const { dir, pids } = JSON.parse(stdout)
    t.is(pids.length, 2)
    await until(() => !existsSync(dir), 'the end of the place')
    for (const pid of pids) t.false(isAlive(pid), last)
  }
})

test('what another place has started is left alone', async (t) => {
  const one = place(t)
  const two = place(t)
  const daemon = await one.start(one.script, ['one', 'start'])
  await two.start(two.script, ['one', 'start'])
  await two.end()
  t.is((await daemon.status()).state, 'running')
})

asRoot('a daemon that has become another user logs to its test, and ends with it', async (t) => {
  const p = place(t, { options: "user: 'daemon'", body: 'async setup() { await syslog.flush() }' })
  t.is(statSync(p.dir).mode & 0o777, 0o755)
  const daemon = await p.start(p.script, ['one', 'start'])
  t.is(daemon.proc.status.Uid.split('\t')[0], String(statSync('/proc/self').uid + 1))
  await p.message('begins')
  await p.end()
  t.false(isAlive(daemon.pid))
})

test('without a receiver messages go where they go without a test', async (t) => {
  const p = place(t, {}, { log: false })
  await p.start(p.script, ['one', 'start'])
  t.is(p.env.NODE_OPTIONS, undefined)
  t.false(existsSync(join(p.dir, 'dev')))
  t.deepEqual(p.messages, [])
})

test('the receiver stands in for the local logger, with all of a message, in order', async (t) => {
  const p = place(t)
  const script = join(p.dir, 'log.mjs')
  writeFileSync(
    script,
    `import { syslog } from '${library}'
    syslog.openlog('a:b', syslog.LOG_PID, syslog.LOG_LOCAL3, { type: 'local' })
    syslog.log({ priority: syslog.LOG_NOTICE, message: 'ünï: code', fields: { a: 1 } })
    for (let i = 0; i < 5000; i++) syslog.syslog('number ' + i)`,
  )
  const running = p.run(script)
  t.like(await running, { status: 0, stderr: '' })
  await p.message('number 4999')
  t.deepEqual(p.messages[0], {
    pid: running.child.pid,
    priority: syslog.LOG_NOTICE,
    facility: syslog.LOG_LOCAL3,
    ident: 'a:b',
    message: 'ünï: code a="1"',
  })
  t.deepEqual(
    p.messages.slice(1).map(({ message }) => message),
    Array.from({ length: 5000 }, (_, i) => `number ${i}`),
  )
})

test('the receiver stands in for the journal, where that reads what the program prints', async (t) => {
  const p = place(t)
  const script = join(p.dir, 'log.mjs')
  writeFileSync(script, `import { syslog } from '${library}'\nsyslog.syslog('to the test')`)
  const file = openSync(join(p.dir, 'out'), 'w')
  const { dev, ino } = fstatSync(file)
  await p.run(script, [], { stdio: ['ignore', file, file], env: { JOURNAL_STREAM: `${dev}:${ino}` } })
  t.is((await p.message('to the test')).ident, 'log')
})
