// `npm run test:faults`: the fault sweep and the load, as a sample that takes some minutes; with
// `--full` all of it, and the report goes to docs/hostile.md.
//
// --full, --jobs N, --only TEXT (points whose name has it), --sweep NAME (one of them), --list

import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { report, say, write } from './faults/report.mjs'
import { sampled } from './faults/sample.mjs'
import { buildTracer, listCalls, nameOf, pointsOf, SWEEPS, tryPoint } from './faults/sweep.mjs'
import { load } from './load.mjs'

process.chdir(new URL('..', import.meta.url).pathname)
const { values: options } = parseArgs({
  options: {
    full: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    jobs: { type: 'string', default: String(availableParallelism() + 1) },
    only: { type: 'string' },
    sweep: { type: 'string', multiple: true, default: SWEEPS },
  },
})

const able = buildTracer()
if (!able) console.log('skip  the sweep: its tracer needs Rust, and Linux on x86-64 with the GNU C library')

const begun = performance.now()
const seconds = () => (performance.now() - begun) / 1000

/** Tries the points, some at a time, and says what is wrong. */
async function sweep(points) {
  const results = []
  const queue = points.values()
  const work = async () => {
    for (const point of queue) {
      let result = await tryPoint(point)
      // Node's own threads do not make the same calls in every run.
      if (!result.reached && result.wrong.length === 0) result = await tryPoint(point)
      const name = nameOf(point)
      results.push({ name, point, ...result })
      if (result.wrong.length > 0) say(false, name, result.wrong)
      else if (!result.reached) console.log(`skip  ${name}: not reached in this run`)
      if (results.length % 100 === 0) {
        console.log(`${results.length} of ${points.length} points after ${seconds().toFixed(0)} s`)
      }
    }
  }
  await Promise.all(Array.from({ length: Number(options.jobs) }, work))
  return results
}

function chosen(points) {
  const { only } = options
  if (only !== undefined) return points.filter((point) => nameOf(point).includes(only))
  return options.full ? points : sampled(points)
}

const calls = []
for (const name of able ? options.sweep : []) calls.push(...(await listCalls(name)))
const points = chosen(calls.flatMap(pointsOf))
if (options.list) {
  for (const point of points) console.log(nameOf(point))
  console.log(`${points.length} points`)
} else {
  await main()
}

async function main() {
  console.log(`Fault sweep: ${calls.length} system calls, ${points.length} points, ${options.jobs} at a time`)
  const results = await sweep(points)
  const whole = options.only === undefined && options.sweep === SWEEPS
  const loads = whole ? await load(options.full) : []
  if (options.full && whole && able) {
    write(report({ calls, results, loads, seconds: seconds() }))
  }

  const wrong = [...results, ...loads].filter((r) => r.wrong.length > 0)
  // Last, for whoever sees only the end.
  for (const { name } of wrong) console.log(`FAILED: ${name}`)
  const failed = wrong.length
  const missing = results.filter((r) => r.wrong.length === 0 && !r.reached).length
  const missed = missing === 0 ? '' : ` (a point that was not reached in its run is skipped)`
  console.log(`\nTried in ${seconds().toFixed(0)} s${missed}`)
  const passed = results.length + loads.length - failed - missing
  console.log(`${passed} passed, ${failed} failed, ${missing + (able ? 0 : 1)} skipped`)
  process.exitCode = failed > 0 ? 1 : 0
}
