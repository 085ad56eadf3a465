// The load: many starts and stops, many daemons at a time, and many who start, stop and kill one daemon at once. A
// sample; with --full all of it, and the report goes to docs/hostile.md.

import ava from 'ava'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { options, report, table } from '../suite.mjs'
import {
  command,
  daemonOf,
  destroy,
  kill,
  leftIn,
  library,
  locksOf,
  node,
  processesOf,
  until,
  world,
} from './world.mjs'

/** What the launcher may grow by over all its cycles: room for V8's heap, not for a leak in each. */
const GROWTH = 32 * 2 ** 20

/** Starts and stops `count` times from one process, which says what it holds before and after. */
async function cycles(count) {
  const w = world()
  try {
    const script = join(w.dir, 'cycles.mjs')
    writeFileSync(script, cyclesProgram(count))
    const running = command(w, process.execPath, ['--expose-gc', script], { limit: count * 10_000 + 60_000 })
    const { status, stdout, stderr } = await running
    if (status !== 0) return { wrong: [`status ${status}: ${stderr()}`] }
    const { before, after, daemons } = JSON.parse(stdout)
    const wrong = []
    if (after.fds !== before.fds) wrong.push(`descriptors: ${before.fds} before, ${after.fds} after`)
    if (after.threads > before.threads)
      wrong.push(`threads: ${before.threads} before, ${after.threads} after`)
    if (after.zombies > 0) wrong.push(`${after.zombies} zombies`)
    if (after.rss - before.rss > GROWTH) {
      wrong.push(`resident memory: ${before.rss} bytes before, ${after.rss} after`)
    }
    if (daemons !== count) wrong.push(`${daemons} different daemons of ${count}`)
    wrong.push(...leftIn(w))
    return { wrong, before, after }
  } finally {
    await destroy(w)
  }
}

function cyclesProgram(count) {
  return `import { Daemon } from '${library}'
import fs from 'node:fs'
import { once } from 'node:events'
class Sample extends Daemon {
  async action(signal) { await once(signal, 'abort') }
}
const sample = new Sample({ name: 'sample', pidFilePath: process.env.RUN, args: ['--'] })
function held() {
  globalThis.gc()
  const children = fs.readFileSync('/proc/thread-self/children', 'utf8').split(' ').filter(Boolean)
  return {
    fds: fs.readdirSync('/proc/self/fd').length,
    threads: fs.readdirSync('/proc/self/task').length,
    zombies: children.length,
    rss: process.memoryUsage.rss(),
  }
}
const daemons = []
async function cycle() {
  const { pid } = await sample.start()
  const stopped = await sample.stop()
  if (stopped?.pid !== pid || stopped.signal !== 'SIGTERM') throw new Error('stopped ' + JSON.stringify(stopped) + ', not ' + pid)
  if (fs.readdirSync(process.env.RUN).length > 0) throw new Error('a file is left')
  // A pid comes back after a while: not so soon.
  daemons.push(pid)
}
for (let i = 0; i < 10; i++) await cycle()
daemons.length = 0
const before = held()
for (let i = 0; i < ${count}; i++) await cycle()
// Before process.stdout is asked for: it is opened then.
const after = held()
const fresh = daemons.filter((pid, i) => pid !== daemons[i - 1])
process.stdout.write(JSON.stringify({ before, after, daemons: fresh.length }))
`
}

/** `count` daemons with their own names at a time. */
async function many(count) {
  const w = world()
  const wrong = []
  const names = Array.from({ length: count }, (_, i) => `sample-${i}`)
  const each = async (verb) => {
    const queue = names.values()
    const work = async () => {
      for (const name of queue) {
        const { status, stderr } = await node(w, verb, { env: { NAME: name } })
        if (status !== 0) wrong.push(`${verb} of ${name}: status ${status}, ${stderr()}`)
      }
    }
    await Promise.all(Array.from({ length: 4 }, work))
  }
  try {
    await each('start')
    const pids = names.map((name) => daemonOf(w, name))
    if (new Set(pids).size !== count || pids.includes(undefined))
      wrong.push('not every name has its own daemon')
    const running = processesOf(w).length
    if (running !== count) wrong.push(`${running} processes, for ${count} daemons`)
    await each('status')
    await each('stop')
    wrong.push(...leftIn(w))
    return { wrong }
  } finally {
    await destroy(w)
  }
}

const RACERS = 8
/** Between two quiet moments, in milliseconds. */
const ROUND = 4000

