// The set-up builds what is out of date, and nothing else.

import fs from 'node:fs'
import { join } from 'node:path'
import { command, place, root, test } from './kit.mjs'

const NATIVE = /^The native module is built with Rust/
const JAVASCRIPT = /^Building the JavaScript failed/

const MODULES = ['index', 'bin', 'pino', 'winston', 'testing/index', 'testing/reaper']
const DIST = MODULES.map((name) => `dist/${name}.js`)
const PRODUCTS = ['tsdaemonize.linux-x64-gnu.node', 'tsdaemonize', 'ts/native/binding.d.ts', ...DIST]
const SOURCES = {
  'Cargo.toml': NATIVE,
  'Cargo.lock': NATIVE,
  'crate/core/src/lib.rs': NATIVE,
  'crate/node/build.rs': NATIVE,
  'crate/program/Cargo.toml': NATIVE,
  'package.json': NATIVE,
  'ts/index.ts': JAVASCRIPT,
  'tsconfig.json': JAVASCRIPT,
  'scripts/types.mjs': JAVASCRIPT,
  'scripts/rollup.config.mjs': JAVASCRIPT,
}

const at = (p, path, seconds) => fs.utimesSync(join(p.dir, path), seconds, seconds)

/** A clone in which all is built, since its products are younger than what they are made of. */
function built(t) {
  const p = place(t)
  for (const name of [...Object.keys(SOURCES), 'package-lock.json', 'ts/other.ts']) p.write(name, '')
  p.write('scripts/setup.mjs', fs.readFileSync(join(root, 'scripts/setup.mjs')))
  for (const name of fs.readdirSync(p.dir, { recursive: true })) at(p, name, 1000)
  for (const name of ['node_modules/.package-lock.json', ...PRODUCTS, 'dist/tsdaemonize.1']) {
    p.write(name, '')
    at(p, name, 2000)
  }
  for (const name of ['ts', 'ts/native', 'crate']) at(p, name, 1000)
  return p
}

/** Neither npm nor cargo is there, so that it fails where it would build. */
const setup = (p) =>
  command(p, process.execPath, [join(p.dir, 'scripts/setup.mjs')], { env: { PATH: p.dir } })

test('what is current is not built again', async (t) => {
  const { status, stdout, stderr } = await setup(built(t))
  t.deepEqual([status, stdout, stderr], [0, '', ''])
})

for (const [source, expected] of Object.entries(SOURCES)) {
  test(`what is older than ${source} is built`, async (t) => {
    const p = built(t)
    at(p, source, 3000)
    const { status, stderr } = await setup(p)
    t.is(status, 1)
    t.regex(stderr, expected)
  })
}

for (const product of PRODUCTS) {
  test(`${product} is built where it is missing`, async (t) => {
    const p = built(t)
    fs.rmSync(join(p.dir, product))
    at(p, 'ts/native', 1000)
    const { status, stderr } = await setup(p)
    t.is(status, 1)
    t.regex(stderr, DIST.includes(product) ? JAVASCRIPT : NATIVE)
  })
}

test('a source that was removed is noticed', async (t) => {
  const p = built(t)
  fs.rmSync(join(p.dir, 'ts/other.ts'))
  const { status, stderr } = await setup(p)
  t.is(status, 1)
  t.regex(stderr, JAVASCRIPT)
})

test('other development packages are installed when the lock file has changed', async (t) => {
  const p = built(t)
  at(p, 'package-lock.json', 3000)
  const { status, stderr } = await setup(p)
  t.is(status, 1)
  t.regex(stderr, /^Installing the development packages failed/)
})
