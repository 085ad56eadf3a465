// What cross-building takes, kept in .cache/tools: zig, which brings every C library and linker, from
// PyPI; and, where this Rust has no source of its standard library to build, Debian's, which has.

import { chmodSync, existsSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { Release, run } from './debian.mjs'
import { cache } from './targets.mjs'

const tools = `${cache}tools/`

/** Makes a folder once: what fails half way leaves none. */
export function once(dir, make) {
  if (existsSync(dir)) return dir
  const unfinished = `${dir}.unfinished`
  rmSync(unfinished, { recursive: true, force: true })
  mkdirSync(unfinished, { recursive: true })
  make(unfinished)
  renameSync(unfinished, dir)
  return dir
}

/** Packages of PyPI, for this machine or for another platform. */
export function pip(into, names, ...options) {
  const args = ['install', '--quiet', '--no-deps', '--disable-pip-version-check', '--target', into]
  run('python3', ['-m', 'pip', ...args, ...options, ...names])
}

/** The folders with zig and cargo-zigbuild, for PATH. A Mac links for itself. */
function zig() {
  if (process.platform === 'darwin') return []
  const dir = once(`${tools}zig`, (into) => {
    console.log('Getting zig ...')
    pip(into, ['ziglang', 'cargo-zigbuild'])
    mkdirSync(`${into}/path`)
    symlinkSync('../ziglang/zig', `${into}/path/zig`)
  })
  return [`${dir}/path`, `${dir}/bin`]
}

const sourceIn = (sysroot) => `${sysroot}/lib/rustlib/src/rust`

/** The compiler: a folder for PATH, none where it is the one that is there; and its source. */
function rust() {
  const own = run('rustc', ['--print', 'sysroot']).trim()
  if (existsSync(`${sourceIn(own)}/library/std`)) return { path: [], source: sourceIn(own) }
  const dir = once(`${tools}rust`, (into) => {
    console.log("Getting Debian's Rust ...")
    const debian = new Release('bookworm')
    const names = debian.closure(['rustc-web', 'cargo-web', 'rust-web-src'])
    debian.unpack([...names, 'libstd-rust-web-dev:arm64'], into)
    mkdirSync(`${into}/path`)
    for (const name of ['rustc', 'cargo', 'rustdoc']) {
      const file = `${into}/path/${name}`
      // By the folder's own place: it is moved when it is complete.
      writeFileSync(
        file,
        `#!/bin/sh
root=$(dirname "$(dirname "$(readlink -f "$0")")")
LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu exec "$root/usr/bin/${name}" "$@"
`,
      )
      chmodSync(file, 0o755)
    }
  })
  return { path: [`${dir}/path`], source: `${dir}/usr/src` }
}

/** The environment in which cargo builds for any target, and what of its paths must not be seen. */
export function toolchain() {
  const { path, source } = rust()
  return { path: [...path, ...zig(), process.env.PATH].join(':'), source }
}
