// What the tests share: a place of its own for each test, tiny programs run as real processes, and
// what /proc says of them. Nothing a test starts outlives it.

import { spawn, spawnSync } from 'node:child_process'
import {
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
import test from 'ava'

export { sleep }
export const root = fileURLToPath(new URL('..', import.meta.url))
export const library = new URL('../dist/index.js', import.meta.url).href
export const isRoot = process.getuid() === 0
/** A test that needs root; named as skipped for others. */
export const asRoot = isRoot ? test : test.skip

/** A directory of the test's own, with `run/` for pidfiles. What runs from there ends with the test. */
export function place(t) {
  // Since the last assertion. Unlike ava's own time limit, this one lets the teardown run.
  t.timeout(60_000)
  const dir = mkdtempSync(join(tmpdir(), 'tsd-'))
  const run = join(dir, 'run')
  mkdirSync(run, { mode: 0o755 })
  t.teardown(async () => {
    for (const pid of processesOf({ dir })) await end(pid)
    rmSync(dir, { recursive: true, force: true })
  })
  return {
    dir,
    run,
    pidFile: (name = 'sample') => join(run, `${name}.pid`),
    /** Writes a program. `options` are the daemon's, as source text. */
    write(name, source) {
      const path = join(dir, name)
      mkdirSync(join(path, '..'), { recursive: true })
      writeFileSync(path, source)
      return path
    },
  }
}

/** The source of a program with one daemon, `sample`. */
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

/** The environment in which programs find their place. */
export function environment(p, more = {}) {
  return { ...process.env, RUN: p.run, DIR: p.dir, NODE_OPTIONS: '', ...more }
}

/** Runs a Node program to its end. */
export function run(p, script, args = [], { execArgv = [], env = {}, ...more } = {}) {
  return command(p, process.execPath, [...execArgv, script, ...args], { env, ...more })
}

/** Runs any program to its end. */
export function command(p, file, args, { env = {}, timeout = 60_000, input, ...more } = {}) {
  const child = spawn(file, args, {
    cwd: p.dir,
    env: environment(p, env),
    stdio: ['pipe', 'pipe', 'pipe'],
    ...more,
  })
  child.stdin?.end(input)
  let stdout = ''
  let stderr = ''
  child.stdout?.on('data', (data) => {
    stdout += data
  })
  child.stderr?.on('data', (data) => {
    stderr += data
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), timeout)
  const ended = new Promise((resolve, reject) => {
    child.on('error', reject)
    // 'close': that a daemon does not hold its launcher's pipes is part of every test.
    child.on('close', (status, signal) => {
      clearTimeout(timer)
      resolve({ status, signal, stdout, stderr })
    })
  })
  return Object.assign(ended, { child, pid: child.pid })
}

/** The pid in a pidfile. */
export function pidIn(p, name) {
  return Number(readFileSync(p.pidFile(name), 'utf8'))
}

/** What proc_pid_stat(5) and proc_pid_status(5) say of a process; `undefined` where there is none. */
export function proc(pid) {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = line.slice(line.lastIndexOf(')') + 2).split(' ')
    const status = Object.fromEntries(
      readFileSync(`/proc/${pid}/status`, 'utf8')
        .split('\n')
        .filter(Boolean)
        .map((l) => [l.slice(0, l.indexOf(':')), l.slice(l.indexOf(':') + 1).trim()]),
    )
    return {
      state: fields[0],
      ppid: Number(fields[1]),
      pgrp: Number(fields[2]),
      session: Number(fields[3]),
      tty: Number(fields[4]),
      status,
    }
  } catch {
    return undefined
  }
}

/** Whether a process exists and has not ended. */
export function isAlive(pid) {
  const found = proc(pid)
  return found !== undefined && found.state !== 'Z'
}

/** Descriptor numbers and what they lead to. */
export function descriptors(pid) {
  const dir = `/proc/${pid}/fd`
  return Object.fromEntries(
    readdirSync(dir).flatMap((fd) => {
      try {
        return [[Number(fd), readlinkSync(join(dir, fd))]]
      } catch {
        return []
      }
    }),
  )
}

/** The environment that a process was started with. */
export function environmentOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/environ`, 'utf8')
  } catch {
    return ''
  }
}

/** The processes that were started with this place's directory in their environment. */
export function processesOf(p) {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => pid !== process.pid && isAlive(pid) && environmentOf(pid).includes(`DIR=${p.dir}\0`))
}

/** Waits until `condition` gives something true, and returns that. */
export async function until(condition, what = 'the condition', timeout = 20_000) {
  const deadline = Date.now() + timeout
  for (;;) {
    const value = await condition()
    if (value) return value
    if (Date.now() > deadline) throw new Error(`waited ${timeout} ms in vain for ${what}`)
    await sleep(10)
  }
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
