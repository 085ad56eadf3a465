// Bundles the compiled JavaScript (build/) into the package's modules (dist/): one file each, since every
// further one takes a millisecond at each import. Not minified: that gains nothing that can be measured, and
// when a program does not catch an error, Node shows the line that threw it.

import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const common = {
  absWorkingDir: fileURLToPath(new URL('..', import.meta.url)),
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

async function bundle(entryPoints, external, change = (code) => code) {
  const { outputFiles } = await build({ ...common, entryPoints, external })
  for (const { path, text } of outputFiles) writeFileSync(path, change(text))
}

await bundle(['build/index.js'], [], namespaceOfValues)
await bundle(['build/pino.js', 'build/winston.js'], ['./index.js'])
await bundle(['build/testing/index.js', 'build/testing/reaper.js'], ['../index.js'])
