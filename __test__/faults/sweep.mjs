// The fault sweep: a start and a stop are traced once, to find every system call that they make;
// then, for each of them, the same again, with that process killed or that call failing there. What
// must hold afterwards is checked from outside.

import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { errnoOf, plausible } from './errnos.mjs'
import {
  allProcesses,
  command,
  daemonOf,
  destroy,
  isAlive,
  leftIn,
  node,
  processesOf,
  stat,
  until,
  world,
} from './world.mjs'

const root = fileURLToPath(new URL('../..', import.meta.url))
const tracer = join(root, 'target/debug/faults')
/** The executable under test; another one, such as that of musl, may be named. */
const tsdaemonize = process.env.TSDAEMONIZE ?? join(root, 'tsdaemonize')

/** Builds the tracer; false where it cannot be had. */
export function buildTracer() {
  const args = ['build', '--quiet', '--locked', '--package', 'faults']
  const { status } = spawnSync('cargo', args, { cwd: root, stdio: 'inherit' })
  // Without arguments it says how it is used, with status 2; where it knows no such machine, 77.
  return status === 0 && spawnSync(tracer).status === 2
}

/** The traced start's own limit, in milliseconds: some faults last as long. */
const START_TIMEOUT = 4000
/** No launcher, and no stop, may take longer than this: that limit, the launcher's margin beyond it, and
 * what a busy machine needs. */
const BOUND = START_TIMEOUT + 3000 + 30_000
/** For processes to end that end by themselves. */
const SETTLE = START_TIMEOUT + 7000

const isRoot = process.getuid() === 0

/** What is swept: `start`; what more a daemon does that drops its privileges; `stop` itself; the daemon's way out; and a
 * start by the executable, of a script that uses the library (`command`) and of any other program (`foreign`). */
export const SWEEPS = ['start', ...(isRoot ? ['drop'] : []), 'stop', 'leave', 'command', 'foreign']

/** The command line of a start by the executable. */
function startOf(w, sweep, limit) {
  const options = ['--name', 'sample', '--pid-file-path', w.run, '--start-timeout', `${limit}`]
  const log = join(w.dir, 'log')
  const program =
    sweep === 'command'
      ? ['--ready', 'handover', w.script, 'start']
      : ['--stop-timeout', '1500', '--stdout', log, '--stderr', log, 'sleep', '1000']
  return [tsdaemonize, 'start', ...options, ...program]
}

/** The user as whom the daemon of `drop` runs. */
const NOBODY = '65534'

/** Whether the executable is the launcher. */
const isCommand = (sweep) => sweep === 'command' || sweep === 'foreign'

/** Runs one sweep's program under the tracer. */
async function traced(w, sweep, fault = []) {
  const out = join(w.dir, 'calls')
  const options = ['--out', out, '--dir', w.run, ...fault]
  if (sweep === 'start' || sweep === 'drop') {
    const program = ['--', process.execPath, w.script, 'start']
    const env = sweep === 'drop' ? { AS: NOBODY } : {}
    if (fault.length > 0) env.START_TIMEOUT = START_TIMEOUT
    return command(w, tracer, [...options, ...program], { limit: BOUND, env })
  }
  if (isCommand(sweep)) {
    const limit = fault.length > 0 ? START_TIMEOUT : 60_000
    return command(w, tracer, [...options, '--', ...startOf(w, sweep, limit)], { limit: BOUND })
  }
  const started = await node(w, 'start')
  if (started.status !== 0) throw new Error(`a plain start failed: ${started.stderr()}`)
  const pid = daemonOf(w)
  if (pid === undefined) throw new Error('a plain start left no daemon')
  if (sweep === 'stop') {
    const program = ['--first', 'stop', '--', process.execPath, w.script, 'stop']
    return command(w, tracer, [...options, ...program], { limit: BOUND })
  }
  rmSync(`${out}.attached`, { force: true })
  const tracing = command(w, tracer, [...options, '--pid', String(pid)], { limit: BOUND })
  await until(() => readdirSync(w.dir).includes('calls.attached'), 60_000)
  const stopped = await node(w, 'stop', { limit: BOUND })
  const told = await tracing
  return { ...told, stop: stopped, pid }
}

/** How often a program that only fails under the tracer, which slows it down, may do so. */
const TRIES = 5

/** Every call that is swept. */
export async function listCalls(sweep) {
  const calls = (await traceCalls(sweep)).filter(({ phase }) => phase !== 'before')
  return calls.filter(({ role, phase, nth }) => {
    if (sweep === 'stop') return role === 'stop'
    // What is between the fork and the daemon's end is the same, whoever is the launcher.
    if (sweep === 'command') return role === 'launcher'
    // The proof looks at every thread in the same way.
    return sweep !== 'drop' || (role === 'daemon' && phase === 'main' && (nth <= 6 || nth % 8 === 0))
  })
}

