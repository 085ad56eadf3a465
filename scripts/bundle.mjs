// Bundles the compiled JavaScript (build/) into the package's modules (dist/): one file each, since every
// further one takes a millisecond at each import. Not minified: that gains nothing that can be measured, and
// when a program does not catch an error, Node shows the line that threw it.

import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const root = fileURLToPath(new URL('..', import.meta.url))
const { version } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))

const common = {
  absWorkingDir: root,
  define: { VERSION: JSON.stringify(version) },
  outdir: 'dist',
  outbase: 'build',
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  logLevel: 'warning',
  write: false,
}

/**
 * For `export * as name` esbuild makes an object with a getter for each export, at the top. As values, at the
 * bottom, where all are made, they take a third of a millisecond less of each import.
 */
function namespaceOfValues(code) {
  const getters = /var (\w+) = \{\};\n__export\(\1, \{\n([^}]*)\n\}\);\n/
  const [found, name, members] = code.match(getters) ?? []
  if (found === undefined) throw new Error('esbuild makes its namespaces in another way now')
  const values = members.replace(/: \(\) =>/g, ':')
  return code
    .replace(found, () => `var ${name};\n`)
    .replace(/^export \{/m, () => `${name} = Object.freeze({\n__proto__: null,\n${values}\n});\nexport {`)
}

/**
 * The package's own code as a function, which only the first copy in a process calls (ts/native/copies.ts). In
 * parentheses, so that V8 compiles it as soon as it reads it, and does not read it twice.
 */
function asFunction(code) {
  const [list, names] = code.match(/^export \{([^}]*)\};\n/m) ?? []
  const imported = code.match(/^import .*/gm) ?? []
  if (
    names === undefined ||
    imported.some((line) => !/^import \{[^}]*\} from "\.\/copies\.js";$/.test(line))
  ) {
    throw new Error('esbuild writes what is imported and exported in another way now')
  }
  if (imported.some((line) => line.includes(' as ')))
    throw new Error('A name of ts/native/copies.ts is taken elsewhere')
  const exported = names.split(',').map((name) => name.trim().split(' as ').reverse())
  const members = exported.filter(([name]) => name !== 'isDaemon')
  const returned = members.map(([name, variable = name]) => `${name}: ${variable}`)
  const body = code.replace(/^import .*\n/gm, '').replace(list, `return { ${returned.join(', ')} };\n`)
  const own = members.map(([name]) => name).join(', ')
  return `var { ${own} } = share((function () {\n${body}}));\nexport { ${own}, isDaemon };\n`
}

async function bundle(entryPoints, external) {
  const { outputFiles } = await build({ ...common, entryPoints, external })
  return outputFiles
}

async function write(entryPoints, external) {
  for (const { path, text } of await bundle(entryPoints, external)) writeFileSync(path, text)
}

const [copies] = await bundle(['build/native/copies.js'], [])
const [{ path, text }] = await bundle(['build/index.js'], ['./copies.js'])
const withoutExports = copies.text.replace(/^export \{[^}]*\};\n/m, '')
writeFileSync(path, withoutExports + asFunction(namespaceOfValues(text)))
await write(['build/pino.js', 'build/winston.js'], ['./index.js'])
await write(['build/testing/index.js', 'build/testing/reaper.js'], ['../index.js'])
