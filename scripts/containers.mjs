// `npm run test:containers`: the packed package in real containers, with real service managers
// (docs/containers.md).
//
// --full (Debian's unstable as well), --registry (the root file systems by Containerfile, from a
// registry, and not by mmdebstrap), --only TEXT (lines that have it), --list

import { parseArgs } from 'node:util'
import { environments as confined } from './containers/confined.mjs'
import { enter, missing } from './containers/host.mjs'
import { prepare } from './containers/images.mjs'
import { environments as inits } from './containers/inits.mjs'
import { runAll, say, total } from './containers/run.mjs'
import { environments as supervisors } from './containers/supervisors.mjs'
import { environments as systemd } from './containers/systemd.mjs'

process.chdir(new URL('..', import.meta.url).pathname)
const args = process.argv.slice(2)
const { values: options } = parseArgs({
  args,
  options: {
    full: { type: 'boolean', default: false },
    registry: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    inside: { type: 'string' },
    failed: { type: 'string', default: '{}' },
  },
})

/** The environments, with those of their cases that were chosen. */
const chosen = [...systemd, ...inits, ...confined, ...supervisors]
  .filter((environment) => options.full || !environment.full)
  .map((environment) => ({
    ...environment,
    cases: environment.cases.filter(({ name }) => `${environment.name} · ${name}`.includes(options.only)),
  }))
  .filter(({ cases }) => cases.length > 0)

if (options.list) {
  for (const { name, cases } of chosen) for (const c of cases) console.log(`${name} · ${c.name}`)
} else if (options.inside !== undefined) {
  await runAll(chosen, { dir: options.inside, failed: JSON.parse(options.failed) })
} else {
  await main()
}

async function main() {
  const lack = missing()
  if (lack !== undefined) {
    for (const { name, cases } of chosen) for (const c of cases) say('skip', name, c.name, lack)
    total()
    return
  }
  // Outside of the namespaces, since apt wants the host's own.
  const failed = {}
  for (const image of new Set(chosen.map(({ image }) => image))) {
    const failure = prepare(image, options)
    if (failure !== undefined) failed[image] = failure
  }
  process.exitCode = await enter([...args, '--failed', JSON.stringify(failed)])
}
