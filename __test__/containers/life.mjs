// A daemon's life in a system: start, ready, log, reload, stop, crash, restart. How each is done there,
// and where that system logs, the environment tells.

import assert from 'node:assert/strict'
import { until } from './box.mjs'

const NODE = '/usr/local/bin/node'
/** What a person types, before the verb. */
export const BEACON_COMMAND = `${NODE} /srv/beacon/beacon.mjs`
/** What life() goes through, for the tests' names. */
export const STEPS = 'start, ready, log, reload, stop, crash, restart'
/** The daemon of the recipes: its program, its name, and the directory of its pidfile. */
const BEACON = { program: '/srv/beacon/beacon.mjs', name: 'beacon', run: '/run' }

/** Prefixes a failure with what was being done. */
export async function step(name, body) {
  try {
    return await body()
  } catch (error) {
    error.message = `${name}: ${error.message}`
    throw error
  }
}

/** What the daemon's own command line, the lock and the list of processes say, as seen from a shell. */
export async function look(box, how = {}) {
  const { program, name, run } = { ...BEACON, ...how }
  const pidFile = `${run}/${name}.pid`
  const script = program.split('/').at(-1)
  const ours = new RegExp(`^State: . \\(\\w+\\) \\S+ (?:${name}\\b|\\S*node \\S*${script})`)
  const text = await box.peek(`RUNTIME_DIRECTORY=${run} ${NODE} ${program} status --json; echo $?
if [ -e ${pidFile} ]; then flock -n ${pidFile} true; echo $?; echo "=$(cat ${pidFile})"; else echo 0; echo none; fi
for p in /proc/[0-9]*/; do echo $(grep -s ^State $p/status) $p $(tr '\\0' ' ' < $p/cmdline); done 2> /dev/null`)
  const [status, code, lock, content, ...processes] = text.split('\n')
  return {
    status: JSON.parse(status),
    code: Number(code),
    locked: lock !== '0',
    pidFile: content === 'none' ? undefined : content.slice(1),
    // The daemon's title is its name; the launcher and a command line have the script's.
    pids: processes
      .filter((line) => ours.test(line) && !line.startsWith('State: Z'))
      .map((line) => Number(/\/proc\/(\d+)/.exec(line)[1])),
  }
}

/** One daemon runs, is ready, is this process, and is in the locked pidfile. */
export async function isRunning(box, pid, how = {}) {
  const seen = await look(box, how)
  const told = JSON.stringify(seen)
  assert(seen.status.state === 'running' && seen.code === 0, `it runs: ${told}`)
  assert(seen.status.pid === pid, `it is ${pid}, the system's main process: ${told}`)
  assert(seen.pidFile === String(pid) && seen.locked, `it is in the locked pidfile: ${told}`)
  assert(seen.pids.length === 1 && seen.pids[0] === pid, `it is the only one: ${told}`)
}

/** None runs, and nothing is left. */
export async function isStopped(box, how = {}) {
  const seen = await look(box, how)
  const told = JSON.stringify(seen)
  assert(seen.status.state === 'stopped' && seen.code === 3, `it does not run: ${told}`)
  assert(seen.pids.length === 0, `no process is left: ${told}`)
  assert(seen.pidFile === undefined, `no pidfile is left: ${told}`)
}

/**
 * @param how.start, how.stop, how.reload, how.restart what a person types there
 * @param how.pid gives the main process that the system knows
 * @param how.log gives the text where the system logs; its lines carry the daemon's pid
 * @param how.again, where after a crash something else than `start` is typed
 * @param how.revives whether the system starts it again when it crashed
 */
export async function life(box, how) {
  const running = () => until(how.pid, 'its pid')
  const logged = (pid, text) =>
    until(async () => {
      const lines = (await how.log()).split('\n').filter((l) => l.includes(`beacon[${pid}]: ${text}`))
      assert(lines.length < 2, `"${text}" is logged once`)
      return lines.length === 1
    }, `"${text}" of ${pid} where the system logs`)

  const first = await step('start', async () => {
    await how.start()
    return running()
  })
  // A system that does not wait until it is ready lets others wait.
  const ready = (pid) => (how.waits ? isRunning(box, pid, how) : until(() => isReady(pid), 'ready'))
  const isReady = async (pid) => {
    const { status } = await look(box, how)
    if (status.state !== 'running') return false
    await isRunning(box, pid, how)
    return true
  }
  await step('ready', () => ready(first))
  await step('log', () => logged(first, 'The light is on'))
  await step('reload', async () => {
    await how.reload()
    await logged(first, 'The configuration was read again')
    await isRunning(box, first, how)
  })
  await step('stop', async () => {
    await how.stop()
    await logged(first, 'The light is off')
    await isStopped(box, how)
  })

  const second = await step('start again', async () => {
    await how.start()
    const pid = await running()
    await ready(pid)
    return pid
  })
  const third = await step('crash', async () => {
    await box.do(`kill -KILL ${second}`)
    const next = async () => {
      const pid = await how.pid()
      return pid !== second && pid
    }
    if (!how.revives) {
      const left = await until(async () => {
        const seen = await look(box, how)
        return seen.status.state === 'stopped' && seen
      }, 'the end')
      assert(left.status.stalePidFile && left.code === 1, `a crash is told: ${JSON.stringify(left)}`)
      await (how.again ?? how.start)()
    }
    const pid = await until(next, 'its successor')
    await until(() => isReady(pid), 'the successor to be ready')
    return pid
  })
  await step('restart', async () => {
    await how.restart()
    const pid = await until(async () => {
      const pid = await how.pid()
      return pid !== third && pid
    }, 'its successor')
    await until(() => isReady(pid), 'ready')
    await logged(third, 'The light is off')
    await logged(pid, 'The light is on')
  })
  await step('the last stop', async () => {
    await how.stop()
    await isStopped(box, how)
  })
}

/** The daemon's own command line, in a container that something else keeps. */
export const byHand = (box, { user, ...more } = {}) => {
  const verb = (name) => () => box.do(`${BEACON_COMMAND} ${name}`, { user })
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

/** Starts a logger that listens and writes: without the right to chown, rsyslog loses what it makes its files for. */
export async function startLogger(box) {
  await box.do('rsyslogd')
  const probe = 'logger -p daemon.info probe; grep probe /var/log/syslog || true'
  await until(() => box.peek(probe), 'the logger')
}
