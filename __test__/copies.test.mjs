// Several copies of the package in one process: a dependency has its own, or a loader reads one file twice.
// What belongs to the process exists once, whichever copy is imported first.

import fs from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { command, isAlive, pidIn, place, processesOf, root, run, test } from './kit.mjs'
import { receive } from './receivers.mjs'

const { version: VERSION } = JSON.parse(fs.readFileSync(join(root, 'package.json'), 'utf8'))
const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
const OTHER = VERSION.replace(/^(\d+)\.(\d+)\.\d+.*$/, (_, major, minor) => `${major}.${Number(minor) + 1}.0`)

function copyNative(to) {
  for (const name of fs.readdirSync(root).filter((name) => name.endsWith('.node'))) {
    fs.copyFileSync(join(root, name), join(to, name))
  }
}

/** Installs the package below a directory, as a version of its own. */
function install(p, dir, version = VERSION) {
  const to = join(p.dir, dir, 'node_modules/tsdaemonize')
  fs.cpSync(join(root, 'dist'), join(to, 'dist'), { recursive: true })
  copyNative(to)
  const manifest = JSON.parse(fs.readFileSync(join(root, 'package.json'), 'utf8'))
  fs.writeFileSync(join(to, 'package.json'), JSON.stringify({ ...manifest, version }))
  return fs.realpathSync(join(to, 'dist/index.js'))
}

/** A project with a dependency; each has a copy. */
function project(p, { own = VERSION, other = VERSION } = {}) {
  p.write('package.json', '{}')
  p.write('node_modules/dep/package.json', '{ "name": "dep", "exports": "./index.mjs" }')
  p.write('node_modules/dep/index.mjs', "export * as b from 'tsdaemonize'")
  return { own: install(p, '.', own), other: install(p, 'node_modules/dep', other) }
}

/** What a program does with its own copy `a` and another one, `b`. `Base` is the class of one of them. */
const main = (Base = 'a.Daemon') => `
const fs = process.getBuiltinModule('node:fs')
const verb = process.argv[2]
class Sample extends ${Base} {
  async setup() {
    const { openlog, LOG_DAEMON, syslog } = a.syslog
    openlog('sample', 0, LOG_DAEMON, { type: 'local', path: process.env.DIR + '/log' })
    if (b.syslog !== a.syslog) b.syslog.openlog('sample', 0, LOG_DAEMON, { type: 'local', path: process.env.DIR + '/log' })
    syslog('of its own copy')
    b.syslog.syslog('of the other copy')
    fs.writeFileSync(process.env.DIR + '/said', JSON.stringify({ before, now: [a.isDaemon, b.isDaemon] }))
  }
  async action(signal) {
    if (verb === 'run') return this.exit(0)
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
  }
}
const before = [a.isDaemon, b.isDaemon]
const daemon = new Sample({ name: 'sample', pidFilePath: process.env.RUN, detach: verb !== 'run' })
const shown = (result) => console.log(JSON.stringify({ ...result, before, same: Object.keys(b).every((name) => a[name] === b[name]) }))
const call = { reopen: async () => daemon.reopen(), exitNow: async () => daemon.exitNow(3), dropPrivileges: async () => daemon.dropPrivileges(), kill: () => daemon.kill('SIGHUP'), run: () => daemon.start() }[verb] ?? (() => daemon[verb]())
call().then(shown, (error) => {
  const { code, message, pid } = error
  shown({ code, message, pid, isOurs: error instanceof a.DaemonError, isTheirs: error instanceof b.DaemonError })
})
`
const DEPENDENCY_FIRST = "import { b } from 'dep'\nimport * as a from 'tsdaemonize'"
const DEPENDENCY_LAST = "import * as a from 'tsdaemonize'\nimport { b } from 'dep'"

