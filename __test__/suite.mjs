// What the suites share that take long (`npm test -- containers`): their options, tests that are skipped with a
// reason, how many go on at a time, and the reports in docs/.

import { readFileSync, writeFileSync } from 'node:fs'
import os from 'node:os'
import { parseArgs } from 'node:util'
import { test } from './kit.mjs'

/** Given to the runner, or to ava behind `--`: `npx ava __test__/faults/load.test.mjs -- --full`. */
export const { values: options } = parseArgs({
  strict: false,
  options: {
    /** All of it, and the report. */
    full: { type: 'boolean' },
    /** What is not here already, and cannot be got, is skipped. */
    ci: { type: 'boolean' },
    /** The containers' root file systems come from a registry. */
    registry: { type: 'boolean' },
    /** How many tests of a file go on at a time. */
    jobs: { type: 'string', default: String(os.availableParallelism() + 1) },
  },
})

/** A test; where something is missing, one that is skipped by name, with the reason. */
export const unless = (missing, kind = test) =>
  missing === undefined ? kind : (name, body) => kind.skip(`${name} (${missing})`, body)

/** For a test that finds out only in its course that it must be skipped: scripts/test.mjs counts it so. */
export function skip(t, why) {
  t.log(`skipped: ${why}`)
  t.pass()
}

/** Runs what it is given, so many at a time; the others wait in their order. */
export function atMost(count) {
  const waiting = []
  let free = Number(count)
  return async (body) => {
    if (free > 0) free--
    else await new Promise((resolve) => waiting.push(resolve))
    try {
      return await body()
    } finally {
      const next = waiting.shift()
      if (next === undefined) free++
      else next()
    }
  }
}

/** Puts the report of a full run in its place in a document. */
export function report(file, name, text) {
  const page = readFileSync(file, 'utf8')
  const place = new RegExp(`(<!-- report: ${name} .*?-->\n).*?(\n<!-- end of ${name} -->)`, 's')
  if (!place.test(page)) throw new Error(`${file} has no place for the report "${name}"`)
  writeFileSync(
    file,
    page.replace(place, (_, begin, end) => `${begin}\n${text}\n${end}`),
  )
}

/** A table in Markdown. */
export function table(head, rows) {
  const line = (cells) => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}
