// What the tests share: a place of its own for each test, tiny programs that run as real processes, and what /proc
// says about them. Nothing that a test starts outlives it.

import { spawn, spawnSync } from 'node:child_process'
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  readSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import ava from 'ava'
import { Daemon } from 'tsdaemonize'
import { Place, proc, until as untilWithin } from 'tsdaemonize/testing'

export { proc, sleep }
export const root = fileURLToPath(new URL('..', import.meta.url))
export const library = new URL('../dist/index.js', import.meta.url).href
export const isRoot = process.getuid() === 0
/** The tests of a file run one after the other, and several files at a time. */
export const test = ava.serial
/** A test that runs only under a condition; otherwise it is named as skipped. */
export const testIf = (condition) => (condition ? test : test.skip)
/** A test that needs root. */
export const asRoot = testIf(isRoot)
/** A test that needs an ordinary user. `npm test -- users` runs it. */
export const asUser = testIf(!isRoot)
/** Whether a command succeeds here: it is installed, and the kernel and this user's rights allow it. */
export const works = (file, ...args) => spawnSync(file, args, { stdio: 'ignore' }).status === 0
/** Options with which root runs a program as the user nobody. */
export const NOBODY = { uid: 65534, gid: 65534 }
/** The file of the native module that was built for this machine. */
export const nativeFile = readdirSync(root).find((name) => /^tsdaemonize\..*\.node$/.test(name))
/** The user as whom the tests run, as `status` names it: by its number, if it has no entry. */
export const userName = nameOfUser()

function nameOfUser() {
  try {
    return userInfo().username
  } catch {
    return `${process.getuid()}`
  }
}

/** What a test waits for has this time, the test as a whole three times as much: a busy machine is slow. */
const PATIENCE_MS = 60_000

/** Waits until `condition` returns something true, and returns that. */
export function until(condition, what, timeout = PATIENCE_MS) {
  return untilWithin(condition, what, timeout)
}

/** A directory of the test's own, with `run/` for pidfiles. All processes that run there end with the test. */
export function place(t) {
  // The time counts from the last assertion. Unlike ava's own time limit, this one lets the teardown run.
  t.timeout(3 * PATIENCE_MS)
  // Messages to syslog go where they would go without a test, because many tests are about that.
  const own = new Place({ log: false })
  t.teardown(() => own.end())
  const { dir, runtimeDirectory: run } = own
  return {
    own,
    dir,
    run,
    pidFile: (name = 'sample') => join(run, `${name}.pid`),
    /** Writes a file into the directory. */
    write(name, source) {
      const path = join(dir, name)
      mkdirSync(join(path, '..'), { recursive: true })
      writeFileSync(path, source)
      return path
    },
  }
}

/** The source of a program with one daemon, `sample`. All arguments are source text; `options` are the daemon's. */
export function sample({
  body = '',
  options = '',
  last = 'await new Sample(options).start()',
  before = '',
} = {}) {
  return `import { Daemon, DaemonError, isDaemon, syslog } from '${library}'
import fs from 'node:fs'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
${before}
const options = { name: 'sample', pidFilePath: process.env.RUN, ${options} }
class Sample extends Daemon {
  async action(signal) { await once(signal, 'abort') }
  ${body}
}
${last}
`
}

/** The same with a command line. */
export const cli = (more = {}) => sample({ last: 'await new Sample(options).serviced()', ...more })

/** The daemon of a place, seen from the test's own process. */
export const daemonAt = (p, more = {}) =>
  new Daemon({ name: 'sample', pidFilePath: p.run, env: environment(p), ...more })

/** The environment in which programs find their place. */
export function environment(p, more = {}) {
  const service = { RUNTIME_DIRECTORY: undefined, INVOCATION_ID: undefined, SYSTEMD_EXEC_PID: undefined }
  return { ...process.env, ...service, RUN: p.run, DIR: p.dir, NODE_OPTIONS: '', ...more }
}

/** Runs a Node program to its end. */
export function run(p, script, args = [], { execArgv = [], ...more } = {}) {
  return command(p, process.execPath, [...execArgv, script, ...args], more)
}