/** Every call that one sweep's program makes, found by tracing: before it begins, too. */
export async function traceCalls(sweep, tries = TRIES) {
  const w = world()
  try {
    const told = await traced(w, sweep)
    if (told.status !== 0) throw new Error(`the tracer failed: ${told.stderr()}`)
    const { status } = told.stop ?? JSON.parse(told.stdout)
    if (status !== 0 && tries > 1) return await traceCalls(sweep, tries - 1)
    if (status !== 0) throw new Error(`${sweep}, traced: status ${status}, ${told.stderr()}`)
    return readFileSync(join(w.dir, 'calls'), 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => {
        const [role, phase, thread, comm, call, nth, args, path] = line.split('\t')
        const numbers = args.split(',').map((n) => Number.parseInt(n, 16))
        return { sweep, role, phase, thread, comm, call, nth: Number(nth), args: numbers, path }
      })
  } finally {
    await destroy(w)
  }
}

/** The points of a call: killed there, and each error. */
export function pointsOf(call) {
  const errors = plausible(call)
  const failing = errors.map((fault, error) => ({ ...call, fault, error, errors: errors.length }))
  return [{ ...call, fault: 'SIGKILL' }, ...failing]
}

export function nameOf({ sweep, role, phase, thread, comm, call, nth, fault, path }) {
  // A point has the same name in every run.
  const shown = path?.replace(/^.*\/tsd-faults-\w+/, 'DIR').replace(/\d{3,}/g, 'N')
  return `${sweep}: ${role}/${phase}/${thread}/${call}/${nth} ${fault} (${comm}${shown ? ` ${shown}` : ''})`
}

/** Tries one point. What was found wrong, and whether the point was reached. */
export async function tryPoint(point) {
  const w = world()
  try {
    const id = [point.role, point.phase, point.thread, point.call, point.nth].join('/')
    const how = point.fault === 'SIGKILL' ? ['--kill'] : ['--errno', String(errnoOf(point.fault))]
    const told = await traced(w, point.sweep, ['--at', id, ...how])
    if (told.late) return { reached: true, wrong: [`it did not end within ${BOUND} ms`] }
    if (told.status !== 0) return { reached: false, wrong: [`the tracer failed: ${told.stderr()}`] }
    const result = JSON.parse(told.stdout)
    const reached = result.reached
    const judge = { stop: judgeStop, leave: judgeLeave }[point.sweep] ?? judgeStart
    const wrong = await judge(w, point, { ...told, ...result })
    if (wrong.length > 0) wrong.push(`status ${result.status}, signal ${result.signal}, ${told.stderr()}`)
    return { reached, wrong, status: result.status }
  } finally {
    await destroy(w)
  }
}

/**
 * An empty, unlocked file, which says "stopped" and is in nobody's way, may be left where its removal
 * itself was made to fail, and where the launcher was killed between its open and the fork: then
 * nobody is there who could remove it.
 */
function mayLeaveEmpty({ call, fault, role }, seen = []) {
  if (fault === 'SIGKILL') return role === 'launcher' && seen.length === 1
  return ['unlink', 'unlinkat'].includes(call)
}

/** V8 and libuv end the process by SIGABRT, SIGTRAP or SIGILL where their own calls fail. */
function gaveUp(point, signal) {
  return point.fault !== 'SIGKILL' && [4, 5, 6].includes(signal)
}

async function judgeStart(w, point, { status, signal, seen }) {
  const wrong = []
  const isForeign = point.sweep === 'foreign'
  const killedLauncher = point.role === 'launcher' && (point.fault === 'SIGKILL' || gaveUp(point, signal))
  if (signal !== null && !killedLauncher) wrong.push(`the launcher was ended by signal ${signal}`)
  // What comes after "go" or "ready" was sent is the boundary: whole or not at all, but who was told is open.
  const boundary = point.phase === 'sent'
  // A launcher that has no memory left ends as one that is killed.
  const emptyFile = mayLeaveEmpty(killedLauncher ? { ...point, fault: 'SIGKILL' } : point, seen)
  const nothing = () => leftIn(w, { emptyFile }).length === 0
  // A process that is ending has let go of all but its number.
  const over = () => nothing() && strays(seen).length === 0
  if (boundary) {
    await until(() => settled(w, isForeign) || over(), SETTLE)
    // One that has just been made ready may have been told to go, or not.
    await until(over, status === 0 ? 0 : 300)
  } else if (killedLauncher) {
    // One that failed says so when all is over; one that was killed cannot.
    await until(over, SETTLE)
  }
  const isDaemon = point.role === 'daemon' || point.role === 'supervisor'
  const isKilled = boundary && isDaemon && point.fault === 'SIGKILL'
  // A foreign program ends with its supervisor, a moment after it.
  if (isKilled) await until(() => processesOf(w).length === 0, SETTLE)
  const runs = settled(w, isForeign)
  if (runs !== undefined && point.sweep === 'drop' && !isNobody(runs.daemon))
    wrong.push('it has kept privileges')
  if (!boundary && (status === 0) !== (runs !== undefined)) {
    wrong.push(
      `status ${status}, and ${runs === undefined ? 'no daemon runs' : `daemon ${runs.daemon} runs`}`,
    )
  }
  // A daemon that its launcher has just told to go, and that is killed, leaves what any killed one does.
  if (runs === undefined) {
    const left = isKilled && status === 0 ? processesOf(w) : leftIn(w, { emptyFile })
    if (left.length > 0) wrong.push(`left: ${left.join(', ')}`)
  }
  if (boundary || killedLauncher) await until(() => strays(seen, runs).length === 0, SETTLE)
  wrong.push(...strays(seen, runs))
  wrong.push(...(await cycle(w, runs)))
  return wrong
}

