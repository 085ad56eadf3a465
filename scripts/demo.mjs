// The demonstration: what the package promises, shown with real daemons, in plain words. It works in a
// directory of its own and leaves nothing, whatever happens.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))

const MONITOR = 'monitor-creation'
/** Node 22.18 and later run TypeScript as it is; before, tsx does. */
const FLAGS = process.features.typescript ? ['--disable-warning=ExperimentalWarning'] : ['--import', 'tsx']
const isRoot = process.getuid() === 0

const dir = mkdtempSync(join(tmpdir(), 'tsdaemonize-demo-'))
const inbox = join(dir, 'inbox')
const log = join(dir, 'log')
const secret = join(dir, 'secret')
/** Where the pidfile goes; a service manager sets the same variable. */
const env = { ...process.env, RUNTIME_DIRECTORY: join(dir, 'run') }

/** Ctrl-C, or a reader who has gone: the step under way fails, and all is tidied up. */
const interrupted = new AbortController()
process.stdout.on('error', (error) => interrupted.abort(error))
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, () => interrupted.abort(new Error(`The demonstration got ${signal}`)))
}

let steps = 0
const step = (title) => console.log(`\n${++steps}. ${title}\n`)
const show = (text) => console.log(text.trimEnd().replace(/^/gm, '     '))

/** What must be so for the demonstration to be one. */
function expect(condition, what) {
  if (!condition) throw new Error(`Expected: ${what}`)
}

const pidFile = (name) => join(env.RUNTIME_DIRECTORY, `${name}.pid`)
const pidOf = (name) => Number(readFileSync(pidFile(name), 'utf8'))

/** Runs an example, and shows the command and what it prints. */
async function run(name, args, expected, { quiet = false, descriptor = 'ignore' } = {}) {
  const command = [...FLAGS, `examples/${name}.ts`, ...args]
  if (!quiet) show(`$ node ${command.join(' ')}`)
  const begun = performance.now()
  const child = spawn(process.execPath, command, {
    env,
    stdio: ['ignore', 'pipe', 'pipe', descriptor],
    ...(quiet ? {} : { signal: interrupted.signal }),
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (data) => {
      output += data
    })
  }
  const [status] = await once(child, 'close')
  const seconds = ((performance.now() - begun) / 1000).toFixed(1)
  if (!quiet) {
    if (output) show(output)
    show(`exit status ${status}, after ${seconds} s`)
  }
  expect(quiet || status === expected, `exit status ${expected}, not ${status}: ${output}`)
  return output
}

async function until(condition, what) {
  for (const end = performance.now() + 10_000; !condition(); ) {
    expect(performance.now() < end, what)
    await sleep(20, undefined, interrupted)
  }
}

/** What proc_pid_stat(5), proc_pid_status(5) and proc_pid_fd(5) say of the daemon. */
function look(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const [, parent, , session, terminal] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const [, umask] = readFileSync(`/proc/${pid}/status`, 'utf8').match(/^Umask:\t(\d+)$/m)
  expect(session !== String(pid), 'the daemon is not the leader of its session')
  expect(terminal === '0', 'the daemon has no terminal')
  return {
    parent: `${parent} (${readFileSync(`/proc/${parent}/comm`, 'utf8').trim()})`,
    session: `${session}, its own; the daemon is not its leader`,
    terminal: 'none; and only a session leader could get one',
    'working directory': readlinkSync(`/proc/${pid}/cwd`),
    umask,
    descriptors: descriptors(pid),
  }
}

/** The descriptors that have a meaning for the reader, and how many others of each kind there are. */
function descriptors(pid) {
  const found = readdirSync(`/proc/${pid}/fd`)
    .map((fd) => [Number(fd), readlinkSync(`/proc/${pid}/fd/${fd}`)])
    .sort(([a], [b]) => a - b)
  expect(!found.some(([, to]) => to === secret), 'what the launcher had open is closed in the daemon')
  const meaning = ([fd, to]) => {
    if (fd === 0) return 'standard input'
    if (fd === 1) return 'standard output, the log'
    if (fd === 2) return 'standard error'
    return to === pidFile(MONITOR) ? 'the pidfile, locked' : undefined
  }
  const lines = found.filter(meaning).map((entry) => `${entry.join(' ')}: ${meaning(entry)}`)
  // anon_inode:[eventfd], anon_inode:inotify, pipe:[4711], /dev/null
  const kinds = found
    .filter((entry) => !meaning(entry))
    .map(([, to]) => to.replace(/^anon_inode:\[?|:?\[\d+\]|\]$/g, ''))
  const counts = [...new Set(kinds)].map((kind) => `${kinds.filter((k) => k === kind).length} ${kind}`)
  return [
    ...lines,
    'opened by the daemon itself, for its event loop and threads:',
    `  ${counts.join(', ')}`,
  ].join('\n')
}

const idsOf = (pid) =>
  readdirSync(`/proc/${pid}/task`).map((thread) => {
    const status = readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8')
    const [uids, gids, groups, effective] = ['Uid', 'Gid', 'Groups', 'CapEff'].map((name) =>
      status.match(new RegExp(`^${name}:\\s*(.*?)\\s*$`, 'm'))[1].replaceAll('\t', ' '),
    )
    return `uids ${uids}, gids ${gids}, groups ${groups || 'none'}, capabilities ${effective}`
  })

