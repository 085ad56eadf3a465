// The root file systems of the containers: Debian's packages by mmdebstrap, which needs no registry, or
// the same packages by the Containerfile beside this, which needs one. Each is a directory below .cache,
// with this Node and its npm in it; every container gets a throw-away overlay of it.

import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { CACHE } from './host.mjs'

const SYSTEMD = ['systemd', 'systemd-sysv', 'rsyslog', 'dbus', 'procps', 'util-linux']

/** By name: which Debian, and its packages. */
const IMAGES = {
  bookworm: {
    release: 'bookworm',
    packages: ['procps', 'util-linux', 'rsyslog', 'tini', 'runit', 's6', 'openrc'],
  },
  'bookworm-systemd': { release: 'bookworm', packages: SYSTEMD },
  // The C compiler's linker builds the native module for the older glibc.
  'bullseye-systemd': { release: 'bullseye', packages: [...SYSTEMD, 'gcc', 'libc6-dev'] },
  'trixie-systemd': { release: 'trixie', packages: SYSTEMD },
  'sid-systemd': { release: 'sid', packages: SYSTEMD, full: true },
}

/** Makes what is not there yet; returns why it cannot be made, or `undefined`. */
export function prepare(name, { registry = false }) {
  const image = IMAGES[name]
  const dir = rootOf(name)
  const stamp = `${dir}.json`
  const wanted = JSON.stringify({ ...image, registry, node: process.version, arch: process.arch })
  const isMade = () => existsSync(dir) && existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted
  if (isMade()) return undefined
  mkdirSync(CACHE, { recursive: true })
  const lock = openSync(join(CACHE, 'lock'), 'w')
  try {
    // By its descriptor: the lock is this process's (flock(1)), and also that of whatever is given the descriptor.
    spawnSync('flock', ['3'], { stdio: ['ignore', 'inherit', 'inherit', lock] })
    if (isMade()) return undefined
    const run = (file, args) =>
      spawnSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe', lock] })
    return make(name, { registry, run, wanted })
  } finally {
    closeSync(lock)
  }
}

/** Makes it. What `run` starts has the lock too, and keeps it until its own end, even if this process is killed. */
function make(name, { registry, run, wanted }) {
  const image = IMAGES[name]
  const dir = rootOf(name)
  console.log(`Making the root file system ${name} ...`)
  const making = `${dir}.new`
  rmSync(making, { recursive: true, force: true })
  const failure = registry ? byContainerfile(image, making, run) : byMmdebstrap(image, making, run)
  if (failure !== undefined) {
    rmSync(making, { recursive: true, force: true })
    return `Debian ${image.release} cannot be made: ${failure}`
  }
  addNode(making)
  rmSync(dir, { recursive: true, force: true })
  renameSync(making, dir)
  writeFileSync(`${dir}.json`, wanted)
  return undefined
}

export const rootOf = (name) => resolve(CACHE, name)

/** Some releases have left the mirrors. */
const MIRRORS = [[], ['http://archive.debian.org/debian']]

function byMmdebstrap({ release, packages }, dir, run) {
  let failure
  for (const mirror of MIRRORS) {
    const args = ['--variant=minbase', `--include=${packages.join(',')}`, release, dir, ...mirror]
    const { status, stderr, error } = run('mmdebstrap', args)
    if (status === 0) return undefined
    failure = error ? 'needs mmdebstrap' : lastLine(stderr)
    rmSync(dir, { recursive: true, force: true })
  }
  return failure
}

function byContainerfile({ release, packages }, dir, run) {
  // The base images stay.
  const storage = resolve(CACHE, 'registry')
  const where = ['--root', storage, '--runroot', `${storage}/run`, '--cgroup-manager=cgroupfs']
  const values = [`RELEASE=${release}`, `PACKAGES=${packages.join(' ')}`].flatMap((value) => [
    '--build-arg',
    value,
  ])
  const how = ['--isolation=chroot', '--network=host', '--output', `type=local,dest=${dir}`]
  const args = [...where, 'build', ...values, ...how, import.meta.dirname]
  const { status, stderr, error } = run('podman', args)
  if (status === 0) chmodSync(dir, 0o755)
  return status === 0 ? undefined : error ? 'needs podman' : lastLine(stderr)
}

const lastLine = (text) => text.trim().split('\n').at(-1)

/** This Node and its npm, where a user's would be. */
function addNode(dir) {
  const to = join(dir, 'usr/local')
  const npm = npmDirectory()
  for (const name of ['bin', 'lib/node_modules']) mkdirSync(join(to, name), { recursive: true })
  cpSync(process.execPath, join(to, 'bin/node'), { dereference: true })
  cpSync(npm, join(to, 'lib/node_modules/npm'), { recursive: true })
  symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', join(to, 'bin/npm'))
}

function npmDirectory() {
  const { stdout } = spawnSync('npm', ['root', '--global'], { encoding: 'utf8' })
  return join(stdout.trim(), 'npm')
}

/** Where rustc and cargo themselves are: rustup's are only shims. */
export function rustRoot() {
  const { stdout } = spawnSync('rustc', ['--print', 'sysroot'], { encoding: 'utf8' })
  const root = stdout?.trim()
  return root && existsSync(join(root, 'bin/cargo')) ? root : undefined
}

/** Cargo's own directory, with the sources of what the crate depends on. */
export const cargoHome = () =>
  process.env.CARGO_HOME ?? join(process.env.HOME ?? dirname(process.execPath), '.cargo')
