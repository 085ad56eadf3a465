// A daemon's life, on whatever system this runs: start, status, signal, log, end. Started without an
// argument it is the client, which prints what it ran on; with one, the daemon. RUN is a directory for
// the pidfile and for what the daemon prints.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import { Daemon, syslog } from 'tsdaemonize'

class Sample extends Daemon {
  setup() {
    console.log('setting up')
    if (process.argv[2] === 'failing') throw new Error('not today')
  }

  async action(signal) {
    syslog.syslog('at work')
    await once(signal, 'abort')
  }

  async onSignal(signal) {
    syslog.syslog(`got ${signal}`)
    console.log(`printed at ${signal}`)
    await super.onSignal(signal)
  }
}

const run = process.env.RUN
const isLinux = process.platform === 'linux'
const pidFile = `${run}/sample.pid`
const sample = new Sample({ name: 'sample', pidFilePath: run, detach: true, stdout: `${run}/printed` })
if (process.argv[2] !== undefined) await sample.start()
else await client()

async function client() {
  let log = ''
  const logger = net.createServer((socket) => {
    socket.on('data', (data) => {
      log += data
    })
  })
  if (isLinux) await once(logger.listen('/dev/log'), 'listening')
  const until = async (what, holds) => {
    const deadline = Date.now() + 60_000
    while (!holds()) {
      assert.ok(Date.now() < deadline, `waited in vain for ${what}; the log: ${log}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  // Elsewhere the log belongs to the system, and is not ours to read.
  const logged = (text) => until(text, () => !isLinux || log.includes(text))
  const printed = (text) => until(text, () => fs.readFileSync(`${run}/printed`, 'utf8').includes(text))
  const start = (kind) => spawnSync(process.execPath, [import.meta.filename, kind], { encoding: 'utf8' })

  const failed = start('failing')
  assert.equal(failed.status, 1, failed.stderr)
  assert.match(failed.stderr, /not today/)
  assert.equal(fs.existsSync(pidFile), false)
  assert.equal((await sample.status()).state, 'stopped')

  const started = start('daemon')
  assert.deepEqual([started.status, started.stdout], [0, 'setting up\n'], started.stderr)
  await logged('at work')
  const status = await sample.status()
  assert.equal(status.state, 'running')
  assert.equal(fs.readFileSync(pidFile, 'utf8'), `${status.pid}\n`)
  if (isLinux) {
    const stat = fs.readFileSync(`/proc/${status.pid}/stat`, 'latin1')
    const [, ppid, group, session, tty] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    assert.deepEqual([Number(ppid), Number(group), Number(tty)], [1, status.pid, 0])
    assert.notEqual(Number(session), status.pid)
  }
  assert.match(start('daemon').stderr, /ERR_DAEMON_ALREADY_RUNNING/)

  await sample.kill('SIGHUP')
  await logged('got SIGHUP')
  await printed('printed at SIGHUP')
  assert.deepEqual(await sample.stop(), { pid: status.pid, signal: 'SIGTERM' })
  await logged('Received SIGTERM. Exiting.')
  assert.equal(fs.existsSync(pidFile), false)
  assert.equal(await sample.stop(), null)
  logger.close()
  const { glibcVersionRuntime: glibc } = process.report.getReport().header
  const system = isLinux ? (glibc ? `glibc ${glibc}` : 'musl') : os.release()
  console.log(`Node ${process.versions.node}, ${system}, ${process.arch}`)
  process.exit()
}
