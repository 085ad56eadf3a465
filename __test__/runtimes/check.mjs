// What must hold of a daemon on every runtime and in every form: its start, status, signals, log and end.

import { readdirSync, readFileSync } from 'node:fs'
import { Place, proc, until } from 'tsdaemonize/testing'

const SIGNALS = ['SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGALRM', 'SIGINT', 'SIGPIPE', 'SIGCHLD']

/** Tries one cell of the matrix. */
export async function check(t, cell, project) {
  t.timeout(5 * 60_000)
  const place = new Place()
  try {
    await (cell.refused ? checkRefusal : checkDaemon)(t, cell, place, project)
  } finally {
    await place.end()
  }
}

async function checkDaemon(t, cell, place, project) {
  const { script, ...made } = await cell.make(project, place.dir)
  const how = { execPath: cell.execPath, ...made, cwd: project }
  const run = (...args) => place.run(script, args, how)

  const daemon = await place.start(script, ['start', 'x y', '--flag'], how)
  t.is(daemon.stderr, '', 'what start prints')
  await place.message('argv ["start","x y","--flag"]')
  // A daemon of Deno has the permissions of its launcher, and no others.
  if (cell.runtime === 'Deno') await place.message(`net: ${cell.net ?? 'granted'}`)
  const { session, tty, fd, environ, status } = daemon.proc
  t.not(session, proc(process.pid).session, 'it is not in the session of its launcher')
  t.is(tty, 0, 'it has no controlling terminal')
  t.is(status.Umask, '0022')
  t.deepEqual([fd[0], fd[1], fd[2]], Array(3).fill('/dev/null'), 'where its streams lead')
  t.false(
    Object.keys(environ).some((name) => name.startsWith('TSDAEMONIZE')),
    'a trace in its environment',
  )
  t.deepEqual(place.processes(), [daemon.pid], 'there are no other processes')

  for (const signal of SIGNALS) {
    await daemon.kill(signal)
    // Deno would open its debugger's port, so that there it is ignored.
    if (signal !== 'SIGUSR1' || cell.runtime !== 'Deno') await place.message(`got ${signal}`)
  }

  const asked = JSON.parse((await run('status', '--json')).stdout)
  t.like(asked, { state: 'running', pid: daemon.pid })
  const second = await run('start')
  t.is(second.status, 1, 'a second start')
  t.true(second.stderr.includes(`already running, with pid ${daemon.pid}`), second.stderr)

  t.is((await run('reload')).status, 0, 'reload')
  await place.message('got SIGHUP')
  // Once more: Deno takes it for its debugger's only some time after its boot, and opens the port late.
  await daemon.kill('SIGUSR1')
  t.is((await run('status')).status, 0, 'status after SIGUSR1')
  t.deepEqual(listening(daemon.pid), [], 'the ports that SIGUSR1 has opened')

  const stopped = await run('stop')
  t.is(stopped.status, 0, stopped.stderr)
  await place.message('Received SIGTERM. Exiting.')
  await place.message('the end')
  t.is((await run('status')).status, 3, 'status after the stop')

  const attached = await place.start(script, ['run'], how)
  const { signal } = await attached.stop()
  t.is(signal, 'SIGTERM', 'what ended it, attached')
  t.is((await attached.exit).status, 0, 'attached')

  const failed = await place.run(script, ['start'], { ...how, env: { FAIL: '1' } })
  t.is(failed.status, 1, 'a start that fails')
  t.true(failed.stderr.includes('setup failed'), failed.stderr)
  await until(() => place.processes().length === 0, 'the end of all')
  t.deepEqual(readdirSync(place.runtimeDirectory), [], 'no pidfile is left')
}

/** What cannot be a daemon says so, and what to do. */
async function checkRefusal(t, cell, place, project) {
  const [flag, ...rest] = cell.refused
  const { status, stderr } = await place.run(flag, rest, { execPath: cell.execPath, cwd: project })
  t.is(status, 1)
  t.regex(stderr, /script/)
  t.notRegex(stderr, /\n {4}at /)
  t.deepEqual(place.processes(), [])
  t.deepEqual(readdirSync(place.runtimeDirectory), [], 'no pidfile is left')
}

/** The TCP sockets that a process listens on, by their inodes (proc_pid_net(5)). */
function listening(pid) {
  const inodes = Object.values(proc(pid).fd).flatMap((leads) => /^socket:\[(\d+)\]$/.exec(leads)?.[1] ?? [])
  return ['tcp', 'tcp6']
    .flatMap((name) => readFileSync(`/proc/${pid}/net/${name}`, 'utf8').split('\n').slice(1))
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , , state, , , , , , inode]) => state === '0A' && inodes.includes(inode))
}
