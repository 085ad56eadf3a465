// What other ways to a background process of Node do and cost, beside ours: `npm run bench:peers`.
// Measurements, not tests. Writes docs/benchmarks-peers.md and its plots.
//
//   node scripts/bench/peers.mjs [--runs=15] [--print]    --print leaves the page as it is

import { spawnSync } from 'node:child_process'
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
import { cpus, loadavg, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parsed } from '../arguments.mjs'
import { MIB, median, memory, processesOf } from './measure.mjs'
import { bars } from './plot.mjs'
import { timeOf } from './timed.mjs'

const { values: flags } = parsed({ options: { runs: { type: 'string' }, print: { type: 'boolean' } } })
const RUNS = Math.max(3, Number(flags.runs ?? 15))
/** A process is looked at so long after its start, in milliseconds. */
const SETTLED = 1500
/** For a daemon to work, in milliseconds. */
const PATIENCE = 30_000
const [load] = loadavg()
const OURS = ['tsdaemonize', 'tsdaemonize start SCRIPT', 'tsdaemonize start node']

const file = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url))
const modules = file('.cache/peers/node_modules')
const dir = mkdtempSync(join(tmpdir(), 'tsdaemonize-peers-'))
const env = { PATH: process.env.PATH, HOME: dir, RUNTIME_DIRECTORY: dir, BENCH: dir }

if (!existsSync(modules)) {
  console.log('Installing the peers into .cache/peers ...')
  mkdirSync(file('.cache/peers'), { recursive: true })
  const args = ['install', '--prefix', file('.cache/peers'), '--no-save', '--no-audit', '--ignore-scripts']
  spawnSync('npm', [...args, 'daemonize2', 'daemonize-process', 'forever', 'pm2'], { stdio: 'inherit' })
}

function program(name, source) {
  writeFileSync(join(dir, name), source)
  return join(dir, name)
}

/** The daemon's own work: to say when it works, and to live; with DIES, to throw at its start. */
const work = `
  if (process.env.DIES) throw new Error('cannot start')
  const { READY_FD } = process.env
  if (READY_FD) process.getBuiltinModule('fs').writeSync(Number(READY_FD), '\\n')
  process.getBuiltinModule('fs').writeFileSync('${dir}/works', [process.pid, performance.timeOrigin + performance.now()].join(' '))
  setInterval(() => {}, 2 ** 31 - 1)`
const job = program('job.cjs', work)

const ours = (name, last) =>
  program(
    name,
    `import { Daemon } from '${new URL('../../dist/index.js', import.meta.url).href}'
    class Job extends Daemon { async action() { ${work}; await new Promise(() => {}) } setup() { if (process.env.DIES) throw new Error('cannot start') } }
    await new Job().${last}`,
  )
const served = ours('ours.mjs', 'serviced()')
const started = ours('job.mjs', 'start()')
const tsdaemonize = file('tsdaemonize')
const at = ['--pid-file-path', dir]
/** A command that says something goes on. */
const asked = { list: [tsdaemonize, 'list', ...at], stop: [tsdaemonize, 'stop', ...at, 'job'] }
const pidfile = ['--pidfile', `${dir}/ssd.pid`]