/** Runs any program to its end. */
export function command(p, file, args, { env = {}, ...more } = {}) {
  const ended = p.own.run(file, args, {
    execPath: null,
    cwd: p.dir,
    env: environment(p, env),
    timeout: 2 * PATIENCE_MS,
    ...more,
  })
  // The machine may have no logger, which is not what most tests are about.
  const told = ended.then((exit) => ({ ...exit, stderr: exit.stderr.replace(NO_LOGGER, '') }))
  return Object.assign(told, { child: ended.child, pid: ended.child.pid })
}

/** What each start says if nobody listens at /dev/log. */
export const NO_LOGGER = /^.*: There is no logger here: nobody listens at .*\n/gm

/** Runs a Node program on a terminal. `shown()` is what the terminal got so far, with `\\n` at the end of a line. */
export function onTerminal(p, script, args = [], more = {}) {
  const file = fileURLToPath(new URL('terminal.py', import.meta.url))
  const running = command(p, 'python3', [file, process.execPath, script, ...args], more)
  const seen = printed(running.child)
  return Object.assign(running, {
    shown: () => seen().replaceAll('\r\n', '\n'),
    pressCtrlC: () => running.child.kill('SIGUSR1'),
  })
}

/** A process that has nothing to do with any daemon. Any signal that it gets would end it. */
export function stranger(t, stdio = 'ignore') {
  const child = spawn('sleep', ['1000'], { stdio })
  t.teardown(() => child.kill('SIGKILL'))
  return child.pid
}

/** A TCP port at which nobody listens. */
export function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

/** A file's content; nothing if there is no such file. */
export function read(file) {
  return existsSync(file) ? readFileSync(file, 'utf8') : ''
}

/** A function that returns what a process has printed on its standard output so far. */
export function printed(child) {
  let text = ''
  child.stdout.on('data', (data) => {
    text += data
  })
  return () => text
}

/** The pid in a pidfile. */
export function pidIn(p, name) {
  return Number(readFileSync(p.pidFile(name), 'utf8'))
}

/** Whether a process exists and has not ended. */
export function isAlive(pid) {
  const found = proc(pid)
  return found !== undefined && found.state !== 'Z'
}

/**
 * A pipe that is full: whoever prints into `end` stands still, to be looked at. `finish` reads it empty, and resolves
 * with how that process ended, and with what it had to print.
 */
export function fullPipe(t, p) {
  const path = join(p.dir, `pipe-${pipes++}`)
  if (!works('mkfifo', path)) throw new Error('mkfifo')
  const { O_RDWR, O_NONBLOCK, O_WRONLY } = constants
  const reader = openSync(path, O_RDWR | O_NONBLOCK)
  const end = openSync(path, O_WRONLY)
  t.teardown(() => closeSync(reader))
  let filled = 0
  for (const size of [4096, 1]) {
    try {
      for (;;) filled += writeSync(reader, Buffer.alloc(size))
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error
    }
  }
  const finish = async (ended) => {
    closeSync(end)
    const buffer = Buffer.alloc(filled)
    for (let left = filled; left > 0; ) left -= readSync(reader, buffer, 0, left)
    const exit = await ended
    try {
      return { ...exit, stdout: buffer.toString('utf8', 0, readSync(reader, buffer)) }
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error
      return { ...exit, stdout: '' }
    }
  }
  return { end, finish }
}

let pipes = 0

/** Descriptor numbers and what they lead to. */
export function descriptors(pid) {
  return proc(pid).fd
}

/** The file of the program that a process runs; `undefined` if it has ended. */
export function exeOf(pid) {
  try {
    return readlinkSync(`/proc/${pid}/exe`)
  } catch {
    return undefined
  }
}

/** The environment that a process was started with. */
export function environmentOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8')
  } catch {
    return ''
  }
}

/** The processes that belong to this place. */
export function processesOf(p) {
  return p.own.processes()
}

/** Ends a process that a test started. */
export async function end(pid) {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    return
  }
  await until(() => !isAlive(pid), `the end of ${pid}`)
}

/** Whether nobody holds the flock on a file. */
export function isUnlocked(path) {
  return spawnSync('flock', ['-n', path, 'true']).status === 0
}
