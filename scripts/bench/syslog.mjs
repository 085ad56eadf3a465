// What a message to syslog costs, side by side: this package, the others that people use, and syslog(3)
// in C, all to one receiver. In a mount namespace with a /dev/log of its own. Writes
// docs/benchmarks-syslog.md.

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url))
const here = fileURLToPath(new URL('syslog/', import.meta.url))
const cache = join(root, '.cache/bench-syslog')
const PORT = 15_514
const RUNS = 3
/** The packages to compare with, by what must be installed for each. */
const peers = {
  'modern-syslog': ['modern-syslog@1.2.0'],
  posix: ['posix@4.2.0'],
  'syslog-client': ['syslog-client@1.1.1'],
  'winston-syslog': ['winston-syslog@2.7.1', 'winston@3'],
}
const scenarios = {
  burst: { bursts: 60, per: 1000, gap: 20_000 },
  few: { bursts: 600, per: 5, gap: 1000 },
  bulk: { bursts: 60, per: 1000, gap: 0 },
}

if (process.argv[2] === 'inside') await inside(process.argv[3])
else await outside()

/** Builds and installs; then runs the rest where /dev/log is ours. */
async function outside() {
  mkdirSync(cache, { recursive: true })
  for (const name of ['receiver', 'syslog3']) {
    const built = spawnSync('cc', ['-O2', '-Wall', '-o', join(cache, name), join(here, `${name}.c`)], {
      stdio: 'inherit',
    })
    if (built.status !== 0) return fail('The receiver and the C program need a C compiler, `cc`.')
  }
  const missing = Object.entries(peers).flatMap(([name, packages]) => (install(name, packages) ? [] : [name]))
  const results = mkdtempSync(join(tmpdir(), 'bench-'))
  const file = join(results, 'results.json')
  const user = process.getuid() === 0 ? [] : ['--user', '--map-root-user']
  const args = [...user, '--mount', process.execPath, fileURLToPath(import.meta.url), 'inside', file]
  const { status } = spawnSync('unshare', args, { stdio: 'inherit' })
  if (status !== 0) return fail('The benchmark of syslog needs a mount namespace (unshare(1)).')
  const text = report(JSON.parse(readFileSync(file, 'utf8')), missing)
  rmSync(results, { recursive: true })
  writeFileSync(join(root, 'docs/benchmarks-syslog.md'), text)
  console.log(text)
}

function fail(message) {
  console.error(message)
  process.exitCode = 1
}

/** Whether the package is there and its native part is built. */
function install(name, packages) {
  const dir = join(cache, name)
  mkdirSync(dir, { recursive: true })
  const loads = () =>
    spawnSync(
      process.execPath,
      ['-e', `require(${JSON.stringify(name)})${name.startsWith('winston') ? ";require('unix-dgram')" : ''}`],
      { cwd: dir },
    ).status === 0
  if (loads()) return true
  if (!existsSync(join(dir, 'package.json'))) writeFileSync(join(dir, 'package.json'), '{"private":true}')
  console.log(`Installing ${packages.join(', ')} ...`)
  spawnSync('npm', ['install', '--no-audit', '--no-fund', ...packages], { cwd: dir })
  // npm 11 builds native parts only of what was approved; others know no such command.
  spawnSync('npm', ['install-scripts', 'approve', '--all'], { cwd: dir })
  spawnSync('npm', ['rebuild'], { cwd: dir })
  return loads()
}

async function inside(file) {
  ownDev()
  const names = ['syslog(3)', 'tsdaemonize', ...Object.keys(peers)]
  const results = {}
  for (const [scenario, numbers] of Object.entries(scenarios)) {
    const runs = Object.fromEntries(names.map((name) => [name, []]))
    // In turns, so that what else the machine does meets all alike.
    for (let i = 0; i < RUNS; i++) {
      for (const name of names) {
        const run = await measure(name, numbers)
        if (run) runs[name].push(run)
      }
    }
    results[scenario] = Object.fromEntries(names.map((name) => [name, median(runs[name])]))
  }
  writeFileSync(file, JSON.stringify(results))
}

