// The demonstration: a real daemon from its start to its end, told in plain words. It works in a
// directory of its own and leaves nothing, whatever happens.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))

const NAME = 'monitor-creation'
/** Node 22.18 and later run TypeScript as it is; before, tsx does. */
const FLAGS = process.features.typescript ? ['--disable-warning=ExperimentalWarning'] : ['--import', 'tsx']
const PROGRAM = [...FLAGS, `examples/${NAME}.ts`]

const dir = mkdtempSync(join(tmpdir(), 'tsdaemonize-demo-'))
const inbox = join(dir, 'inbox')
const log = join(dir, 'log')
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

/** Runs the example, and shows the command and what it prints. */
async function run(args, expected, { quiet = false } = {}) {
  if (!quiet) show(`$ node ${[...PROGRAM, ...args].join(' ')}`)
  const begun = performance.now()
  const child = spawn(process.execPath, [...PROGRAM, ...args], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
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

function descriptors(pid) {
  const found = readdirSync(`/proc/${pid}/fd`)
    .map((fd) => [Number(fd), readlinkSync(`/proc/${pid}/fd/${fd}`)])
    .sort(([a], [b]) => a - b)
  const isTold = ([fd, to]) => fd <= 2 || to.startsWith(dir)
  const lines = found.filter(isTold).map(([fd, to]) => `${fd} ${to}`)
  // anon_inode:[eventfd], anon_inode:inotify, pipe:[4711], /dev/null
  const kinds = found
    .filter((entry) => !isTold(entry))
    .map(([, to]) => to.replace(/^anon_inode:\[?|:?\[\d+\]|\]$/g, ''))
  const counts = [...new Set(kinds)].map((kind) => `${kinds.filter((k) => k === kind).length} ${kind}`)
  return [...lines, `and Node's own: ${counts.join(', ')}`].join('\n')
}

function hasEnded(pid) {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')
  } catch {
    return true
  }
}

async function demonstrate() {
  mkdirSync(inbox)
  mkdirSync(env.RUNTIME_DIRECTORY, { mode: 0o755 })
  const user = process.getuid() === 0 ? 'root' : 'an ordinary user'
  console.log(`tsdaemonize: the life of a daemon, on Node ${process.versions.node}, as ${user}`)

  step(`Start a daemon that watches ${inbox}`)
  await run(['start', inbox, log], 0)
  const pid = Number(readFileSync(join(env.RUNTIME_DIRECTORY, `${NAME}.pid`), 'utf8'))
  show(`The launcher has ended; the daemon is ready, and its pid is ${pid}.`)

  step('Create a few files there, and see what the daemon logs')
  const files = ['letter.txt', 'photo.jpg', 'a name with spaces']
  for (const file of files) writeFileSync(join(inbox, file), '')
  show(`$ touch ${files.map((file) => `'${file}'`).join(' ')}`)
  const logged = () => (existsSync(log) ? readFileSync(log, 'utf8') : '')
  await until(() => files.every((file) => logged().includes(`${file} was created`)), 'a line for every file')
  show(`$ cat ${log}\n${logged()}`)
  show(
    existsSync('/dev/log')
      ? `Syslog has them too: journalctl -t ${NAME}, or /var/log/syslog.`
      : 'Syslog would have them too, but this machine has no logger (/dev/log).',
  )

  step('Look at the process, as /proc shows it')
  const facts = Object.entries(look(pid))
  show(
    facts
      .map(([name, fact]) => `${name.padEnd(20)}${fact.replaceAll('\n', `\n${''.padEnd(20)}`)}`)
      .join('\n'),
  )

  step('Ask for its status')
  await run(['status'], 0)

  step('Start it a second time: refused, since one runs')
  const refused = await run(['start', inbox, log], 1)
  expect(refused.includes(String(pid)), 'the refusal names the pid')

  step('Stop it')
  await run(['stop'], 0)
  expect(hasEnded(pid), 'the process has ended')
  expect(readdirSync(env.RUNTIME_DIRECTORY).length === 0, 'no pidfile is left')
  show('The process has ended, and its pidfile is gone.')

  step('Ask for its status again')
  await run(['status'], 3)
}

try {
  await demonstrate()
  console.log('\nThat was all. Nothing is left.')
} catch (error) {
  const { message } = interrupted.signal.reason ?? error
  console.error(`\nThe demonstration failed. ${message}`)
  process.exitCode = 1
} finally {
  await run(['stop'], 0, { quiet: true }).catch(() => {})
  rmSync(dir, { recursive: true, force: true })
}
