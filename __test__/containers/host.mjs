// The ground that the containers stand on: namespaces of their own for mounts, processes, cgroups and networks,
// and in them hands.mjs, which runs what it is told. When that ends, the kernel ends and unmounts all the rest
// (pid_namespaces(7), mount_namespaces(7)): nothing outlives the tests, whatever becomes of them.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const CGROUPS = '/sys/fs/cgroup'
const OWN = 'tsdaemonize-'
const RUN = 'run-'

/** Below .cache, which may be a link to a place that several clones share. */
export const CACHE = resolve('.cache/containers')

/** A directory of this run's own. */
export const dir = join(CACHE, `${RUN}${process.pid}`)

const works = (file, ...args) => spawnSync(file, args, { stdio: 'ignore' }).status === 0

// A host with cgroup v1 is hidden: crun refuses it, and systemd in the container wants version 2.
const HIDE = `umount -R ${CGROUPS}; mount -t cgroup2 none ${CGROUPS}`

/** Why there can be no container here; `undefined` where there can. */
export function missing() {
  if (process.platform !== 'linux') return 'containers need Linux'
  if (process.getuid() !== 0) return 'needs root'
  for (const program of ['podman', 'crun', 'unshare', 'setpriv', 'mount']) {
    if (!works(program, '--version')) return `needs ${program}`
  }
  if (!works('unshare', '--mount', '--pid', '--fork', '--mount-proc', '--cgroup', 'true')) {
    return 'needs the right to make namespaces'
  }
  if (!works('unshare', '--mount', 'sh', '-c', HIDE)) return 'needs the right to mount cgroup v2'
  return undefined
}

// Outside: the cgroup, which is removed at the end. Inside: that cgroup is the root of all.
const ENTER = `${HIDE}
mkdir ${CGROUPS}/$0 && echo $$ > ${CGROUPS}/$0/cgroup.procs || exit 1
exec unshare --mount --net --pid --fork --kill-child=KILL --mount-proc --cgroup sh -c '
  umount ${CGROUPS}; mount -t cgroup2 none ${CGROUPS} && mount -t tmpfs tmpfs /run && exec "$0" "$@"' "$@"`

let hands

/** Makes the namespaces, once. */
function enter() {
  mkdirSync(dir, { recursive: true })
  for (const name of readdirSync(CACHE)) {
    if (isLeft(name, RUN)) rmSync(join(CACHE, name), { recursive: true, force: true })
  }
  const program = [process.execPath, join(import.meta.dirname, 'hands.mjs')]
  // Killed, unshare(1) takes the namespaces with it; and it is, when this process is.
  const args = [
    '--pdeathsig',
    'KILL',
    'unshare',
    '--mount',
    'sh',
    '-c',
    ENTER,
    `${OWN}${process.pid}`,
    ...program,
  ]
  const child = spawn('setpriv', args, {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, NODE_OPTIONS: '', CONTAINERS_CONF: configuration() },
  })
  const answers = new Map()
  child.on('message', ({ id, ...result }) => {
    answers.get(id)(result)
    answers.delete(id)
  })
  child.on('exit', () => {
    for (const answer of answers.values())
      answer({ status: 'the namespaces have ended', stdout: '', stderr: '' })
  })
  return { child, answers, asked: 0, ended: once(child, 'exit') }
}

/** Nothing of the host's own configuration of podman, and no limits except the host's. */
function configuration() {
  const file = join(dir, 'containers.conf')
  const limit = (name) => hardLimit(name).replace('unlimited', '1048576')
  const files = limit('Max open files')
  const processes = limit('Max processes')
  writeFileSync(
    file,
    `[containers]
default_ulimits = ["nofile=${Math.min(Number(files), 1024)}:${files}", "nproc=${processes}:${processes}"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "none"
runtime = "crun"
`,
  )
  return file
}

/**
 * Runs a program there to its end: `{ status, stdout, stderr }`.
 *
 * @param options.cgroup the name of a cgroup for it
 * @param options.input what it reads
 * @param options.timeout milliseconds after which it is killed
 */
export function execute(file, args, options = {}) {
  hands ??= enter()
  const id = hands.asked++
  const answer = new Promise((resolve) => hands.answers.set(id, resolve))
  // An error, since the namespaces have ended: each program says so.
  hands.child.send({ id, file, args, ...options }, (error) => {
    if (error) hands.answers.get(id)?.({ status: error.message, stdout: '', stderr: '' })
  })
  return answer
}

/** Ends all that runs there, and leaves nothing. */
export async function leave() {
  if (hands === undefined) return
  if (hands.child.connected) hands.child.disconnect()
  await hands.ended
  spawnSync('unshare', ['--mount', process.execPath, import.meta.filename, 'tidy', String(process.pid)], {
    stdio: 'inherit',
  })
  rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
}

/** Whether a name is that of a run which has ended: it was killed. */
function isLeft(name, prefix) {
  return name.startsWith(prefix) && !existsSync(`/proc/${name.slice(prefix.length)}`)
}

/** Removes the cgroups of a run, and of those that were killed. */
async function tidy(run) {
  spawnSync('sh', ['-c', HIDE])
  for (const name of readdirSync(CGROUPS)) {
    if (isLeft(name, OWN) || name === `${OWN}${run}`) await removeCgroup(join(CGROUPS, name))
  }
}

async function removeCgroup(path) {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) await removeCgroup(join(path, entry.name))
  }
  // What was killed in it may need a moment to be gone.
  for (let tries = 0; tries < 100; tries++) {
    try {
      return rmdirSync(path)
    } catch {
      await sleep(50)
    }
  }
  console.error(`${path} cannot be removed`)
}

/** A limit of this process (getrlimit(2)), the hard one: what a host without CAP_SYS_RESOURCE allows at most. */
export function hardLimit(name) {
  const line = readFileSync('/proc/self/limits', 'utf8')
    .split('\n')
    .find((line) => line.startsWith(name))
  return line.slice(name.length).trim().split(/\s+/)[1]
}

if (process.argv[1] === import.meta.filename) await tidy(process.argv[3])
