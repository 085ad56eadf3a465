// What the documents say is true: their programs run and do what the text says, their tables list what the
// package has, and their links lead somewhere.
//
// A new document needs no test of its own, if a transcript (```console) runs each program in it (```ts, with its
// name in the first line). A line of a transcript that begins with `$ ` is typed into a shell. The lines below it
// must be its output, except that numbers may differ; three dots stand for any lines. Programs that no transcript
// can show are run by `run` below.

import fs from 'node:fs'
import { get } from 'node:http'
import { connect, createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { Daemon } from 'tsdaemonize'
import { daemonOf, publicPlace, threads, withAccounts } from './credentials.mjs'
import {
  blocksOf,
  documents,
  execArgv,
  executable,
  follow,
  install,
  programsOf,
  proseOf,
  read,
  runnable,
  shell,
  transcriptsOf,
} from './documents.mjs'
import {
  asRoot,
  command,
  freePort,
  isAlive,
  isRoot,
  pidIn,
  place,
  processesOf,
  root,
  test,
  testIf,
  until,
  works,
} from './kit.mjs'
import { messages } from './messages.mjs'
import { withStrace } from './strace.mjs'

/** In a network namespace of its own every port is free. */
const hasNamespaces = isRoot && works('unshare', '-n', 'true') && works('id', 'www-data')

/** The words before a command that run it in a network namespace. The namespace lives as long as the test. */
async function inside(t, p) {
  const script = 'ip link set lo up; echo here; exec sleep 1000'
  const holder = command(p, 'unshare', ['-n', 'sh', '-c', script], { timeout: 2 ** 30 })
  t.teardown(() => holder.child.kill('SIGKILL'))
  await new Promise((resolve) => holder.child.stdout.once('data', resolve))
  return ['nsenter', `--net=/proc/${holder.pid}/ns/net`]
}

/** The programs that are run by a test, by document. */
const tested = new Map(runnable.map((document) => [document, new Set()]))

for (const document of runnable) {
  for (const { code, programs, needsRoot } of transcriptsOf(document)) {
    for (const name of programs) tested.get(document).add(name)
    const how = testIf(!needsRoot || hasNamespaces)
    how(`${document}: what follows \`${code.split('\n')[0]}\` is true`, async (t) => {
      const p = place(t)
      fs.chmodSync(p.dir, 0o755)
      install(p, document)
      leaveNoLogs(t, code)
      await follow(t, p, code, needsRoot ? await inside(t, p) : [])
    })
  }
}

/** Where there is no logger, what root's programs print goes to files in /var/log, which outlive them. */
function leaveNoLogs(t, code) {
  const names = isRoot ? code.matchAll(/^\$ tsdaemonize (?:start|ensure) --name (\w+)/gm) : []
  const logs = new Set([...names].map(([, name]) => `/var/log/${name}.log`))
  const made = [...logs].filter((log) => !fs.existsSync(log))
  t.teardown(() => made.map((log) => fs.rmSync(log, { force: true })))
}

/** Tests programs that no transcript shows. */
function run(document, names, body, how = test) {
  for (const name of names) tested.get(document).add(name)
  how(`${document}: ${names.join(', ')}`, async (t) => {
    const p = publicPlace(t)
    await body(t, p)
  })
}

async function started(t, p, name, ...args) {
  const { status, stderr } = await shell(p, `node ${name} ${args.join(' ')}`)
  t.is(status, 0, stderr)
  return pidIn(p, name.replace('.ts', ''))
}

test('README.md: the clock that was ended leaves nothing', async (t) => {
  const p = place(t)
  install(p, 'README.md')
  const pid = await started(t, p, 'clock.ts', 'start')
  process.kill(pid, 'SIGTERM')
  await until(() => processesOf(p).length === 0, 'nothing to be left')
  t.deepEqual(fs.readdirSync(p.run), [])
})

run('docs/daemon.md', ['beat.ts'], async (t, p) => {
  install(p, 'docs/daemon.md')
  t.true(isAlive(await started(t, p, 'beat.ts')))
})

run(
  'docs/daemon.md',
  ['hello.ts', 'greeter.ts'],
  async (t, p) => {
    install(p, 'docs/daemon.md')
    const before = await inside(t, p)
    const ask = (port) =>
      `require('net').connect(${port}, '127.0.0.1').end('GET / HTTP/1.0\\r\\n\\r\\n').pipe(process.stdout)`
    for (const [script, port] of [
      ['hello.ts', 80],
      ['greeter.ts', 7777],
    ]) {
      const { status, stderr } = await shell(p, `node ${script} start`, { before })
      t.is(status, 0, stderr)
      const [file, ...args] = [...before, process.execPath, '-e', ask(port)]
      t.regex((await command(p, file, args)).stdout, /Hello\n$/)
    }
  },
  testIf(hasNamespaces),
)

run('docs/on-demand.md', ['server.ts', 'idle.ts'], async (t, p) => {
  install(p, 'docs/on-demand.md', { '60_000': '1000' })
  t.is((await shell(p, 'node tool.ts')).status, 0)
  t.true(fs.statSync(join(p.run, 'echo-server.socket')).isSocket())
  const idle = await started(t, p, 'idle.ts')
  await until(() => !isAlive(idle), 'its end for want of work')
  t.deepEqual(
    fs.readdirSync(p.run).filter((name) => name.startsWith('idle')),
    [],
  )
})

run('docs/logging.md', ['clock.ts', 'stats.ts'], async (t, p) => {
  install(p, 'docs/logging.md')
  t.is((await shell(p, 'node clock.ts')).status, 0)
  const { status, stdout, stderr } = await shell(p, 'node stats.ts')
  t.is(status, 0, stderr)
  t.regex(stdout, /^\{\s+arrived: (true|false),[\s\S]*dropped: 0\s+\}\n$/)
})

run('docs/logging.md', ['remote.ts'], async (t, p) => {
  let received = ''
  const logger = createServer((client) => {
    client.on('data', (data) => {
      received += data
    })
  }).listen(0, '127.0.0.1')
  t.teardown(() => logger.close())
  await until(() => logger.listening, 'a port')
  install(p, 'docs/logging.md', {
    'logs.example': '127.0.0.1',
    'port: 601': `port: ${logger.address().port}`,
  })
  t.is((await shell(p, 'node remote.ts')).status, 0)
  await until(() => received.includes(' remote '), 'the message')
  t.regex(received, /^\d+ <30>1 \S+ \S+ remote \d+ - - (\ufeff)?started/)
})

run('docs/rotation.md', ['chatty.ts', 'reopening.ts'], async (t, p) => {
  install(p, 'docs/rotation.md', { '/var/log/clock/out.log': `${p.dir}/out.log` })
  await started(t, p, 'chatty.ts')
  const pid = await started(t, p, 'reopening.ts')
  fs.renameSync(`${p.dir}/out.log`, `${p.dir}/out.log.1`)
  process.kill(pid, 'SIGUSR1')
  await until(() => fs.existsSync(`${p.dir}/out.log`), 'the new file')
})

run(
  'docs/rotation.md',
  ['clock.ts'],
  async (t, p) => {
    const log = `${p.dir}/log`
    fs.mkdirSync(log, { mode: 0o755 })
    install(p, 'docs/rotation.md', { '/var/log/clock': log })
    const reload = 'cd "$DIR" && PATH="$DIR/bin:$PATH" RUNTIME_DIRECTORY="$RUN" exec node clock.ts "$@"'
    fs.chmodSync(p.write('bin/clock', `#!/bin/sh\n${reload}\n`), 0o755)
    const [{ code }] = blocksOf('docs/rotation.md').filter(({ language }) => language === 'logrotate')
    const changes = { '/var/log/clock': log, '/usr/local/bin': `${p.dir}/bin`, 'clock adm': 'root adm' }
    p.write(
      'logrotate.conf',
      Object.entries(changes).reduce((text, [a, b]) => text.replaceAll(a, b), code),
    )
    await started(t, p, 'clock.ts', 'start')
    const lines = (file) => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8').split('\n').length - 1 : 0)
    await until(() => lines(`${log}/out.log`) > 0, 'the first line')
    const { status, stderr } = await shell(p, `logrotate -f -s "$DIR/state" "$DIR/logrotate.conf"`)
    t.is(status, 0, stderr)
    await until(() => lines(`${log}/out.log`) > 0, 'a line in the new file')
    t.true(lines(`${log}/out.log.1`) > 0)
    t.is(fs.statSync(`${log}/out.log`).mode & 0o777, 0o640)
  },
  testIf(isRoot && works('logrotate', '--version')),
)

const WWW_DATA = 33

const request = (port, path = '/') =>
  new Promise((resolve, reject) => {
    get({ port, path, agent: false }, (response) => {
      let body = ''
      response.on('data', (data) => {
        body += data
      })
      response.on('end', () => resolve([response.statusCode, body]))
    }).on('error', reject)
  })

/** Starts a daemon, which must become www-data on every thread. */
async function unprivileged(t, p, program) {
  const args = [process.execPath, ...execArgv, join(p.dir, program)]
  const { status, stderr } = await withAccounts(p, args, { env: { RUNTIME_DIRECTORY: p.run } })
  t.is(status, 0, stderr)
  const pid = daemonOf(t, p, program.replace('.ts', ''))
  const found = threads(pid)
  for (const thread of found) {
    t.deepEqual([thread.uids[0], thread.gids[0], thread.groups], [WWW_DATA, WWW_DATA, [WWW_DATA]])
    t.true(thread.noNewPrivileges)
  }
  return { pid, found }
}

run(
  'docs/privileges.md',
  ['web.ts', 'moment.ts', 'files.ts', 'jail.ts'],
  async (t, p) => {
    const port = await freePort()
    fs.mkdirSync(`${p.dir}/srv`)
    fs.mkdirSync(`${p.dir}/jail`)
    fs.writeFileSync(`${p.dir}/srv/page`, 'A page\n')
    fs.writeFileSync(`${p.dir}/secret`, 'key', { mode: 0o600 })
    install(p, 'docs/privileges.md', {
      'listen(80)': `listen(${port})`,
      'bind: [80]': `bind: [${port}]`,
      '/srv/files': `${p.dir}/srv`,
      '/srv/jail': `${p.dir}/jail`,
      '/etc/moment.key': `${p.dir}/secret`,
      '/var/log/jail.log': `${p.dir}/jail.log`,
    })
    const end = async (pid) => {
      process.kill(pid, 'SIGTERM')
      await until(() => !isAlive(pid), 'its end')
    }
    const web = await unprivileged(t, p, 'web.ts')
    t.deepEqual(await request(port), [200, 'Hello\n'])
    await end(web.pid)

    const files = await unprivileged(t, p, 'files.ts')
    await until(() => request(port, '/page').catch(() => false), 'the server')
    t.deepEqual(await request(port, '/page'), [200, 'A page\n'])
    t.deepEqual(await request(port, '/other'), [404, ''])
    for (const thread of files.found) t.deepEqual([thread.capabilities[2], thread.bounding], [1024n, 1024n])
    t.regex(fs.readFileSync(`/proc/${files.pid}/limits`, 'utf8'), /^Max open files +1024 +1024 /m)
    await end(files.pid)

    await unprivileged(t, p, 'moment.ts')
    const jail = await unprivileged(t, p, 'jail.ts')
    for (const thread of jail.found) t.is(thread.root, `${p.dir}/jail`)
  },
  asRoot,
)

run('docs/moving.md', ['main.ts'], async (t, p) => {
  install(p, 'docs/moving.md')
  const pid = await started(t, p, 'main.ts')
  const { stdout } = await shell(p, 'node client.ts')
  t.is(stdout, `main runs, pid ${pid}\n`)
})

withStrace('docs/debugging.md: the command of strace returns, and follows the daemon', async (t) => {
  const p = place(t)
  install(p, 'docs/debugging.md')
  const [line] = read('docs/debugging.md').match(/(?<=`)strace [^`]*/)
  // strace keeps its output open as long as the daemon runs.
  const { status, stderr } = await shell(p, `${line} > printed 2>&1`)
  t.is(status, 0, stderr)
  const pid = pidIn(p, 'doomed')
  t.true(isAlive(pid))
  process.kill(pid, 'SIGTERM')
  const told = () => fs.readFileSync(join(p.dir, 'trace'), 'utf8')
  // strace fills a short pid up to five columns.
  const ended = new RegExp(`^${pid} +\\+\\+\\+ exited with 0 \\+\\+\\+$`, 'm')
  await until(() => ended.test(told()), 'its end in the trace')
})

test('docs/moving.md: app.ts ends with status 0 although a connection is open that asks nothing', async (t) => {
  const p = place(t)
  install(p, 'docs/moving.md')
  const socket = join(p.run, 'app.socket')
  const attached = shell(p, 'exec node app.ts run')
  await until(() => fs.existsSync(socket), 'the server')
  const client = connect(socket)
  t.teardown(() => client.destroy())
  client.on('error', () => {})
  await until(() => !client.connecting, 'a connection')
  await until(() => pidIn(p, 'app'), 'the pid')
  process.kill(pidIn(p, 'app'), 'SIGTERM')
  const { status, stderr } = await attached
  t.is(status, 0, stderr)
})

test('every program of the documents is run', (t) => {
  for (const document of runnable) {
    t.deepEqual([...tested.get(document)].sort(), Object.keys(programsOf(document)).sort(), document)
  }
})

/** What checks the blocks in each language. */
const languages = {
  ts: 'the test before this one; each has its name in its first line',
  console: 'the transcripts above',
  sh: '`npm run` of what there is, below',
  ini: 'systemd-analyze, below',
  json: 'the compiler: it is the tsconfig.json of docs/daemon.md',
  logrotate: 'the test of clock.ts',
  text: 'nothing: they are pictures',
  typescript: 'the compiler, which wrote them',
}

test('every block of the documents is of a kind that is tested', (t) => {
  for (const document of runnable) {
    for (const { language, code, name } of blocksOf(document)) {
      t.true(Object.hasOwn(languages, language), `${document}: ${language}\n${code}`)
      if (language === 'ts') t.truthy(name, `${document}: a program without a name\n${code}`)
      if (language === 'typescript') t.is(document, 'docs/api.md')
    }
  }
})

test('every program of the documents has the right types', async (t) => {
  const p = place(t)
  for (const document of runnable) install(p, document, {}, `programs/${document.replace(/\W/g, '-')}`)
  const compilerOptions = {
    rootDir: '.',
    noEmit: true,
    types: ['node'],
    typeRoots: [join(root, 'node_modules/@types')],
  }
  p.write(
    'tsconfig.json',
    JSON.stringify({ extends: join(root, 'tsconfig.json'), compilerOptions, include: ['programs'] }),
  )
  const compiler = join(root, 'node_modules/typescript/bin/tsc')
  const { status, stdout } = await command(p, process.execPath, [compiler, '-p', p.dir])
  t.is(status, 0, stdout)
})

for (const [type, runs] of [
  ['module', "from 'tsdaemonize'"],
  ['commonjs', 'require("tsdaemonize")'],
]) {
  test(`docs/daemon.md: the tsconfig.json is all that a new project of "type": "${type}" needs`, async (t) => {
    const p = place(t)
    p.write('package.json', JSON.stringify({ type }))
    fs.mkdirSync(join(p.dir, 'node_modules'))
    fs.symlinkSync(root, join(p.dir, 'node_modules/tsdaemonize'))
    for (const name of ['@types', 'undici-types', 'typescript']) {
      fs.symlinkSync(join(root, 'node_modules', name), join(p.dir, 'node_modules', name))
    }
    const [{ code }] = blocksOf('docs/daemon.md').filter(({ language }) => language === 'json')
    p.write('tsconfig.json', code)
    const program = programsOf('README.md')['clock.ts']
    p.write('clock.ts', type === 'module' ? program : program.replace('await new', 'void new'))
    const compiler = join(p.dir, 'node_modules/typescript/bin/tsc')
    const compiled = await command(p, process.execPath, [compiler])
    t.is(compiled.status, 0, compiled.stdout)
    t.true(fs.readFileSync(join(p.dir, 'clock.js'), 'utf8').includes(runs))
    const env = { RUNTIME_DIRECTORY: p.run }
    for (const [verb, said] of [
      ['start', /^$/],
      ['status', /^clock is running: /],
      ['stop', /^$/],
    ]) {
      const { status, stdout, stderr } = await command(p, process.execPath, ['clock.js', verb], { env })
      t.is(status, 0, stderr)
      t.regex(stdout, said)
    }
  })
}

test('every `npm run` that the documents speak of is there', (t) => {
  const { scripts } = JSON.parse(read('package.json'))
  for (const document of documents) {
    for (const [, script] of read(document).matchAll(/npm run (?:--silent )?([\w:]+)/g)) {
      t.true(Object.hasOwn(scripts, script), `${document}: ${script}`)
    }
  }
})

const withSystemd = testIf(works('systemd-analyze', '--version'))

withSystemd('every unit of the documents is one that systemd takes', async (t) => {
  const p = place(t)
  for (const { code } of runnable.flatMap(blocksOf).filter(({ language }) => language === 'ini')) {
    const name = code.match(/^# \S*\/(\S+\.service)\n/)?.[1]
    t.truthy(name, `a unit without a name\n${code}`)
    const unit = p.write(name, code.replace(/^(Exec\w+=)\S+/gm, '$1/bin/sh'))
    // A user other than root can only verify a unit of their own.
    const args = [...(isRoot ? [] : ['--user']), 'verify', '--man=no', unit]
    const { status, stdout, stderr } = await command(p, 'systemd-analyze', args, {
      env: { XDG_RUNTIME_DIR: p.run },
    })
    t.deepEqual(
      [status, stdout, stderr.replace(/^.*(?:not supported|not mounted|D-Bus).*\n/gm, '')],
      [0, '', ''],
      name,
    )
    // With PIDFile=, systemd would remove the file of a running daemon when a second one fails to start.
    t.notRegex(code, /PIDFile/, name)
  }
})

/** The names in the first column of a section's tables. */
function names(document, title) {
  const section = read(document)
    .split(/^## /m)
    .find((text) => text.startsWith(`${title}\n`))
  const rows = section.matchAll(/^\| (`[^|]*`) \|/gm)
  return [...rows].flatMap(([, cell]) => [...cell.matchAll(/`(\w+)/g)].map(([, name]) => name)).sort()
}

const REFERENCE = 'docs/reference.md'
const COMMAND = 'docs/command.md'

test('the table of options lists all of them', (t) => {
  const { message } = t.throws(() => new Daemon({ nothing: 1 }))
  const [, known] = message.match(/Known: (.*)$/)
  t.deepEqual(names('README.md', 'Options'), known.split(', ').sort())
})

test('the tables of methods list all of them', (t) => {
  const own = Object.getOwnPropertyNames(Daemon.prototype)
  const overridden = ['constructor', 'setup', 'action', 'onSignal', 'shutdown']
  t.deepEqual(names(REFERENCE, 'Methods'), own.filter((name) => !overridden.includes(name)).sort())
})

const codes = [...read('dist/errors/errors.d.ts').matchAll(/'(ERR_DAEMON_\w+)'/g)].map(([, code]) => code)

test('the table of errors lists all of them', (t) => {
  t.deepEqual(names(REFERENCE, 'Errors'), codes.toSorted())
})

test('the table of signals lists all that a daemon gets', (t) => {
  const [list] = read('ts/process/signals.ts').match(/DAEMON_SIGNALS = \[[\s\S]*?\]/)
  for (const [, signal] of list.matchAll(/'(SIG\w+)'/g))
    t.regex(read(REFERENCE), new RegExp(`^\\| .*${signal}`, 'm'))
})

test('the table of verbs lists all of them, as the usage does', async (t) => {
  const p = place(t)
  install(p, 'README.md')
  const { stdout } = await shell(p, 'node clock.ts --help')
  const verbs = [...stdout.matchAll(/^ {2}(\w+) /gm)].map(([, verb]) => verb)
  t.deepEqual(
    names(REFERENCE, 'The command line').filter((name) => name !== ''),
    verbs.sort(),
  )
})

test('docs/command.md has every command of the executable, and its tables every option', async (t) => {
  const p = place(t)
  const help = async (...args) => (await command(p, executable, [...args, '--help'])).stdout
  const all = [...(await help()).matchAll(/^ {2}([a-z]+) {2,}/gm)].map(([, verb]) => verb)
  t.true(all.length > 10)
  const document = read(COMMAND)
  const options = new Set()
  for (const verb of all) {
    t.true(new RegExp(`\`tsdaemonize ${verb}\\b|^tsdaemonize ${verb}\\b`, 'm').test(document), verb)
    for (const [, option] of (await help(verb)).matchAll(/^ {2,}(?:-\w, )?--([\w-]+)/gm)) options.add(option)
  }
  options.delete('help')
  const [, section] = document.match(/^## Options\n(.*?)^## /ms)
  const rows = [...section.matchAll(/^\| (`.*?`) \|/gm)].flatMap(([, cell]) => [
    ...cell.matchAll(/--([\w-]+)/g),
  ])
  t.deepEqual([...new Set(rows.map(([, option]) => option))].sort(), [...options].sort())
})

test('every error code has a section of the troubleshooting, every message is in it, and no others', (t) => {
  const document = read('docs/troubleshooting.md')
  for (const code of codes) t.regex(document, new RegExp(`^## .*\`${code}\``, 'm'))
  const plain = (text) =>
    text
      .replace(/[`*\\]/g, '')
      .replace(/\s+/g, ' ')
      .trim()
  const escaped = (text) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
  // The part that is filled in has only a few words.
  const expressionOf = (message) => {
    const parts = plain(message.replace(/^…?[:.;]? ?/, '')).split('…')
    return new RegExp(parts.map(escaped).join('.{0,70}?'))
  }
  const expressions = messages().map(expressionOf)
  const page = plain(document)
  t.deepEqual(expressions.filter((expression) => !expression.test(page)).map(String), [], 'not in it')
  for (const [, entry] of document.matchAll(/\*\*``(.*?)``\*\*/gs)) {
    const known = expressions.some((expression) => expression.test(plain(entry)))
    t.true(known, `no source has it: ${entry}`)
  }
})

test('docs/api.md is what `npm run docs` writes', async (t) => {
  const p = place(t)
  const { status, stderr } = await command(p, process.execPath, [join(root, 'scripts/docs.mjs'), '--check'])
  t.is(status, 0, stderr)
})

test('every link within the documents leads somewhere', (t) => {
  for (const document of documents) {
    for (const [, link] of proseOf(document).matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
      const [path, anchor] = link.split('#')
      const target = path === '' ? document : join(dirname(document), path)
      t.true(fs.existsSync(join(root, target)), `${document}: ${link}`)
      if (anchor === undefined) continue
      const anchors = [...read(target).matchAll(/^#+ (.*)$/gm)].map(([, title]) =>
        title
          .toLowerCase()
          .replace(/[^\w -]/g, '')
          .replaceAll(' ', '-'),
      )
      t.true(anchors.includes(anchor), `${document}: ${link}`)
    }
  }
})

test('every page of docs/ is named in README.md', (t) => {
  for (const document of documents.filter((name) => name.startsWith('docs/'))) {
    t.true(read('README.md').includes(`(${document})`), document)
  }
})

test('every file that CONTRIBUTING.md speaks of is there, and it names every room', (t) => {
  const document = read('CONTRIBUTING.md')
  // In the first cell of a row, all lie in the folder of the first.
  const rows = [...document.matchAll(/^\| ((?:`[^`]+`(?:, )?)+) \|/gm)].flatMap(([, cell]) => {
    const [first, ...others] = [...cell.matchAll(/`([^`]+)`/g)].map(([, path]) => path)
    return [first, ...others.map((name) => join(dirname(first), name))]
  })
  const named = [...document.matchAll(/`((?:crate|docs|scripts|ts|__test__)\/[\w./-]*)`/g)].map(
    ([, path]) => path,
  )
  for (const path of [...rows, ...named]) t.true(fs.existsSync(join(root, path)), path)
  const tops = rows.map((path) => path.replace(/\/$/, ''))
  for (const folder of ['crate/core/src', 'ts', '__test__', 'scripts']) {
    const entries = fs.readdirSync(join(root, folder), { withFileTypes: true })
    const rooms = entries.filter((entry) => entry.isDirectory() || /\.(rs|ts)$/.test(entry.name))
    const paths = rooms.map(({ name }) => `${folder}/${name}`).filter((path) => !path.endsWith('/lib.rs'))
    t.deepEqual(
      paths.filter((path) => !tops.includes(path)),
      [],
      'no row names it',
    )
  }
})
