// `npm run build:all`: the binaries of every platform, or of those that are named, into artifacts/.
// The standard library is built too, from its source: for small size, without the part that turns
// addresses into lines of source code (a stripped binary has none), and for targets that this Rust may
// not have. A panic stays an unwinding one.

import { copyFileSync, existsSync, mkdirSync } from 'node:fs'
import { homedir } from 'node:os'
import { spawnSync } from 'node:child_process'
import { check } from './binary.mjs'
import { artifacts, binaryOf, chosen, GLIBC, root } from './targets.mjs'
import { toolchain } from './tools.mjs'

const products = `${root}target/platforms`

/** Whether one was built before: the next time takes a minute, not many. */
export const isBuilt = (target) => existsSync(`${products}/${target.triple}`)

/** Builds one; returns the path of its file. */
export function build(target) {
  const { path, source } = toolchain()
  const cargoHome = process.env.CARGO_HOME ?? `${homedir()}/.cargo`
  const flags = [
    `--remap-path-prefix=${cargoHome}/registry/src=/deps`,
    `--remap-path-prefix=${source}=/rust`,
    `--remap-path-prefix=${root.slice(0, -1)}=/src`,
    ...(target.libc === 'musl' ? ['-Ctarget-feature=-crt-static'] : []),
  ]
  const env = {
    ...process.env,
    PATH: path,
    RUSTC_BOOTSTRAP: '1',
    CARGO_UNSTABLE_BUILD_STD: 'std,panic_unwind',
    CARGO_UNSTABLE_BUILD_STD_FEATURES: 'panic-unwind,optimize_for_size',
    CARGO_ENCODED_RUSTFLAGS: flags.join('\x1f'),
    // Debian's Rust has no rust-objcopy, which strips for macOS.
    ...(target.os === 'darwin' && process.platform !== 'darwin'
      ? { CARGO_PROFILE_RELEASE_STRIP: 'none' }
      : {}),
  }
  const triple = target.libc === 'gnu' ? `${target.triple}.${GLIBC}` : target.triple
  const what = ['--release', '--locked', '--package=tsdaemonize', '--lib', '--no-default-features']
  const { status } = spawnSync(
    'cargo',
    [
      process.platform === 'darwin' ? 'build' : 'zigbuild',
      ...what,
      '--target',
      triple,
      '--target-dir',
      products,
    ],
    { env, cwd: root, stdio: 'inherit' },
  )
  if (status !== 0) throw new Error(`${target.name} cannot be built`)
  mkdirSync(artifacts, { recursive: true })
  const file = `${artifacts}${binaryOf(target)}`
  const library = target.os === 'darwin' ? 'libtsdaemonize.dylib' : 'libtsdaemonize.so'
  copyFileSync(`${products}/${target.triple}/release/${library}`, file)
  return file
}

if (import.meta.filename === process.argv[1]) {
  for (const target of chosen(process.argv.slice(2))) {
    console.log(`Building ${target.name} ...`)
    check(target, build(target))
  }
}
