// What the daemon's Node runs: this program again, however it was started, or another script.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import {
  command,
  end,
  environment,
  environmentOf,
  library,
  pidIn,
  place,
  printed,
  proc,
  processesOf,
  root,
  run,
  sample,
  test,
  testIf,
  until,
} from './kit.mjs'

/** A daemon that writes down how it was started; the launcher prints the same about itself. */
const REPORT = `const report = () => JSON.stringify({
  argv: process.argv, execArgv: process.execArgv, env: process.env, cwd: booted, marks: globalThis.marks })
const booted = process.cwd()
if (!isDaemon) console.log(report())`
const WRITES = "setup() { fs.writeFileSync(process.env.DIR + '/report.json', report()) }"
const reports = (source = {}) => sample({ before: REPORT, body: WRITES, ...source })

/** Starts a daemon and ends it. Returns what launcher and daemon were started with. */
async function compare(t, p, start) {
  const { status, stdout, stderr } = await start
  t.is(status, 0, stderr)
  const launcher = JSON.parse(stdout)
  const daemon = JSON.parse(fs.readFileSync(join(p.dir, 'report.json'), 'utf8'))
  t.deepEqual(processesOf(p), [pidIn(p)])
  await end(pidIn(p))
  return { launcher, daemon, stderr }
}

/** Node's flags, without what only the daemon has. */
const flags = ({ execArgv }) => execArgv.filter((flag) => flag !== '--disable-sigusr1')

test('a script by an absolute path, a relative one, a symbolic link, and as the main file of a package', async (t) => {
  const p = place(t)
  const script = p.write('sub/a.mjs', reports())
  p.write('sub/package.json', '{ "main": "a.mjs" }')
  fs.symlinkSync(script, join(p.dir, 'link.mjs'))
  for (const path of [script, 'sub/a.mjs', './sub/../sub/a.mjs', './link.mjs', 'sub']) {
    const { launcher, daemon } = await compare(t, p, run(p, path, ['x']))
    t.deepEqual(daemon.argv, launcher.argv)
    t.is(daemon.cwd, launcher.cwd)
    t.deepEqual(flags(daemon), [])
  }
})

const CJS = `const { Daemon, isDaemon } = require(${JSON.stringify(new URL(library).pathname)})
const fs = require('node:fs')
${REPORT}
class Sample extends Daemon {
  async action(signal) { await new Promise((resolve) => signal.addEventListener('abort', resolve)) }
  ${WRITES}
}
new Sample({ name: 'sample', pidFilePath: process.env.RUN }).start()`

test('a CommonJS script, which has no top-level await', async (t) => {
  const p = place(t)
  const { launcher, daemon } = await compare(t, p, run(p, p.write('a.cjs', CJS)))
  t.deepEqual(daemon.argv, launcher.argv)
})

const TS = reports().replace(
  'async action(signal) {',
  'protected override async action(signal: AbortSignal): Promise<void> {',
)

test('a TypeScript source under tsx, by its command and as a loader', async (t) => {
  const p = place(t)
  const script = p.write('a.mts', `enum Kind { One }\n${TS}`)
  const tsx = join(root, 'node_modules', '.bin', 'tsx')
  const byCommand = await compare(t, p, command(p, tsx, [script, 'x']))
  t.deepEqual(byCommand.daemon.argv.slice(1), [script, 'x'])
  // The loader is looked for in the launcher's working directory.
  const asLoader = await compare(t, p, run(p, script, ['x'], { execArgv: ['--import', 'tsx'], cwd: root }))
  t.deepEqual(flags(asLoader.daemon), ['--import', 'tsx'])
})

const strips = testIf(process.features.typescript)
strips("a TypeScript source under Node's own type stripping", async (t) => {
  const p = place(t)
  const { launcher, daemon } = await compare(t, p, run(p, p.write('a.mts', TS)))
  t.deepEqual(daemon.argv, launcher.argv)
})

test("Node's flags are handed on, and relative files in them are found", async (t) => {
  const p = place(t)
  const mark = (name) => `(globalThis.marks ??= []).push('${name}')`
  p.write('one.mjs', mark('import'))
  p.write('two.cjs', mark('require'))
  p.write('of the file', 'FROM_FILE="a value"\n')
  const execArgv = ['--import', './one.mjs', '-r', './two.cjs', '--env-file=of the file']
  const more = ['--max-old-space-size=99', '-C', 'odd', '--no-warnings', '--title=x y']
  const script = p.write('a.mjs', reports())
  const { launcher, daemon } = await compare(t, p, run(p, script, [], { execArgv: [...execArgv, ...more] }))
  t.deepEqual(flags(daemon), flags(launcher))
  t.deepEqual(daemon.marks, launcher.marks)
  t.deepEqual([...daemon.marks].sort(), ['import', 'require'])
  t.is(daemon.env.FROM_FILE, 'a value')
})

