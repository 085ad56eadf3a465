// Bundles the compiled JavaScript (build/) into the package's modules (dist/): one file for each, since every
// further file takes a millisecond at each import. It is not minified: that gains nothing that can be measured,
// and when a program does not catch an error, Node shows the line that threw it.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { rollup } from 'rollup'

const build = fileURLToPath(new URL('../build/', import.meta.url))
const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))

const INDEX = `${build}index.js`
const COPIES = `${build}native/copies.js`

/** A warning ends the build: what is bundled is all our own. */
const onLog = (_level, { message }) => {
  throw new Error(message)
}

/**
 * Reads index.js as a function that makes the package's exports, which only the first copy in a process calls
 * (ts/native/copies.ts). It stands in parentheses, so that V8 compiles it as soon as it reads it, and does not read
 * it twice.
 */
const onlyTheFirstCopy = {
  name: 'only the first copy',
  async load(id) {
    if (id !== INDEX) return null
    const bundle = await rollup({ input: INDEX, external: COPIES, plugins: [variables, meta], onLog })
    const [{ code, exports }] = (
      await bundle.generate({
        format: 'iife',
        name: 'made',
        globals: { [COPIES]: 'copies' },
        esModule: false,
        strict: false,
        indent: false,
      })
    ).output
    // Its value changes, so it is exported as the variable that it is.
    const others = exports.filter((name) => name !== 'isDaemon')
    return `import * as copies from './native/copies.js'
export { isDaemon } from './native/copies.js'
export const { ${others.join(', ')} } = copies.share((function () {
${code}return made;
}))`
  },
}

/** Makes `var` of a module's `const` and `let`, which V8 would check at each use: a third of an import's time. */
const variables = {
  name: 'variables',
  transform(code) {
    const statements = this.parse(code).body.map((statement) => statement.declaration ?? statement)
    const checked = statements.filter(({ kind }) => kind === 'const' || kind === 'let')
    return checked.reduceRight(
      (text, { start, kind }) => `${text.slice(0, start)}var${text.slice(start + kind.length)}`,
      code,
    )
  },
}

/** Keeps `import.meta`, which Rollup replaces in a script: this one becomes part of a module. */
const meta = {
  name: 'meta',
  resolveImportMeta: (property) => (property === null ? 'import.meta' : `import.meta.${property}`),
}

const bundle = (entry) => ({
  input: `${build}${entry}.js`,
  external: [INDEX, /^node:/],
  output: { file: `dist/${entry}.js`, format: 'es' },
  onLog,
})

export default [
  {
    ...bundle('index'),
    external: [],
    plugins: [onlyTheFirstCopy],
    treeshake: false,
    output: { file: 'dist/index.js', format: 'es', intro: `const VERSION = ${JSON.stringify(version)};` },
  },
  ...['bin', 'pino', 'winston', 'testing/index', 'testing/reaper'].map(bundle),
]
