// What must hold of a daemon on every runtime and in every form: its start, status, signals, log and
// end. A check gives what is wrong, in words.

import { readdirSync, readFileSync } from 'node:fs'
import { Place, proc, until } from 'tsdaemonize/testing'

const SIGNALS = ['SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGALRM', 'SIGINT', 'SIGPIPE', 'SIGCHLD']

/** Tries one cell of the matrix. */
export async function check(cell, project) {
  const wrong = []
  const expect = (good, what) => {
    if (!good) wrong.push(what)
  }
  const place = new Place()
  try {
    if (cell.refused) await checkRefusal(cell, place, project, expect)
    else await checkDaemon(cell, place, project, expect)
  } catch (error) {
    wrong.push(String(error.stack ?? error), ...(error.stderr ? [error.stderr] : []))
  } finally {
    await place.end()
  }
  return wrong
}

async function checkDaemon(cell, place, project, expect) {
  const { script, ...made } = await cell.make(project, place.dir)
  const how = { execPath: cell.execPath, ...made, cwd: project }
  const run = (...args) => place.run(script, args, how)

  const daemon = await place.start(script, ['start', 'x y', '--flag'], how)
  expect(daemon.stderr === '', `start printed ${daemon.stderr}`)
  await place.message('argv ["start","x y","--flag"]')
  // A daemon of Deno has the permissions of its launcher, and no others.
  if (cell.runtime === 'Deno') await place.message(`net: ${cell.net ?? 'granted'}`)
  const { session, tty, fd, environ, status } = daemon.proc
  expect(session !== proc(process.pid).session, 'it is in the session of its launcher')
  expect(tty === 0, 'it has a controlling terminal')
  expect(status.Umask === '0022', `its umask is ${status.Umask}`)
  expect(
    [0, 1, 2].every((number) => fd[number] === '/dev/null'),
    'its streams do not lead to /dev/null',
  )
  expect(!Object.keys(environ).some((name) => name.startsWith('TSDAEMONIZE')), 'a trace in its environment')
  expect(String(place.processes()) === String(daemon.pid), 'there are other processes')

  for (const signal of SIGNALS) {
    await daemon.kill(signal)
    // Deno would open its debugger's port, so that there it is ignored.
    if (signal !== 'SIGUSR1' || cell.runtime !== 'Deno') await place.message(`got ${signal}`)
  }

  const asked = JSON.parse((await run('status', '--json')).stdout)
  expect(asked.state === 'running' && asked.pid === daemon.pid, `status says ${JSON.stringify(asked)}`)
  const second = await run('start')
  expect(second.status === 1, `a second start ended with ${second.status}`)
  expect(second.stderr.includes(`already running, with pid ${daemon.pid}`), `and said ${second.stderr}`)

  expect((await run('reload')).status === 0, 'reload failed')
  await place.message('got SIGHUP')
  // Once more: Deno takes it for its debugger's only some time after its boot, and opens the port late.
  await daemon.kill('SIGUSR1')
  expect((await run('status')).status === 0, 'status after SIGUSR1')
  expect(listening(daemon.pid).length === 0, 'SIGUSR1 has opened a port')

  const stopped = await run('stop')
  expect(stopped.status === 0, `stop ended with ${stopped.status}: ${stopped.stderr}`)
  await place.message('Received SIGTERM. Exiting.')
  await place.message('the end')
  expect((await run('status')).status === 3, 'status after the stop')

  const attached = await place.start(script, ['run'], how)
  const { signal } = await attached.stop()
  expect(signal === 'SIGTERM', 'attached, it had to be killed')
  expect((await attached.exit).status === 0, `attached, it ended with ${(await attached.exit).status}`)

  const failed = await place.run(script, ['start'], { ...how, env: { FAIL: '1' } })
  expect(failed.status === 1, `a start that fails ended with ${failed.status}`)
  expect(failed.stderr.includes('setup failed'), `and said ${failed.stderr}`)
  await until(() => place.processes().length === 0, 'the end of all')
  expect(readdirSync(place.runtimeDirectory).length === 0, 'a pidfile is left')
}

/** What cannot be a daemon says so, and what to do. */
async function checkRefusal(cell, place, project, expect) {
  const [flag, ...rest] = cell.refused
  const { status, stderr } = await place.run(flag, rest, { execPath: cell.execPath, cwd: project })
  expect(status === 1, `it ended with ${status}`)
  expect(/script/.test(stderr) && !/\n {4}at /.test(stderr), `it said ${stderr}`)
  expect(place.processes().length === 0, 'there are processes')
  expect(readdirSync(place.runtimeDirectory).length === 0, 'a pidfile is left')
}

/** The TCP sockets that a process listens on, by their inodes (proc_pid_net(5)). */
function listening(pid) {
  const inodes = Object.values(proc(pid).fd).flatMap((leads) => /^socket:\[(\d+)\]$/.exec(leads)?.[1] ?? [])
  return ['tcp', 'tcp6']
    .flatMap((name) => readFileSync(`/proc/${pid}/net/${name}`, 'utf8').split('\n').slice(1))
    .map((line) => line.trim().split(/\s+/))
    .filter(([, , , state, , , , , , inode]) => state === '0A' && inodes.includes(inode))
}
