// `npm run package`: what is published, as folders and tarballs in packages/: the facade, and a package
// for each platform whose binary is in artifacts/, or else for this machine alone, with the binary that
// it runs; with `--all`, not without one of them. Nothing of it changes the files of this clone.

import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { relative } from 'node:path'
import { run } from './debian.mjs'
import { LICENCES, list } from './licences.mjs'
import {
  binaryOf,
  artifacts as built,
  cache,
  filesOf,
  PROGRAM,
  programOf,
  root,
  TARGETS,
} from './targets.mjs'

/** What only a clone has a use for. */
const OURS = ['napi', 'scripts', 'ava', 'devDependencies']

const read = (path) => JSON.parse(readFileSync(path, 'utf8'))
const write = (path, value) => writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`)

/** Whether a folder has all that is built for a platform. */
const has = (artifacts, target) => filesOf(target).every((name) => existsSync(artifacts + name))

/** Makes all of it; returns the paths of the tarballs. */
export function makePackages({ artifacts = built, packages = `${root}packages/` } = {}) {
  const facade = `${packages}tsdaemonize`
  // napi keeps what it makes within the folder of the package.
  const npm = `${facade}/npm/`
  const napi = (...args) => run('npx', ['--no-install', 'napi', ...args, '--cwd', facade], { cwd: root })
  const pack = (dir) => run('npm', ['pack', '--silent', '--pack-destination', packages], { cwd: dir }).trim()

  rmSync(packages, { recursive: true, force: true })
  mkdirSync(facade, { recursive: true })
  const manifest = read(`${root}package.json`)
  const targets = TARGETS.filter((target) => has(artifacts, target))
  const included = manifest.files.filter((name) => !name.startsWith('!'))
  for (const name of included) cpSync(root + name, `${facade}/${name}`, { recursive: true })
  const triples = targets.map(({ triple }) => triple)
  write(`${facade}/package.json`, { ...manifest, napi: { ...manifest.napi, targets: triples } })

  napi('create-npm-dirs')
  napi('artifacts', '--output-dir', relative(facade, artifacts))
  for (const target of targets) complete(npm + target.name, artifacts + programOf(target))
  // Without the last flag it would publish.
  napi('prepublish', '-t', 'npm', '--no-gh-release', '--skip-optional-publish')

  for (const target of targets) rmSync(`${facade}/${binaryOf(target)}`, { force: true })
  const published = read(`${facade}/package.json`)
  for (const key of OURS) delete published[key]
  write(`${facade}/package.json`, published)
  return [facade, ...targets.map(({ name }) => npm + name)].map((dir) => packages + pack(dir))
}

/** The executable; the licences, ours and those of what is linked in. */
function complete(dir, program) {
  cpSync(program, `${dir}/${PROGRAM}`)
  // What CI keeps of a file is its bytes.
  chmodSync(`${dir}/${PROGRAM}`, 0o755)
  cpSync(`${root}LICENSE.txt`, `${dir}/LICENSE.txt`)
  cpSync(list, `${dir}/${LICENCES}`)
  const manifest = read(`${dir}/package.json`)
  write(`${dir}/package.json`, { ...manifest, files: [...manifest.files, PROGRAM, 'LICENSE.txt', LICENCES] })
}

/** A folder like artifacts/ with what `npm run build` has made. */
export function ownBuild(artifacts = `${cache}own/`) {
  rmSync(artifacts, { recursive: true, force: true })
  for (const target of TARGETS.filter((target) => existsSync(root + binaryOf(target)))) {
    cpSync(root + binaryOf(target), artifacts + binaryOf(target))
    cpSync(root + PROGRAM, artifacts + programOf(target))
  }
  return artifacts
}

if (import.meta.filename === process.argv[1]) {
  const missing = TARGETS.filter((target) => !has(built, target)).map(({ name }) => name)
  if (process.argv.includes('--all') && missing.length > 0)
    throw new Error(`No binary, or no executable, for ${missing.join(', ')}: npm run build:all`)
  const artifacts = missing.length < TARGETS.length ? built : ownBuild()
  for (const tarball of makePackages({ artifacts })) console.log(tarball)
}