const CASES = {
  'a dependency has its own copy, which is imported first': (p) => {
    project(p)
    return [p.write('app.mjs', DEPENDENCY_FIRST + main())]
  },
  'a dependency has its own copy, which is imported last': (p) => {
    project(p)
    return [p.write('app.mjs', DEPENDENCY_LAST + main())]
  },
  'a dependency is CommonJS, and the program a module': (p) => {
    project(p)
    p.write('node_modules/dep/package.json', '{ "name": "dep", "main": "index.cjs" }')
    p.write('node_modules/dep/index.cjs', "exports.b = require('tsdaemonize')")
    return [p.write('app.mjs', DEPENDENCY_FIRST + main())]
  },
  'one copy is loaded by require and by import': (p) => {
    install(p, '.')
    return [
      p.write('app.cjs', `const a = require('tsdaemonize')\nimport('tsdaemonize').then((b) => {${main()}})`),
    ]
  },
  'one copy is evaluated twice, as after a reset of the modules': (p) => {
    const file = pathToFileURL(install(p, '.'))
    return [
      p.write('app.mjs', `import * as b from '${file}?again'\nimport * as a from 'tsdaemonize'${main()}`),
    ]
  },
  'under tsx one copy is CommonJS first, and then a module': (p) => {
    install(p, '.')
    p.write('package.json', '{}')
    const source = `import * as a from 'tsdaemonize'\nvoid (async () => {\nconst b = await import('tsdaemonize')${main()}})()`
    return [p.write('app.ts', source), ['--import', tsx]]
  },
  'under tsx one copy is a module first, and then CommonJS': (p) => {
    install(p, '.')
    p.write('other.cjs', "exports.b = require('tsdaemonize')")
    return [
      p.write('app.mts', `import * as a from 'tsdaemonize'\nimport { b } from './other.cjs'${main()}`),
      ['--import', tsx],
    ]
  },
  'the program is a bundle in CommonJS, and its dependency is not in it': async (p) => {
    const { own } = project(p)
    const entry = p.write(
      'src.mjs',
      `import * as a from '${own}'\nimport('dep').then(({ b }) => {${main()}})`,
    )
    const outfile = join(p.dir, 'app.cjs')
    const quiet = { logLevel: 'silent', logOverride: { 'empty-import-meta': 'silent' } }
    await build({
      entryPoints: [entry],
      outfile,
      bundle: true,
      platform: 'node',
      format: 'cjs',
      external: ['dep'],
      ...quiet,
    })
    copyNative(p.dir)
    return [outfile]
  },
}

/** Methods for the daemon itself. */
const OF_THE_DAEMON = ['exit', 'exitNow', 'reopen', 'dropPrivileges']
const told = ({ stdout }) => JSON.parse(stdout.trim().split('\n').at(-1))
const said = (p) => JSON.parse(fs.readFileSync(join(p.dir, 'said'), 'utf8'))

for (const [title, write] of Object.entries(CASES)) {
  test(`one daemon, one logger: ${title}`, async (t) => {
    const p = place(t)
    const [script, execArgv = []] = await write(p)
    const ask = async (verb) => told(await run(p, script, [verb], { execArgv }))
    const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)

    const { pid, code, message, before, same } = await ask('start')
    t.is(code, undefined, message)
    t.deepEqual([before, same], [[false, false], true])
    t.is(pid, pidIn(p))
    t.deepEqual(said(p), { before: [true, true], now: [true, true] })
    t.like(await ask('status'), { state: 'running', pid })
    t.deepEqual(
      processesOf(p).filter((each) => each !== receiver.pid),
      [pid],
    )
    t.like(await ask('start'), { code: 'ERR_DAEMON_ALREADY_RUNNING', pid, isOurs: true, isTheirs: true })
    t.like(await ask('ensure'), { pid, started: false })
    t.like(await ask('stop'), { pid, signal: 'SIGTERM' })
    t.false(isAlive(pid))
    t.like(await ask('status'), { state: 'stopped' })

    // When it is attached, `isDaemon` becomes true after the import, in both copies.
    fs.rmSync(join(p.dir, 'said'))
    const { status, stderr } = await run(p, script, ['run'], { execArgv })
    t.is(status, 0, stderr)
    t.deepEqual(said(p), { before: [false, false], now: [true, true] })

    await receiver.stop()
    const messages = receiver.messages().filter((line) => line.endsWith(' copy'))
    t.deepEqual(
      messages.map((line) => /sample: (.*)$/.exec(line)[1]),
      ['of its own copy', 'of the other copy', 'of its own copy', 'of the other copy'],
    )
    const logged = receiver.messages().filter((line) => line.includes('Received SIGTERM'))
    t.is(logged.length, 1)
  })
}

test('two versions that do not go together: every method says so, with both files, and what to do', async (t) => {
  const p = place(t)
  const { own, other } = project(p, { other: OTHER })
  const script = p.write('app.mjs', DEPENDENCY_FIRST + main())
  for (const verb of ['start', 'ensure', 'stop', 'restart', 'status', 'kill', 'run', ...OF_THE_DAEMON]) {
    const { code, message, isOurs, before } = told(await run(p, script, [verb]))
    t.deepEqual([code, isOurs, before], ['ERR_DAEMON_UNSUPPORTED', true, [false, false]], verb)
    for (const part of [own, other, `version ${VERSION} in`, `version ${OTHER} in`, 'npm dedupe']) {
      t.true(message.includes(part), message)
    }
  }
  t.deepEqual(processesOf(p), [])
  t.deepEqual(fs.readdirSync(p.run), [])

  // On the command line.
  const cli = p.write('cli.mjs', `${DEPENDENCY_FIRST}\nawait new a.Daemon({ name: 'sample' }).serviced()`)
  const { status, stderr } = await run(p, cli, ['start'])
  t.not(status, 0)
  t.true(stderr.includes(own) && stderr.includes(other), stderr)
})

