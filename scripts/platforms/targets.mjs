// The platforms that the package has binaries for.

import { fileURLToPath } from 'node:url'
import { refuse } from '../arguments.mjs'

/** Where everything of the project is. */
export const root = fileURLToPath(new URL('../..', import.meta.url))
/** Tools, runtimes and build products that a clone gets once and keeps; ignored by git. */
export const cache = `${root}.cache/`
/** The binaries of `npm run build:all`, by the names that `napi artifacts` looks for. */
export const artifacts = `${root}artifacts/`

/** The oldest glibc that the gnu binaries run on: that of RHEL 7, and of manylinux2014. */
export const GLIBC = '2.17'

const linux = (arch, cpu, libc) => ({
  name: `linux-${cpu}-${libc}`,
  triple: `${arch}-unknown-linux-${libc}`,
  os: 'linux',
  cpu,
  libc,
})
const darwin = (arch, cpu) => ({
  name: `darwin-${cpu}`,
  triple: `${arch}-apple-darwin`,
  os: 'darwin',
  cpu,
  libc: undefined,
})

export const TARGETS = [
  linux('x86_64', 'x64', 'gnu'),
  linux('aarch64', 'arm64', 'gnu'),
  linux('x86_64', 'x64', 'musl'),
  linux('aarch64', 'arm64', 'musl'),
  darwin('x86_64', 'x64'),
  darwin('aarch64', 'arm64'),
]

/** The native module of a platform, as its file is called everywhere. */
export const binaryOf = (target) => `tsdaemonize.${target.name}.node`
/** The executable of a platform among those of the others. In its package, and in this clone, it is PROGRAM. */
export const programOf = (target) => `tsdaemonize.${target.name}`
export const PROGRAM = 'tsdaemonize'

/** Both of a platform's binaries. */
export const filesOf = (target) => [binaryOf(target), programOf(target)]

/** The targets that are named on the command line; all of them where none is. */
export function chosen(names) {
  const unknown = names.find((name) => !TARGETS.some((target) => target.name === name))
  if (unknown !== undefined) {
    refuse(`No such platform: ${unknown}. There are ${TARGETS.map((t) => t.name).join(', ')}.`)
  }
  return names.length === 0 ? TARGETS : TARGETS.filter((target) => names.includes(target.name))
}
