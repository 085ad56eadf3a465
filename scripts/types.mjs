// Puts into dist/ the type declarations that the package's own lead to, and no others: what is internal
// stays internal.

import { copyFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const { exports: entries } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))

const names = new Set(
  Object.values(entries).flatMap(({ types }) => types?.match(/^\.\/dist\/(.*)\.d\.ts$/)?.[1] ?? []),
)
rmSync(`${root}dist`, { recursive: true, force: true })
for (const name of names) {
  const source = readFileSync(`${root}build/${name}.d.ts`, 'utf8')
  for (const [, imported] of source.matchAll(/(?:from|import\()\s*'(\.{1,2}\/.*?)\.js'/g)) {
    names.add(join(dirname(name), imported))
  }
  mkdirSync(dirname(`${root}dist/${name}`), { recursive: true })
  copyFileSync(`${root}build/${name}.d.ts`, `${root}dist/${name}.d.ts`)
}
