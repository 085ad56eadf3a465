// systemd as PID 1, with journald and rsyslog.

import assert from 'node:assert/strict'
import { options } from '../suite.mjs'
import { until } from './box.mjs'
import { BEACON_COMMAND, isRunning, isStopped, life, look, STEPS, step } from './life.mjs'
import { recipe } from './recipes.mjs'
import { system } from './system.mjs'

const UNITS = '/etc/systemd/system'
const notify = recipe(`${UNITS}/beacon.service`)
const forking = recipe(`${UNITS}/beacon-forking.service`)
const confined = recipe(`${UNITS}/beacon-confined.service`)

const replaced = (text, from, to) => {
  assert(text.includes(from), `the recipe has ${from}`)
  return text.replace(from, to)
}
const ofType = (type) => replaced(notify, 'Type=notify', `Type=${type}`)
const reloading = replaced(ofType('notify-reload'), 'ExecReload=/bin/kill -HUP $MAINPID\n', '')
/** The program whose last statement is `start()`, which finds out what to do. */
const unchanged = (unit) => replaced(unit, '/srv/beacon/beacon.mjs run', '/srv/beacon/unchanged/beacon.mjs')

async function install(box, unit, text) {
  await box.do(`cat > ${UNITS}/${unit}.service && systemctl daemon-reload`, { input: text })
}

/** Both: the journal, and the file that rsyslog writes. */
async function log(box) {
  const journal = await box.peek('journalctl --no-pager -o short -t beacon || true')
  const file = await box.peek('cat /var/log/syslog')
  const seen = file.split('\n').filter((line) => line.includes(' beacon['))
  return journal
    .split('\n')
    .filter((line) => seen.some((other) => other.endsWith(messageOf(line))))
    .join('\n')
}

const messageOf = (line) => line.slice(line.indexOf('beacon['))

function underSystemd(box, unit, more = {}) {
  const systemctl = (verb) => box.do(`systemctl ${verb} ${unit} || { journalctl --no-pager -n 30; false; }`)
  return {
    start: () => systemctl('start'),
    stop: () => systemctl('stop'),
    reload: () => systemctl('reload'),
    restart: () => systemctl('restart'),
    pid: async () => Number(await box.peek(`systemctl show -p MainPID --value ${unit}`)),
    log: () => log(box),
    revives: true,
    waits: true,
    ...more,
  }
}

function lives(name, unit, text, more) {
  return {
    name: `${name}: ${STEPS}`,
    async body(box) {
      await install(box, unit, text)
      await life(box, underSystemd(box, unit, more))
    },
  }
}

/** systemd removes the file that PIDFile= names when the start fails. */
const named = {
  name: 'a unit with PIDFile= fails to start because a daemon runs: still one daemon, found, locked',
  async body(box) {
    const unit = replaced(forking, 'Restart=on-failure', 'PIDFile=/run/beacon.pid\nRestart=no')
    await install(box, 'named', unit)
    await box.do(`${BEACON_COMMAND} start`)
    const { status } = await look(box)
    for (let times = 0; times < 3; times++) {
      const before = await box.peek('stat -c %i /run/beacon.pid')
      const { status: failed } = await box.sh('systemctl start named')
      assert(failed !== 0, 'the unit fails to start')
      await until(async () => (await look(box)).locked, 'the pidfile to be back')
      assert((await box.peek('stat -c %i /run/beacon.pid')) !== before, 'systemd had removed the file')
      await step('after the failure', () => isRunning(box, status.pid, {}))
      const again = await box.sh(`${BEACON_COMMAND} start`)
      assert(
        again.status === 1 && again.stderr.includes(`pid ${status.pid}`),
        `a start is refused: ${again.stderr}`,
      )
    }
    await box.do(`${BEACON_COMMAND} stop`)
    await isStopped(box, {})
    await step('when none runs', async () => {
      await box.do('systemctl start named')
      const pid = await underSystemd(box, 'named').pid()
      await isRunning(box, pid, {})
      await box.do('systemctl stop named')
      await isStopped(box, {})
    })
  },
}

