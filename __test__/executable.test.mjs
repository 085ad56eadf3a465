// What runs the daemon: `execPath` and `execArgv`.

import fs from 'node:fs'
import { join } from 'node:path'
import { nodeOf, runnerOf } from '../scripts/nodes.mjs'
import {
  command,
  environmentOf,
  exeOf,
  isAlive,
  library,
  pidIn,
  place,
  run,
  sample,
  test,
  testIf,
  until,
} from './kit.mjs'

const has = (path) => testIf(fs.existsSync(path))
const SAY = "async setup() { fs.writeFileSync(process.env.DIR + '/said', JSON.stringify(WHAT)) }"
const say = (what) => SAY.replace('WHAT', what)
const said = (p) => JSON.parse(fs.readFileSync(join(p.dir, 'said'), 'utf8'))

async function start(t, p, options, what = '[process.execArgv, process.argv.slice(2)]', args = [], more) {
  const script = p.write('a.mjs', sample({ options, body: say(what) }))
  const { status, stderr } = await run(p, script, args, more)
  t.is(status, 0, stderr)
  return pidIn(p)
}

const other = ['24', '22', '26'].map(nodeOf).find((path) => path !== process.execPath && fs.existsSync(path))
has(other ?? '/no')(
  'another Node runs it, with the flags of this one, which gets none that it may not know',
  async (t) => {
    const p = place(t)
    const options = `execPath: ${JSON.stringify(other)},`
    const execArgv = ['--no-warnings', '--inspect=0']
    const pid = await start(t, p, options, undefined, ['x'], { execArgv })
    t.is(exeOf(pid), fs.realpathSync(other))
    t.deepEqual(said(p), [['--no-warnings'], ['x']])
    process.kill(pid, 'SIGUSR1')
    process.kill(pid, 'SIGTERM')
    await until(() => !isAlive(pid), 'its end')
  },
)

test('flags that are given are handed on as they are, and this Node never opens its debugger', async (t) => {
  const p = place(t)
  const pid = await start(t, p, "execArgv: ['--no-warnings', '--stack-trace-limit=7'],", undefined, ['x'], {
    execArgv: ['--no-deprecation'],
  })
  const [flags, args] = said(p)
  t.deepEqual(
    flags.filter((flag) => flag !== '--disable-sigusr1'),
    ['--no-warnings', '--stack-trace-limit=7'],
  )
  t.is(flags.includes('--disable-sigusr1'), process.allowedNodeEnvironmentFlags.has('--disable-sigusr1'))
  t.deepEqual(args, ['x'])
  t.is(exeOf(pid), fs.realpathSync(process.execPath))
})

test('a name is looked for in the PATH of the daemon; a relative path is the launcher’s', async (t) => {
  const p = place(t)
  fs.mkdirSync(join(p.dir, 'bin'))
  fs.mkdirSync(join(p.dir, 'empty/beacon-node'), { recursive: true })
  fs.symlinkSync(process.execPath, join(p.dir, 'bin/beacon-node'))
  const PATH = `${p.dir}/empty:${p.dir}/bin:/usr/bin`
  for (const execPath of [
    "'beacon-node', env: { ...process.env, PATH: process.env.THERE }",
    "'bin/beacon-node'",
  ]) {
    const pid = await start(t, p, `execPath: ${execPath},`, 'process.argv0', [], { env: { THERE: PATH } })
    t.is(said(p), join(p.dir, 'bin/beacon-node'))
    process.kill(pid, 'SIGTERM')
    await until(() => !isAlive(pid), 'its end')
  }
})

