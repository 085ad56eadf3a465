// The default name of a program: two programs are two daemons, and one program is one daemon, whatever runs it.

import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { bunPath, runnerOf } from '../scripts/nodes.mjs'
import { command, isAlive, library, pidIn, place, root, run, test, testIf, until } from './kit.mjs'

const SAY = `import { Daemon } from '${library}'
console.log(new Daemon({ pidFilePath: process.env.RUN }).name)
`
const DAEMON = `import { Daemon } from '${library}'
import { once } from 'node:events'
class Unnamed extends Daemon { async action(signal) { await once(signal, 'abort') } }
await new Unnamed({ pidFilePath: process.env.RUN }).serviced(process.argv.slice(-1))
`
/** Lets esbuild find modules that are named by their URL. */
const plugins = [
  {
    name: 'urls',
    setup: ({ onResolve }) => onResolve({ filter: /^file:/ }, ({ path }) => ({ path: fileURLToPath(path) })),
  },
]
const has = (path) => testIf(fs.existsSync(path))

async function nameOf(p, args, more) {
  const { status, stdout, stderr } = await command(p, process.execPath, args, more)
  if (status !== 0) throw new Error(stderr)
  return stdout.trim()
}

test('a script `index` or `main` is called as its package, without the scope, else as its directory', async (t) => {
  const p = place(t)
  const json = (value) => (typeof value === 'string' ? value : JSON.stringify(value))
  const cases = [
    ['own/clock.mjs', { 'own/package.json': { name: 'other' } }, 'clock'],
    ['a/index.mjs', { 'a/package.json': { name: 'alpha' } }, 'alpha'],
    ['b/main.mjs', { 'b/package.json': { name: '@acme/beta' } }, 'beta'],
    [
      'c/dist/esm/index.js',
      { 'c/package.json': { name: 'gamma' }, 'c/dist/esm/package.json': { type: 'module' } },
      'gamma',
    ],
    ['d/src/server/main.mjs', { 'd/package.json': { name: 'delta' } }, 'delta'],
    ['nameless/src/main.mjs', { 'nameless/package.json': { dependencies: {} } }, 'nameless'],
    ['minimal/index.js', { 'minimal/package.json': { type: 'module' } }, 'minimal'],
    ['bare/index.mjs', {}, 'bare'],
    ['broken/index.mjs', { 'broken/package.json': '{' }, 'broken'],
    ['odd/index.mjs', { 'odd/package.json': { name: 7, version: '1' } }, 'odd'],
    ['long/index.mjs', { 'long/package.json': { name: 'x'.repeat(65) } }, 'index'],
    ['control/main.mjs', { 'control/package.json': { name: 'a\nb' } }, 'main'],
  ]
  for (const [script, files, name] of cases) {
    for (const [path, content] of Object.entries(files)) p.write(path, json(content))
    t.is(await nameOf(p, [p.write(script, SAY)]), name, script)
  }
})

test('it is the same by a link, by the directory, and from elsewhere', async (t) => {
  const p = place(t)
  p.write('app/package.json', JSON.stringify({ name: 'acme', type: 'module', main: './lib/index.js' }))
  const script = p.write('app/lib/index.js', SAY)
  fs.mkdirSync(join(p.dir, 'bin'))
  fs.symlinkSync(script, join(p.dir, 'bin/main'))
  fs.symlinkSync(script, join(p.dir, 'bin/tool'))
  t.is(await nameOf(p, [script]), 'acme')
  t.is(await nameOf(p, ['lib/index.js'], { cwd: join(p.dir, 'app') }), 'acme')
  t.is(await nameOf(p, ['.'], { cwd: join(p.dir, 'app') }), 'acme')
  t.is(await nameOf(p, [join(p.dir, 'bin/main')]), 'acme')
  t.is(await nameOf(p, [join(p.dir, 'bin/tool')]), 'tool', 'a command has the name that it is called by')
  t.is(await nameOf(p, ['--input-type=module', '-e', SAY, 'x']), 'daemon')
})

test('two programs index.mjs are two daemons: `stop` of one leaves the other alone', async (t) => {
  const p = place(t)
  const scripts = ['one', 'two'].map((name) => {
    p.write(`${name}/package.json`, JSON.stringify({ name }))
    return p.write(`${name}/index.mjs`, DAEMON)
  })
  for (const script of scripts) {
    const { status, stderr } = await run(p, script, ['start'])
    t.is(status, 0, stderr)
  }
  const [one, two] = [pidIn(p, 'one'), pidIn(p, 'two')]
  t.is((await run(p, scripts[0], ['stop'])).status, 0)
  t.false(isAlive(one))
  t.true(isAlive(two))
})

test('a client names the daemon as the daemon names itself', async (t) => {
  const p = place(t)
  p.write('server/package.json', JSON.stringify({ name: '@acme/server' }))
  const script = p.write('server/main.mjs', DAEMON)
  const client = `import { Daemon } from '${library}'
const server = new Daemon({ pidFilePath: process.env.RUN, script: ${JSON.stringify(script)}, args: ['start'] })
await server.ensure()
console.log(server.name)
`
  const { stdout, stderr } = await run(p, p.write('client.mjs', client))
  t.is(stdout, 'server\n', stderr)
  t.true(isAlive(pidIn(p, 'server')))
})

