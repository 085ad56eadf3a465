// Runs the environments and their cases, one after the other, and says what became of each.

import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { Box, podman, setUp, versions } from './box.mjs'
import { buildModule } from './module.mjs'
import { rootOf } from './images.mjs'
import { packAll } from './packages.mjs'
import { layPrograms } from './programs.mjs'

const counts = { ok: 0, FAIL: 0, skip: 0 }
const failures = []

export function say(result, environment, name, reason) {
  counts[result]++
  if (result === 'FAIL') failures.push(`${environment} · ${name}`)
  const why = reason === undefined ? '' : `\n        ${reason.trim().replaceAll('\n', '\n        ')}`
  console.log(`${result.padEnd(5)} ${environment} · ${name}${why}`)
}

/** What failed, and the line that `.ci/run` adds up. */
export function total() {
  for (const failure of failures) console.log(`FAILED: ${failure}`)
  console.log(`\n${counts.ok} passed, ${counts.FAIL} failed, ${counts.skip} skipped`)
  process.exitCode = counts.FAIL > 0 ? 1 : 0
}

/** @param failed by image: why it could not be made */
export async function runAll(environments, { dir, failed }) {
  const begun = performance.now()
  setUp(resolve(dir))
  console.log(`${versions()}; Node ${process.versions.node}`)
  const installs = new Map()
  for (const environment of environments) {
    const { image, ownModule } = environment
    if (failed[image] === undefined && !installs.has(image)) {
      installs.set(image, await install(resolve(dir), image, ownModule))
    }
    const lack = failed[image] ?? installs.get(image).lack
    if (lack !== undefined) {
      for (const { name } of environment.cases) say('skip', environment.name, name, lack)
    } else {
      await runOne(environment, installs.get(image))
    }
  }
  console.log(`\nTried in ${((performance.now() - begun) / 1000).toFixed(0)} s`)
  total()
}

/** The package as a user installs it: `npm install` of the tarballs, offline, in that very system. */
async function install(dir, image, ownModule) {
  const what = 'npm install of the packed package, offline'
  const srv = join(dir, image)
  try {
    const module = ownModule ? await buildModule(dir, image) : {}
    if (module.lack !== undefined) return module
    const tarballs = packAll(join(dir, `${image}.packages`), module.path)
    mkdirSync(srv, { recursive: true })
    layPrograms(srv)
    const box = new Box({
      root: rootOf(image),
      args: [
        '-v',
        `${srv}:/srv/beacon`,
        '-v',
        `${join(dir, `${image}.packages`)}:/packages:ro`,
        '-w',
        '/srv/beacon',
      ],
      command: [
        'npm',
        'install',
        '--offline',
        '--no-audit',
        '--no-fund',
        ...tarballs.map((t) => `/packages/${t}`),
      ],
    })
    const { status, stdout, stderr } = await box.run()
    if (status !== 0) throw new Error(stdout + stderr)
    say('ok', image, what)
    return { srv, packages: join(dir, `${image}.packages`) }
  } catch (error) {
    say('FAIL', image, what, error.message)
    return { lack: 'the package is not installed' }
  }
}

async function runOne(environment, { srv, packages }) {
  const { name, image, systemd, cases } = environment
  const root = rootOf(image)
  let box
  /** A box of one's own, for a case that wants another than the environment's. */
  const make = (more) =>
    new Box({ root, ...more, args: ['-v', `${srv}:/srv/beacon:ro`, ...(more.args ?? [])] })
  try {
    if (environment.ready) {
      box = await make({
        systemd,
        args: environment.args,
        command: environment.command ?? (systemd ? ['/sbin/init'] : []),
      }).start()
      await environment.ready(box)
    }
  } catch (error) {
    for (const c of cases) say('FAIL', name, c.name, error.message)
    await box?.end()
    return
  }
  for (const { name: what, skip, body } of cases) {
    if (skip !== undefined) {
      say('skip', name, what, skip)
      continue
    }
    const begun = performance.now()
    try {
      await body(box, { make, root, srv, packages })
      say('ok', name, `${what} (${((performance.now() - begun) / 1000).toFixed(1)} s)`)
    } catch (error) {
      say('FAIL', name, what, `${error.message}\n${process.env.DEBUG ? error.stack : ''}`)
    }
  }
  await box?.end()
  await podman(['rm', '--all', '--force', '--time', '0'])
}
