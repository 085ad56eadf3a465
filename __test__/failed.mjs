// What must be true after every start that failed.

import fs from 'node:fs'
import { end, pidIn, processesOf, run, sample, until } from './kit.mjs'

/** A start that fails at once does not wait for the end of `startTimeout`. This is its default. */
const START_TIMEOUT = 30_000

/** Checks that nothing is left, and that a plain start works. */
export async function nothingLeft(t, p) {
  // The rest of a process group is killed, but the start does not wait for its end.
  await until(() => processesOf(p).length === 0, 'the end of all processes')
  t.deepEqual(fs.readdirSync(p.run), [])
  const { status, stderr } = await run(p, p.write('works.mjs', sample()))
  t.is(status, 0, stderr)
  t.deepEqual(processesOf(p), [pidIn(p)])
  await end(pidIn(p))
}

/** Checks that a start fails at once, with these words, and leaves nothing. */
export async function fails(t, p, start, says) {
  const before = performance.now()
  const { status, stdout, stderr } = await start()
  t.is(status, 1, stderr)
  for (const words of [says].flat()) t.regex(stderr, words)
  t.is(stdout, '')
  t.true(performance.now() - before < START_TIMEOUT)
  await nothingLeft(t, p)
}
