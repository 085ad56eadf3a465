// `npm run test:load`: the load, as a sample that takes a minute or two; all of it with `--full`.

import { cycles, many, race } from './faults/load.mjs'
import { say } from './faults/report.mjs'

const FULL = { cycles: 1000, daemons: 100, seconds: 600 }
const SAMPLE = { cycles: 50, daemons: 20, seconds: 20 }

/** Each part with what was found wrong. */
export async function load(full) {
  const size = full ? FULL : SAMPLE
  const parts = [
    [`${size.cycles} starts and stops from one process leave nothing in it`, () => cycles(size.cycles)],
    [`${size.daemons} daemons with their own names run at a time`, () => many(size.daemons)],
    [`after 8 raced for ${size.seconds} s there is one daemon or none`, () => race(size.seconds)],
  ]
  const results = []
  for (const [name, part] of parts) {
    const begun = performance.now()
    const result = await part()
    results.push({ name, ...result, seconds: (performance.now() - begun) / 1000 })
    say(result.wrong.length === 0, name, result.wrong)
  }
  return results
}

if (import.meta.filename === process.argv[1]) {
  const results = await load(process.argv.includes('--full'))
  const failed = results.filter((r) => r.wrong.length > 0).length
  console.log(`\n${results.length - failed} passed, ${failed} failed, 0 skipped`)
  process.exitCode = failed > 0 ? 1 : 0
}
