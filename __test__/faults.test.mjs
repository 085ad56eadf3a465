// Bugs that the fault sweep (`npm test -- faults`) has found, each at its system call.

import { buildTracer, traceCalls, tryPoint } from './faults/sweep.mjs'
import { testIf } from './kit.mjs'

const able = buildTracer()
const traced = testIf(able)

/** How often a call is looked for that the program, this time, made at another place or did not make. */
const TRIES = 5
const CLONE_VM = 0x100

/** What a start or a stop calls, traced once. */
const first = new Map()
function calls(sweep) {
  if (!first.has(sweep)) first.set(sweep, traceCalls(sweep))
  return first.get(sweep)
}

/** The calls of one name that the main thread of a role makes in a phase, in their order. */
const named = (role, phase, call) => (calls) =>
  calls.filter((c) => c.role === role && c.phase === phase && c.call === call && c.thread === '0')

/** Lets the call fail that `find` chooses of those of a start or a stop. Its status. */
async function fails(t, sweep, find, fault) {
  let point = find(await calls(sweep))
  for (let tries = 1; ; tries++) {
    t.truthy(point, `there is no such call in this ${sweep}`)
    const { reached, wrong, status } = await tryPoint({ ...point, fault })
    t.deepEqual(wrong, [], `${point.call} fails with ${fault}`)
    if (reached) return status
    if (tries === TRIES) return t.fail(`${point.call} was not reached`)
    point = find(await traceCalls(sweep))
  }
}

for (const [call, index, fault] of [
  ['newfstatat', 2, 'EIO'],
  ['fcntl', 0, 'ENOMEM'],
  ['fcntl', 1, 'EINTR'],
  ['flock', 0, 'ENOMEM'],
  ['fchmod', 0, 'EROFS'],
  ['ftruncate', 0, 'ENOSPC'],
]) {
  traced(`a start whose new pidfile fails at ${call} (${fault}) leaves none`, async (t) => {
    await fails(t, 'start', (all) => named('launcher', 'main', call)(all)[index], fault)
  })
}

traced('a daemon that has no thread to wait for "go" with does not say "ready"', async (t) => {
  t.deepEqual(named('daemon', 'sent', 'clone3')(await calls('start')), [])
  await fails(t, 'start', (all) => named('daemon', 'main', 'clone3')(all).at(-1), 'EAGAIN')
})

traced('a daemon opens its output before it says "ready": afterwards nothing can fail', async (t) => {
  const late = named('daemon', 'sent', 'openat')(await calls('start'))
  t.deepEqual(
    late.filter((c) => c.path === '/dev/null'),
    [],
  )
  const opened = (all) => named('daemon', 'main', 'openat')(all).find((c) => c.path === '/dev/null')
  await fails(t, 'start', opened, 'EMFILE')
  await fails(t, 'start', (all) => named('daemon', 'sent', 'dup2')(all)[0], 'EINTR')
})

traced('a stop in whose thread the standard library panics ends all the same', async (t) => {
  const isClosedir = (c) => c.role === 'stop' && c.call === 'close' && /^\/proc\/\d+\/fd$/.test(c.path)
  await fails(t, 'stop', (all) => all.find(isClosedir), 'EIO')
})

traced('a launcher that has no thread for its start, or no process, leaves nothing', async (t) => {
  // The thread that waits for the daemon comes before anything is begun. Node would abort without one of its own.
  const thread = (all) => named('launcher', 'before', 'clone3')(all).at(-1)
  t.is(await fails(t, 'start', thread, 'EAGAIN'), 1)
  // A child with a memory of its own: fork(2), by whatever call the C library makes it.
  const isFork = (c) => c.call === 'fork' || (c.call === 'clone' && !(c.args[0] & CLONE_VM))
  const fork = (all) => all.find((c) => c.role === 'launcher' && c.thread === '0' && isFork(c))
  t.is(await fails(t, 'start', fork, 'EAGAIN'), 1)
})
