// What the program `tsdaemonize` costs, beside a bare Node and /bin/true on the same machine. Measurements, not tests.
// `npm run bench` runs this; it writes docs/benchmarks-program.md.
//
//   node scripts/bench/program.mjs [--runs=25] [--print]    --print leaves the page as it is

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parsed } from '../arguments.mjs'
import { median, processesOf } from './measure.mjs'
import { endOf, timeOf } from './timed.mjs'

const { values: flags } = parsed({ options: { runs: { type: 'string' }, print: { type: 'boolean' } } })
const RUNS = Math.max(5, Number(flags.runs ?? 25))
/** What takes a millisecond is done more often. */
const SHORT_RUNS = 8 * RUNS
const DAEMONS = 100
const GIGABYTES = 2

const file = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const executable = file('tsdaemonize')
const library = new URL('../../dist/index.js', import.meta.url).href
const dir = mkdtempSync(join(tmpdir(), 'tsdaemonize-bench-'))
const env = { PATH: process.env.PATH, RUNTIME_DIRECTORY: dir, BENCH: dir }
const time = (...command) => timeOf(command, { env, cwd: dir })
const end = (name) => endOf(readFileSync(join(dir, `${name}.pid`), 'utf8').trim(), { env })

function program(name, source) {
  writeFileSync(join(dir, name), source)
  return join(dir, name)
}

/** What keeps a Node alive. */
const STAY = 'setInterval(() => {}, 2 ** 31 - 1)'
const empty = program('empty.mjs', '')
const ours = program(
  'ours.mjs',
  `import { Daemon } from '${library}'
  class Waiting extends Daemon { action() { return new Promise(() => {}) } }
  await new Waiting({ stderr: '${dir}/ours.log' }).start()`,
)
const byDescriptor = program(
  'descriptor.mjs',
  `process.getBuiltinModule('fs').writeSync(Number(process.env.READY_FD), '\\n')\n${STAY}`,
)
/** Starts and stops the daemon once for each line that it reads, and says how long the start took. */
const launcher = program(
  'launcher.mjs',
  `import { createInterface } from 'node:readline'
  import { Daemon } from '${library}'
  const ballast = Array.from({ length: Number(process.argv[2]) * 16 }, () => Buffer.alloc(2 ** 26, 1))
  const daemon = new Daemon({ name: 'ours', script: '${ours}' })
  console.log('here')
  for await (const line of createInterface({ input: process.stdin })) {
    const begun = performance.now()
    await daemon.start()
    console.log(performance.now() - begun)
    await daemon.stop()
    console.log('stopped', ballast.length)
  }`,
)

