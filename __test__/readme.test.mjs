// What the documents say is true: their programs run and do what stands beside them, their tables list
// what the package has, their links lead somewhere.

import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'ava'
import { Daemon } from 'tsdaemonize'
import { asRoot, command, isAlive, pidIn, place, processesOf, root, run, until } from './kit.mjs'

const read = (path) => fs.readFileSync(join(root, path), 'utf8')
const readme = read('README.md')
const section = (title) => readme.split(/^## /m).find((text) => text.startsWith(`${title}\n`))
const blocks = (language) =>
  [...readme.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(([, code]) => code)

/** The programs, by the name in their first line. */
const programs = Object.fromEntries(blocks('ts').map((code) => [code.match(/^\/\/ (\S+)\n/)?.[1], code]))
const transcriptOf = (program) => blocks('console').find((block) => block.includes(`node ${program}`))

const tested = new Set()
/** A test of programs, in a place where they find the package as a user's do. */
function testPrograms(names, body, how = test) {
  for (const name of names) tested.add(name)
  how(`${names.join(' and ')} does what the README says`, async (t) => {
    const p = place(t)
    fs.chmodSync(p.dir, 0o755)
    install(p, names)
    await body(t, p)
  })
}

function install(p, names) {
  p.write('package.json', '{ "type": "module" }')
  fs.mkdirSync(join(p.dir, 'node_modules'))
  fs.symlinkSync(root, join(p.dir, 'node_modules/tsdaemonize'))
  for (const name of names) p.write(name, programs[name])
}

const execArgv = process.features.typescript ? ['--disable-warning=ExperimentalWarning'] : ['--import', 'tsx']
const where = (p) => ({ cwd: root, env: { RUNTIME_DIRECTORY: p.run } })
const node = (p, script, ...args) => run(p, join(p.dir, script), args, { execArgv, ...where(p) })

/** What differs from run to run. */
const plain = (text) => text.replace(/\d+(?:[-:.T]\d+)*Z?/g, '#')

/** Types what stands behind each `$`, and compares what comes with what stands below it. */
async function follow(t, p, transcript, runNode = node) {
  let pid
  for (const [, line, expected] of transcript.matchAll(/^\$ (.*)\n((?:(?!\$ ).*\n)*)/gm)) {
    const [file, ...args] = line
      .replace(/^sudo /, '')
      .replace('4711', pid)
      .split(' ')
    const { stdout, stderr } = await (file === 'node' ? runNode(p, ...args) : command(p, file, args))
    t.is(plain(stdout + stderr), plain(expected), line)
    pid ??= (stdout + stderr).match(/pid (\d+)/)?.[1]
    if (file === 'kill') await until(() => !isAlive(pid), 'its end')
  }
}

testPrograms(['clock.ts'], async (t, p) => {
  await follow(t, p, transcriptOf('clock.ts'))
  await until(() => processesOf(p).length === 0, 'nothing to be left')
})

testPrograms(['careful.ts'], async (t, p) => {
  await follow(t, p, transcriptOf('careful.ts'))
})

testPrograms(['tick.ts'], async (t, p) => {
  const { status, stderr } = await node(p, 'tick.ts')
  t.is(status, 0, stderr)
  t.true(isAlive(pidIn(p, 'tick')))
})

testPrograms(['tool.ts', 'server.ts'], async (t, p) => {
  const { stdout, stderr } = await node(p, 'tool.ts')
  t.regex(stdout, /^Started the server, pid \d+, beside .*\/echo-server\.pid\n$/, stderr)
  t.is((await node(p, 'tool.ts')).stdout, stdout.replace('Started', 'Found'))
  t.true(fs.statSync(join(p.run, 'echo-server.pid.socket')).isSocket())
})

testPrograms(['backup.ts'], async (t, p) => {
  const { status, stderr } = await node(p, 'backup.ts')
  t.is(status, 0, stderr)
})

/** In a network namespace of its own every port is free. */
const canRunHello =
  spawnSync('unshare', ['-n', 'true']).status === 0 && spawnSync('id', ['www-data']).status === 0

testPrograms(
  ['hello.ts', 'greeter.ts'],
  async (t, p) => {
    const holder = command(p, 'unshare', ['-n', 'sh', '-c', 'ip link set lo up; echo here; exec sleep 1000'])
    await new Promise((resolve) => holder.child.stdout.once('data', resolve))
    const inside = (place, ...args) =>
      command(place, 'nsenter', [`--net=/proc/${holder.pid}/ns/net`, process.execPath, ...args], where(place))
    const nodeInside = (place, script, ...args) =>
      inside(place, ...execArgv, join(place.dir, script), ...args)
    const ask = (port) =>
      `require('net').connect(${port}, '127.0.0.1').end('GET / HTTP/1.0\\r\\n\\r\\n').pipe(process.stdout)`

    await follow(t, p, transcriptOf('hello.ts'), nodeInside)
    for (const [script, port] of [
      ['hello.ts', 80],
      ['greeter.ts', 7777],
    ]) {
      const { status, stderr } = await nodeInside(p, script, 'start')
      t.is(status, 0, stderr)
      t.regex((await inside(p, '-e', ask(port))).stdout, /Hello\n$/)
    }
    t.is((await nodeInside(p, 'hello.ts', 'reload')).status, 0)
    t.is((await nodeInside(p, 'hello.ts', 'status')).status, 0)
    holder.child.kill('SIGKILL')
    await holder
  },
  canRunHello ? asRoot : test.skip,
)

test('every program of the README is tested', (t) => {
  t.deepEqual([...tested].sort(), Object.keys(programs).sort())
})

test('every program of the README has the right types', async (t) => {
  const p = place(t)
  install(p, Object.keys(programs))
  const compilerOptions = { rootDir: '.', noEmit: true, typeRoots: [join(root, 'node_modules/@types')] }
  p.write(
    'tsconfig.json',
    JSON.stringify({ extends: join(root, 'tsconfig.json'), compilerOptions, include: ['*.ts'] }),
  )
  const { status, stdout } = await command(p, process.execPath, [
    join(root, 'node_modules/typescript/bin/tsc'),
    '-p',
    p.dir,
  ])
  t.is(status, 0, stdout)
})

/** The names in the first column of a section's tables. */
function names(title) {
  const rows = section(title).matchAll(/^\| (`[^|]*`) \|/gm)
  return [...rows].flatMap(([, cell]) => [...cell.matchAll(/`(\w+)/g)].map(([, name]) => name)).sort()
}

test('the table of options lists all of them', (t) => {
  const { message } = t.throws(() => new Daemon({ nothing: 1 }))
  const [, known] = message.match(/known options \(([^)]*)\)/)
  t.deepEqual(names('Options'), known.split(', ').sort())
})

test('the tables of methods list all of them', (t) => {
  const own = Object.getOwnPropertyNames(Daemon.prototype)
  const overridden = ['constructor', 'setup', 'action', 'onSignal', 'shutdown']
  t.deepEqual(names('Methods'), own.filter((name) => !overridden.includes(name)).sort())
})

test('the table of errors lists all of them', (t) => {
  const codes = [...read('dist/errors.d.ts').matchAll(/'(ERR_DAEMON_\w+)'/g)].map(([, code]) => code)
  t.deepEqual(names('Errors'), codes.sort())
})

test('the table of verbs lists all of them, as the usage does', async (t) => {
  const p = place(t)
  install(p, ['greeter.ts'])
  const { stdout } = await node(p, 'greeter.ts', '--help')
  const verbs = [...stdout.matchAll(/^ {2}(\w+) /gm)].map(([, verb]) => verb)
  t.deepEqual(
    names('The command line').filter((name) => name !== ''),
    verbs.sort(),
  )
})

test('the unit for systemd does not name the pidfile', (t) => {
  t.notRegex(blocks('ini').join(), /PIDFile/)
})

test('every link within the documents leads somewhere', (t) => {
  for (const document of [
    'README.md',
    'CONTRIBUTING.md',
    'CHANGELOG.md',
    'docs/design.md',
    'docs/privileges.md',
    'docs/benchmarks.md',
  ]) {
    const text = read(document)
    for (const [, link] of text.matchAll(/\]\((?!https?:)([^)]+)\)/g)) {
      const [path, anchor] = link.split('#')
      const target = path === '' ? document : join(dirname(document), path)
      t.true(fs.existsSync(join(root, target)), `${document}: ${link}`)
      if (anchor === undefined) continue
      const titles = [...read(target).matchAll(/^#+ (.*)$/gm)]
      const anchors = titles.map(([, title]) =>
        title
          .toLowerCase()
          .replace(/[^\w -]/g, '')
          .replaceAll(' ', '-'),
      )
      t.true(anchors.includes(anchor), `${document}: ${link}`)
    }
  }
})

test('every file that CONTRIBUTING.md speaks of is there', (t) => {
  for (const [, cell] of read('CONTRIBUTING.md').matchAll(/^\| ((?:`[^`]+`(?:, )?)+) \|/gm)) {
    const [first, ...others] = [...cell.matchAll(/`([^`]+)`/g)].map(([, path]) => path)
    for (const path of [first, ...others.map((name) => join(dirname(first), name))]) {
      t.true(fs.existsSync(join(root, path)), path)
    }
  }
})
