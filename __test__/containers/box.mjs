// One running container, and what can be done in it.

import { join } from 'node:path'
import * as kit from '../kit.mjs'
import { dir, execute } from './host.mjs'

/** The command of a podman that keeps all it has in this run's directory. */
export const podmanCommand = (args) => [
  'podman',
  ['--root', join(dir, 'storage'), '--runroot', join(dir, 'state'), ...args],
]

/** Runs podman. */
export const podman = (args, options) => execute(...podmanCommand(args), options)

function succeeded(what, { status, stdout, stderr }) {
  if (status !== 0) throw new Error(`${what}: status ${status}\n${stdout}${stderr}`)
  return stdout.trim()
}

let boxes = 0

export class Box {
  #args
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
    this.#args = ['--name', this.name, '--hostname', this.name, '--network', 'none']
    this.#args.push('--cgroups=disabled', '--cgroupns=private')
    if (systemd) {
      // podman's own tmpfs for it may be written by everyone, as no real system's: no place for a pidfile.
      this.#args.push(
        '--tmpfs',
        '/run:mode=755',
        '--systemd=always',
        '-v',
        `/sys/fs/cgroup/${this.name}:/sys/fs/cgroup:rw`,
        '-e',
        'container=podman',
      )
      this.#args.push('--cap-add=SYS_ADMIN', '--security-opt', 'seccomp=unconfined')
    }
    this.#args.push(...args, ...(image ? [image] : ['--rootfs', `${root}:O`]), ...command)
  }

  /** Starts it in the background. */
  async start() {
    const { status, stderr } = await podman(['run', '-d', ...this.#args], { cgroup: this.name })
    if (status !== 0) throw new Error(`podman run: ${stderr}`)
    return this
  }

  /** Runs it to its end. */
  async run(timeout) {
    return podman(['run', '--rm', ...this.#args], { cgroup: this.name, timeout })
  }

  /** `podman VERB`, of this box. */
  async podman(verb, ...args) {
    this.#pid = undefined
    const result = await podman([verb, ...args, this.name], { cgroup: this.name })
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
    return podman(args, { cgroup: this.name, input })
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
    return succeeded(script, await execute('nsenter', args, { cgroup: this.name }))
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
export const until = (condition, what) => kit.until(condition, what, 60_000)
