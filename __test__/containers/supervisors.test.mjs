// runit, s6 and OpenRC from Debian's packages, each as PID 1.

import assert from 'node:assert/strict'
import { until } from './box.mjs'
import { byHand, life, STEPS } from './life.mjs'
import { recipe } from './recipes.mjs'
import { system } from './system.mjs'

const PROGRAM = '/srv/beacon/beacon.mjs run'

/** Puts a recipe in its place, or one that was made of it. */
async function lay(box, path, text = recipe(path)) {
  await box.do(`mkdir -p $(dirname ${path}) && cat > ${path}`, { input: text })
  if (text.startsWith('#!')) await box.do(`chmod 755 ${path}`)
}

/** The program that ends in start(). */
function unchanged(text) {
  assert(text.includes(PROGRAM), `the recipe has ${PROGRAM}`)
  return text.replace(PROGRAM, '/srv/beacon/unchanged/beacon.mjs')
}

/** What a person types, word by word; none of these waits until the daemon is ready. */
const typed = (box, { start, stop, reload, restart, ...more }) => ({
  start: () => box.do(start),
  stop: () => box.do(stop),
  reload: () => box.do(reload),
  restart: () => box.do(restart),
  log: () => box.peek('cat /var/log/beacon/current 2> /dev/null || true'),
  revives: true,
  waits: false,
  ...more,
})

/** Both kinds of program as a service whose `run` is this recipe; `commands` are those that a person types. */
function lives(inside, run, commands) {
  for (const [name, made] of [
    ['serviced(), run', (text) => text],
    ['a program that ends in start()', unchanged],
  ]) {
    inside(`${name}: ${STEPS}`, async (box) => {
      await lay(box, run, made(recipe(run)))
      await life(box, typed(box, commands(box)))
    })
  }
}

const sv = (verb) => `sv -w 60 ${verb} beacon`
const svc = (options) => `s6-svc -T 60000 ${options} /etc/s6/beacon`

const runit = system({
  name: 'runit, logs by svlogd',
  image: 'bookworm',
  // Without the System V scripts of other packages, which a container has no use for.
  command: ['sh', '-c', 'rm -f /etc/rcS.d/*; touch /etc/runit/no.emulate.sysv; exec /sbin/runit'],
  async ready(box) {
    await until(() => box.peek('pgrep -x runsvdir || true'), 'runsvdir')
    await lay(box, '/etc/sv/beacon/run')
    await lay(box, '/etc/sv/beacon/log/run')
    await box.do('touch /etc/sv/beacon/down && ln -s /etc/sv/beacon /etc/service/')
    await until(() => box.peek('sv status beacon || true').then((s) => s.startsWith('down')), 'the service')
  },
})

lives(runit, '/etc/sv/beacon/run', (box) => ({
  start: sv('start'),
  stop: sv('stop'),
  reload: sv('hup'),
  restart: sv('restart'),
  pid: async () =>
    Number(/^run: beacon: \(pid (\d+)\)/.exec(await box.peek('sv status beacon || true'))?.[1] ?? 0),
}))

const s6 = system({
  name: 's6, logs by s6-log',
  image: 'bookworm',
  command: ['sh', '-c', 'mkdir -p /etc/s6; exec s6-svscan /etc/s6'],
  async ready(box) {
    await until(() => box.peek('test -p /etc/s6/.s6-svscan/control && echo yes || true'), 's6-svscan')
    await lay(box, '/etc/s6/beacon/run')
    await lay(box, '/etc/s6/beacon/log/run')
    await box.do('touch /etc/s6/beacon/down && s6-svscanctl -a /etc/s6')
    await until(() => box.peek('s6-svok /etc/s6/beacon && echo yes || true'), 'the service')
  },
})

lives(s6, '/etc/s6/beacon/run', (box) => ({
  start: svc('-wu -u'),
  stop: svc('-wD -d'),
  reload: svc('-h'),
  restart: svc('-wr -r'),
  pid: async () => Math.max(0, Number(await box.peek('s6-svstat -o pid /etc/s6/beacon'))),
}))

/** The test's own, for the logger that a system with OpenRC has. */
const LOGGER = `#!/sbin/openrc-run
supervisor=supervise-daemon
command=/usr/sbin/rsyslogd
command_args=-n
depend() { provide logger; }
`

const openrc = system({
  name: 'OpenRC, logs by rsyslog',
  image: 'bookworm',
  // Without the services that are for hardware.
  command: ['sh', '-c', 'rm -f /etc/runlevels/*/*; exec /sbin/openrc-init'],
  async ready(box) {
    await until(() => box.peek('rc-status -r 2> /dev/null | grep default || true'), 'the runlevel "default"')
    await lay(box, '/etc/init.d/logger', LOGGER)
    await lay(box, '/etc/init.d/beacon')
    await lay(box, '/etc/init.d/beacon-forking')
    await box.do('rc-service logger start')
    await until(() => box.peek('test -S /dev/log && echo yes || true'), 'the logger')
  },
})

const rc = (service) => (verb) => `rc-service ${service} ${verb}`

for (const [name, made] of [
  ['supervise-daemon', (text) => text],
  ['supervise-daemon, a program that ends in start()', unchanged],
]) {
  openrc(`${name}: ${STEPS}`, async (box) => {
    await lay(box, '/etc/init.d/beacon', made(recipe('/etc/init.d/beacon')))
    const service = rc('beacon')
    const child = 'ps -o pid= --ppid $(cat /run/supervise-beacon.pid 2> /dev/null || echo 0) || true'
    await life(
      box,
      typed(box, {
        start: service('start'),
        stop: service('stop'),
        reload: service('reload'),
        restart: service('restart'),
        pid: async () => Number(await box.peek(child)),
        log: () => box.peek('cat /var/log/syslog 2> /dev/null || true'),
      }),
    )
  })
}

openrc(`in the background: ${STEPS}`, async (box) => {
  const service = (verb) => () => box.do(rc('beacon-forking')(verb))
  await life(box, {
    ...byHand(box),
    start: service('start'),
    stop: service('stop'),
    reload: service('reload'),
    restart: service('restart'),
    // OpenRC still believes that the crashed one runs.
    again: service('restart'),
  })
})