/** Each way: the command that starts; where there are some, what lists and stops, and what is done before. */
const WAYS = [
  { name: '`setsid -f node`', plot: 'setsid -f node', start: ['setsid', '-f', process.execPath, job] },
  {
    name: '**tsdaemonize**: `node job.mjs start`',
    plot: OURS[0],
    start: [process.execPath, served, 'start'],
    list: [process.execPath, served, 'status'],
    stop: [process.execPath, served, 'stop'],
  },
  {
    name: '**tsdaemonize**: `tsdaemonize start job.mjs`, with the library',
    plot: OURS[1],
    start: [tsdaemonize, 'start', '--name', 'job', ...at, '--ready', 'handover', started],
    ...asked,
  },
  {
    name: '**tsdaemonize**: `tsdaemonize start --ready fd node job.cjs`',
    plot: OURS[2],
    start: [tsdaemonize, 'start', '--name', 'job', ...at, '--ready', 'fd', process.execPath, job],
    ...asked,
  },
  {
    command: 'start-stop-daemon',
    start: [
      ...['start-stop-daemon', '--start', '--background', '--make-pidfile', ...pidfile],
      ...['--startas', process.execPath, '--', job],
    ],
    list: ['start-stop-daemon', '--status', ...pidfile],
    stop: ['start-stop-daemon', '--stop', '--retry', '30', ...pidfile],
  },
  {
    module: 'daemonize-process',
    start: [
      process.execPath,
      program(
        'process.mjs',
        `import { daemonizeProcess } from '${modules}/daemonize-process/dist/index.js'\ndaemonizeProcess()\n${work}`,
      ),
    ],
  },
  {
    module: 'daemonize2',
    start: [
      process.execPath,
      program(
        'two.cjs',
        `require('${modules}/daemonize2').setup({ main: '${job}', name: 'job', pidfile: '${dir}/two.pid' }).start()`,
      ),
    ],
  },
  {
    module: 'forever',
    start: [process.execPath, `${modules}/forever/bin/forever`, 'start', '--minUptime', '1000', job],
    list: [process.execPath, `${modules}/forever/bin/forever`, 'list'],
    stop: [process.execPath, `${modules}/forever/bin/forever`, 'stop', job],
  },
  {
    module: 'pm2',
    // Its own daemon is there already, as on a machine that uses it.
    before: [process.execPath, `${modules}/pm2/bin/pm2`, 'ping'],
    start: [process.execPath, `${modules}/pm2/bin/pm2`, 'start', job],
    list: [process.execPath, `${modules}/pm2/bin/pm2`, 'list'],
    stop: [process.execPath, `${modules}/pm2/bin/pm2`, 'stop', 'job'],
  },
]
  .filter(({ module }) => module === undefined || existsSync(join(modules, module)))
  .filter(({ command }) => command === undefined || spawnSync(command, ['--version']).status === 0)
  .map((way) => (way.module === undefined ? way : { ...way, name: titled(way.module), plot: way.module }))
  .map((way) => (way.command === undefined ? way : { ...way, name: `\`${way.command}\``, plot: way.command }))

function titled(module) {
  return `${module} ${JSON.parse(readFileSync(join(modules, module, 'package.json'), 'utf8')).version}`
}

async function clear() {
  for (let left = processesOf(dir); left.length > 0; left = processesOf(dir)) {
    for (const pid of left) {
      try {
        process.kill(Number(pid), 'SIGKILL')
      } catch {}
    }
    await sleep(10)
  }
  for (const name of readdirSync(dir).filter((name) =>
    /^(?:\.forever|\.pm2|works|.*\.pid|.*\.state)$/.test(name),
  )) {
    rmSync(join(dir, name), { recursive: true })
  }
}

