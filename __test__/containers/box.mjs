// One running container, and what can be done in it.

import { spawn, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { hardLimit, makeCgroup } from './host.mjs'

const PATIENCE = 60_000
let engine

/** Sets podman up, with all that it keeps below `dir`. */
export function setUp(dir) {
  const config = join(dir, 'containers.conf')
  // Nothing of the host's own configuration, and no limits but the host's.
  const limit = (name) => hardLimit(name).replace('unlimited', '1048576')
  const files = limit('Max open files')
  const processes = limit('Max processes')
  writeFileSync(
    config,
    `[containers]
default_ulimits = ["nofile=${Math.min(Number(files), 1024)}:${files}", "nproc=${processes}:${processes}"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "crun"
`,
  )
  process.env.CONTAINERS_CONF = config
  engine = ['--root', join(dir, 'storage'), '--runroot', join(dir, 'state')]
}

/** Runs podman; resolves with its status and what it printed. */
export function podman(args, options) {
  return execute('podman', [...engine, ...args], options)
}

function execute(file, args, { cgroup, input, timeout = 120_000 } = {}) {
  const enter = cgroup === undefined ? '' : `echo $$ > ${cgroup}/cgroup.procs && `
  const stdio = [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe']
  const child = spawn('sh', ['-c', `${enter}exec "$0" "$@"`, file, ...args], { stdio })
  if (typeof input === 'string') child.stdin.end(input)
  else input?.pipe(child.stdin)
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (data) => {
    stdout += data
  })
  child.stderr.on('data', (data) => {
    stderr += data
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), timeout)
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status, signal) => {
      clearTimeout(timer)
      resolve({ status: status ?? signal, stdout, stderr })
    })
  })
}

function succeeded(what, { status, stdout, stderr }) {
  if (status !== 0) throw new Error(`${what}: status ${status}\n${stdout}${stderr}`)
  return stdout.trim()
}

let boxes = 0

export class Box {
  #args
  #cgroup
  name = `box${++boxes}`
  #pid

  /**
   * @param root the root file system's directory; every box has a throw-away overlay of it
   * @param image an image of podman's, in place of `root`
   * @param args more of `podman run`'s
   * @param command what is PID 1
   * @param systemd whether that is systemd, which wants a cgroup that it may divide
   */
  constructor({ root, image, args = [], command = [], systemd = false }) {
    this.#cgroup = makeCgroup(this.name)
    this.#args = ['--name', this.name, '--hostname', this.name, '--network', 'none']
    this.#args.push('--cgroups=disabled', '--cgroupns=private')
    if (systemd) {
      // podman's own tmpfs for it may be written by everyone, as no real system's: no place for a pidfile.
      this.#args.push(
        '--tmpfs',
        '/run:mode=755',
        '--systemd=always',
        '-v',
        `${this.#cgroup}:/sys/fs/cgroup:rw`,
        '-e',
        'container=podman',
      )
      this.#args.push('--cap-add=SYS_ADMIN', '--security-opt', 'seccomp=unconfined')
    }
    this.#args.push(...args, ...(image ? [image] : ['--rootfs', `${root}:O`]), ...command)
  }

  /** Starts it in the background. */
  async start() {
    const { status, stderr } = await podman(['run', '-d', ...this.#args], { cgroup: this.#cgroup })
    if (status !== 0) throw new Error(`podman run: ${stderr}`)
    return this
  }

  /** Runs it to its end. */
  async run(timeout) {
    return podman(['run', '--rm', ...this.#args], { cgroup: this.#cgroup, timeout })
  }

  /** `podman VERB`, of this box. */
  async podman(verb, ...args) {
    this.#pid = undefined
    const result = await podman([verb, ...args, this.name], { cgroup: this.#cgroup })
    if (result.status !== 0) throw new Error(`podman ${verb}: ${result.stderr}`)
    return result.stdout.trim()
  }

  /** A shell's command in it, with no more rights than the box has: `{ status, stdout, stderr }`. */
  sh(script, { user = 'root', input } = {}) {
    const args = [
      'exec',
      ...(input === undefined ? [] : ['-i']),
      '--user',
      user,
      this.name,
      'sh',
      '-c',
      script,
    ]
    return podman(args, { cgroup: this.#cgroup, input })
  }

  /** The same where it must succeed; gives what it printed. */
  async do(script, options) {
    return succeeded(script, await this.sh(script, options))
  }

  /** A look at it with the host's rights, as the engine costs too much to be asked again and again. */
  async peek(script) {
    this.#pid ??= Number(await this.podman('inspect', '--format', '{{.State.Pid}}'))
    const args = [
      '-t',
      this.#pid,
      '-m',
      '-u',
      '-i',
      '-p',
      'env',
      '-i',
      `PATH=${process.env.PATH}`,
      'sh',
      '-c',
      script,
    ]
    return succeeded(script, await execute('nsenter', args, { cgroup: this.#cgroup }))
  }

  /** What its PID 1 printed. */
  async logs() {
    const { stdout, stderr } = await podman(['logs', this.name])
    return stdout + stderr
  }

  async end() {
    await podman(['rm', '--force', '--time', '0', this.name])
  }
}

/** Waits until `condition` gives something true, and returns that. */
export async function until(condition, what, patience = PATIENCE) {
  const deadline = Date.now() + patience
  for (;;) {
    const value = await condition()
    if (value) return value
    if (Date.now() > deadline) throw new Error(`waited ${patience / 1000} s in vain for ${what}`)
    await sleep(100)
  }
}

export function check(condition, what) {
  if (!condition) throw new Error(`not so: ${what}`)
}

/** What podman is, for the report. */
export function versions() {
  const first = (file) => spawnSync(file, ['--version'], { encoding: 'utf8' }).stdout.split('\n')[0]
  return [first('podman'), first('crun')].join(', ')
}