test("what belongs to the launcher's own run is not handed on, in NODE_OPTIONS neither", async (t) => {
  const p = place(t)
  p.write('a preload.cjs', 'globalThis.marks = true')
  const script = p.write(
    'a.mjs',
    reports({
      body: `async setup() {
      const { url } = await import('node:inspector')
      fs.writeFileSync(process.env.DIR + '/url', String(url()))
      fs.writeFileSync(process.env.DIR + '/report.json', report())
    }`,
    }),
  )
  const execArgv = [
    '--inspect-port=0',
    '--inspect',
    '--cpu-prof',
    '--cpu-prof-dir',
    './profile',
    '--no-warnings',
  ]
  const NODE_OPTIONS = `--inspect=0  --require "./a preload.cjs" --max-old-space-size=99 --inspect-port 0`
  const { launcher, daemon, stderr } = await compare(
    t,
    p,
    run(p, script, [], { execArgv, env: { NODE_OPTIONS } }),
  )
  t.regex(stderr, /Debugger listening/)
  t.deepEqual(flags(launcher), execArgv)
  t.deepEqual(flags(daemon), ['--no-warnings'])
  t.is(daemon.env.NODE_OPTIONS, '--require "./a preload.cjs" --max-old-space-size=99')
  t.true(daemon.marks)
  t.is(fs.readFileSync(join(p.dir, 'url'), 'utf8'), 'undefined')
  t.is(fs.readdirSync(join(p.dir, 'profile')).length, 1, "the launcher's profile")
})

const ODD = ['', ' ', "it's", '"', 'a\nb', '\\', 'ä€😀', '$HOME', '*', '-', '--', '--inspect', '-e', 'a=b']

test('arguments and environment arrive as they are', async (t) => {
  const p = place(t)
  const env = Object.fromEntries(ODD.map((value, i) => [`ODD ${i} ä`, value]))
  const { launcher, daemon } = await compare(t, p, run(p, p.write('a.mjs', reports()), ODD, { env }))
  t.deepEqual(daemon.argv.slice(2), ODD)
  t.deepEqual(launcher.argv.slice(2), ODD)
  for (const [name, value] of Object.entries(env)) t.is(daemon.env[name], value, name)
  const { NODE_OPTIONS, ...rest } = launcher.env
  t.is(NODE_OPTIONS, '')
  t.deepEqual(daemon.env, rest)
})

test('with `env` the daemon has these variables and no others', async (t) => {
  const p = place(t)
  const options = "env: { DIR: process.env.DIR, RUN: process.env.RUN, OWN: 'ä\\n', GONE: undefined }"
  t.is((await run(p, p.write('a.mjs', sample({ options })))).status, 0)
  const names = environmentOf(pidIn(p))
    .replaceAll(/^\0+|\0+$/g, '')
    .split('\0')
  t.deepEqual(names.sort(), [`DIR=${p.dir}`, 'OWN=ä\n', `RUN=${p.run}`].sort())
})

test('a program that changes its directory and its arguments before start() does so in both processes', async (t) => {
  const p = place(t)
  fs.mkdirSync(join(p.dir, 'sub'))
  p.write('one.mjs', 'globalThis.marks = true')
  const before = `${REPORT}
    process.chdir('sub')
    const [verb] = process.argv.splice(2, 1)
    const seen = verb + ' ' + process.argv.slice(2) + ' ' + process.cwd()`
  const body = "setup() { fs.writeFileSync(process.env.DIR + '/report.json', report()); console.log(seen) }"
  const script = p.write('a.mjs', sample({ before, body, last: 'await new Sample(options).start()' }))
  const { status, stdout, stderr } = await run(p, script, ['go', 'x'], {
    execArgv: ['--import', './one.mjs'],
  })
  t.is(status, 0, stderr)
  t.is(stdout.split('\n')[1], `go x ${fs.realpathSync(p.dir)}/sub`)
})

// Programs that are not scripts.

const WITHOUT = (options = '{}') => `import(${JSON.stringify(library)}).then(async ({ Daemon }) => {
  class Sample extends Daemon { async action() {} }
  const options = { name: 'sample', pidFilePath: process.env.RUN, ...${options} };
  for (const method of ['start', 'ensure']) {
    await new Sample(options)[method]().then(
      ({ pid }) => console.log('pid', pid), (e) => console.log(e.code, e.message))
  }
})`

const programs = {
  'node -e': { flags: (code) => ['-e', code] },
  'node -e, with arguments': { flags: (code) => ['-e', code, 'a.mjs', 'x'] },
  'node --eval=': { flags: (code) => [`--eval=${code}`, 'a.mjs'] },
  'node -p': { flags: (code) => ['-p', code, 'a.mjs'] },
  'node -pe': { flags: (code) => ['-pe', code, 'a.mjs'] },
  'node --input-type=module -e': { flags: (code) => ['--input-type=module', '-e', code] },
  'standard input': { flags: () => [], input: (code) => code },
  'standard input, with arguments': { flags: () => ['-', 'a.mjs'], input: (code) => code },
}