test('one that is not there, or cannot be run, is a failed start that names it', async (t) => {
  const p = place(t)
  fs.writeFileSync(join(p.dir, 'plain'), '', { mode: 0o644 })
  fs.writeFileSync(join(p.dir, 'orphan'), '#!/no/interpreter\n', { mode: 0o755 })
  const last =
    'try { await new Sample(options).start() } catch (e) { console.log(JSON.stringify([e.code, e.message, e.path])) }'
  for (const [name, message] of [
    ['no-such-program', /`execPath` names 'no-such-program', which is in no directory of PATH/],
    [join(p.dir, 'nothing'), /execve '.*\/nothing'/],
    [join(p.dir, 'plain'), /EACCES.*execve '.*\/plain'/],
    [join(p.dir, 'orphan'), /execve '.*\/orphan'.*interpreter/],
  ]) {
    const options = `execPath: ${JSON.stringify(name)},`
    const { stdout, stderr } = await run(p, p.write('b.mjs', sample({ options, last })))
    const [code, text, path] = JSON.parse(stdout || JSON.stringify([stderr]))
    t.is(code, 'ERR_DAEMON_START_FAILED')
    t.regex(text, message)
    t.is(path, name)
    t.deepEqual(fs.readdirSync(p.run), [])
  }
})

/** Node could not run this program as JavaScript. */
const TYPED = (options) => `import { Daemon } from '${library}'
import { once } from 'node:events'
enum Word { Begin = 'begin' }
class Typed extends Daemon {
  constructor(private readonly word: Word) { super({ pidFilePath: process.env.RUN!, ${options} }) }
  protected override async action(signal: AbortSignal) { await once(signal, 'abort') }
}
await new Typed(Word.Begin).serviced(process.argv.slice(-1))
`
const jiti = join(runnerOf('jiti'), 'lib/jiti-cli.mjs')
const vite = join(runnerOf('vite-node'), 'dist/cli.mjs')
for (const [what, cli, options] of [
  ['jiti, by its path', jiti, `execPath: ${JSON.stringify(jiti)}`],
  ['jiti, as the first flag', jiti, `execArgv: [${JSON.stringify(jiti)}]`],
  [
    'vite-node, with a flag',
    vite,
    `execPath: ${JSON.stringify(join(runnerOf('vite-node'), '../.bin/vite-node'))}, execArgv: ['--script']`,
  ],
]) {
  has(cli)(`a TypeScript runner that leaves no trace runs the daemon: ${what}`, async (t) => {
    const p = place(t)
    const script = p.write('typed.mts', TYPED(options))
    const verb = (...args) => command(p, process.execPath, [cli, script, ...args])
    const started = await verb('start')
    t.is(started.status, 0, started.stderr)
    const pid = pidIn(p, 'typed')
    t.true(isAlive(pid))
    t.is((await verb('status')).status, 0)
    const stopped = await verb('stop')
    t.is(stopped.status, 0, stopped.stderr)
    t.false(isAlive(pid))
    t.deepEqual(fs.readdirSync(p.run), [])
  })
}

/** There is no Electron here. This program is Node, and has the features by which Electron is recognised. */
test('an Electron is told to run as Node, and no other program is', async (t) => {
  const p = place(t)
  for (const name of ['electron', 'other']) {
    p.write(`${name}/app`, `#!/bin/sh\nexec ${process.execPath} "$@"\n`)
    fs.chmodSync(join(p.dir, name, 'app'), 0o755)
  }
  p.write('electron/chrome_100_percent.pak', '')
  fs.symlinkSync('electron/app', join(p.dir, 'link'))
  for (const [execPath, env, wanted] of [
    ['electron/app', '{ ...process.env }', '1'],
    ['./link', '{ ...process.env }', '1'],
    ['electron/app', "{ ...process.env, ELECTRON_RUN_AS_NODE: 'yes' }", 'yes'],
    ['other/app', '{ ...process.env }', undefined],
  ]) {
    const pid = await start(t, p, `execPath: '${execPath}', env: ${env},`)
    const found = environmentOf(pid)
      .split('\0')
      .find((variable) => variable.startsWith('ELECTRON_RUN_AS_NODE='))
    t.is(found?.split('=')[1], wanted)
    process.kill(pid, 'SIGTERM')
    await until(() => !isAlive(pid), 'its end')
  }
})
