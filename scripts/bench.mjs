// What the package costs, beside a bare Node on the same machine: `npm run bench`. Measurements, not
// tests: a target that is missed is said, and fails nothing. Writes docs/benchmarks.md.
//
//   npm run bench [-- --runs=25] [-- --print]    --print leaves the page as it is

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statfsSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { cpus, release, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parsed } from './arguments.mjs'
import { MIB, median, memory, processesOf } from './bench/measure.mjs'

const { values: flags } = parsed({ options: { runs: { type: 'string' }, print: { type: 'boolean' } } })
const RUNS = Math.max(15, Number(flags.runs ?? 25))
/** What takes a tenth of a second is done more often. */
const TIMED_RUNS = 8 * RUNS
/** A process is looked at so long after its start, in milliseconds: then a bare Node has settled. */
const SETTLED = 1500

const library = new URL('../dist/index.js', import.meta.url).href
const dir = mkdtempSync(join(tmpdir(), 'tsdaemonize-bench-'))
/** statfs(2): of a tmpfs, which /run is nearly everywhere. There is the pidfile, if this machine has one. */
const TMPFS = 0x01021994
const tmpfs = ['/run', '/dev/shm'].find((path) => existsSync(path) && statfsSync(path).type === TMPFS)
const run = mkdtempSync(join(tmpfs ?? dir, 'tsdaemonize-bench-'))
const env = { PATH: process.env.PATH, RUNTIME_DIRECTORY: run, BENCH: dir }

function program(name, source) {
  writeFileSync(join(dir, name), source)
  return join(dir, name)
}

const empty = program('empty.mjs', '')
const importing = program('importing.mjs', `import '${library}'`)
mkdirSync(join(dir, 'node_modules'))
symlinkSync(new URL('..', import.meta.url).pathname, join(dir, 'node_modules/tsdaemonize'))
const naming = program('naming.mjs', "import 'tsdaemonize'")
/** Opens MORE descriptors, and starts a daemon that does nothing. */
const daemon = program(
  'daemon.mjs',
  `import { Daemon } from '${library}'
  for (let more = Number(process.env.MORE ?? 0); more > 0; more--) {
    process.getBuiltinModule('fs').openSync('/dev/null')
  }
  class Waiting extends Daemon {
    action() { return new Promise(() => {}) }
  }
  await new Waiting().serviced()`,
)
/** The same in a bare Node, which a timer keeps alive. */
const bare = program('bare.mjs', 'setInterval(() => {}, 2 ** 31 - 1)')

/** Milliseconds until a program has ended. */
function time(...args) {
  const begun = performance.now()
  const { status } = spawnSync(process.execPath, args, { env, cwd: dir, stdio: 'ignore' })
  const spent = performance.now() - begun
  if (status !== 0) throw new Error(`${args.slice(1).join(' ')} ended with status ${status}`)
  return spent
}

