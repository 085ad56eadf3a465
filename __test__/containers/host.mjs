// The ground that the containers stand on: namespaces of their own for mounts, processes, cgroups and networks.
// When the process that was started in them ends, the kernel ends and unmounts all the rest
// (pid_namespaces(7), mount_namespaces(7)): nothing outlives the tests, whatever becomes of them.

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

const CGROUPS = '/sys/fs/cgroup'
const OWN = 'tsdaemonize-'
const RUN = 'run-'

/** Below .cache, which may be a link to a place that several clones share. */
export const CACHE = '.cache/containers'

const works = (file, ...args) => spawnSync(file, args, { stdio: 'ignore' }).status === 0

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

// A host with cgroup v1 is hidden: crun refuses it, and systemd in the container wants version 2.
const HIDE = `umount -R ${CGROUPS}; mount -t cgroup2 none ${CGROUPS}`

/** Runs this program again, with `args`, where containers can be; resolves with its exit status. */
export async function enter(args) {
  mkdirSync(CACHE, { recursive: true })
  for (const name of readdirSync(CACHE)) {
    if (isLeft(name, RUN)) rmSync(join(CACHE, name), { recursive: true, force: true })
  }
  const dir = join(CACHE, `${RUN}${process.pid}`)
  mkdirSync(dir)
  // Outside: the cgroup, which is removed at the end. Inside: that cgroup is the root of all.
  const outside = `${HIDE}
mkdir ${CGROUPS}/$0 && echo $$ > ${CGROUPS}/$0/cgroup.procs || exit 1
exec unshare --mount --net --pid --fork --kill-child=KILL --mount-proc --cgroup sh -c '
  umount ${CGROUPS}; mount -t cgroup2 none ${CGROUPS} && mount -t tmpfs tmpfs /run && exec "$0" "$@"' "$@"`
  const name = `${OWN}${process.pid}`
  const command = [process.execPath, ...process.argv.slice(1, 2), '--inside', dir, ...args]
  // Killed, unshare(1) takes the namespaces with it; and it is, when this process is.
  const child = spawn(
    'setpriv',
    ['--pdeathsig', 'KILL', 'unshare', '--mount', 'sh', '-c', outside, name, ...command],
    { stdio: 'inherit' },
  )
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill('SIGKILL'))
  const status = await new Promise((resolve) => child.on('close', (status) => resolve(status ?? 1)))
  spawnSync('unshare', ['--mount', process.execPath, import.meta.filename, 'tidy', String(process.pid)], {
    stdio: 'inherit',
  })
  rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
  return status
}

/** Whether a name is that of a run which has ended: it was killed. */
function isLeft(name, prefix) {
  return name.startsWith(prefix) && !existsSync(`/proc/${name.slice(prefix.length)}`)
}

/** Removes the cgroups of this run, and of one that was killed. */
function tidy() {
  spawnSync('sh', ['-c', HIDE])
  for (const name of readdirSync(CGROUPS)) {
    if (isLeft(name, OWN) || name === `${OWN}${process.argv[3]}`) removeCgroup(join(CGROUPS, name))
  }
}

function removeCgroup(path) {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory()) removeCgroup(join(path, entry.name))
  }
  // What was killed in it may need a moment to be gone.
  for (let tries = 0; tries < 100; tries++) {
    try {
      return rmdirSync(path)
    } catch {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
    }
  }
  console.error(`${path} cannot be removed`)
}

/** A cgroup of a container's own: systemd wants one that it may divide. */
export function makeCgroup(name) {
  const path = join(CGROUPS, name)
  mkdirSync(path)
  return path
}

/** A limit of this process (getrlimit(2)), the hard one: what a host without CAP_SYS_RESOURCE allows at most. */
export function hardLimit(name) {
  const line = readFileSync('/proc/self/limits', 'utf8')
    .split('\n')
    .find((line) => line.startsWith(name))
  return line.slice(name.length).trim().split(/\s+/)[1]
}

if (process.argv[2] === 'tidy' && process.argv[1] === import.meta.filename) tidy()
