// Puts into dist/ the type declarations that the package's own lead to, and no others: what is internal
// stays internal. What they import through a folder's index comes from the file that declares it.

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const { exports: entries } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))

const names = new Set(
  Object.values(entries).flatMap(({ types }) => types?.match(/^\.\/dist\/(.*)\.d\.ts$/)?.[1] ?? []),
)
const published = [...names]
const declarations = (name) => readFileSync(`${root}build/${name}.d.ts`, 'utf8')
const NAMED = /^((?:import|export)(?: type)?) \{([^}]*)\} from '(\.{1,2}\/.*?)\.js';$/gm

/** The file in which `member` of a module is declared. */
function declaring(module, member) {
  if (!module.endsWith('/index') || published.includes(module)) return module
  for (const [, , members, imported] of declarations(module).matchAll(NAMED)) {
    if (members.match(/\w+/g).includes(member)) return declaring(join(dirname(module), imported), member)
  }
  for (const [, imported] of declarations(module).matchAll(/^export \* from '(.*?)\.js';$/gm)) {
    const source = join(dirname(module), imported)
    if (new RegExp(`^export declare \\w+ ${member}\\b`, 'm').test(declarations(source))) return source
  }
  throw new Error(`${module} does not export ${member}`)
}

/** An import or export of members through a folder's index, as one for each file that declares some. */
function direct(from, verb, members, imported) {
  const sources = new Map()
  for (const member of members.match(/\w[\w ]*/g)) {
    const source = declaring(join(from, imported), member.match(/^(?:type )?(\w+)/)[1])
    sources.set(source, [...(sources.get(source) ?? []), member.trim()])
  }
  return Array.from(sources, ([source, own]) => {
    const path = relative(from, source)
    return `${verb} { ${own.join(', ')} } from '${path.startsWith('.') ? path : `./${path}`}.js';`
  }).join('\n')
}

rmSync(`${root}dist`, { recursive: true, force: true })
for (const name of names) {
  const text = declarations(name).replace(NAMED, (_, ...found) => direct(dirname(name), ...found))
  for (const [, imported] of text.matchAll(/(?:from|import\()\s*'(\.{1,2}\/.*?)\.js'/g)) {
    names.add(join(dirname(name), imported))
  }
  mkdirSync(dirname(`${root}dist/${name}`), { recursive: true })
  writeFileSync(`${root}dist/${name}.d.ts`, text)
}