/** What the runs of a kind took: each beside a bare Node's boot, in turns. */
class Beside {
  #spent = []
  #boots = []
  take(...args) {
    this.#boots.push(time(empty))
    this.#spent.push(time(...args))
  }
  get boot() {
    return median(this.#boots)
  }
  get spent() {
    return median(this.#spent)
  }
  get ratio() {
    return this.spent / this.boot
  }
  get more() {
    return this.spent - this.boot
  }
}

function measureTimes() {
  const [start, status, stop, load, byName] = Array.from({ length: 5 }, () => new Beside())
  for (let run = 0; run < TIMED_RUNS; run++) {
    start.take(daemon, 'start')
    status.take(daemon, 'status')
    stop.take(daemon, 'stop')
    load.take(importing)
    byName.take(naming)
  }
  return { start, status, stop, load, byName }
}

async function measureMemory() {
  const more = { rss: [], pss: [], own: [] }
  let processes = 0
  for (let run = 0; run < RUNS; run++) {
    time(daemon, 'start')
    const pid = Number(readFileSync(join(env.RUNTIME_DIRECTORY, 'daemon.pid'), 'utf8'))
    processes = Math.max(processes, processesOf(dir).length)
    const other = spawn(process.execPath, [bare], { env, cwd: '/', stdio: 'ignore', detached: true })
    await sleep(SETTLED)
    const [with_, without] = [memory(pid), memory(other.pid)]
    for (const kind of Object.keys(more)) more[kind].push(with_[kind] - without[kind])
    other.kill('SIGKILL')
    time(daemon, 'stop')
  }
  return { ...more, processes }
}

const hasStrace = spawnSync('strace', ['-V']).status === 0

/** strace(1) with all threads and children: lines of `PID call(…) = result`. */
async function trace(args, { limit, more = 0 } = {}) {
  const out = join(dir, 'trace')
  const set = limit === undefined ? '' : `ulimit -n ${limit} && `
  const command = ['-c', `${set}exec strace -f -o "$@"`, 'sh', out, process.execPath, ...args]
  const traced = spawn('sh', command, { env: { ...env, MORE: String(more) }, cwd: dir, stdio: 'ignore' })
  const ended = once(traced, 'close')
  // strace stays with the daemon until its end.
  while (args.includes('start') && traced.exitCode === null) {
    if (spawnSync(process.execPath, [daemon, 'status'], { env }).status !== 0) await sleep(100)
    else if (spawnSync(process.execPath, [daemon, 'stop'], { env }).status === 0) break
  }
  const [status] = await ended
  return status === 0 ? readFileSync(out, 'utf8').split('\n') : undefined
}

/** The calls that the children make, from each one's fork to the exec of the daemon. */
async function callsToExec(options) {
  const lines = await trace([daemon, 'start'], options)
  if (lines === undefined) return undefined
  const calls = lines.map((line) => line.match(/^(\d+) +(\w+)\((.*)$/)).filter(Boolean)
  const [, launcher] = calls[0]
  const execs = calls.filter(([, pid, call]) => call === 'execve' && pid !== launcher)
  const [, second] = execs[0]
  const forks = lines.map((line) => line.match(/^(\d+) +.*(?:clone3?|v?fork)\b.* = (\d+)$/)).filter(Boolean)
  const [, first] = forks.find(([, , child]) => child === second)
  const until = (pid, isLast) => {
    const own = calls.filter(([, of]) => of === pid)
    return own.findIndex(isLast) + 1
  }
  return (
    until(first, ([, , call]) => /^(clone3?|v?fork)$/.test(call)) +
    until(second, ([, , call]) => call === 'execve')
  )
}

async function measureCalls() {
  if (!hasStrace) return undefined
  const counts = []
  for (const limit of [1024, 20000]) {
    for (const more of [0, 500]) counts.push({ limit, more, count: await callsToExec({ limit, more }) })
  }
  const loads = (await trace([importing])).filter((line) => /\bexecve\(/.test(line))
  return { counts, children: loads.length - 1 }
}

const ms = (number) => `${number.toFixed(1)} ms`
const mib = (numbers) => `${(median(numbers) / MIB).toFixed(2)} MiB`
const times = (number) => number.toFixed(2)

function rows({ start, status, stop, load, byName }, memory, calls) {
  const boot = median([start, status, stop, load].map(({ boot }) => boot))
  const ratio = (what, { spent, ratio }, target) => [
    what,
    ms(spent),
    `${times(ratio)} boots`,
    `at most ${times(target)}`,
    ratio <= target,
  ]
  const more = (what, numbers, target) => [
    what,
    `+${mib(numbers)}`,
    '',
    `at most ${target} MiB`,
    median(numbers) <= target * MIB,
  ]
  const table = [
    ['boot of a bare Node (`node empty.mjs`)', ms(boot), '1.00 boots', '', undefined],
    ratio('`start`, until the daemon is ready', start, 2.3),
    ratio('`status`', status, 1.3),
    ratio('`stop` of a daemon that exits at once', stop, 1.3),
    ['import of the package', `+${ms(load.more)}`, '', 'at most 5 ms', load.more <= 5],
    [
      'the same by its name, which Node resolves',
      `+${ms(byName.more)}`,
      '',
      'at most 5 ms',
      byName.more <= 5,
    ],
    more('resident memory of a daemon, over a bare Node with the same action (RSS)', memory.rss, 3),
    more('the same, shared pages divided (PSS)', memory.pss, 3),
    more('of it private', memory.own, 2),
    ['processes that stay', String(memory.processes), '', '1: the daemon', memory.processes === 1],
  ]
  if (calls === undefined) {
    table.push(['system calls and child processes', 'skipped: no strace', '', '', undefined])
    return table
  }
  table.push(['child processes of an import', String(calls.children), '', '0', calls.children === 0])
  const same = new Set(calls.counts.map(({ count }) => count)).size === 1
  for (const { limit, more, count } of calls.counts) {
    const what = `system calls from fork to execve, \`ulimit -n ${limit}\`, ${more === 0 ? 'none' : more} more descriptors open`
    const has = count !== undefined
    table.push([what, has ? String(count) : 'skipped: limit refused', '', 'the same', has ? same : undefined])
  }
  return table
}

function page(table) {
  const verdict = (held) => (held === undefined ? '' : held ? 'yes' : '**no**')
  const lines = table.map(([what, got, relative, target, held]) => [
    what,
    got,
    relative,
    target,
    verdict(held),
  ])
  const text = (cells) => `| ${cells.join(' | ')} |`
  return `# Benchmarks

\`npm run bench\` writes this page. Each row is the median of ${RUNS} runs, of times of ${TIMED_RUNS}. What is compared ran in
turns, A B A B, in the same minutes on the same machine. A *boot* is what a bare Node takes for an empty program, just
before: a daemon is a second Node, so that two boots are the floor of a start. The programs import the package by its path.

- ${cpus()[0]?.model.trim()}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB; Linux ${release()}
- Node ${process.versions.node}, V8 ${process.versions.v8}; tsdaemonize ${version()}

| what | median | relative | target | held |
|---|---|---|---|---|
${lines.map(text).join('\n')}

The pidfile was on ${tmpfs === undefined ? 'a disk' : `a tmpfs (\`${tmpfs}\`), as \`/run\` is`}. Memory is read from \`/proc/PID/smaps_rollup\`, ${SETTLED / 1000} s after the start,
of a daemon and of a bare Node side by side. System calls are counted with strace, in child 1 up to its fork and in child 2
up to the execve.

Also measured: [the executable](benchmarks-program.md), [syslog](benchmarks-syslog.md), and [other ways to a background process](benchmarks-peers.md).
`
}

function version() {
  return JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')).version
}

function print(table) {
  const width = Math.max(...table.map(([what]) => what.length)) + 2
  for (const [what, got, relative, target, held] of table) {
    const verdict = held === undefined ? '' : held ? 'held' : 'MISSED'
    console.log(
      [what.padEnd(width), got.padEnd(12), relative.padEnd(12), target.padEnd(18), verdict]
        .join('')
        .trimEnd(),
    )
  }
}

try {
  console.log(`${TIMED_RUNS} runs of times, ${RUNS} of memory; this takes about ${RUNS * 6} s\n`)
  const calls = await measureCalls()
  const table = rows(measureTimes(), await measureMemory(), calls)
  print(table)
  if (!flags.print) writeFileSync(new URL('../docs/benchmarks.md', import.meta.url), page(table))
} finally {
  for (const pid of processesOf(dir)) process.kill(Number(pid), 'SIGKILL')
  for (const path of [run, dir]) rmSync(path, { recursive: true, force: true })
}

// The other parts, with pages of their own.
await import('./bench/program.mjs')
await import('./bench/syslog.mjs')
