// Bugs that the fault sweep (`npm test -- faults`) has found, each at its system call.

import { buildTracer, listCalls, tryPoint } from './faults/sweep.mjs'
import { test, testIf } from './kit.mjs'

const able = buildTracer()
const traced = testIf(able)

let calls = []
test.before(async () => {
  if (able) calls = [...(await listCalls('start')), ...(await listCalls('stop'))]
})

/** The calls of one role and phase, in their order. */
const all = (role, phase, call) =>
  calls.filter((c) => c.role === role && c.phase === phase && c.call === call && c.thread === '0')

async function fails(t, point, fault) {
  let tried = {}
  // Node starts its threads in any order, so the number of one of our threads varies.
  const others = point.thread === '0' ? [0] : [0, -1, 1, -2, 2, 0, -1, 1, -2, 2]
  for (const other of others) {
    if (!tried.reached)
      tried = await tryPoint({ ...point, thread: String(Number(point.thread) + other), fault })
  }
  const { reached, wrong, status } = tried
  t.true(reached, `${point.call} was not reached`)
  t.deepEqual(wrong, [], `${point.call} fails with ${fault}`)
  return status
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
    await fails(t, all('launcher', 'main', call)[index], fault)
  })
}

traced('a daemon that has no thread to wait for "go" with does not say "ready"', async (t) => {
  t.deepEqual(all('daemon', 'sent', 'clone3'), [])
  await fails(t, all('daemon', 'main', 'clone3').at(-1), 'EAGAIN')
})

traced('a daemon opens its output before it says "ready": afterwards nothing can fail', async (t) => {
  const late = calls.filter((c) => c.role === 'daemon' && c.phase === 'sent' && c.path === '/dev/null')
  t.deepEqual(
    late.filter((c) => c.call === 'openat'),
    [],
  )
  const opened = all('daemon', 'main', 'openat').find((c) => c.path === '/dev/null')
  await fails(t, opened, 'EMFILE')
  await fails(t, all('daemon', 'sent', 'dup2')[0], 'EINTR')
})

traced('a stop in whose thread the standard library panics ends all the same', async (t) => {
  const closedir = calls.find(
    (c) => c.role === 'stop' && c.call === 'close' && /^\/proc\/\d+\/fd$/.test(c.path),
  )
  await fails(t, closedir, 'EIO')
})

traced('a launcher that has no thread, or no process, for its start leaves nothing', async (t) => {
  const threads = all('launcher', 'main', 'clone3')
  t.is(threads.length, 1, 'the thread that waits for the daemon comes before the pidfile is looked at')
  t.is(await fails(t, threads[0], 'EAGAIN'), 1)
  const forks = calls.filter((c) => c.role === 'launcher' && c.phase === 'main' && c.call === 'clone')
  // It is refused, as an emulator does, and then succeeds with a copy of the memory.
  t.is(forks.length, 1)
  t.is(await fails(t, forks[0], 'EINVAL'), 0)
})
