// Makes the package ready to be used from a fresh clone: development packages, what Rust makes, the JavaScript.
// Does only what is out of date. A tool that does so for each command of package.json would have to be installed
// before it could install anything.

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')
process.chdir(root)

/** A folder and all that is in it; folders too, since they tell when a file was removed or renamed. */
const allIn = (dir) => [dir, ...readdirSync(dir, { recursive: true }).map((name) => join(dir, name))]
const times = (paths) => paths.map((path) => statSync(path).mtimeMs)
const isCurrent = (products, sources) =>
  products.every(existsSync) && Math.min(...times(products)) >= Math.max(...times(sources))

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

/** What says how everything is built, and by which versions of the tools. */
const common = ['package.json', 'package-lock.json']

const modules = readdirSync('.').filter((name) => /^tsdaemonize\..*\.node$/.test(name))
const crates = ['Cargo.toml', 'Cargo.lock', ...allIn('crate'), ...common]
if (modules.length === 0 || !isCurrent([...modules, 'tsdaemonize', 'ts/native/binding.d.ts'], crates)) {
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
  run('Building the executable', 'npm', ['run', '--silent', 'build:program'])
}

const dist = ['index', 'bin', 'pino', 'winston', 'testing/index', 'testing/reaper'].map(
  (name) => `dist/${name}.js`,
)
const code = [...allIn('ts'), 'tsconfig.json', 'scripts/types.mjs', 'scripts/rollup.config.mjs', ...common]
if (!isCurrent(dist, code)) run('Building the JavaScript', 'npm', ['run', '--silent', 'build:ts'])
if (!isCurrent(['dist/tsdaemonize.1'], ['tsdaemonize', ...common])) {
  run('Writing the manual page', 'npm', ['run', '--silent', 'build:man'])
}