async function judgeStop(w, point, { status, signal }) {
  const wrong = []
  const killed = point.fault === 'SIGKILL'
  if (signal !== null && !killed && !gaveUp(point, signal)) wrong.push(`stop was ended by signal ${signal}`)
  if (status !== 0) await until(() => leftIn(w).length === 0, 1000)
  const runs = settled(w)
  if (status === 0 && runs !== undefined) wrong.push(`status 0, and daemon ${runs.daemon} runs`)
  if (runs === undefined) {
    const left = leftIn(w, { emptyFile: mayLeaveEmpty(point) })
    if (left.length > 0) wrong.push(`left: ${left.join(', ')}`)
  }
  wrong.push(...(await cycle(w, runs)))
  return wrong
}

async function judgeLeave(w, _point, { stop, pid }) {
  const wrong = []
  if (stop.late) wrong.push('stop did not end in time')
  if (stop.status !== 0) wrong.push(`stop exited with ${stop.status}`)
  if (isAlive(pid)) wrong.push('the daemon runs still')
  const left = leftIn(w)
  if (left.length > 0) wrong.push(`left: ${left.join(', ')}`)
  wrong.push(...(await cycle(w, undefined)))
  return wrong
}

/** The one daemon, if it runs, is ready, and nothing runs beside it; and who holds its pidfile: itself, or the supervisor
 * of a foreign one, whose only child it is. */
function settled(w, isForeign = false) {
  const holder = daemonOf(w)
  const all = processesOf(w)
  if (holder === undefined || all.length !== 1) return undefined
  const [daemon] = all
  const isIt = isForeign ? stat(daemon)?.ppid === holder : daemon === holder
  return isIt ? { daemon, holder } : undefined
}

/** Whether all ids of all threads are those of the user that was asked for (proc_pid_status(5)). */
function isNobody(pid) {
  return readdirSync(`/proc/${pid}/task`).every((tid) => {
    const status = readFileSync(`/proc/${pid}/task/${tid}/status`, 'utf8')
    const uids = /^Uid:\s+(.*)$/m.exec(status)?.[1].split('\t') ?? []
    return uids.length === 4 && uids.every((uid) => uid === NOBODY) && /^CapEff:\s+0+$/m.test(status)
  })
}

/** Processes of the start, or of its session, other than the daemon. */
function strays(seen, runs) {
  const sessions = seen.filter(([role]) => role === 'child 1').map(([, pid]) => pid)
  const roles = new Set(seen.map(([, pid]) => pid))
  const stray = allProcesses().filter(
    (pid) =>
      pid !== runs?.daemon &&
      pid !== runs?.holder &&
      isAlive(pid) &&
      (roles.has(pid) || sessions.includes(stat(pid)?.session)),
  )
  return stray.map((pid) => `process ${pid} of the start is left`)
}

/** The next plain start works, or is refused by the one that runs; and a stop leaves nothing. */
async function cycle(w, runs) {
  const told = await node(w, 'cycle')
  if (told.status !== 0) return [`the next start and stop: status ${told.status}, ${told.stderr()}`]
  const { started, refused, stopped } = JSON.parse(told.stdout)
  const wrong = []
  if (runs !== undefined && refused !== runs.daemon && refused !== runs.holder)
    wrong.push(`the next start was refused by ${refused}, not ${runs.daemon}`)
  if (runs === undefined && started === undefined) wrong.push(`the next start was refused by ${refused}`)
  if (stopped !== (started ?? runs?.daemon)) wrong.push(`the next stop ended ${stopped}`)
  const left = leftIn(w)
  if (left.length > 0) wrong.push(`left by the next stop: ${left.join(', ')}`)
  return wrong
}