test('two versions that do not go together: the first one makes daemons, and the other one logs', async (t) => {
  const p = place(t)
  project(p, { other: OTHER })
  const script = p.write('app.mjs', DEPENDENCY_FIRST + main('b.Daemon'))
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const { pid, message, same } = told(await run(p, script, ['start']))
  t.is(pid, pidIn(p), message)
  t.false(same)
  t.deepEqual(said(p), { before: [true, true], now: [true, true] })
  t.like(told(await run(p, script, ['stop'])), { pid, signal: 'SIGTERM' })
  t.is((await run(p, script, ['run'])).status, 0)
  t.deepEqual(said(p), { before: [false, false], now: [true, true] })
  await receiver.stop()
  const messages = receiver.messages().flatMap((line) => /of .* copy$/.exec(line)?.[0] ?? [])
  const twice = (text) => [text, text]
  t.deepEqual(messages.sort(), [...twice('of its own copy'), ...twice('of the other copy')])
})

test('a copy does the work for one of its version, and for an older one of the same compatible line', async (t) => {
  const p = place(t)
  const { own, other } = project(p)
  const script = p.write('app.mjs', `${DEPENDENCY_FIRST}\nconsole.log(a.Daemon === b.Daemon)`)
  const set = (file, version) => {
    const manifest = join(file, '../../package.json')
    fs.writeFileSync(manifest, JSON.stringify({ ...JSON.parse(fs.readFileSync(manifest)), version }))
  }
  for (const [first, second, goTogether] of [
    ['0.1.0', '0.1.7', true],
    ['0.1.7', '0.1.0', true],
    ['0.2.0', '0.1.0', false],
    ['1.0.0', '0.1.0', false],
    ['1.10.0', '1.9.3', true],
    ['1.9.3', '1.10.0', false],
    ['2.0.0', '1.0.0', false],
    ['1.0.0-rc.1', '1.0.0-rc.1', true],
    ['1.0.0-rc.1', '1.0.0', false],
    ['next', '1.0.0', false],
  ]) {
    set(other, first)
    set(own, second)
    t.is((await run(p, script)).stdout, `${goTogether}\n`, `${first}, then ${second}`)
  }
})

test('two versions in one bundle, which has no package.json', async (t) => {
  const p = place(t)
  const { own, other } = project(p)
  const marked = (version) => `VERSION = "${version}"`
  const code = fs.readFileSync(other, 'utf8')
  t.true(code.includes(marked(VERSION)))
  const bundle = async () => {
    const entryPoints = [p.write('src.mjs', DEPENDENCY_FIRST + main())]
    const outfile = join(p.dir, 'out/app.mjs')
    await build({ entryPoints, outfile, bundle: true, platform: 'node', format: 'esm', logLevel: 'silent' })
    copyNative(join(p.dir, 'out'))
    return told(await run(p, outfile, ['status']))
  }
  t.like(await bundle(), { state: 'stopped', same: true })
  fs.writeFileSync(other, code.replace(marked(VERSION), marked(OTHER)))
  const { code: why, message } = await bundle()
  t.is(why, 'ERR_DAEMON_UNSUPPORTED')
  t.regex(message, new RegExp(`version ${OTHER} in .*, and version ${VERSION} in `))
  t.true(fs.existsSync(own))
})

test('what other code has put in the place of the first copy is not taken for one', async (t) => {
  const p = place(t)
  install(p, '.')
  const copy = "path: '/x', version: '0.1.0', isDaemon: false, followers: []"
  for (const value of [
    "'x'",
    'null',
    '{}',
    `{ ${copy} }`,
    `{ ${copy}, exported: { Daemon: class {}, syslog: {} } }`,
    '() => {}',
  ]) {
    p.write('before.mjs', `globalThis[Symbol.for('tsdaemonize')] = ${value}`)
    const script = p.write(
      'app.mjs',
      `import './before.mjs'\nimport * as a from 'tsdaemonize'\nconst b = a\n${main()}`,
    )
    const { code, message } = told(await run(p, script, ['start']))
    t.is(code, 'ERR_DAEMON_UNSUPPORTED', value)
    t.regex(message, /^globalThis\[Symbol\.for\('tsdaemonize'\)\] is not what this package keeps there/)
  }
})

test('what the copies share shows in no list, and cannot be changed by accident', async (t) => {
  const p = place(t)
  install(p, '.')
  const script = p.write(
    'app.mjs',
    `const before = Object.keys(globalThis).length
     await import('tsdaemonize')
     const { value, ...how } = Object.getOwnPropertyDescriptor(globalThis, Symbol.for('tsdaemonize'))
     console.log(JSON.stringify({ more: Object.keys(globalThis).length - before, how, path: value.path }))`,
  )
  const { more, how, path } = JSON.parse((await command(p, process.execPath, [script])).stdout)
  t.deepEqual([more, how], [0, { writable: false, enumerable: false, configurable: false }])
  t.is(path, fs.realpathSync(join(p.dir, 'node_modules/tsdaemonize/dist/index.js')))
})
