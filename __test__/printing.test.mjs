// What happens to a daemon whose output cannot be written. On a full disk only what does not fit is lost. If its
// terminal or its reader is gone, it ends in order.

import fs from 'node:fs'
import { LINES, nodeOf } from '../scripts/nodes.mjs'
import { asRoot, command, end, pidIn, place, read, run, sample, test, until } from './kit.mjs'
import { reaped } from './living.mjs'

/** The last line of the daemon's log. */
const ENDED = /^sample: Ended after .* with status 0: nothing was left to do$/
const NOTE = `const note = (what) => fs.appendFileSync(process.env.DIR + '/notes', what + '\\n')`
/** What the daemon noted, without SIGPIPE, which comes with each write to a reader that is gone. */
const notes = (p) =>
  read(`${p.dir}/notes`)
    .split('\n')
    .filter((note) => note !== '' && note !== 'SIGPIPE')

/** The source of an attached daemon, whose messages are on its stderr. */
function attached({ options = '', action, ...more }) {
  return sample({
    before: NOTE,
    options: `detach: false, syslogOptions: syslog.LOG_PERROR, ${options}`,
    body: `async action(signal) { ${action} }
    async onSignal(signal) { note(signal); await super.onSignal(signal) }
    async shutdown() { note('shutdown') }`,
    ...more,
  })
}

const FILL = `
  fs.writeFileSync(log + '.filler', 'f'.repeat(40_000))
  STREAM.write('x'.repeat(99_999) + '\\n')
  STREAM.write('lost\\n')
  fs.rmSync(log + '.filler')
  STREAM.write('again\\n')
  fs.copyFileSync(log, process.env.DIR + '/copy')
`
for (const name of ['stdout', 'stderr']) {
  asRoot(
    `on a full disk what ${name} does not take is counted, and it goes on when there is room`,
    async (t) => {
      const p = place(t)
      fs.mkdirSync(`${p.dir}/full`)
      const action = `const log = process.env.DIR + '/full/log'; ${FILL.replaceAll('STREAM', `process.${name}`)}`
      const script = p.write('a.mjs', attached({ options: `${name}: process.env.DIR + '/full/log'`, action }))
      const line = `mount -t tmpfs -o size=64k none ${p.dir}/full && exec "$0" "$1"`
      const { status, stderr } = await command(p, 'unshare', [
        '-m',
        'sh',
        '-c',
        line,
        process.execPath,
        script,
      ])
      t.is(status, 0, stderr)
      t.deepEqual(notes(p), ['shutdown'])
      // What the daemon logs goes to stderr too, which is this very file: whenever its thread comes to that.
      const printed = read(`${p.dir}/copy`).replace(/^sample: .*\n/gm, '')
      const [, kept, lost] = printed.match(
        /^(x+)\n(\d+) bytes are missing here: ENOSPC: no space left on device, write\nagain\n/,
      )
      t.is(kept.length + Number(lost), 100_000 + 'lost\n'.length)
      if (name === 'stderr') return
      t.is(
        stderr.match(/Cannot write to .*: ENOSPC: no space left on device, write\. What/g)?.length,
        1,
        stderr,
      )
      t.regex(stderr, new RegExp(`^sample: ${lost} bytes that were printed to .*/full/log were lost$`, 'm'))
    },
  )
}

for (const node of LINES.map(nodeOf).filter((path) => fs.existsSync(path))) {
  test(`RLIMIT_FSIZE is as a full disk, and a new log file makes room: ${node}`, async (t) => {
    const p = place(t)
    const action = `
      const log = process.env.DIR + '/log'
      process.stdout.write('x'.repeat(99_999) + '\\n')
      console.log('lost')
      fs.renameSync(log, log + '.1')
      this.reopen()
      process.stdout.write('again\\n')`
    const script = p.write('a.mjs', attached({ options: `stdout: process.env.DIR + '/log'`, action }))
    const line = 'ulimit -f 40; exec "$0" "$1"'
    const { status, stderr } = await command(p, 'bash', ['-c', line, node, script])
    t.is(status, 0, stderr)
    t.deepEqual(notes(p), ['shutdown'])
    t.is(read(`${p.dir}/log.1`), 'x'.repeat(40 << 10))
    const lost = 100_000 - (40 << 10) + 'lost\n'.length
    t.regex(read(`${p.dir}/log`), new RegExp(`^\\n${lost} bytes are missing here: EFBIG: .*\\nagain\\n$`))
  })
}

