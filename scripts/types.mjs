// Puts into dist/ the type declarations that the package's own lead to, and no others: what is internal
// stays internal.

import { copyFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const { exports: entries } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))

const names = new Set(
  Object.values(entries).flatMap(({ types }) => types?.match(/^\.\/dist\/(.*)\.d\.ts$/)?.[1] ?? []),
)
rmSync(`${root}dist`, { recursive: true, force: true })
mkdirSync(`${root}dist`)
for (const name of names) {
  const source = readFileSync(`${root}build/${name}.d.ts`, 'utf8')
  for (const [, imported] of source.matchAll(/(?:from|import\()\s*'\.\/(.*?)\.js'/g)) names.add(imported)
  copyFileSync(`${root}build/${name}.d.ts`, `${root}dist/${name}.d.ts`)
}