async function freePort() {
  const server = createServer().listen(0)
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  return port
}

function hasEnded(pid) {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')
  } catch {
    return true
  }
}

async function demonstrate() {
  chmodSync(dir, 0o755)
  mkdirSync(env.RUNTIME_DIRECTORY, { mode: 0o755 })
  writeFileSync(secret, 'A key\n', { mode: 0o600 })
  const user = isRoot ? 'root' : 'an ordinary user'
  console.log(`tsdaemonize: what it promises, on Node ${process.versions.node}, as ${user}`)

  step('A start that fails says why, and leaves nothing')
  const failed = await run(MONITOR, ['start', inbox, log], 1)
  expect(failed.includes('no such file or directory'), 'the reason')
  expect(readdirSync(env.RUNTIME_DIRECTORY).length === 0, 'no pidfile is left')
  show('The directory to watch is missing. No process and no pidfile is left.')

  step('A start that succeeds returns when the daemon is ready')
  mkdirSync(inbox)
  show(`$ mkdir ${inbox}`)
  // The launcher has a file open that is none of the daemon's business.
  await run(MONITOR, ['start', inbox, log], 0, { descriptor: openSync(secret, 'r') })
  const pid = pidOf(MONITOR)
  show(`The launcher has ended; the daemon is ready, and its pid is ${pid}.`)

  step('A second start is refused')
  const refused = await run(MONITOR, ['start', inbox, log], 1)
  expect(refused.includes(String(pid)), 'the refusal names the pid')

  await showOfRoot()

  step('`while (true) {}` ends when it is asked to')
  await run('nop', ['start'], 0)
  const loop = pidOf('nop')
  await run('nop', ['stop'], 0)
  expect(hasEnded(loop), 'the loop has ended')
  show('Its event loop never turned. After 5 s (`blockedTimeout`) a native thread ended it.')

  step('Create a few files in the directory, and see what the daemon logs')
  const files = ['letter.txt', 'photo.jpg', 'a name with spaces']
  for (const file of files) writeFileSync(join(inbox, file), '')
  show(`$ touch ${files.map((file) => `'${inbox}/${file}'`).join(' ')}`)
  const logged = () => (existsSync(log) ? readFileSync(log, 'utf8') : '')
  await until(() => files.every((file) => logged().includes(`${file} was created`)), 'a line for every file')
  show(`$ cat ${log}\n${logged()}`)
  show(
    existsSync('/dev/log')
      ? `Syslog has them too: journalctl -t ${MONITOR}, or /var/log/syslog.`
      : 'Syslog would have them too, but this machine has no logger (/dev/log).',
  )

  step('Look at the process, as /proc shows it')
  const facts = Object.entries(look(pid))
  show(
    facts
      .map(([name, fact]) => `${name.padEnd(20)}${fact.replaceAll('\n', `\n${''.padEnd(20)}`)}`)
      .join('\n'),
  )
  show(`The launcher had ${secret} open as descriptor 3. The daemon has not.`)

  step('Ask for its status')
  await run(MONITOR, ['status'], 0)

  step('Stop it')
  await run(MONITOR, ['stop'], 0)
  expect(hasEnded(pid), 'the process has ended')
  expect(readdirSync(env.RUNTIME_DIRECTORY).length === 0, 'no pidfile is left')
  show('The process has ended, and its pidfile is gone.')

  step('Ask for its status again')
  await run(MONITOR, ['status'], 3)
}

async function showOfRoot() {
  step('A daemon that starts as root drops root, on every thread')
  if (!isRoot) {
    show('Left out: this takes root. `sudo npm run demo` shows it.')
    return
  }
  const port = await freePort()
  await run('web', ['start', `${port}`], 0)
  const pid = pidOf('web')
  const answer = await fetch(`http://localhost:${port}`, interrupted)
  show(`$ curl http://localhost:${port}\n${await answer.text()}`)
  const ids = idsOf(pid)
  expect(!ids.some((line) => /[ds] 0\b| 0,/.test(line)), 'no thread has an id of root')
  const [first] = ids
  expect(
    ids.every((line) => line === first && line.endsWith(' 0000000000000000')),
    'all threads have the same ids, and no capabilities',
  )
  show(`/proc/${pid}/task: all ${ids.length} threads have\n  ${first.replaceAll(', ', '\n  ')}`)
  show('Before it was ready, the daemon also tried to become root again, which the kernel refused.')
  await run('web', ['stop'], 0)
}

try {
  await demonstrate()
  console.log('\nThat was all. Nothing is left.')
} catch (error) {
  const { message } = interrupted.signal.reason ?? error
  console.error(`\nThe demonstration failed. ${message}`)
  process.exitCode = 1
} finally {
  for (const name of [MONITOR, 'nop', 'web']) {
    if (existsSync(pidFile(name))) await run(name, ['stop'], 0, { quiet: true }).catch(() => {})
  }
  rmSync(dir, { recursive: true, force: true })
}
