// Installs what some tests run on beside this Node, from npm into .cache: a Node of every line that the
// package supports, Bun, Deno, vitest, postject, what runs programs in its own way, and package managers. What is there
// already stays; what cannot be installed is skipped by name in the tests.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The lines that are supported. */
export const LINES = ['20', '22', '24', '26']

const { platform, arch } = process
const node = `node-${platform}-${arch}`
const bun = `@oven/bun-${platform}-${arch === 'arm64' ? 'aarch64' : arch}`
const deno = `@deno/${platform}-${arch}${platform === 'linux' ? '-glibc' : ''}`

const directory = (name) => fileURLToPath(new URL(`../.cache/${name}`, import.meta.url))
const fileOf = (name, path) => `${directory(name)}/node_modules/${path}`

/** The path of a Node of this line, whether or not it is installed. */
export function nodeOf(line) {
  if (process.versions.node.startsWith(`${line}.`)) return process.execPath
  return fileOf(`nodes/${line}`, `${node}/bin/node`)
}

/** The paths of Bun and Deno, and of the packages of vitest and postject, whether or not they are installed. */
export const bunPath = fileOf('bun', `${bun}/bin/bun`)
export const denoPath = fileOf('deno', `${deno}/deno`)
export const vitestPath = fileOf('vitest', 'vitest')
/** Makes single-executable applications of Nodes that cannot do so themselves. */
export const postjectPath = fileOf('postject', 'postject')
/** What runs programs in its own way: the path of such a package, whether or not it is installed. */
export const runnerOf = (name) => fileOf('runners', name)
/** What installs packages beside npm and Bun: the path of such a package, whether or not it is installed. */
export const managerOf = (name) => fileOf('managers', name)
const MANAGERS = ['pnpm@10', '@yarnpkg/cli-dist@4']
const RUNNERS = ['pm2@7', 'vite-node@6', 'zx@8', 'jiti@2']

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const line of LINES) install(`Node ${line}`, `nodes/${line}`, `${node}@${line}`, nodeOf(line))
  install('Bun', 'bun', `${bun}@1`, bunPath)
  install('Deno', 'deno', `${deno}@2`, denoPath)
  install('vitest', 'vitest', 'vitest@4', vitestPath)
  install('postject', 'postject', 'postject@1.0.0-alpha.6', postjectPath)
  install('runners of programs', 'runners', RUNNERS, runnerOf('jiti'))
  install('package managers', 'managers', MANAGERS, managerOf('pnpm'))
}

function install(what, name, spec, path) {
  if (existsSync(path)) return
  console.log(`Installing ${what} for the tests ...`)
  const args = [
    'install',
    '--prefix',
    directory(name),
    '--no-save',
    '--no-audit',
    '--no-fund',
    '--ignore-scripts',
  ]
  const { status } = spawnSync('npm', args.concat(spec), { stdio: ['ignore', 'ignore', 'inherit'] })
  if (status !== 0) console.log(`${what} cannot be installed: its tests are skipped.`)
}
