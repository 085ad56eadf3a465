// Without a service manager: no init at all, the daemon as PID 1, and the small inits of containers.

import { check, until } from './box.mjs'
import { isRunning, life, look, step } from './life.mjs'
import { recipe } from './recipes.mjs'
import { containerfile } from './containerfile.mjs'

const BEACON = '/usr/local/bin/node /srv/beacon/beacon.mjs'
const RUN = ['/usr/local/bin/node', '/srv/beacon/beacon.mjs', 'run']
/** The program that ends in start(). */
const UNCHANGED = ['/usr/local/bin/node', '/srv/beacon/unchanged/beacon.mjs']
const STEPS = 'start, ready, log, reload, stop, crash, restart'

/** The daemon's own command line, in a container that something else keeps. */
export const byHand = (box, { user, ...more } = {}) => {
  const verb = (name) => () => box.do(`${BEACON} ${name}`, { user })
  return {
    start: verb('start'),
    stop: verb('stop'),
    reload: verb('reload'),
    restart: verb('restart'),
    pid: async () => (await look(box, more)).status.pid ?? 0,
    log: () => box.peek(`cat /var/log/syslog 2> /dev/null || true`),
    revives: false,
    waits: true,
    ...more,
  }
}

const withoutInit = {
  name: 'no init at all: PID 1 is `sleep`, which reaps nobody',
  image: 'bookworm',
  command: ['sleep', 'infinity'],
  // No PID 1 that starts it: the logger is started by hand.
  ready: (box) => startLogger(box),
  cases: [
    {
      name: STEPS,
      async body(box) {
        await life(box, byHand(box))
        const zombies = await box.peek('grep -ls "^State:.Z" /proc/[0-9]*/status | wc -l')
        check(Number(zombies) > 0, 'those that ended are zombies: nobody reaps them')
      },
    },
  ],
}

/** One that listens and writes: without the right to chown, rsyslog loses what it makes its files for. */
export async function startLogger(box) {
  await box.do('rsyslogd')
  const probe = 'logger -p daemon.info probe; grep probe /var/log/syslog || true'
  await until(() => box.peek(probe), 'the logger')
}

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
      check(lines.length <= times, `"${text}" is logged ${times} times, not ${lines.length}`)
      return lines.length === times
    }, `"${text}" in podman's log, ${times} times ${args}`)
  const exitCode = async () => Number(await box.podman('inspect', '--format', '{{.State.ExitCode}}'))

  const pid = await step('start and ready', ready)
  check((pid === 1) === isFirst, `the daemon is ${isFirst ? '' : 'not '}PID 1: ${pid}`)
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
    check((await exitCode()) === 0, `exit status 0, not ${await exitCode()}`)
  })
  await step('start again', async () => {
    await box.podman('start')
    await isRunning(box, await ready())
    await counted('The light is on', 2)
  })
  await step('crash', async () => {
    await box.podman('kill', '--signal', 'KILL')
    await box.podman('wait')
    check((await exitCode()) === 137, 'exit status 137')
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

const contained = (name, { args = [], command, isFirst = false }) => ({
  name: `${name}: ${STEPS}`,
  async body(_, { make }) {
    const box = make({ args: [...keepRun, ...args], command })
    await box.start()
    try {
      await containerLife(box, { isFirst })
    } finally {
      await box.end()
    }
  },
})

const orphans = {
  name: '90 orphans are reaped, and no exit status of its own 30 children is lost',
  async body(_, { make }) {
    const box = make({ command: ['/usr/local/bin/node', '/srv/beacon/orphans.mjs'] })
    await box.start()
    try {
      const line = await until(async () => /^statuses: .*$/m.exec(await box.logs())?.[0], 'its children')
      const told = JSON.parse(line.slice('statuses: '.length))
      const wanted = Array.from({ length: 30 }, (_, i) => i + 1)
      check(JSON.stringify(told) === JSON.stringify(wanted), `every child's own status: ${line}`)
      const count = async () => Number(await box.peek('cat /proc/[0-9]*/stat | grep -c "(sleep)" || true'))
      await until(async () => (await count()) === 0, 'the orphans to be gone')
      check((await box.logs()).includes('90 orphans'), 'there were 90 orphans')
    } finally {
      await box.end()
    }
  },
}

const tini = ['tini', '--']

export const environments = [
  withoutInit,
  {
    name: 'the daemon is PID 1',
    image: 'bookworm',
    cases: [
      contained('serviced(), run', { command: RUN, isFirst: true }),
      contained('a program that ends in start()', { command: UNCHANGED, isFirst: true }),
      orphans,
    ],
  },
  {
    name: 'under a small init',
    image: 'bookworm',
    cases: [
      contained('tini, a program that ends in start()', { command: [...tini, ...UNCHANGED] }),
      contained('podman run --init, a program that ends in start()', {
        args: ['--init', '--init-path', '/usr/bin/catatonit'],
        command: UNCHANGED,
      }),
    ],
  },
  {
    name: "the Containerfile's image",
    image: 'bookworm',
    cases: [containerfile(recipe('Containerfile'))],
  },
]