test('a program whose messages go to syslog is called so there, too', async (t) => {
  const p = place(t)
  p.write('app/package.json', JSON.stringify({ name: 'acme' }))
  const script = p.write(
    'app/index.mjs',
    `import { syslog } from '${library}'
syslog.openlog(undefined, syslog.LOG_PERROR)
syslog.syslog('hello')`,
  )
  t.is((await run(p, script)).stderr, 'acme: hello\n')
})

for (const [runner, bin, args] of [
  ['vite-node', 'dist/cli.mjs', []],
  ['vite-node', 'dist/cli.mjs', ['--script']],
  ['vite-node', 'dist/cli.mjs', ['--mode', 'x']],
  ['zx', 'build/cli.js', []],
  ['zx', 'build/cli.js', ['--quiet']],
  ['jiti', 'lib/jiti-cli.mjs', []],
]) {
  has(runnerOf(runner))(`${[runner, ...args].join(' ')}: the name is the program’s`, async (t) => {
    const p = place(t)
    const file = join(runnerOf(runner), bin)
    p.write('app/package.json', JSON.stringify({ name: 'acme' }))
    t.is(await nameOf(p, [file, ...args, p.write('app/clock.mjs', SAY)]), 'clock')
    t.is(await nameOf(p, [file, ...args, p.write('app/index.mjs', SAY), 'start']), 'acme')
  })
}

test('a tool that is installed keeps its own name, whatever its arguments', async (t) => {
  const p = place(t)
  p.write(
    'node_modules/tool/package.json',
    JSON.stringify({ name: 'tool', dependencies: { tsdaemonize: '*' } }),
  )
  const script = p.write('node_modules/tool/cli.mjs', SAY)
  t.is(await nameOf(p, [script, p.write('input.js', '')]), 'cli')
})

for (const format of ['esm', 'cjs']) {
  test(`a tool that bundles this package (${format}) keeps its own name, whatever its arguments`, async (t) => {
    const p = place(t)
    p.write('node_modules/tool/package.json', JSON.stringify({ name: 'tool' }))
    const file = join(p.dir, `node_modules/tool/dist/cli.${format === 'esm' ? 'mjs' : 'cjs'}`)
    const stdin = { contents: SAY, resolveDir: p.dir }
    await build({ stdin, bundle: true, platform: 'node', format, outfile: file, logLevel: 'error', plugins })
    for (const native of fs.readdirSync(root).filter((name) => name.endsWith('.node'))) {
      fs.copyFileSync(join(root, native), join(p.dir, 'node_modules/tool/dist', native))
    }
    const argument = p.write('input.js', '')
    t.is(await nameOf(p, [file]), 'cli')
    t.is(await nameOf(p, [file, argument]), 'cli')
  })
}

test('so does a tool that needs this package by way of another one', async (t) => {
  const p = place(t)
  const json = (name, dependencies) =>
    p.write(`node_modules/${name}/package.json`, JSON.stringify({ name, dependencies }))
  json('tool', { '@acme/middle': '*', missing: '*' })
  json('@acme/middle', { tool: '*', core: '*' })
  json('core', { tsdaemonize: '*' })
  const script = p.write('node_modules/tool/cli.mjs', SAY)
  t.is(await nameOf(p, [script, p.write('input.js', '')]), 'cli')
  // A runner has dependencies, too.
  json('@acme/middle', { tool: '*' })
  t.is(await nameOf(p, [script, p.write('input.js', '')]), 'input')
})

has(runnerOf('pm2'))(
  'under pm2 the name is the program’s, and the daemon that it starts has it',
  async (t) => {
    const p = place(t)
    const pm2 = join(runnerOf('pm2'), 'bin/pm2')
    const env = { PM2_HOME: join(p.dir, 'pm2'), PM2_DISABLE_VERSION_CHECK: 'true' }
    t.teardown(() => spawnSync(process.execPath, [pm2, 'kill'], { env: { ...process.env, ...env } }))
    p.write('app/package.json', JSON.stringify({ name: 'acme' }))
    const script = p.write('app/index.mjs', DAEMON)
    const { status, stderr } = await command(
      p,
      process.execPath,
      [pm2, 'start', script, '--no-autorestart', '--', 'start'],
      { env },
    )
    t.is(status, 0, stderr)
    await until(() => fs.existsSync(p.pidFile('acme')) && pidIn(p, 'acme') > 0, 'the daemon')
    await until(async () => (await run(p, script, ['status'])).status === 0, 'its being ready')
    t.is((await run(p, script, ['stop'])).status, 0)
    t.deepEqual(fs.readdirSync(p.run), [])
  },
)

has(bunPath)('an executable of one file has its own name', async (t) => {
  const p = place(t)
  const source = p.write('app/index.mjs', SAY.replace('file://', ''))
  const file = join(p.dir, 'beacon')
  const built = await command(p, bunPath, ['build', '--compile', source, '--outfile', file])
  t.is(built.status, 0, built.stderr)
  fs.symlinkSync(file, join(p.dir, 'link'))
  for (const path of [file, join(p.dir, 'link')]) {
    const { stdout, stderr } = await command(p, path, [])
    t.is(stdout, 'beacon\n', stderr)
  }
})