/** The median of each number; `undefined` where nothing was measured. */
function median(runs) {
  if (runs.length === 0) return undefined
  const middle = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]
  return Object.fromEntries(Object.keys(runs[0]).map((key) => [key, middle(runs.map((run) => run[key]))]))
}

/** A /dev with the devices that programs need, and room for a socket. */
function ownDev() {
  const script = `set -e
dev=$(mktemp -d)
mount -t tmpfs none "$dev"
for name in null zero full random urandom tty; do touch "$dev/$name"; mount --bind "/dev/$name" "$dev/$name"; done
mkdir "$dev/shm"
ln -s /proc/self/fd "$dev/fd"
mount --rbind "$dev" /dev`
  const { status } = spawnSync('sh', ['-c', script], { stdio: 'inherit' })
  if (status !== 0) process.exit(1)
}

/** One run, with a receiver of its own. */
async function measure(name, { bursts, per, gap }) {
  const receiver = spawn(join(cache, 'receiver'), ['/dev/log', String(PORT)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let said = ''
  receiver.stdout.on('data', (data) => {
    said += data
  })
  const ended = new Promise((resolve) => receiver.on('close', resolve))
  while (!said.includes('ready')) await sleep(5)
  const numbers = [bursts, per, gap].map(String)
  const [command, args] =
    name === 'syslog(3)'
      ? [join(cache, 'syslog3'), numbers]
      : [process.execPath, [join(here, 'log.mjs'), name, ...numbers]]
  const env = { ...process.env, MODULES: cache, PORT: String(PORT), LIBRARY: join(root, 'dist/index.js') }
  const { stdout, status } = spawnSync(command, args, { env, encoding: 'utf8', timeout: 120_000 })
  await sleep(200)
  receiver.kill('SIGTERM')
  await ended
  if (status !== 0) return undefined
  const { time, cpu } = JSON.parse(stdout)
  const count = bursts * per
  const { received, seconds, disorder, twice } = JSON.parse(said.split('\n')[1])
  return {
    time: time / count,
    cpu: cpu / count,
    rate: received / seconds,
    lost: count - (received - twice),
    disorder,
  }
}

function report(results, missing) {
  const { burst, few, bulk } = results
  const names = Object.keys(burst).filter((name) => burst[name] && few[name] && bulk[name])
  const rows = names.map((name) => {
    const all = [burst[name], few[name], bulk[name]]
    const sum = (key) => all.reduce((total, one) => total + one[key], 0)
    const times = [burst[name].cpu, burst[name].time, few[name].time].map((time) => time.toFixed(2))
    const rate = (bulk[name].rate / 1000).toFixed(0)
    return `| ${[name, ...times, rate, sum('lost'), sum('disorder')].join(' | ')} |`
  })
  const built = missing.length === 0 ? '' : `\nNot built here: ${missing.join(', ')}.\n`
  return `# What a message to syslog costs

Written by \`node scripts/bench/syslog.mjs\`, which \`npm run bench\` runs.

Messages of 100 bytes, all to the same receiver, a C program that only counts: at \`/dev/log\`, and, for
\`syslog-client\`, which knows no datagrams there, at a UDP port. The median of three runs.

- **CPU**: what the main thread spends on a message, in the call and after it, in bursts of 1,000 with
  20 ms between (µs).
- **in the call**: how long the call holds the event loop, in these bursts (µs).
- **few a tick**: how long it does when each tick of 1 ms logs five messages (µs).
- **delivered**: thousands of messages a second that arrive, of 60,000 logged as fast as it goes.
- **lost**, **disorder**: messages that did not arrive within three seconds, or arrived behind a later one, in all three.

| | CPU | in the call | few a tick | delivered | lost | disorder |
|---|---:|---:|---:|---:|---:|---:|
${rows.join('\n')}
${built}
Node ${process.version}, Linux ${release()}, ${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}.
`
}
