// The binary of each platform is built where it is out of date, and looked at; and in each system that can be had
// for it a real daemon lives: its start, its status, a signal, its log, its end. With --ci only the x64 platforms, and
// of the others those that have been built and run here before.

import ava from 'ava'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { appOf } from '../../scripts/platforms/app.mjs'
import { check } from '../../scripts/platforms/binary.mjs'
import { build, isBuilt } from '../../scripts/platforms/build.mjs'
import { makePackages } from '../../scripts/platforms/package.mjs'
import { artifacts, binaryOf, filesOf, programOf, root, TARGETS } from '../../scripts/platforms/targets.mjs'
import { toolchain } from '../../scripts/platforms/tools.mjs'
import { options, report, skip, table, unless } from '../suite.mjs'
import { canIsolate, emulator, isCached, rootOf, SYSTEMS } from './systems.mjs'

const scratch = mkdtempSync(join(tmpdir(), 'tsd-platforms-'))
ava.after.always('the packages are removed', () => rmSync(scratch, { recursive: true }))

/** A row for each test: the platform, what was tried, what was found. */
const rows = []

const isX64Linux = ({ os, cpu }) => os === 'linux' && cpu === 'x64'
const systemsOf = ({ name }) => SYSTEMS.filter(({ platform }) => platform === name)

/** Why a platform is left out. */
function omitted(target) {
  if (!options.ci || isX64Linux(target)) return undefined
  const own = systemsOf(target)
  const isKnown = isBuilt(target) && own.length > 0 && own.every(isCached)
  return isKnown ? undefined : 'not built or run here before: npm test -- platforms'
}

/** Whether the binaries are younger than all that they are made of. */
function isCurrent(target) {
  const files = filesOf(target).map((name) => artifacts + name)
  if (!files.every(existsSync)) return false
  const made = Math.min(...files.map((file) => statSync(file).mtimeMs))
  const sources = readdirSync(`${root}crate`, { recursive: true }).map((name) => `crate/${name}`)
  return ['Cargo.toml', 'Cargo.lock', ...sources].every((name) => statSync(root + name).mtimeMs < made)
}

/** What has to be got from a registry; in CI one that is out of reach is no failure. */
function got(t, get) {
  try {
    get()
    return true
  } catch (error) {
    if (!options.ci) throw error
    skip(t, `it cannot be got: ${error.message}`)
    return false
  }
}

const built = []

for (const target of TARGETS) {
  unless(omitted(target), ava.serial)(
    `${target.name}: the binaries are built, and are as they must be`,
    (t) => {
      if (!isCurrent(target) && !got(t, toolchain)) return
      if (!isCurrent(target)) build(target)
      check(target)
      built.push(target.name)
      const size = (name) => statSync(artifacts + name).size
      const sizes = `module ${size(binaryOf(target))} bytes, program ${size(programOf(target))} bytes`
      rows.push([target.name, 'build', `as it must be: ${sizes}`])
      t.pass()
    },
  )
}

let hasPackages = false

for (const system of SYSTEMS) {
  const { platform, name } = system
  const target = TARGETS.find(({ name }) => name === platform)
  const missing =
    omitted(target) ?? (canIsolate() ? undefined : 'this user cannot make namespaces (unshare -Urmpf)')
  unless(missing, ava.serial)(`${platform}: a daemon lives on ${name}`, (t) => {
    if (!built.includes(platform)) return skip(t, 'there is no binary')
    if (!got(t, () => rootOf(system))) return
    if (!hasPackages) makePackages({ packages: `${scratch}/` })
    hasPackages = true
    const app = join(scratch, 'app')
    appOf(`${scratch}/`, platform, app)
    const qemu = platform.includes(process.arch) ? '' : emulator()
    const inside = ['sh', join(import.meta.dirname, 'inside.sh'), rootOf(system), app, system.node, qemu]
    const { status, stdout, stderr } = spawnSync('unshare', ['-Urmpf', '--kill-child', ...inside], {
      encoding: 'utf8',
      timeout: 300_000,
    })
    rmSync(app, { recursive: true })
    t.is(status, 0, `${stdout}${stderr}`)
    rows.push([platform, name, stdout.trim()])
  })
}

const macs = TARGETS.filter(({ os }) => os === 'darwin')
for (const { name } of macs) {
  rows.push([name, 'run', 'there is no macOS here: built and linked, not run'])
  ava.skip(`${name}: a daemon lives on it (there is no macOS here)`, () => {})
}

if (options.full) {
  ava.after('the report', (t) => {
    if (rows.length < TARGETS.length + SYSTEMS.length + macs.length)
      return t.log('no report: not all of it was tried')
    const date = new Date().toISOString().slice(0, 10)
    const found = table(['platform', 'with', 'found'], rows)
    report('docs/platforms.md', 'platforms', `The last full run was on ${date}.\n\n${found}`)
  })
}
