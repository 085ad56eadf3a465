// The native module and the executable as files: what they need from the system, and whether they say who built them.

import fs from 'node:fs'
import { basename } from 'node:path'
import {
  readElf,
  wrongBinaries,
  wrongFile,
  wrongProgram,
  wrongSymbols,
} from '../scripts/platforms/binary.mjs'
import { artifacts, binaryOf, PROGRAM, programOf, TARGETS } from '../scripts/platforms/targets.mjs'
import { nativeFile, root, test, testIf } from './kit.mjs'

const own = root + nativeFile
/** glibc has given old symbols new version labels, up to this one; a build on this machine has them. */
const RELABELLED = '2.34'

test('it needs no symbol that an old glibc lacks', (t) => {
  t.deepEqual(own.includes('-gnu') ? wrongSymbols(readElf(own), RELABELLED) : [], [])
})

for (const file of [own, root + PROGRAM]) {
  test(`${basename(file)} is stripped`, (t) => {
    t.deepEqual(
      wrongFile(readElf(file)).filter((wrong) => wrong.startsWith('is not stripped')),
      [],
    )
  })
}

for (const target of TARGETS) {
  const built = testIf([binaryOf, programOf].every((nameOf) => fs.existsSync(artifacts + nameOf(target))))
  built(
    `those for ${target.name} are small, stripped, need nothing new, and name no path of who built them`,
    (t) => {
      t.deepEqual(wrongBinaries(target), [])
    },
  )
}

test('a symbol without a version, a newer one and one that a linker lets pass are found', (t) => {
  const undefinedOf = (name, version, isWeak = false) => ({ name, version, isWeak, isUndefined: true })
  const wrong = (...symbols) => wrongSymbols({ symbols })
  t.deepEqual(wrong(undefinedOf('memfd_create')), ['needs memfd_create, which glibc 2.17 lacks'])
  t.deepEqual(wrong(undefinedOf('memfd_create', 'GLIBC_2.27')), [
    'needs memfd_create, which glibc 2.17 lacks',
  ])
  t.deepEqual(wrong(undefinedOf('strange')), ['needs strange, of no version'])
  t.deepEqual(wrong(undefinedOf('stat', 'GLIBC_2.33')), ['needs stat of glibc 2.33'])
  t.deepEqual(
    wrong(
      undefinedOf('napi_throw'),
      undefinedOf('statx', undefined, true),
      undefinedOf('fork', 'GLIBC_2.2.5'),
    ),
    [],
  )
})

test('what is wrong with a file that was built otherwise is found: Node itself', (t) => {
  const node = readElf(fs.realpathSync(process.execPath))
  t.true(wrongFile(node).some((wrong) => /^has \d+ bytes/.test(wrong)))
  t.true(wrongProgram(node).includes('is not static'))
  t.true(node.symbols.some(({ name, version }) => name === 'fork' && version?.startsWith('GLIBC_')))
})
