// What the fault sweep and the load share: a place with one small daemon, and what is left of it.

import { spawn } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

export const library = new URL('../../dist/index.js', import.meta.url).href

/** Without what has every Node here do more than elsewhere. */
const { NODE_OPTIONS, NODE_EXTRA_CA_CERTS, ...ENVIRONMENT } = process.env
/** For what a program printed to be read after its end, in milliseconds. */
const PIPE = 2000

/** The daemon's time limits, in milliseconds; a start that nothing happens to may take its time. */
const LIMITS = { stopTimeout: 1500, blockedTimeout: 1500 }

/** `cycle` starts it, or is told who runs; then stops it; and says what it was. */
const PROGRAM = `import { Daemon } from '${library}'
import { once } from 'node:events'
class Sample extends Daemon {
  async action(signal) { await once(signal, 'abort') }
}
const sample = new Sample({ name: process.env.NAME ?? 'sample', pidFilePath: process.env.RUN, user: process.env.AS, ...${JSON.stringify(LIMITS)}, startTimeout: Number(process.env.START_TIMEOUT ?? 60_000) })
if (process.argv[2] === 'cycle') {
  const told = {}
  try {
    told.started = (await sample.start()).pid
  } catch (error) {
    if (error.code !== 'ERR_DAEMON_ALREADY_RUNNING') throw error
    told.refused = error.pid
  }
  told.stopped = (await sample.stop())?.pid
  process.stdout.write(JSON.stringify(told))
} else {
  await sample.serviced()
}
`

/** A directory with the program and a place for pidfiles. */
export function world() {
  const dir = mkdtempSync(join(tmpdir(), 'tsd-faults-'))
  const run = join(dir, 'run')
  mkdirSync(run, { mode: 0o755 })
  // For a daemon that has dropped its privileges.
  chmodSync(dir, 0o755)
  const script = join(dir, 'sample.mjs')
  writeFileSync(script, PROGRAM)
  return { dir, run, script, pidFile: (name = 'sample') => join(run, `${name}.pid`) }
}

/** Ends whatever runs there, and removes it. */
export async function destroy(w) {
  for (const pid of processesOf(w)) kill(pid)
  await until(() => processesOf(w).length === 0, 5000)
  rmSync(w.dir, { recursive: true, force: true })
}

export function kill(pid, signal = 'SIGKILL') {
  try {
    process.kill(pid, signal)
  } catch {
    // It is gone.
  }
}

/** Runs a program there to its end; `late` where it took longer than `limit` ms and was killed. */
export function command(w, file, args, { limit = 90_000, env = {} } = {}) {
  const log = openSync(join(w.dir, 'stderr'), 'w')
  const child = spawn(file, args, {
    cwd: w.dir,
    env: { ...ENVIRONMENT, RUN: w.run, DIR: w.dir, ...env },
    stdio: ['ignore', 'pipe', log],
  })
  closeSync(log)
  let stdout = ''
  let late = false
  child.stdout.on('data', (data) => {
    stdout += data
  })
  const timer = setTimeout(() => {
    late = true
    child.kill('SIGKILL')
  }, limit)
  const ended = new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', (status, signal) => {
      clearTimeout(timer)
      const stderr = () => readFileSync(join(w.dir, 'stderr'), 'utf8')
      const done = () => resolve({ status, signal, late, stdout, stderr })
      // What it left behind may hold the pipe.
      const enough = setTimeout(done, PIPE)
      child.on('close', () => {
        clearTimeout(enough)
        done()
      })
    })
  })
  return Object.assign(ended, { pid: child.pid })
}

/** Runs the daemon's program there. */
export function node(w, verb, options) {
  return command(w, process.execPath, [w.script, verb], options)
}

/** State letter, parent and session (proc_pid_stat(5)); `undefined` where there is no such process. */
export function stat(pid) {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const [state, ppid, , session] = line.slice(line.lastIndexOf(')') + 2).split(' ')
    return { state, ppid: Number(ppid), session: Number(session) }
  } catch {
    return undefined
  }
}

export function isAlive(pid) {
  const found = stat(pid)
  return found !== undefined && found.state !== 'Z' && found.state !== 'X'
}

export function allProcesses() {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
}

/** The processes that were started with this directory in their environment. */
export function processesOf(w) {
  return allProcesses().filter((pid) => {
    try {
      // A process between fork and exec shows its parent's.
      return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`DIR=${w.dir}\0`) && isAlive(pid)
    } catch {
      return false
    }
  })
}

const HELD = '1073741824'
const STARTING = '1073741826'

/** The locks on the pidfile, as /proc/locks shows them to whoever looks. */
export function locksOf(w, name) {
  let found
  let content
  try {
    found = statSync(w.pidFile(name), { bigint: true })
    content = readFileSync(w.pidFile(name), 'utf8')
  } catch {
    return { exists: false }
  }
  const major = ((found.dev >> 8n) & 0xfffn) | ((found.dev >> 32n) & ~0xfffn)
  const minor = (found.dev & 0xffn) | ((found.dev >> 12n) & ~0xffn)
  const hex = (n) => n.toString(16).padStart(2, '0')
  const file = `${hex(major)}:${hex(minor)}:${found.ino}`
  const lines = readFileSync('/proc/locks', 'utf8')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter((words) => words[5] === file)
  const has = (kind, start) => lines.some((l) => l[1] === kind && l[3] === 'WRITE' && l[6] === start)
  return {
    exists: true,
    content,
    flock: has('FLOCK', '0'),
    held: has('OFDLCK', HELD),
    starting: has('OFDLCK', STARTING),
  }
}

/** The pid of the daemon that runs, is ready and is in the pidfile; `undefined` where none is. */
export function daemonOf(w, name) {
  const locks = locksOf(w, name)
  if (!locks.exists || !locks.flock || !locks.held || locks.starting) return undefined
  const pid = Number(locks.content)
  return isAlive(pid) && locks.content === `${pid}\n` ? pid : undefined
}

/** What there is: processes and files. */
export function leftIn(w, { emptyFile = false } = {}) {
  const left = processesOf(w).map((pid) => `process ${pid} (${commandOf(pid)})`)
  for (const file of readdirSync(w.run)) {
    const size = statSync(join(w.run, file), { throwIfNoEntry: false })?.size
    // Who has dropped their privileges can empty the pidfile, and not remove what lies beside it.
    const isLeft = emptyFile && (size === 0 || file.endsWith('.state'))
    if (size !== undefined && !isLeft) left.push(`file ${file} of ${size} bytes`)
  }
  return left
}

function commandOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
  } catch {
    return 'gone'
  }
}

/** Waits until `condition` gives something true, and returns that; else what it gave last. */
export async function until(condition, timeout) {
  const deadline = performance.now() + timeout
  for (;;) {
    const value = await condition()
    if (value || performance.now() > deadline) return value
    await sleep(5)
  }
}
