// The logger at its usual place, /dev/log, in a mount namespace of the test's own.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { createServer } from 'node:net'
import { environment, isRoot, library, place, read, run, testIf, until, works } from './kit.mjs'
import { notes, noting, reaped } from './living.mjs'

const mounts = testIf(isRoot && works('unshare', '-m', 'true'))

/** Runs a program under a subreaper. The program sees the directory `dev` of the place as /dev. */
function withDev(p, file, args) {
  const nodes = ['null', 'zero', 'full', 'random', 'urandom', 'tty']
  for (const node of nodes) p.write(`dev/${node}`, '')
  const script = `for node in ${nodes.join(' ')}; do mount --bind /dev/$node "$DIR/dev/$node" || exit 99; done
  mount --rbind "$DIR/dev" /dev && exec "$0" "$@"`
  return reaped(p, 'unshare', ['-m', 'sh', '-c', script, file, ...args])
}

// A logger that takes datagrams and writes each of them as a line; a deaf one reads none.
const RECEIVER = `
use Socket;
my ($path, $file, $deaf) = @ARGV;
socket(my $socket, AF_UNIX, SOCK_DGRAM, 0) or die $!;
bind($socket, sockaddr_un($path)) or die $!;
syswrite STDOUT, 'bound';
sleep 1000 if $deaf;
open my $log, '>>', $file or die $!;
while (defined recv($socket, my $message, 65536, 0)) { syswrite $log, "$message\\n" }
`

/** Starts a logger at the path that will be /dev/log. Returns a function that returns what it has received. */
async function datagrams(t, p, ...more) {
  fs.mkdirSync(`${p.dir}/dev`)
  const file = `${p.dir}/received`
  const receiver = spawn('perl', ['-e', RECEIVER, `${p.dir}/dev/log`, file, ...more], {
    env: environment(p),
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.is(String(await once(receiver.stdout, 'data')), 'bound')
  return () => read(file).split('\n').slice(0, -1)
}

/** The same for a logger that takes a stream, in which a NUL ends each message. */
async function stream(t, p) {
  fs.mkdirSync(`${p.dir}/dev`)
  let received = ''
  const server = createServer((client) => client.on('data', (data) => (received += data)))
  await new Promise((resolve) => server.listen(`${p.dir}/dev/log`, resolve))
  t.teardown(() => server.close())
  return () => received.split('\0').slice(0, -1)
}

for (const [kind, logger] of Object.entries({ datagrams, stream })) {
  mounts(`by ${kind}: all that a program logs arrives, in order, however it ends`, async (t) => {
    for (const [end, status] of [
      ['', 0],
      ['process.exit(3)', 3],
      ["throw new Error('uncaught')", 1],
    ]) {
      const p = place(t)
      const received = await logger(t, p)
      const source = `import { syslog } from '${library}'
      for (let i = 0; i < 10_000; i++) syslog.syslog('message ' + i)
      ${end}`
      t.deepEqual(await withDev(p, process.execPath, [p.write('prog.mjs', source)]).first(), {
        status,
        signal: 0,
      })
      await until(() => received().length >= 10_000, 'all to arrive')
      const texts = received().map((line) => /^<14>\w{3} [ \d]\d \d\d:\d\d:\d\d prog: (.*)$/.exec(line)?.[1])
      t.deepEqual(
        texts,
        Array.from({ length: 10_000 }, (_, i) => `message ${i}`),
      )
    }
  })
}

mounts(
  'a daemon logs under its name, with its facility and pid, and by setlogmask only what it lets through',
  async (t) => {
    const p = place(t)
    const received = await datagrams(t, p)
    const options = `syslogOptions: syslog.LOG_PID, syslogFacility: syslog.LOG_LOCAL3, stderr: undefined,`
    const body = `async action(signal) {
    syslog.setlogmask(syslog.LOG_UPTO(syslog.LOG_INFO))
    syslog.syslog(syslog.LOG_DEBUG, 'not this')
    syslog.syslog(syslog.LOG_MAIL | syslog.LOG_ERR, 'a\\nb\\0c')
    await syslog.flush()
    note(JSON.stringify([process.pid, syslog.stats()]))
    await once(signal, 'abort')
  }`
    const daemon = withDev(p, process.execPath, [p.write('a.mjs', noting({ options, body }))])
    t.deepEqual(await daemon.first(), { status: 0, signal: 0 })
    await until(() => notes(p).length === 1, 'the messages to be sent')
    const [pid, stats] = JSON.parse(notes(p)[0])
    t.deepEqual(stats, { connected: true, queued: 0, queuedBytes: 0, sent: 1, dropped: 0 })
    process.kill(pid, 'SIGTERM')
    t.deepEqual(await daemon.end(pid), { status: 0, signal: 0 })
    await until(() => received().length === 3, 'its last words')
    t.deepEqual(
      received().map((line) =>
        line.replace(/>\w{3} [ \d]\d \d\d:\d\d:\d\d /, '>').replace(/after .* with/, 'after … with'),
      ),
      [
        `<19>sample[${pid}]: a#012b#000c`,
        `<158>sample[${pid}]: Received SIGTERM. Exiting.`,
        `<158>sample[${pid}]: Ended after … with status 0: SIGTERM`,
      ],
    )
  },
)

mounts(
  'a daemon that cannot go to its working directory says so in its own log, with its facility',
  async (t) => {
    const p = place(t)
    const received = await datagrams(t, p)
    const options = `syslogOptions: 0, syslogFacility: syslog.LOG_LOCAL3, cwd: '/missing',`
    const daemon = withDev(p, process.execPath, [p.write('a.mjs', noting({ options }))])
    t.deepEqual(await daemon.first(), { status: 1, signal: 0 })
    await until(() => received().length > 0, 'the message')
    t.regex(
      received()[0],
      /^<155>.*? sample: DaemonError: Cannot change to the working directory \/missing: ENOENT: no such file or directory, chdir\./,
    )
  },
)

mounts(
  'a logger that does not read holds up neither the event loop nor the end, whose status stays its own',
  async (t) => {
    for (const [what, shutdown, status] of [
      ['done', '', 0],
      ['cut off', 'await new Promise(() => {})', 1],
    ]) {
      const p = place(t)
      await datagrams(t, p, 'deaf')
      const options = 'syslogOptions: 0, stderr: undefined, stopTimeout: 200, blockedTimeout: 200,'
      const body = `async action(signal) {
      for (let i = 0; i < 50; i++) {
        for (let n = 0; n < 200; n++) syslog.syslog('message')
        await sleep(1)
      }
      note(JSON.stringify([process.pid, syslog.stats().queued]))
      await once(signal, 'abort')
    }
    async shutdown() { ${shutdown} }`
      const last = 'await new Sample(options).serviced()'
      const script = p.write('a.mjs', noting({ options, body, last }))
      const daemon = withDev(p, process.execPath, [script, 'start'])
      t.deepEqual(await daemon.first(), { status: 0, signal: 0 })
      await until(() => notes(p).length === 1, 'the messages')
      // The logger never reads, so the event loop does not wait for it: all calls have returned.
      const [pid, queued] = JSON.parse(notes(p)[0])
      t.true(queued > 1000, `${queued} wait`)
      t.is((await run(p, script, ['stop'])).status, 0)
      t.deepEqual(await daemon.end(pid), { status, signal: 0 }, what)
      t.deepEqual(fs.readdirSync(p.run), [])
    }
  },
)
