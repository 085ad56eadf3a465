// The native module for a system whose C library is older than this machine's: built there, by this
// machine's Rust, which runs on old ones as well, and that system's linker.

import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Box } from './box.mjs'
import { dir } from './host.mjs'
import { cargoHome, rootOf, rustRoot } from './images.mjs'

const CARGO =
  '/rust/bin/cargo build --release --locked --offline --no-default-features --package tsdaemonize --lib --manifest-path /src/Cargo.toml'

/** Returns its path. */
export async function buildModule(image) {
  const target = join(dir, `${image}.target`)
  mkdirSync(target)
  const volumes = {
    [rustRoot()]: '/rust:ro',
    [cargoHome()]: '/cargo:O',
    [process.cwd()]: '/src:ro',
    [target]: '/target',
  }
  const env = { CARGO_HOME: '/cargo', CARGO_TARGET_DIR: '/target', RUSTC: '/rust/bin/rustc' }
  const box = new Box({
    root: rootOf(image),
    args: [
      ...Object.entries(volumes).flatMap(([from, to]) => ['-v', `${from}:${to}`]),
      ...Object.entries(env).flatMap(([name, value]) => ['-e', `${name}=${value}`]),
    ],
    command: ['sh', '-c', CARGO],
  })
  const { status, stderr } = await box.run(600_000)
  const path = join(target, 'release/libtsdaemonize.so')
  if (status !== 0 || !existsSync(path)) throw new Error(`cargo build: ${stderr}`)
  return path
}
