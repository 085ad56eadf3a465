// The programs that the recipes start, below /srv/beacon.

import { readFileSync } from 'node:fs'
import { recipe, lay } from './recipes.mjs'

const PROGRAM = '/srv/beacon/beacon.mjs'

/** Lays them, with the package.json that a user has. */
export function layPrograms(dir) {
  const beacon = recipe(PROGRAM)
  lay(dir, {
    'package.json': '{ "private": true, "type": "module" }\n',
    'beacon.mjs': beacon,
    'unchanged/beacon.mjs': beacon.replace('.serviced()', '.start()'),
    'orphans.mjs': readFileSync(new URL('orphans.mjs', import.meta.url), 'utf8'),
  })
}