for (const [what, { flags, input }] of Object.entries(programs)) {
  test(`${what}: there is nothing that a daemon could run, and start() says so`, async (t) => {
    const p = place(t)
    p.write('a.mjs', 'console.log(1)')
    const { stdout } = await command(p, process.execPath, flags(WITHOUT()), { input: input?.(WITHOUT()) })
    const told = stdout.match(/ERR_DAEMON_UNSUPPORTED There is no script that a daemon could run/g)
    t.is(told?.length, 2, stdout)
    t.notRegex(stdout, /pid/)
    t.deepEqual(processesOf(p), [])
    t.deepEqual(fs.readdirSync(p.run), [])
  })
}

test('the REPL: there is nothing that a daemon could run, and start() says so', async (t) => {
  const p = place(t)
  const repl = spawn(process.execPath, ['-i'], { env: environment(p), stdio: ['pipe', 'pipe', 'inherit'] })
  const told = printed(repl)
  const closed = once(repl, 'close')
  repl.stdin.write(`${WITHOUT().replaceAll('\n', ' ')}\n`)
  await until(() => told().match(/ERR_DAEMON_UNSUPPORTED There is no script/g)?.length === 2, 'two refusals')
  repl.stdin.end()
  await closed
  t.deepEqual(fs.readdirSync(p.run), [])
})

// A client that starts another script.

test('a client starts another script: by path, relative path, file: URL, with arguments of its own', async (t) => {
  const p = place(t)
  const options = "umask: 0o027, cwd: process.env.DIR, pidFilePath: process.env.DIR + '/elsewhere'"
  const before = REPORT.replace('if (!isDaemon)', 'if (false)')
  const script = p.write('sub/server.mjs', sample({ before, body: WRITES, options }))
  const url = pathToFileURL(script).href
  for (const [source, args, expected] of [
    [`'${script}'`, undefined, []],
    ["'sub/server.mjs'", "['x', '', 'y z']", ['x', '', 'y z']],
    [`'${url}'`, '[]', []],
    [`new URL('${url}')`, "['--help']", ['--help']],
  ]) {
    const client = p.write(
      'client.mjs',
      sample({
        options: `script: ${source}, args: ${args}, umask: 0o077, detach: undefined`,
        last: 'const sample = new Sample(options); console.log(await sample.start(), sample.pidFile)',
      }),
    )
    const { status, stdout, stderr } = await run(p, client, ['one', 'two'], { execArgv: ['--no-warnings'] })
    t.is(status, 0, stderr)
    const pid = pidIn(p)
    t.is(stdout, `{ pid: ${pid} } ${p.pidFile()}\n`)
    const daemon = JSON.parse(fs.readFileSync(join(p.dir, 'report.json'), 'utf8'))
    t.deepEqual(daemon.argv, [process.execPath, script, ...expected])
    t.deepEqual(flags(daemon), ['--no-warnings'])
    // The script's own options count, except for the pidfile's place.
    t.is(proc(pid).status.Umask, '0027')
    t.is(fs.readlinkSync(`/proc/${pid}/cwd`), fs.realpathSync(p.dir))
    t.deepEqual(processesOf(p), [pid])
    t.false(fs.existsSync(join(p.dir, 'elsewhere')))
    await end(pid)
  }
})

test('a client that is no script itself starts another one: from node -e, standard input, a manager', async (t) => {
  const p = place(t)
  p.write('server.mjs', reports())
  const code = WITHOUT("{ script: process.env.DIR + '/server.mjs' }")
  for (const [args, input, env] of [
    [['-e', code, 'a', 'b']],
    [['--input-type=module', '--eval', code]],
    [[], code],
    // systemd marks its own children in this way. A client is always detached.
    [['-e', `process.env.SYSTEMD_EXEC_PID = process.pid; ${code}`]],
  ]) {
    const { stdout, stderr, status } = await command(p, process.execPath, args, { input, env })
    t.is(status, 0, stderr)
    const pid = pidIn(p)
    // The second call is ensure(), which finds the daemon.
    t.regex(stdout, new RegExp(`^pid ${pid}\n`))
    t.regex(stdout, new RegExp(`\npid ${pid}\n$`))
    const daemon = JSON.parse(fs.readFileSync(join(p.dir, 'report.json'), 'utf8'))
    t.deepEqual(daemon.argv, [process.execPath, join(p.dir, 'server.mjs')])
    t.deepEqual(flags(daemon), [])
    await end(pid)
  }
})