/** Eight that start, stop, restart and kill one daemon, and each other, at random. */
async function race(seconds) {
  const w = world()
  const wrong = []
  const done = {}
  const running = new Set()
  let rounds = 0
  try {
    const deadline = performance.now() + seconds * 1000
    while (performance.now() < deadline && wrong.length === 0) {
      const end = performance.now() + ROUND
      await Promise.all(
        Array.from({ length: RACERS }, async () => {
          while (performance.now() < end) wrong.push(...(await step(w, running, done)))
        }),
      )
      wrong.push(...(await quiet(w)))
      rounds++
    }
    const { status, stderr } = await node(w, 'stop')
    if (status !== 0) wrong.push(`the last stop: status ${status}, ${stderr()}`)
    wrong.push(...leftIn(w))
    return { wrong, rounds, done }
  } finally {
    await destroy(w)
  }
}

async function step(w, running, done) {
  const verbs = ['start', 'start', 'start', 'stop', 'restart', 'kill', 'kill command']
  const verb = verbs[Math.floor(Math.random() * verbs.length)]
  done[verb] = (done[verb] ?? 0) + 1
  if (verb === 'kill') {
    await sleep(Math.random() * 200)
    const pid = Number(locksOf(w).content)
    if (pid > 0 && processesOf(w).includes(pid)) kill(pid)
    return []
  }
  if (verb === 'kill command') {
    await sleep(Math.random() * 200)
    const [victim] = running
    if (victim !== undefined) kill(victim)
    return []
  }
  const run = node(w, verb, { limit: 60_000 })
  running.add(run.pid)
  const { status, signal, late, stderr } = await run
  running.delete(run.pid)
  if (late) return [`${verb} did not end within a minute`]
  // Another may have killed it, or the daemon that it was starting.
  if (signal === 'SIGKILL' || status === 0 || status === 1) return []
  return [`${verb}: status ${status}, signal ${signal}, ${stderr()}`]
}

/** Nobody does anything: zero or one daemon, and the pidfile agrees. */
async function quiet(w) {
  // The guardians of launchers that were killed need a moment, and so does a daemon that was killed: it
  // has its locks when it has no environment any more by which it is found.
  const isLocked = ({ flock, held, starting }) => flock || held || starting
  const isSettled = () => {
    const all = processesOf(w)
    if (all.length === 0) return !isLocked(locksOf(w))
    return all.length === 1 && daemonOf(w) === all[0]
  }
  await until(isSettled, 60_000)
  const all = processesOf(w)
  const locks = locksOf(w)
  if (all.length > 1) return [`${all.length} processes: ${leftIn(w).join(', ')}`]
  if (all.length === 1 && daemonOf(w) !== all[0]) {
    return [`process ${all[0]} runs, and the pidfile is ${JSON.stringify(locks)}`]
  }
  if (all.length === 0 && isLocked(locks)) {
    return [`nothing runs, and the pidfile is ${JSON.stringify(locks)}`]
  }
  const { status, stdout } = await node(w, 'status')
  const says = status === 0 ? `running: pid ${all[0]},` : 'not running'
  const expected = all.length === 1 ? [0] : [1, 3]
  if (!expected.includes(status) || !stdout.includes(says)) return [`status: ${status}, ${stdout}`]
  return []
}

const size = options.full
  ? { cycles: 1000, daemons: 100, seconds: 600 }
  : { cycles: 50, daemons: 20, seconds: 20 }
let loads = 0
const rows = []
const notes = []

function load(name, part, note) {
  loads++
  ava.serial(name, async (t) => {
    const begun = performance.now()
    const { wrong, ...found } = await part()
    const minutes = (performance.now() - begun) / 60_000
    rows.push([name, minutes.toFixed(1), wrong.join('; ') || 'none'])
    if (note !== undefined && wrong.length === 0) notes.push(note(found))
    t.deepEqual(wrong, [])
  })
}

const held = ({ fds, threads, rss }) =>
  `${fds} descriptors, ${threads} threads and ${(rss / 2 ** 20).toFixed(0)} MiB`

load(
  `${size.cycles} starts and stops from one process leave nothing in it`,
  () => cycles(size.cycles),
  ({ before, after }) => `The process held ${held(before)} before, and ${held(after)} after.`,
)
load(`${size.daemons} daemons with their own names run at a time`, () => many(size.daemons))
load(
  `after ${RACERS} raced for ${size.seconds} s there is one daemon or none`,
  () => race(size.seconds),
  ({ done, rounds }) => {
    const did = Object.entries(done).map(([verb, count]) => `${count} × ${verb}`)
    return `The race: ${did.join(', ')}; ${rounds} quiet moments were looked at.`
  },
)

if (options.full) {
  ava.after.always('the report', (t) => {
    if (rows.length < loads) return t.log('no report: not all of it was tried')
    const found = table(['load', 'minutes', 'violations'], rows)
    report('docs/hostile.md', 'load', [found, ...notes].join('\n\n'))
  })
}