const RUN = { cwd: dir, stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8', timeout: 60_000 }

/** One start, and what is there afterwards. */
async function take({ before, start, list, stop }) {
  if (before) spawnSync(before[0], before.slice(1), { ...RUN, env, stdio: 'ignore' })
  const begun = performance.timeOrigin + performance.now()
  // What a careless launcher has: a descriptor open.
  const script = 'exec 200< /etc/hostname; exec "$@"'
  spawnSync('bash', ['-c', script, 'bash', ...start], { ...RUN, env, stdio: 'ignore' })
  const returned = performance.timeOrigin + performance.now() - begun
  while (!existsSync(`${dir}/works`) || readFileSync(`${dir}/works`, 'utf8') === '') {
    if (performance.timeOrigin + performance.now() - begun > PATIENCE)
      throw new Error(`${start.join(' ')}: nothing works`)
    await sleep(1)
  }
  const [pid, at] = readFileSync(`${dir}/works`, 'utf8').split(' ')
  await sleep(SETTLED)
  const stay = [...new Set([...processesOf(dir), ...inPidfile()])]
  const asked = { env, cwd: dir }
  const result = {
    returned,
    works: Number(at) - begun,
    stay: stay.length,
    memory: stay.map(memory).reduce((sum, { pss }) => sum + pss, 0),
    inherits: hasOpen(pid, '/etc/hostname'),
    list: list && timeOf(list, asked),
    stop: stop && timeOf(stop, asked),
  }
  await clear()
  return result
}

/** A supervisor has an environment of its own. */
function inPidfile() {
  return existsSync(`${dir}/job.pid`) ? [readFileSync(`${dir}/job.pid`, 'utf8').trim()] : []
}

function hasOpen(pid, path) {
  return readdirSync(`/proc/${pid}/fd`).some((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`) === path
    } catch {
      return false
    }
  })
}

/** What is said of a daemon that throws as soon as it runs: the command's exit status. */
async function takeDying({ before, start }) {
  if (before) spawnSync(before[0], before.slice(1), { ...RUN, env, stdio: 'ignore' })
  const { status } = spawnSync(start[0], start.slice(1), {
    ...RUN,
    env: { ...env, DIES: '1' },
    stdio: 'ignore',
  })
  await clear()
  return status
}

const ms = (number) => (number === undefined ? '' : `${number.toFixed(number < 10 ? 1 : 0)} ms`)
const mib = (bytes) => `${(bytes / MIB).toFixed(0)} MiB`

function page(rows) {
  const text = (cells) => `| ${cells.join(' | ')} |`
  const lines = rows.map((row) =>
    text([
      row.name,
      ms(row.returned),
      ms(row.works),
      row.stay,
      mib(row.memory),
      row.dying === 0 ? '**success**' : 'failure',
      row.inherits ? '**open**' : 'closed',
      ms(row.list),
      ms(row.stop),
    ]),
  )
  return `# Beside others

\`npm run bench:peers\` writes this page. Each figure is the median of ${RUNS} starts, all ways in turns, on the same machine,
of a daemon that does nothing: until the command that starts it has ended, and until the daemon itself works, both from
the moment when the command was begun. A launcher waits until the daemon is ready if it is to tell the truth;
\`setsid -f node\` waits for nothing, and is the floor.

- ${cpus()[0]?.model.trim()}, ${cpus().length} cores; Linux ${release()}; Node ${process.versions.node}; load when it began: ${load.toFixed(1)}

![until the daemon works](plots/peers-works.svg)

![memory](plots/peers-memory.svg)

![questions](plots/peers-lists.svg)

| way | command ends | daemon works | processes that stay | their memory (PSS) | of a daemon that throws at its start it says | descriptor 200 of the launcher | lists, or says that it runs | stops it |
|---|---|---|---|---|---|---|---|---|
${lines.join('\n')}

Where the load was above zero, other work has taken its share of the CPUs. pm2's own daemon was running already.
forever keeps a monitor beside each daemon, and pm2 its own daemon for all.
`
}

try {
  const taken = new Map(WAYS.map((way) => [way, []]))
  for (let run = 0; run < RUNS; run++) for (const way of WAYS) taken.get(way).push(await take(way))
  const rows = []
  for (const [way, results] of taken) {
    const of = (key) =>
      results[0][key] === undefined ? undefined : median(results.map((result) => result[key]))
    const [{ inherits }] = results
    const figures = {
      returned: of('returned'),
      works: of('works'),
      stay: of('stay'),
      memory: of('memory'),
      list: of('list'),
      stop: of('stop'),
    }
    rows.push({ ...way, ...figures, inherits, dying: await takeDying(way) })
  }
  const text = page(rows)
  console.log(text)
  if (!flags.print) {
    mkdirSync(file('docs/plots'), { recursive: true })
    const plot = (name, title, key, unit) =>
      writeFileSync(
        file(`docs/plots/${name}.svg`),
        bars(
          title,
          rows.filter((row) => row[key] !== undefined).map((row) => [row.plot, row[key], unit(row[key])]),
          OURS,
        ),
      )
    plot('peers-works', 'From the command to a daemon that works', 'works', ms)
    plot('peers-memory', 'Memory of all processes that stay (PSS)', 'memory', mib)
    plot('peers-lists', 'What runs? (`list`, or else `status`)', 'list', ms)
    writeFileSync(file('docs/benchmarks-peers.md'), text)
  }
} finally {
  await clear()
  rmSync(dir, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
}