test('a log file that never takes anything is warned of once, and the end says what was lost', async (t) => {
  const p = place(t)
  const options = `stdout: '/dev/full'`
  const action = `console.log('one'); process.stdout.write('two\\n'); await sleep(1); console.log('three'.repeat(9999))`
  const { status, stderr } = await run(p, p.write('a.mjs', attached({ options, action })))
  t.is(status, 0, stderr)
  t.deepEqual(notes(p), ['shutdown'])
  const told = stderr.split('\n').slice(0, -1)
  t.regex(told.pop(), ENDED)
  t.deepEqual(told, [
    'sample: Cannot write to /dev/full: ENOSPC: no space left on device, write. What the daemon prints there is lost until there is room again',
    `sample: ${'one\ntwo\n\n'.length + 'three'.length * 9999} bytes that were printed to /dev/full were lost`,
  ])
})

test('so is standard output that is a device without room, and nobody is taken for gone', async (t) => {
  const p = place(t)
  const action = `console.log('one'); await sleep(100); note('acts'); console.log('two')`
  const script = p.write('a.mjs', attached({ options: '', action }))
  const { status, stderr } = await command(p, 'sh', ['-c', `exec ${process.execPath} ${script} > /dev/full`])
  t.is(status, 0, stderr)
  t.deepEqual(notes(p), ['acts', 'shutdown'])
  const told = stderr.split('\n').slice(0, -1)
  t.regex(told.pop(), ENDED)
  t.deepEqual(told, [
    'sample: Cannot write to standard output: ENOSPC: no space left on device, write. What the daemon prints there is lost until there is room again',
    'sample: 8 bytes that were printed to standard output were lost',
  ])
})

const TICK = `
  const tick = setInterval(() => console.STREAM('tick'), 20)
  note('acts')
  await once(signal, 'abort')
  clearInterval(tick)`

for (const [how, stream, wrapper] of [
  ['with SIGHUP', 'silent', ''],
  ['when it prints', 'log', 'setsid --wait '],
  ['when it prints errors', 'error', 'setsid --wait '],
]) {
  for (const node of LINES.map(nodeOf).filter((path) => fs.existsSync(path))) {
    test(`a terminal that is gone ends the daemon by the way out, ${how}: ${node}`, async (t) => {
      const p = place(t)
      const action =
        stream === 'silent' ? `note('acts'); await once(signal, 'abort')` : TICK.replace('STREAM', stream)
      const options = `syslogOptions: 0`
      const script = p.write('a.mjs', attached({ options, action }))
      const line = `echo $PPID > ${p.dir}/script; exec ${wrapper}${node} ${script}`
      const env = { SHELL: '/bin/sh' }
      const reaper = reaped(p, 'script', ['-qec', line, '/dev/null'], { env })
      await until(() => notes(p).includes('acts'), 'the action')
      const pid = pidIn(p)
      await end(Number(read(`${p.dir}/script`)))
      t.deepEqual(await reaper.end(pid), { status: 0, signal: 0 })
      t.deepEqual(notes(p), ['acts', 'shutdown'])
      t.deepEqual(fs.readdirSync(p.run), [])
    })
  }
}

test('a reader that is gone ends the daemon by the way out', async (t) => {
  const p = place(t)
  const daemon = run(p, p.write('a.mjs', attached({ action: TICK.replace('STREAM', 'log') })))
  await until(() => notes(p).includes('acts'), 'the action')
  daemon.child.stdout.destroy()
  const { status, stderr } = await daemon
  t.is(status, 0)
  t.regex(
    stderr,
    /^sample: Cannot write to standard output: write EPIPE\. Whoever ran the daemon is gone\. Exiting\.$/m,
  )
  t.deepEqual(notes(p), ['acts', 'shutdown'])
})

for (const [whose, setup, env, warnings] of [
  ['under a manager', '', 'SYSTEMD_EXEC_PID=$$ ', 1],
  ['where the program listens itself', `process.stdout.on('error', () => {})`, '', 0],
]) {
  test(`a reader that is gone ends no daemon ${whose}`, async (t) => {
    const p = place(t)
    const action = `${setup}; ${TICK.replace('STREAM', 'log')}`
    const script = p.write('a.mjs', attached({ action }))
    const daemon = command(p, 'sh', ['-c', `${env}exec "$0" "$1"`, process.execPath, script])
    await until(() => notes(p).includes('acts'), 'the action')
    daemon.child.stdout.destroy()
    // Some ticks later it still runs, and takes a signal.
    await new Promise((resolve) => setTimeout(resolve, 200))
    process.kill(daemon.pid, 'SIGTERM')
    const { status, stderr } = await daemon
    t.is(status, 0, stderr)
    t.deepEqual(notes(p), ['acts', 'SIGTERM', 'shutdown'])
    t.is(
      stderr.match(/Cannot write to standard output: write EPIPE\. What the daemon prints/g)?.length ?? 0,
      warnings,
    )
  })
}
