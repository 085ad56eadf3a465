// The fault sweep: every system call of a start, of a drop of privileges, of a stop, of a daemon's way out and of a start
// by the executable fails once, or its process is killed there. A sample; with --full all of it, and the report goes to docs/hostile.md.

import ava from 'ava'
import { atMost, options, report, skip, unless } from '../suite.mjs'
import { summary } from './report.mjs'
import { sampled } from './sample.mjs'
import { buildTracer, listCalls, nameOf, pointsOf, SWEEPS, tryPoint } from './sweep.mjs'

if (buildTracer()) {
  const calls = []
  for (const sweep of SWEEPS) calls.push(...(await listCalls(sweep)))
  const all = calls.flatMap(pointsOf)
  const points = options.full ? all : sampled(all)
  const limited = atMost(options.jobs)
  const results = []
  const begun = performance.now()

  for (const point of points) {
    ava(nameOf(point), (t) =>
      limited(async () => {
        let result = await tryPoint(point)
        // Node's own threads do not make the same calls in every run.
        if (!result.reached && result.wrong.length === 0) result = await tryPoint(point)
        results.push({ name: nameOf(point), point, ...result })
        if (!result.reached && result.wrong.length === 0) skip(t, 'not reached in this run')
        else t.deepEqual(result.wrong, [])
      }),
    )
  }

  if (options.full) {
    ava.after.always('the report', (t) => {
      if (results.length < points.length) return t.log('no report: not all points were tried')
      const minutes = (performance.now() - begun) / 60_000
      report('docs/hostile.md', 'sweep', summary({ calls, results, minutes }))
    })
  }
} else {
  unless('its tracer needs Rust, and Linux on x86-64 with the GNU C library', ava)(
    'the fault sweep',
    () => {},
  )
}
