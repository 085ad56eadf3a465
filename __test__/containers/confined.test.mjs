// Containers with less: a read-only root, an ordinary user, no capabilities; and with more descriptors.

import assert from 'node:assert/strict'
import { until } from './box.mjs'
import { hardLimit } from './host.mjs'
import { BEACON_COMMAND, byHand, isRunning, isStopped, life, look, STEPS, startLogger } from './life.mjs'
import { system, within } from './system.mjs'

const RUN = [...BEACON_COMMAND.split(' '), 'run']
const confined = system({ name: 'a confined container', image: 'bookworm' })

/** A box whose PID 1 is tini with nothing to do; the daemon is started beside it, by hand. */
const beside = (name, { args, logger = true, ...how }) =>
  confined(`${name}: ${STEPS}`, (_, { make }) =>
    within(make({ args, command: ['tini', 'sleep', 'infinity'] }), async (box) => {
      if (logger) await startLogger(box)
      await life(box, byHand(box, how))
    }),
  )

/** The daemon is PID 1, and its messages are podman's log. */
const first = (name, { args, body }) =>
  confined(name, (_, { make }) =>
    within(make({ args, command: RUN }), async (box) => {
      await until(async () => (await box.logs()).includes('The light is on'), 'ready')
      await body(box)
      await box.podman('kill', '--signal', 'HUP')
      await until(async () => (await box.logs()).includes('The configuration was read again'), 'the reload')
      await box.podman('stop', '--time', '60')
      assert((await box.logs()).includes('The light is off'), `it says that it ends: ${await box.logs()}`)
      const status = await box.podman('inspect', '--format', '{{.State.ExitCode}}')
      assert(status === '0', `exit status 0, not ${status}`)
    }),
  )

beside('a read-only root, /run a tmpfs', {
  args: [
    '--read-only',
    '--read-only-tmpfs=false',
    '--tmpfs',
    '/run:mode=755',
    '--tmpfs',
    '/var/log:mode=755',
  ],
})
beside('--cap-drop=ALL, root', { args: ['--cap-drop=ALL'] })
beside('--user www-data', { args: ['--user', 'www-data'], user: 'www-data', run: '/tmp/beacon-33' })

first('a read-only root and nowhere to write, PID 1: a warning, and on without a pidfile', {
  args: ['--read-only', '--read-only-tmpfs=false'],
  async body(box) {
    const logs = await box.logs()
    assert(
      /Cannot keep the pidfile \/var\/run\/beacon\.pid: .*read-only.*Going on without/.test(logs),
      `a warning: ${logs}`,
    )
    const { status, stderr } = await box.sh(`${BEACON_COMMAND} start`)
    assert(
      status === 1 && /Cannot keep the pidfile.*read-only/.test(stderr),
      `in the background it is refused, with the reason: ${stderr}`,
    )
    assert((await look(box)).pids.length === 1, 'no other process is left')
  },
})

confined(
  'a /run that everyone may write, as the engine mounts it by itself: refused, with a word on how to mount it',
  async (_, { make }) => {
    const box = make({ args: ['--read-only', '--tmpfs', '/run'], command: RUN })
    const { status, stderr } = await box.run()
    assert(
      status === 1 &&
        /directory \/var\/run: others than its owner can write to the directory[\s\S]*mode=755/.test(stderr),
      stderr,
    )
  },
)

first('--user 4711, without an entry in /etc/passwd, PID 1', {
  args: ['--user', '4711:4711'],
  async body(box) {
    const status = await box.do(`${BEACON_COMMAND} status --json`, { user: '4711:4711' })
    const { state, pid, user } = JSON.parse(status)
    assert(state === 'running' && pid === 1 && user === '4711', status)
    assert((await box.peek('cat /tmp/beacon-4711/beacon.pid')) === '1', 'the pidfile')
  },
})

first('--read-only --tmpfs /tmp --user --cap-drop=ALL no-new-privileges, PID 1', {
  args: [
    '--read-only',
    '--tmpfs',
    '/tmp',
    '--user',
    'www-data',
    '--cap-drop=ALL',
    '--security-opt',
    'no-new-privileges',
  ],
  async body(box) {
    const status = JSON.parse(await box.do(`${BEACON_COMMAND} status --json`, { user: 'www-data' }))
    assert(status.state === 'running' && status.pid === 1, JSON.stringify(status))
    const own = await box.peek('grep -E "^(Cap(Eff|Bnd)|NoNewPrivs)" /proc/1/status')
    assert(/CapEff:\t0+\nCapBnd:\t0+\nNoNewPrivs:\t1/.test(own), own)
  },
})

confined(
  '--cap-drop=ALL, and `user` asked for: the start fails with ERR_DAEMON_PRIVILEGES, and nothing is left',
  (_, { make }) =>
    within(make({ args: ['--cap-drop=ALL'], command: ['sleep', 'infinity'] }), async (box) => {
      const source = `import { daemonize } from 'tsdaemonize'
await daemonize(() => {}, { name: 'beacon', user: 'www-data' }).catch((e) => { console.log(e.cause?.code ?? e.code); process.exit(3) })`
      const { stdout, stderr, status } = await box.sh(
        `cat > /tmp/drop.mjs; mkdir /tmp/node_modules; ln -s /srv/beacon/node_modules/* /tmp/node_modules; node /tmp/drop.mjs`,
        { input: source },
      )
      assert(status === 3 && stdout.includes('ERR_DAEMON_PRIVILEGES'), `refused: ${stdout}${stderr}`)
      await isStopped(box)
    }),
)

confined(
  `ulimit -n ${hardLimit('Max open files')}, as high as the host allows: starts at once, and leaks nothing`,
  (_, { make }) => {
    const most = hardLimit('Max open files').replace('unlimited', '1073741816')
    const processes = hardLimit('Max processes').replace('unlimited', '1048576')
    const args = ['--ulimit', `nofile=${most}:${most}`, '--ulimit', `nproc=${processes}:${processes}`]
    return within(make({ args, command: ['tini', 'sleep', 'infinity'] }), async (box) => {
      // A descriptor near the limit, which must not reach the daemon.
      const high = Math.min(Number(most), 1_000_000) - 1
      await box.do(`bash -c 'exec ${high}< /etc/passwd && exec ${BEACON_COMMAND} start'`)
      const { status } = await look(box)
      await isRunning(box, status.pid)
      const fds = await box.peek(`ls -l /proc/${status.pid}/fd`)
      assert(!fds.includes('/etc/passwd'), `closed in the daemon: ${fds}`)
      await box.do(`${BEACON_COMMAND} stop`)
      await isStopped(box)
    })
  },
)
