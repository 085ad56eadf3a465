// A script that the program `tsdaemonize` starts: the options on the command line, the hand-over that its first Daemon
// takes, and what is said where none does. The launcher here says what the program says.

import fs from 'node:fs'
import { join } from 'node:path'
import { createRequire } from 'node:module'
import { environment, nativeFile, pidIn, place, proc, read, root, sample, test, until } from './kit.mjs'

const native = createRequire(import.meta.url)(join(root, nativeFile))

/** Starts a script as `tsdaemonize start --name NAME` does. */
async function startByProgram(p, script, { name = 'sample', options = {}, args = [] } = {}) {
  const place = { dir: p.run, name, private: false }
  const hello = { name, place, isPartOfService: false, startTimeout: 30_000, isShown: false, earlier: [] }
  const outcome = await native.launch({
    file: process.execPath,
    argv: [process.execPath, script, ...args],
    ownArguments: false,
    env: Object.entries(environment(p)).flatMap(([name, value]) => (value ? [`${name}=${value}`] : [])),
    ownEnv: false,
    places: [place],
    keepFds: [],
    timeout: 60_000,
    hello: JSON.stringify({ ...hello, options: { name, ...options } }),
  })
  const report = outcome.report && JSON.parse(outcome.report)
  return { ...outcome, report, stdout: outcome.stdout.toString(), stderr: outcome.stderr.toString() }
}

const SAY = `async setup() {
  fs.writeFileSync(process.env.DIR + '/said', JSON.stringify([this.name, process.cwd(), process.argv.slice(2)]))
}`
const said = (p) => JSON.parse(read(join(p.dir, 'said')))

test('options of the command line go before the script’s own, its name too, and the others count', async (t) => {
  const p = place(t)
  const options = "name: 'own', cwd: '/usr', umask: 0o077, stdout: process.env.DIR + '/own.log',"
  const script = p.write('a.mjs', sample({ options, body: SAY }))
  const log = join(p.dir, 'asked.log')
  const asked = { umask: 0o027, stdout: log, pidFilePath: p.run }
  const { pid, stderr } = await startByProgram(p, script, { name: 'asked', options: asked, args: ['x'] })
  t.is(stderr, '')
  t.is(pidIn(p, 'asked'), pid)
  t.deepEqual(said(p), ['asked', '/usr', ['x']])
  t.is(proc(pid).status.Umask, '0027')
  await until(() => proc(pid).fd[1] === log, 'its log file, which it opens after "go"')
  t.false(fs.existsSync(join(p.dir, 'own.log')))
})

for (const [what, last] of [
  ['start()', 'await new Sample(options).start()'],
  ['ensure()', 'await new Sample(options).ensure()'],
  ['restart()', 'await new Sample(options).restart()'],
  ['serviced()', 'await new Sample(options).serviced()'],
  ['serviced() with arguments of its own', "await new Sample(options).serviced(['stop'])"],
  [
    'start() after what a script does before it',
    `const sample = new Sample(options)
     const before = [await sample.status(), await sample.stop(), await sample.kill('SIGTERM').catch((e) => e.code)]
     fs.writeFileSync(process.env.DIR + '/before', JSON.stringify(before))
     await sample.start()`,
  ],
]) {
  test(`${what} takes the hand-over, and the arguments are the script's own`, async (t) => {
    const p = place(t)
    const script = p.write('a.mjs', sample({ last, body: SAY, options: "name: 'other'," }))
    const { pid, stderr, report } = await startByProgram(p, script, { args: ['status', '--', '--help'] })
    t.is(report, undefined)
    t.is(stderr, '')
    t.deepEqual(said(p), ['sample', '/', ['status', '--', '--help']])
    t.is(pidIn(p), pid)
    if (fs.existsSync(join(p.dir, 'before'))) {
      const before = JSON.parse(read(join(p.dir, 'before')))
      t.deepEqual(before, [{ state: 'stopped', stalePidFile: false }, null, 'ERR_DAEMON_NOT_RUNNING'])
    }
    process.kill(pid, 'SIGTERM')
    await until(() => !fs.existsSync(p.pidFile()), 'the pidfile’s removal')
  })
}

for (const [option, value, message] of [
  ['umask', 0o1000, '`--umask` must be an integer from 0 to 0o777, such as 0o022; got 512'],
  ['stopTimeout', 0, /^`--stop-timeout` must be a number of milliseconds, .*; got 0$/],
  ['stdout', 'log', "`--stdout` must be an absolute path or 'syslog'; got 'log'"],
  ['pidFilePath', '', "`--pid-file-path` must be a directory or null; got ''"],
  ['unknown', 1, /^`options` must be made of known options; got 'unknown'/],
]) {
  test(`the check of an option names it as on the command line: ${option}`, async (t) => {
    const p = place(t)
    // A script that catches all errors of its start does not hide this one.
    const last = 'await new Sample(options).start().catch(() => {})'
    const script = p.write('a.mjs', sample({ last }))
    const { pid, exitCode, report } = await startByProgram(p, script, { options: { [option]: value } })
    t.is(pid, undefined)
    t.is(exitCode, 1)
    t[typeof message === 'string' ? 'is' : 'regex'](report.message, message)
    t.deepEqual(fs.readdirSync(p.run), [])
  })
}

for (const [what, source] of [
  ['ends', `import '${join(root, 'dist/index.js')}'`],
  ['waits for ever', sample({ last: 'await new Promise(() => {})' })],
]) {
  test(`a script that ${what} without a start is told so, and how to start one that is no Daemon`, async (t) => {
    const p = place(t)
    const { exitCode, report } = await startByProgram(p, p.write('a.mjs', source))
    t.is(exitCode, 1)
    t.regex(
      report.message,
      /without `start\(\)` of a Daemon\. Its last statement must start one\. Give `--ready alive` for a program/,
    )
  })
}

test('a second Daemon of the script is an ordinary one, with the options of its own', async (t) => {
  const p = place(t)
  const body = `${SAY}
  async action(signal) {
    const second = new Sample({ ...options, name: 'second' })
    fs.writeFileSync(process.env.DIR + '/second', JSON.stringify([second.name, (await second.status()).state]))
    await once(signal, 'abort')
  }`
  const source = sample({ body }).replace("async action(signal) { await once(signal, 'abort') }", '')
  const { pid } = await startByProgram(p, p.write('a.mjs', source), {
    options: { name: 'first' },
    name: 'first',
  })
  t.is(pidIn(p, 'first'), pid)
  await until(() => read(join(p.dir, 'second')) !== '', 'what the daemon says')
  t.deepEqual(JSON.parse(read(join(p.dir, 'second'))), ['second', 'stopped'])
})
