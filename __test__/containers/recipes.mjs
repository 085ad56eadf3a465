// The recipes that docs/containers.md and docs/systemd.md give to users: what the tests run are those and no others.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** The recipe for a file: its name stands in the first line, or, after `#!`, in the second. */
export function recipe(path, page = 'docs/containers.md') {
  const blocks = [...readFileSync(page, 'utf8').matchAll(/^```\w*\n(.*?)^```$/gms)].map(([, text]) => text)
  const found = blocks.find((text) =>
    text.split('\n', 2).some((line) => line === `# ${path}` || line === `// ${path}`),
  )
  if (found === undefined) throw new Error(`${page} has no recipe for ${path}`)
  return found
}

/** Writes files below a directory, those of a `#!` executable. */
export function lay(dir, files) {
  for (const [path, text] of Object.entries(files)) {
    const to = join(dir, path)
    mkdirSync(dirname(to), { recursive: true })
    writeFileSync(to, text, { mode: text.startsWith('#!') ? 0o755 : 0o644 })
  }
}