const occupied = {
  name: 'a unit of any type that fails to start because a daemon runs says so with its pid, and changes nothing',
  async body(box) {
    await box.do(`${BEACON_COMMAND} start`)
    const { status } = await look(box)
    for (const [type, text] of [
      ['notify', notify],
      ['forking', forking],
    ]) {
      await install(box, `second-${type}`, replaced(text, 'Restart=on-failure', 'Restart=no'))
      const { status: failed } = await box.sh(`systemctl start second-${type}`)
      assert(failed !== 0, `Type=${type} fails to start`)
      const journal = await box.do(`journalctl --no-pager -u second-${type}`)
      assert(journal.includes(`already running, with pid ${status.pid}`), `the journal says why: ${journal}`)
      await isRunning(box, status.pid, {})
    }
    await box.do(`${BEACON_COMMAND} stop`)
    await isStopped(box, {})
  },
}

/** /opt/web/web.js and /usr/bin/node, as its unit names them. */
const WEB = `mkdir -p /opt/web && cd /opt/web
cp /srv/beacon/beacon.mjs web.js && cp /srv/beacon/package.json .
ln -sf /srv/beacon/node_modules . && ln -sf /usr/local/bin/node /usr/bin/`

const guide = {
  name: 'the unit of docs/systemd.md: start, ready, reload, restart, stop',
  async body(box) {
    const how = { program: '/opt/web/web.js', name: 'web', run: '/run/web' }
    await box.do(WEB)
    await install(box, 'web', recipe(`${UNITS}/web.service`, 'docs/systemd.md'))
    const { start, reload, restart, stop, pid } = underSystemd(box, 'web')
    const logged = (text) =>
      until(() => box.peek(`journalctl --no-pager -t web | grep '${text}' || true`), text)
    await step('start', start)
    const first = await pid()
    await isRunning(box, first, how)
    await step('reload', reload)
    await logged('The configuration was read again')
    await isRunning(box, first, how)
    await step('restart', restart)
    const second = await pid()
    assert(second !== first, 'another process')
    await isRunning(box, second, how)
    await step('stop', stop)
    await isStopped(box, how)
  },
}

const CASES = [
  lives('Type=notify', 'beacon', notify),
  lives('Type=notify of a program that ends in start()', 'beacon', unchanged(notify)),
  { ...lives('Type=notify-reload', 'beacon', reloading), since: 253 },
  lives('Type=exec', 'beacon', ofType('exec'), { waits: false }),
  lives('Type=simple', 'beacon', ofType('simple'), { waits: false }),
  lives('Type=simple of a program that ends in start()', 'beacon', unchanged(ofType('simple')), {
    waits: false,
  }),
  lives('Type=forking', 'beacon-forking', forking),
  lives('Type=notify, another user and a confined one', 'beacon-confined', confined, { run: '/run/beacon' }),
  named,
  occupied,
  guide,
]

/** A system with systemd as PID 1, and in it every test that its version knows. */
function underVersion(version, debian, image, more = {}) {
  const inside = system({
    name: `systemd ${version}, Debian ${debian}`,
    image,
    systemd: true,
    command: ['/sbin/init'],
    async ready(box) {
      await until(async () => {
        const { stdout } = await box.sh('systemctl is-system-running')
        return /running|degraded/.test(stdout)
      }, 'systemd')
    },
    ...more,
  })
  for (const { name, body, since = 0 } of CASES) {
    inside(name, body, since > version ? `systemd ${version} does not know it` : undefined)
  }
}

underVersion(252, 'bookworm', 'bookworm-systemd')
underVersion(257, 'trixie (a newer glibc)', 'trixie-systemd')
underVersion(247, 'bullseye (an older glibc)', 'bullseye-systemd', { ownModule: true })
if (options.full) underVersion(259, 'sid (the newest glibc)', 'sid-systemd')
