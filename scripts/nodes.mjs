// Installs a Node of every line that the package supports, for the tests that run on all of them, from
// npm's `node-<platform>-<arch>` packages into .cache/nodes/<major>. What is there already stays.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The lines that are supported. */
export const LINES = ['20', '22', '24', '26']

const builds = `node-${process.platform}-${process.arch}`
const directory = (line) => fileURLToPath(new URL(`../.cache/nodes/${line}`, import.meta.url))

/** The path of a Node of this line, whether or not it is installed. */
export function nodeOf(line) {
  if (process.versions.node.startsWith(`${line}.`)) return process.execPath
  return `${directory(line)}/node_modules/${builds}/bin/node`
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const line of LINES.filter((line) => !existsSync(nodeOf(line)))) {
    console.log(`Installing Node ${line} for the tests ...`)
    const args = ['install', '--prefix', directory(line), '--no-save', '--no-audit', '--no-fund']
    const { status } = spawnSync('npm', [...args, `${builds}@${line}`], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    if (status !== 0) console.log(`Node ${line} cannot be installed: its tests are skipped.`)
  }
}
