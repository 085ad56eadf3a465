// Makes the package ready to be used from a fresh clone: development packages, the native module,
// the JavaScript. Does only what is out of date.

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
process.chdir(root)

const newest = (paths) => Math.max(...paths.map((path) => statSync(path).mtimeMs))
const filesIn = (dir) =>
  readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
const isCurrent = (products, sources) =>
  products.every(existsSync) && Math.min(...products.map((p) => statSync(p).mtimeMs)) >= newest(sources)

function run(what, command, args) {
  console.log(`${what} ...`)
  const { status, error } = spawnSync(command, args, { stdio: 'inherit' })
  if (status !== 0) fail(`${what} failed${error ? `: ${error.message}` : ''}.`)
}

function fail(message) {
  console.error(message)
  process.exit(1)
}

function hasCargo() {
  return spawnSync('cargo', ['--version'], { stdio: 'ignore' }).status === 0
}

if (!isCurrent(['node_modules/.package-lock.json'], ['package-lock.json'])) {
  run('Installing the development packages', 'npm', ['ci', '--ignore-scripts'])
}

const binaries = () => readdirSync('.').filter((name) => /^tsdaemonize\..*\.node$/.test(name))
const crate = ['Cargo.toml', 'Cargo.lock', ...filesIn('crate/core'), ...filesIn('crate/node')]
if (binaries().length === 0 || !isCurrent([...binaries(), 'ts/native/binding.d.ts'], crate)) {
  if (!hasCargo()) {
    fail(
      'The native module is built with Rust, and `cargo` was not found.\n' +
        'Install Rust 1.88 or newer from https://rustup.rs (or your distribution), open a new shell, and try again.',
    )
  }
  run('Building the native module (a minute or two the first time)', 'npm', [
    'run',
    '--silent',
    'build:native',
  ])
}
if (
  !existsSync('dist/index.js') ||
  !isCurrent(
    ['dist/index.js'],
    [...filesIn('ts'), 'tsconfig.json', 'package.json', 'scripts/rollup.config.mjs'],
  )
) {
  run('Building the JavaScript', 'npm', ['run', '--silent', 'build:ts'])
}
