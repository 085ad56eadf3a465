// Containers with less: a read-only root, an ordinary user, no capabilities; and with more descriptors.

import { check, until } from './box.mjs'
import { hardLimit } from './host.mjs'
import { byHand, startLogger } from './inits.mjs'
import { isRunning, isStopped, life, look } from './life.mjs'

const BEACON = '/usr/local/bin/node /srv/beacon/beacon.mjs'
const RUN = ['/usr/local/bin/node', '/srv/beacon/beacon.mjs', 'run']
const STEPS = 'start, ready, log, reload, stop, crash, restart'

/** A box whose PID 1 is tini with nothing to do; the daemon is started beside it, by hand. */
const beside = (name, { args, logger = true, ...how }) => ({
  name: `${name}: ${STEPS}`,
  async body(_, { make }) {
    const box = await make({ args, command: ['tini', 'sleep', 'infinity'] }).start()
    try {
      if (logger) await startLogger(box)
      await life(box, byHand(box, how))
    } finally {
      await box.end()
    }
  },
})

/** The daemon is PID 1, and its messages are podman's log. */
const first = (name, { args, body }) => ({
  name,
  async body(_, { make }) {
    const box = await make({ args, command: RUN }).start()
    try {
      await until(async () => (await box.logs()).includes('The light is on'), 'ready')
      await body(box)
      await box.podman('kill', '--signal', 'HUP')
      await until(async () => (await box.logs()).includes('The configuration was read again'), 'the reload')
      await box.podman('stop', '--time', '60')
      check((await box.logs()).includes('The light is off'), `it says that it ends: ${await box.logs()}`)
      const status = await box.podman('inspect', '--format', '{{.State.ExitCode}}')
      check(status === '0', `exit status 0, not ${status}`)
    } finally {
      await box.end()
    }
  },
})

const nowhere = first('a read-only root and nowhere to write, PID 1: a warning, and on without a pidfile', {
  args: ['--read-only', '--read-only-tmpfs=false'],
  async body(box) {
    const logs = await box.logs()
    check(
      /Cannot keep the pidfile \/var\/run\/beacon\.pid: .*read-only.*Going on without/.test(logs),
      `a warning: ${logs}`,
    )
    const { status, stderr } = await box.sh(`${BEACON} start`)
    check(
      status === 1 && /Cannot keep the pidfile.*read-only/.test(stderr),
      `in the background it is refused, with the reason: ${stderr}`,
    )
    check((await look(box)).pids.length === 1, 'no other process is left')
  },
})

const open = {
  name: 'a /run that everyone may write, as the engine mounts it by itself: refused, with a word on how to mount it',
  async body(_, { make }) {
    const box = make({ args: ['--read-only', '--tmpfs', '/run'], command: RUN })
    const { status, stderr } = await box.run()
    check(
      status === 1 &&
        /directory \/var\/run: others than its owner can write to the directory[\s\S]*mode=755/.test(stderr),
      stderr,
    )
  },
}

const unknown = first('--user 4711, without an entry in /etc/passwd, PID 1', {
  args: ['--user', '4711:4711'],
  async body(box) {
    const status = await box.do(`${BEACON} status --json`, { user: '4711:4711' })
    const { state, pid, user } = JSON.parse(status)
    check(state === 'running' && pid === 1 && user === '4711', status)
    check((await box.peek('cat /tmp/beacon-4711/beacon.pid')) === '1', 'the pidfile')
  },
})

const least = first('--read-only --tmpfs /tmp --user --cap-drop=ALL no-new-privileges, PID 1', {
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
    const status = JSON.parse(await box.do(`${BEACON} status --json`, { user: 'www-data' }))
    check(status.state === 'running' && status.pid === 1, JSON.stringify(status))
    const own = await box.peek('grep -E "^(Cap(Eff|Bnd)|NoNewPrivs)" /proc/1/status')
    check(/CapEff:\t0+\nCapBnd:\t0+\nNoNewPrivs:\t1/.test(own), own)
  },
})

const cannotDrop = {
  name: '--cap-drop=ALL, and `user` asked for: the start fails with ERR_DAEMON_PRIVILEGES, and nothing is left',
  async body(_, { make }) {
    const box = await make({ args: ['--cap-drop=ALL'], command: ['sleep', 'infinity'] }).start()
    try {
      const source = `import { daemonize } from 'tsdaemonize'
await daemonize(() => {}, { name: 'beacon', user: 'www-data' }).catch((e) => { console.log(e.cause?.code ?? e.code); process.exit(3) })`
      const { stdout, stderr, status } = await box.sh(
        `cat > /tmp/drop.mjs; mkdir /tmp/node_modules; ln -s /srv/beacon/node_modules/* /tmp/node_modules; node /tmp/drop.mjs`,
        { input: source },
      )
      check(status === 3 && stdout.includes('ERR_DAEMON_PRIVILEGES'), `refused: ${stdout}${stderr}`)
      await isStopped(box)
    } finally {
      await box.end()
    }
  },
}

const descriptors = {
  name: `ulimit -n ${hardLimit('Max open files')}, as high as the host allows: starts at once, and leaks nothing`,
  async body(_, { make }) {
    const most = hardLimit('Max open files').replace('unlimited', '1073741816')
    const processes = hardLimit('Max processes').replace('unlimited', '1048576')
    const args = ['--ulimit', `nofile=${most}:${most}`, '--ulimit', `nproc=${processes}:${processes}`]
    const box = await make({ args, command: ['tini', 'sleep', 'infinity'] }).start()
    try {
      // A descriptor near the limit, which must not reach the daemon.
      const high = Math.min(Number(most), 1_000_000) - 1
      await box.do(`bash -c 'exec ${high}< /etc/passwd && exec ${BEACON} start'`)
      const { status } = await look(box)
      await isRunning(box, status.pid)
      const fds = await box.peek(`ls -l /proc/${status.pid}/fd`)
      check(!fds.includes('/etc/passwd'), `closed in the daemon: ${fds}`)
      await box.do(`${BEACON} stop`)
      await isStopped(box)
    } finally {
      await box.end()
    }
  },
}

export const environments = [
  {
    name: 'a confined container',
    image: 'bookworm',
    cases: [
      beside('a read-only root, /run a tmpfs', {
        args: [
          '--read-only',
          '--read-only-tmpfs=false',
          '--tmpfs',
          '/run:mode=755',
          '--tmpfs',
          '/var/log:mode=755',
        ],
      }),
      beside('--cap-drop=ALL, root', { args: ['--cap-drop=ALL'] }),
      beside('--user www-data', { args: ['--user', 'www-data'], user: 'www-data', run: '/tmp/beacon-33' }),
      nowhere,
      open,
      unknown,
      least,
      cannotDrop,
      descriptors,
    ],
  },
]
