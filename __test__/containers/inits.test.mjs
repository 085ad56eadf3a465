// Without a service manager: no init at all, the daemon as PID 1, and the small inits of containers.

import assert from 'node:assert/strict'
import { until } from './box.mjs'
import { BEACON_COMMAND, byHand, isRunning, life, look, STEPS, startLogger, step } from './life.mjs'
import { system, within } from './system.mjs'

const RUN = [...BEACON_COMMAND.split(' '), 'run']
/** The program that ends in start(). */
const UNCHANGED = ['/usr/local/bin/node', '/srv/beacon/unchanged/beacon.mjs']

const alone = system({
  name: 'no init at all: PID 1 is `sleep`, which reaps nobody',
  image: 'bookworm',
  command: ['sleep', 'infinity'],
  // No PID 1 starts it: the logger is started by hand.
  ready: startLogger,
})

alone(STEPS, async (box) => {
  await life(box, byHand(box))
  const zombies = await box.peek('grep -ls "^State:.Z" /proc/[0-9]*/status | wc -l')
  assert(Number(zombies) > 0, 'those that ended are zombies: nobody reaps them')
})

/**
 * The life of a container whose main process is the daemon, or an init that has nothing else: what a
 * person types is podman's.
 */
async function containerLife(box, { isFirst, args = '' }) {
  const find = async () => (await look(box)).status.pid
  const ready = () => until(find, 'the daemon')
  const counted = (text, times) =>
    until(async () => {
      const lines = (await box.logs()).split('\n').filter((line) => line.includes(text))
      assert(lines.length <= times, `"${text}" is logged ${times} times, not ${lines.length}`)
      return lines.length === times
    }, `"${text}" in podman's log, ${times} times ${args}`)
  const exitCode = async () => Number(await box.podman('inspect', '--format', '{{.State.ExitCode}}'))

  const pid = await step('start and ready', ready)
  assert((pid === 1) === isFirst, `the daemon is ${isFirst ? '' : 'not '}PID 1: ${pid}`)
  await isRunning(box, pid)
  await step('log', () => counted('The light is on', 1))
  await step('reload', async () => {
    await box.podman('kill', '--signal', 'HUP')
    await counted('The configuration was read again', 1)
    await isRunning(box, pid)
  })
  await step('stop', async () => {
    await box.podman('stop', '--time', '60')
    await counted('The light is off', 1)
    assert((await exitCode()) === 0, `exit status 0, not ${await exitCode()}`)
  })
  await step('start again', async () => {
    await box.podman('start')
    await isRunning(box, await ready())
    await counted('The light is on', 2)
  })
  await step('crash', async () => {
    await box.podman('kill', '--signal', 'KILL')
    await box.podman('wait')
    assert((await exitCode()) === 137, 'exit status 137')
    // The pidfile is left, with the very pid that its successor will have.
    await box.podman('start')
    await isRunning(box, await ready())
    await counted('The light is on', 3)
  })
  await step('restart', async () => {
    await box.podman('restart', '--time', '60')
    await isRunning(box, await ready())
    await counted('The light is off', 2)
    await counted('The light is on', 4)
  })
}

/** /run on the host's disk, so that a crash leaves what it leaves. */
const keepRun = ['--volume', '/run']

const contained = (inside, name, { args = [], command, isFirst = false }) =>
  inside(`${name}: ${STEPS}`, (_, { make }) =>
    within(make({ args: [...keepRun, ...args], command }), (box) => containerLife(box, { isFirst })),
  )

const first = system({ name: 'the daemon is PID 1', image: 'bookworm' })

contained(first, 'serviced(), run', { command: RUN, isFirst: true })
contained(first, 'a program that ends in start()', { command: UNCHANGED, isFirst: true })

first('90 orphans are reaped, and no exit status of its own 30 children is lost', (_, { make }) =>
  within(make({ command: ['/usr/local/bin/node', '/srv/beacon/orphans.mjs'] }), async (box) => {
    const line = await until(async () => /^statuses: .*$/m.exec(await box.logs())?.[0], 'its children')
    const told = JSON.parse(line.slice('statuses: '.length))
    assert.deepEqual(
      told,
      Array.from({ length: 30 }, (_, i) => i + 1),
      "every child's own status",
    )
    const count = async () => Number(await box.peek('cat /proc/[0-9]*/stat | grep -c "(sleep)" || true'))
    await until(async () => (await count()) === 0, 'the orphans to be gone')
    assert((await box.logs()).includes('90 orphans'), 'there were 90 orphans')
  }),
)

const small = system({ name: 'under a small init', image: 'bookworm' })

contained(small, 'tini, a program that ends in start()', { command: ['tini', '--', ...UNCHANGED] })
contained(small, 'podman run --init, a program that ends in start()', {
  args: ['--init', '--init-path', '/usr/bin/catatonit'],
  command: UNCHANGED,
})
