// `npm run build:all`: the binaries of every platform, or of those that are named, into artifacts/: the native module
// and the executable.
// The standard library is built too, from its source: for small size, without the part that turns
// addresses into lines of source code (a stripped binary has none), and for targets that this Rust may
// not have. A panic stays an unwinding one.

import { copyFileSync, existsSync, mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { spawnSync } from 'node:child_process'
import { check } from './binary.mjs'
import { artifacts, binaryOf, chosen, GLIBC, PROGRAM, programOf, root } from './targets.mjs'
import { toolchain } from './tools.mjs'

const products = `${root}target/platforms`

/** What makes the executable smaller by a quarter. A panic ends it at once, which it does without unwinding too. */
const SMALL = [
  '-Cforce-unwind-tables=no',
  '-Zlocation-detail=none',
  '-Zfmt-debug=none',
  '-Zunstable-options',
  '-Cpanic=immediate-abort',
]

/** Whether one was built before: the next time takes a minute, not many. */
export const isBuilt = (target) => existsSync(`${products}/${target.triple}`)

/** Builds the module and the executable of one. */
export function build(target) {
  const { triple, os, libc } = target
  mkdirSync(artifacts, { recursive: true })
  const library = os === 'darwin' ? 'libtsdaemonize.dylib' : 'libtsdaemonize.so'
  const module = cargo(target, {
    what: ['--package=tsdaemonize', '--lib', '--no-default-features'],
    triple: libc === 'gnu' ? `${triple}.${GLIBC}` : triple,
    dir: products,
    flags: libc === 'musl' ? ['-Ctarget-feature=-crt-static'] : [],
  })
  copyFileSync(`${module}/${library}`, artifacts + binaryOf(target))
  // On Linux it is static, so that one executable runs on every C library.
  const program = cargo(target, {
    what: ['--package=tsdaemonize-program'],
    triple: triple.replace(/gnu$/, 'musl'),
    dir: `${products}/program`,
    // zig brings what a program starts with, too, and would place it at a fixed address.
    flags: [...SMALL, ...(os === 'linux' ? ['-Clink-self-contained=no', '-Clink-arg=-pie'] : [])],
    profile: 'program',
  })
  copyFileSync(`${program}/${PROGRAM}`, artifacts + programOf(target))
}

/** Runs cargo for a platform; returns the folder of what it built. */
function cargo(target, { what, triple, dir, flags, profile = 'release' }) {
  const { path, source } = toolchain()
  const cargoHome = process.env.CARGO_HOME ?? `${homedir()}/.cargo`
  const remaps = [
    `--remap-path-prefix=${cargoHome}/registry/src=/deps`,
    `--remap-path-prefix=${source}=/rust`,
    `--remap-path-prefix=${root.slice(0, -1)}=/src`,
  ]
  const env = {
    ...process.env,
    PATH: path,
    RUSTC_BOOTSTRAP: '1',
    CARGO_UNSTABLE_BUILD_STD: 'std,panic_unwind,panic_abort',
    CARGO_UNSTABLE_BUILD_STD_FEATURES: 'panic-unwind,optimize_for_size',
    CARGO_ENCODED_RUSTFLAGS: [...remaps, ...flags].join('\x1f'),
    // Debian's Rust has no rust-objcopy, which strips for macOS.
    ...(target.os === 'darwin' && process.platform !== 'darwin'
      ? { CARGO_PROFILE_RELEASE_STRIP: 'none' }
      : {}),
  }
  const command = process.platform === 'darwin' ? 'build' : 'zigbuild'
  const args = [command, `--profile=${profile}`, '--locked', ...what, '--target', triple, '--target-dir', dir]
  const { status } = spawnSync('cargo', args, { env, cwd: root, stdio: 'inherit' })
  if (status !== 0) throw new Error(`${target.name} cannot be built`)
  return `${dir}/${triple.replace(`.${GLIBC}`, '')}/${profile}`
}

if (import.meta.filename === process.argv[1]) {
  for (const target of chosen(process.argv.slice(2))) {
    console.log(`Building ${target.name} ...`)
    build(target)
    check(target)
  }
}
