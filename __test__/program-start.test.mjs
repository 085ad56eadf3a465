// `tsdaemonize start` and `ensure` of a script that ends in `start()` of a Daemon: one boot, by the hand-over.

import fs from 'node:fs'
import { join } from 'node:path'
import {
  asRoot,
  command,
  environmentOf,
  isAlive,
  isUnlocked,
  pidIn,
  place,
  read,
  root,
  run,
  sample,
  test,
  until,
} from './kit.mjs'

const executable = join(root, 'tsdaemonize')
const program = (p, verb, ...args) => command(p, executable, [verb, ...args])
/** The place comes from the command line. */
const at = (p) => ['--pid-file-path', p.run]
const SAYS = `async setup() {
  fs.writeFileSync(process.env.DIR + '/said', JSON.stringify({ args: process.argv.slice(2), cwd: process.cwd(),
    umask: process.umask(), env: process.env.SAID, name: this.name, pidFile: this.pidFile }))
  console.log('to stdout')
  console.error('to stderr')
}`
const said = (p) => JSON.parse(read(join(p.dir, 'said')))

/** A script in a directory from which the package can be resolved. */
function script(p, name, source) {
  fs.mkdirSync(join(p.dir, 'node_modules'), { recursive: true })
  if (!fs.existsSync(join(p.dir, 'node_modules/tsdaemonize')))
    fs.symlinkSync(root, join(p.dir, 'node_modules/tsdaemonize'))
  return p.write(name, source)
}

const stat = (pid) => {
  const line = fs.readFileSync(`/proc/${pid}/stat`, 'utf8')
  const [state, parent, group, session] = line.slice(line.lastIndexOf(')') + 2).split(' ')
  return { state, parent: Number(parent), group: Number(group), session: Number(session) }
}

