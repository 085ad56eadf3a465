// `npm run test:runtimes`: a daemon's start, status, signals, log and end on every runtime and in every
// form of a program; with `--full` also all tests on every line of Node. What is not installed
// (scripts/nodes.mjs) is skipped by name.
//
// --full, --jobs N, --only TEXT (cells whose name has it)

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { Place } from 'tsdaemonize/testing'
import { LINES, nodeOf } from './nodes.mjs'
import { check } from './runtimes/check.mjs'
import { cells, makeProject } from './runtimes/project.mjs'

process.chdir(new URL('..', import.meta.url).pathname)
const { values: options } = parseArgs({
  options: {
    full: { type: 'boolean', default: false },
    jobs: { type: 'string', default: String(availableParallelism() + 1) },
    only: { type: 'string', default: '' },
  },
})

const total = { passed: 0, failed: 0, skipped: 0 }
const failures = []

function say(name, wrong) {
  const good = wrong.length === 0
  console.log(`${good ? 'ok   ' : 'WRONG'} ${name}${wrong.map((line) => `\n  ${line.trimEnd()}`).join('')}`)
  total[good ? 'passed' : 'failed']++
  if (!good) failures.push(name)
}

const begun = performance.now()
const seconds = () => ((performance.now() - begun) / 1000).toFixed(0)

/** The whole matrix, some cells at a time. */
async function matrix() {
  const place = new Place({ log: false })
  try {
    const project = await makeProject(place.dir)
    const queue = cells()
      .filter(({ name }) => name.includes(options.only))
      .values()
    const work = async () => {
      for (const cell of queue) {
        if (cell.skip === undefined) say(cell.name, await check(cell, project))
        else skip(cell.name, cell.skip)
      }
    }
    await Promise.all(Array.from({ length: Number(options.jobs) }, work))
  } finally {
    await place.end()
  }
}

function skip(name, why) {
  console.log(`skip  ${name}: ${why}`)
  total.skipped++
}

/** All tests on a line of Node. */
async function suite(line) {
  const name = `all tests on Node ${line}`
  if (!existsSync(nodeOf(line))) return skip(name, 'it is not installed')
  const child = spawn(nodeOf(line), ['node_modules/ava/entrypoints/cli.mjs'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.on('data', (data) => {
    output += data
    process.stdout.write(data)
  })
  const [status] = await once(child, 'close')
  const failed = [...output.matchAll(/^ {2}✘ (?:\[fail\]: )?(.+)/gm)].map(([, test]) => test)
  say(name, status === 0 ? [] : [...failed, `ava ended with status ${status}`])
}

await matrix()
if (options.full) for (const line of LINES) await suite(line)

console.log(`\nTried in ${seconds()} s`)
for (const name of failures) console.log(`FAILED: ${name}`)
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`)
process.exitCode = total.failed > 0 ? 1 : 0