/** A launcher with so many gigabytes of Buffers, which starts when it is told to. */
async function launching(gigabytes) {
  const child = spawn(process.execPath, [launcher, String(gigabytes)], {
    env,
    cwd: dir,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const said = async () => {
    const { value, done } = await lines.next()
    if (done) throw new Error(`The launcher with ${gigabytes} GB has ended`)
    return value
  }
  await said()
  return {
    async start() {
      child.stdin.write('\n')
      const spent = Number(await said())
      await said()
      return spent
    },
    async end() {
      child.stdin.end()
      await once(child, 'close')
    },
  }
}

const started = (name, ready, ...command) => [
  ...[executable, 'start', '--name', name, '--pid-file-path', dir],
  ...['--stdout', '/dev/null', '--stderr', '/dev/null', ...ready, ...command],
]
const asked = (verb, name) => [executable, verb, '--pid-file-path', dir, name]

/** The medians of what is measured, in turns. */
class Turns {
  #spent = new Map()
  async take(what, measure) {
    if (!this.#spent.has(what)) this.#spent.set(what, [])
    this.#spent.get(what).push(await measure())
  }
  of(what) {
    return median(this.#spent.get(what))
  }
}

/** Starts and ends: whole Nodes. */
async function measureDaemons(turns) {
  const launchers = [await launching(0), await launching(GIGABYTES)]
  for (let run = 0; run < RUNS; run++) {
    await turns.take('boot', () => time(process.execPath, empty))
    await turns.take('start()', launchers[0].start)
    await turns.take('start() 2 GB', launchers[1].start)
    await turns.take('start ours', () => time(...started('ours', ['--ready', 'handover'], ours)))
    await turns.take('stop ours', () => time(...asked('stop', 'ours')))
    await turns.take('start by descriptor', () =>
      time(...started('bare', ['--ready', 'fd'], process.execPath, byDescriptor)),
    )
    await turns.take('stop bare', () => time(...asked('stop', 'bare')))
    // The same two daemons, ended by a signal alone.
    time(...started('ours', ['--ready', 'handover'], ours))
    await turns.take('end ours', () => end('ours'))
    time(...started('bare', ['--ready', 'fd'], process.execPath, byDescriptor))
    await turns.take('end bare', () => end('bare'))
  }
  for (const each of launchers) await each.end()
}

/** Questions: processes of a millisecond. */
async function measureQuestions(turns) {
  const sleeping = ['--ready', 'alive=1', '/bin/sleep', '1000000']
  const ask = async (what, ...command) => {
    await turns.take(`true for ${what}`, () => time('/bin/true'))
    await turns.take(what, () => time(...command))
  }
  time(...started('ours', ['--ready', 'handover'], ours))
  for (let run = 0; run < SHORT_RUNS; run++) {
    await ask('status', ...asked('status', 'ours'))
    await ask(
      'ensure',
      executable,
      'ensure',
      '--name',
      'ours',
      '--pid-file-path',
      dir,
      '--ready',
      'handover',
      ours,
    )
  }
  for (let number = 1; number < DAEMONS; number++)
    time(...started(`sleeper-${number}`, sleeping.slice(0, 2), ...sleeping.slice(2)))
  for (let run = 0; run < SHORT_RUNS; run++) await ask('list', executable, 'list', '--pid-file-path', dir)
}

const ms = (number) => `${number.toFixed(number < 10 ? 2 : 1)} ms`
const held = (got, most) => (got <= most ? 'yes' : '**no**')

function rows(turns) {
  const boot = turns.of('boot')
  const ratio = (what, key, unit, name, most) => {
    const found = turns.of(key) / unit
    const target = most === undefined ? ['', ''] : [`at most ${most.toFixed(2)}`, held(found, most)]
    return [what, ms(turns.of(key)), `${found.toFixed(2)} ${name}`, ...target]
  }
  const more = (what, key, less, name, most) => {
    const found = turns.of(key) - turns.of(less)
    return [
      what,
      ms(turns.of(key)),
      `${name} ${found < 0 ? '-' : '+'} ${ms(Math.abs(found))}`,
      `at most + ${most} ms`,
      held(found, most),
    ]
  }
  const most = (what, key, limit) => [
    what,
    ms(turns.of(key)),
    '',
    `at most ${limit} ms`,
    held(turns.of(key), limit),
  ]
  return [
    ['boot of a bare Node (`node empty.mjs`)', ms(boot), '1.00 boots', '', ''],
    ratio('`start()` in an ordinary launcher', 'start()', boot, 'boots'),
    more(
      `\`start()\` in a launcher with ${GIGABYTES} GB of Buffers`,
      'start() 2 GB',
      'start()',
      'the row above',
      30,
    ),
    ratio('`tsdaemonize start SCRIPT`, a daemon of the library', 'start ours', boot, 'boots', 1.15),
    ratio('`tsdaemonize start --ready fd node SCRIPT`', 'start by descriptor', boot, 'boots', 1.05),
    more('`tsdaemonize stop` of a daemon of the library', 'stop ours', 'end ours', 'its own end', 3),
    more('`tsdaemonize stop` of a bare Node', 'stop bare', 'end bare', 'its own end', 3),
    ratio('`tsdaemonize status`', 'status', turns.of('true for status'), '`/bin/true`', 2),
    most('`tsdaemonize ensure` of one that runs', 'ensure', 3),
    most(`\`tsdaemonize list\` of ${DAEMONS} daemons`, 'list', 10),
  ]
}

const page = (table, load) => `# What the program costs

\`npm run bench\` writes this page; \`node scripts/bench/program.mjs\` writes it alone. Each row is the median of ${RUNS} runs,
the last three of ${SHORT_RUNS}. They are times of whole processes, from their creation to their end, measured by a program in C
that starts them. What is compared ran in turns on the same machine, a *boot* (an empty program in a bare Node) and a
\`/bin/true\` among it.

- ${cpus()[0]?.model.trim()}, ${cpus().length} cores; Linux ${release()}; Node ${process.versions.node}; load when it began: ${load.toFixed(1)}

| what | median | relative | target | held |
|---|---|---|---|---|
${table.map((cells) => `| ${cells.join(' | ')} |`).join('\n')}

\`start\` waits until the daemon is ready, \`stop\` until it has ended. *Its own end* is the time from a plain SIGTERM to the end
of the same daemon. On a machine that does nothing else two runs differ by some per cent, and what takes a millisecond by
more. Where the load was above zero, other work has taken its share of the CPUs: then read the ratios, and not the times. [\`benchmarks-peers.md\`](benchmarks-peers.md) has the same commands
beside pm2, start-stop-daemon and \`setsid -f\`.
`

try {
  mkdirSync(dir, { recursive: true })
  console.log(`${RUNS} runs of starts, ${SHORT_RUNS} of questions; this takes about ${RUNS * 2} s\n`)
  const [load] = loadavg()
  const turns = new Turns()
  await measureDaemons(turns)
  await measureQuestions(turns)
  const text = page(rows(turns), load)
  console.log(text)
  if (!flags.print) writeFileSync(file('docs/benchmarks-program.md'), text)
} finally {
  for (const pid of processesOf(dir)) {
    try {
      process.kill(Number(pid), 'SIGKILL')
    } catch {}
  }
  // A supervisor may still write how its daemon has ended.
  rmSync(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
}