test('a script that ends in start() is a daemon after one boot, with what it printed shown', async (t) => {
  const p = place(t)
  script(p, 'clock.mjs', sample({ options: "name: 'clock',", body: SAYS }))
  const started = await program(p, 'start', ...at(p), '--env', 'SAID=so', 'clock.mjs', '-x', 'a b')
  t.is(started.status, 0, started.stderr)
  t.is(started.stdout, 'to stdout\n')
  t.is(started.stderr, 'to stderr\n')
  const pid = pidIn(p, 'clock')
  t.deepEqual(said(p), {
    args: ['-x', 'a b'],
    cwd: '/',
    umask: 0o022,
    env: 'so',
    name: 'clock',
    pidFile: p.pidFile('clock'),
  })
  const { parent, group, session } = stat(pid)
  t.not(parent, started.pid)
  t.is(group, pid)
  t.not(session, pid)
  t.false(isAlive(session), 'the guardian is gone')
  t.false(isUnlocked(p.pidFile('clock')))
  t.notRegex(environmentOf(pid), /TSDAEMONIZE/)
  const again = await program(p, 'start', ...at(p), 'clock.mjs')
  t.is(again.status, 1)
  t.regex(again.stderr, new RegExp(`already running, with pid ${pid}`))
  process.kill(pid, 'SIGTERM')
  await until(() => !isAlive(pid), 'its end')
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('both fronts tell why a daemon did not start in the same words', async (t) => {
  const p = place(t)
  const causes = "new Error('inner', { cause: Object.assign(new Error('first'), { code: 'EFIRST' }) })"
  const bodies = {
    thrown: `setup() { throw new Error('no luck', { cause: ${causes} }) }`,
    printed: "setup() { console.log('out'); console.error('err'); throw new TypeError('no luck') }",
    value: "setup() { throw 'a text' }",
    exited: "setup() { console.error('bye'); process.exit(3) }",
    killed: "setup() { process.kill(process.pid, 'SIGKILL'); return new Promise(() => {}) }",
    late: "setup() { setImmediate(() => { throw new RangeError('too late') }); return new Promise(() => {}) }",
    slow: 'setup() { return new Promise((resolve) => setTimeout(resolve, 1e6)) }',
  }
  for (const [name, body] of Object.entries(bodies)) {
    const options = `name: '${name}', ${name === 'slow' ? 'startTimeout: 1000,' : ''}`
    const file = script(p, `${name}.mjs`, sample({ options, body, last: LAST }))
    const byLibrary = await run(p, file, ['start'])
    const limit = name === 'slow' ? ['--start-timeout', '1s'] : []
    const byProgram = await program(p, 'start', ...at(p), ...limit, file, 'start')
    t.is(byProgram.status, byLibrary.status, name)
    t.is(byProgram.stdout, byLibrary.stdout, name)
    // The two ways have different frames, and Node leaves out those that a cause has in common with its error.
    const plain = (text) =>
      text
        .replace(/See what `setup`.*/, 'See')
        .replace(/^.*There is no logger.*\n/gm, '')
        .replace(/^ +(?:at|\.\.\.) .*?( \{)?\n/gm, '$1')
    t.is(plain(byProgram.stderr), plain(byLibrary.stderr), name)
    t.deepEqual(fs.readdirSync(p.run), [], name)
  }
})
const LAST = 'await new Sample(options).serviced()'

test('a hand-over that never comes is a time-out that names another way to be ready', async (t) => {
  const p = place(t)
  script(p, 'server.cjs', "process.title = 'waits'; setInterval(() => {}, 1e6)")
  const started = await program(p, 'start', ...at(p), '--start-timeout', '500ms', 'server.cjs')
  t.is(started.status, 1)
  t.regex(started.stderr, /was not ready within 500 ms and was ended/)
  t.regex(started.stderr, /`--ready alive`/)
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('Ctrl-C gives a start up, and nothing of it is left', async (t) => {
  const p = place(t)
  const body =
    "setup() { fs.writeFileSync(process.env.DIR + '/pid', String(process.pid)); return new Promise(() => setInterval(() => {}, 1e6)) }"
  script(p, 'slow.mjs', sample({ options: "name: 'slow',", body }))
  const starting = program(p, 'start', ...at(p), 'slow.mjs')
  await until(() => read(join(p.dir, 'pid')), 'the boot')
  const pid = Number(read(join(p.dir, 'pid')))
  process.kill(starting.pid, 'SIGINT')
  const { signal, stderr } = await starting
  t.is(signal, 'SIGINT')
  t.is(stderr, "slow: The daemon 'slow' was not ready when SIGINT interrupted its start, and was ended\n")
  t.false(isAlive(pid))
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('the options of the command line go before those of the script', async (t) => {
  const p = place(t)
  p.write('vars', '# of the file\nSAID="from the file"\nOTHER=1\n')
  fs.mkdirSync(join(p.dir, 'there'))
  script(p, 'opts.mjs', sample({ options: "name: 'opts', cwd: '/usr', umask: 0,", body: SAYS }))
  const started = await program(
    p,
    ...['start', ...at(p), '--name', 'given', '--cwd', 'there', '--umask', '027', '--env-file', 'vars'],
    ...['--stdout', 'out.log', 'opts.mjs'],
  )
  t.is(started.status, 0, started.stderr)
  const pid = pidIn(p, 'given')
  const { cwd, umask, env, name } = said(p)
  t.is(cwd, join(p.dir, 'there'))
  t.is(umask, 0o027)
  t.is(env, 'from the file')
  t.is(name, 'given')
  await until(() => fs.existsSync(join(p.dir, 'out.log')), 'its log file')
  process.kill(pid, 'SIGTERM')
  await until(() => !isAlive(pid), 'its end')
})

asRoot('the user of the command line is that of the daemon', async (t) => {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  script(p, 'user.mjs', sample({ options: "name: 'user'," }))
  const started = await program(p, 'start', ...at(p), '--user', '65534', '--group', '65534', 'user.mjs')
  t.is(started.status, 0, started.stderr)
  const pid = pidIn(p, 'user')
  t.regex(read(`/proc/${pid}/status`), /^Uid:\t65534\t65534\t65534\t65534$/m)
  process.kill(pid, 'SIGTERM')
  await until(() => !isAlive(pid), 'its end')
})

test('what is wrong with a command line is told before anything is done', async (t) => {
  const p = place(t)
  script(p, 'fine.mjs', sample())
  p.write('plain.txt', 'no program')
  fs.mkdirSync(join(p.dir, 'dir.mjs'))
  for (const [args, status, words] of [
    [[], 2, /takes a program/],
    [['--umask', '999', 'fine.mjs'], 2, /`--umask` must be octal digits/],
    [['--umask', '8', 'fine.mjs'], 2, /`--umask`/],
    [['--name', 'a/b', 'fine.mjs'], 2, /`--name` must be one path component/],
    [['--ready', 'soon', 'fine.mjs'], 2, /`--ready` must be handover, notify, fd/],
    [['--ready', 'listen=0', 'fine.mjs'], 2, /`--ready`/],
    [['--ready', 'alive=1x', 'fine.mjs'], 2, /`--ready`/],
    [['--env', '=x', 'fine.mjs'], 2, /`--env` must be NAME=VALUE/],
    [['--env-file', 'none', 'fine.mjs'], 1, /Cannot read the variables in 'none': ENOENT/],
    [['--start-timeout', 'soon', 'fine.mjs'], 2, /`--start-timeout`/],
    [['--readdy', 'fd', 'fine.mjs'], 2, /did you mean '--ready'/],
    [['none.mjs'], 1, /Cannot run '.*none.mjs': ENOENT/],
    [['dir.mjs'], 1, /Cannot run '.*dir.mjs': EISDIR/],
    [['--runtime', 'no-such-node', 'fine.mjs'], 1, /'no-such-node' is in no directory of PATH/],
    [['no-such-program'], 1, /'no-such-program' is in no directory of PATH/],
    [['plain.txt'], 1, /in no directory of PATH. Did you mean '.\/plain.txt'/],
  ]) {
    const ended = await program(p, 'start', ...at(p), ...args)
    t.is(ended.status, status, `${args}: ${ended.stderr}`)
    t.regex(ended.stderr, words)
    t.deepEqual(fs.readdirSync(p.run), [], `${args}`)
  }
})
