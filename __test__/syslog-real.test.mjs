// The loggers that systems have: rsyslog, syslog-ng and journald, as real processes of the test's own.

import fs from 'node:fs'
import { freePort, isRoot, place, printed, read, run, until } from './kit.mjs'
import { installed, logging, numbers, start, withReal } from './receivers.mjs'

/** What each of them is started with: its configuration and its arguments. */
const loggers = {
  rsyslog: {
    config: (p, port) => `
module(load="imuxsock" SysSock.Name="${p.dir}/log" SysSock.RateLimit.Interval="0")
module(load="imtcp" MaxSessions="10")
module(load="imudp")
input(type="imtcp" port="${port}" address="127.0.0.1")
input(type="imudp" port="${port}" address="127.0.0.1")
template(name="raw" type="string" string="%syslogtag%|%msg%|%structured-data%|%pri%\\n")
action(type="omfile" file="${p.dir}/received" template="raw")
global(workDirectory="${p.dir}")
`,
    args: (p) => ['-n', '-f', `${p.dir}/config`, '-i', `${p.dir}/logger.pid`],
  },
  'syslog-ng': {
    config: (p, port) => `@version: 3.38
options { flush-lines(1); keep-hostname(yes); };
source local { unix-dgram("${p.dir}/log"); };
source remote {
  syslog(ip(127.0.0.1) port(${port}) transport(tcp));
  syslog(ip(127.0.0.1) port(${port}) transport(udp));
};
template raw { template("\${PROGRAM}[\${PID}]:|\${MESSAGE}|\${SDATA}|\${PRI}\\n"); };
destination file { file("${p.dir}/received" template(raw)); };
log { source(local); source(remote); destination(file); };
`,
    args: (p) => [
      '-F',
      '--no-caps',
      ...installed['syslog-ng'].args,
      `--cfgfile=${p.dir}/config`,
      `--persist-file=${p.dir}/persist`,
      `--control=${p.dir}/control`,
      `--pidfile=${p.dir}/logger.pid`,
    ],
  },
}

for (const [name, { config, args }] of Object.entries(loggers)) {
  const real = installed[name]
  const begin = async (t, p) => {
    fs.rmSync(`${p.dir}/log`, { force: true })
    const logger = await start(t, p, real.file, args(p), { env: real.env, stdio: ['ignore', 'pipe', 'pipe'] })
    await until(() => fs.existsSync(`${p.dir}/log`), `${name}'s socket`)
    return logger
  }

  withReal(name)(
    `${name} takes what is sent to its socket, by TCP and by UDP, and no message forges another`,
    async (t) => {
      const p = place(t)
      const port = await freePort()
      p.write('config', config(p, port))
      const logger = await begin(t, p)
      const script = p.write(
        'log.mjs',
        logging(`
      const { path, port } = transport
      const ways = [
        { type: 'local', path },
        { type: 'tcp', host: '127.0.0.1', port },
        { type: 'udp', host: 'localhost', port },
      ]
      for (const way of ways) {
        syslog.openlog(way.type, syslog.LOG_PID, syslog.LOG_LOCAL0, way)
        syslog.syslog(syslog.LOG_ERR, 'a\\n<0>Jan  1 00:00:00 root: b\\0c\\u001b[2J%s%n ü')
        syslog.log({ message: 'fields', fields: { n: 1, text: 'a "b" ] \\\\' } })
        syslog.syslog('long ' + 'x'.repeat(1 << 20))
        syslog.syslog('end')
      }
      say(String(process.pid) + ' ' + await syslog.flush(20_000))`),
      )
      // It listens at its TCP port a moment after the socket exists.
      const env = { TRANSPORT: JSON.stringify({ path: `${p.dir}/log`, port }) }
      const { stdout } = await run(p, script, [], { env })
      const [pid, flushed] = stdout.trim().split(' ')
      t.is(flushed, 'true')
      const file = `${p.dir}/received`
      const ends = () => read(file).match(/^(?:local|tcp|udp)\[\d+\]:?\| ?end\|/gm)?.length
      await until(() => ends() === 3, 'the end of each')
      await logger.stop()
      const lines = read(file).trimEnd().split('\n')
      for (const way of ['local', 'tcp', 'udp']) {
        const found = lines
          .filter((line) => line.replace(']:|', ']|').startsWith(`${way}[${pid}]|`))
          .map((line) => line.split('|'))
        t.is(found.length, 4, way)
        const [hostile, fields, long, end] = found.map(([, text]) => text.trim())
        t.is(hostile, 'a#012<0>Jan  1 00:00:00 root: b#000c#033[2J%s%n ü')
        t.is(found[0][3], `${16 * 8 + 3}`)
        t.is(fields, way === 'local' ? 'fields n="1" text="a \\"b\\" ] \\\\"' : 'fields')
        if (way !== 'local') {
          t.regex(found[1][2], /^\[fields@32473 n="1" text="a \\"b\\" \\\] \\\\"\]$/)
        }
        t.regex(long, /^long x{7000,8187}$/)
        t.is(end, 'end')
      }
      t.true(
        lines.every((line) => /^(?:local|tcp|udp)\[|^rsyslogd|^syslog-ng/.test(line)),
        'nothing forged',
      )
    },
  )

  withReal(name)(`${name} that is restarted gets what was logged meanwhile, in order and once`, async (t) => {
    const p = place(t)
    p.write('config', config(p, await freePort()))
    let logger = await begin(t, p)
    const script = p.write(
      'log.mjs',
      logging(`
      syslog.openlog('local', syslog.LOG_PID, syslog.LOG_LOCAL0, { type: 'local', path: transport.path })
      for (let n = 0; n < 100_000; n++) {
        syslog.syslog('number ' + n)
        if (n % 1000 === 999) { say(String(n)); await sleep(1) }
        if (n === 49_999) { await syslog.flush(20_000); say('half'); await sleep(200) }
      }
      say(String(await syslog.flush(50_000)))`),
    )
    const running = run(p, script, [], { env: { TRANSPORT: JSON.stringify({ path: `${p.dir}/log` }) } })
    const output = printed(running.child)
    await until(() => output().includes('half'), 'the half of it')
    await until(() => numbers(read(`${p.dir}/received`).split('\n')).length === 50_000, 'its arrival')
    await logger.stop()
    await until(() => output().includes('\n59999\n'), 'more to be logged')
    logger = await begin(t, p)
    t.true((await running).stdout.endsWith('\ntrue\n'))
    const file = `${p.dir}/received`
    await until(() => read(file).includes('number 99999'), 'the last message')
    await logger.stop()
    const found = numbers(read(file).split('\n'))
    t.is(
      found.findIndex((n, index) => index > 0 && n <= found[index - 1]),
      -1,
    )
    // Messages in the socket's own queue (net.unix.max_dgram_qlen) are lost when it is closed.
    const lost = 100_000 - found.length
    t.true(lost <= 600, `${lost} lost`)
    t.log({ lost })
  })
}

/** journald in a mount namespace of its own, with one program beside it. */
const inNamespace = `set -e
mount -t tmpfs none /run
mkdir -p /run/systemd/journal /run/log/journal
mount --bind "$DIR/journald.conf" /etc/systemd/journald.conf
start() {
  /lib/systemd/systemd-journald 2>"$DIR/journald.err" & journald=$!
  until [ -S /run/systemd/journal/socket ]; do sleep 0.05; done
}
start
`

withReal('journald', isRoot)('journald gets fields, large messages whole, and no field forged', async (t) => {
  const p = place(t)
  p.write(
    'journald.conf',
    '[Journal]\nStorage=volatile\nRateLimitBurst=0\nReadKMsg=no\nAudit=no\nForwardToSyslog=no\nForwardToWall=no\n',
  )
  const script = p.write(
    'log.mjs',
    logging(`
    syslog.openlog('jrnl', syslog.LOG_PID, syslog.LOG_LOCAL0, { type: 'journal' })
    syslog.syslog(syslog.LOG_ERR, 'a\\nPRIORITY=0\\0\\u001b[2J ü')
    syslog.log({ message: 'fields', fields: { 'user.name': 'x\\nPRIORITY=0', n: 1 } })
    syslog.syslog('long ' + 'y'.repeat(1 << 20))
    syslog.log({ message: 'long field', fields: { f: 'z'.repeat(1 << 20) } })
    say('flushed ' + await syslog.flush(20_000))
    for (let n = 0; n < 2000; n++) syslog.syslog('number ' + n)
    await syslog.flush(20_000)
    say('restart')
    while (!fs.existsSync(process.env.DIR + '/stopped')) await sleep(10)
    for (let n = 2000; n < 4000; n++) syslog.syslog('number ' + n)
    await sleep(50)
    say('flushed ' + await syslog.flush(20_000))
    // If the journal reads stdout or stderr, messages go to the journal, and none twice.
    syslog.closelog()`),
  )
  const own = p.write(
    'own.mjs',
    logging(`
    syslog.openlog('own', syslog.LOG_PERROR)
    syslog.syslog('own message')`),
  )
  const streamed = p.write(
    'streamed.py',
    `import os, sys
found = os.fstat(2)
os.environ['JOURNAL_STREAM'] = f'{found.st_dev}:{found.st_ino}'
os.execvp(sys.argv[1], sys.argv[1:])
`,
  )
  const shell = `${inNamespace}
"$NODE" ${script} > "$DIR/out" & program=$!
until grep -q restart "$DIR/out"; do sleep 0.05; done
kill $journald; wait $journald || true
rm -f /run/systemd/journal/socket
touch "$DIR/stopped"
sleep 0.5
start
wait $program
systemd-cat -t cat python3 ${streamed} "$NODE" ${own}
kill -USR1 $journald
sleep 0.5
journalctl --no-pager --all -o json SYSLOG_IDENTIFIER=jrnl > "$DIR/journal"
journalctl --no-pager --all -o json | grep 'own message' > "$DIR/own"
kill $journald
`
  const { command } = await import('./kit.mjs')
  const env = { NODE: process.execPath }
  const { status, stderr } = await command(p, 'unshare', ['-m', 'bash', '-c', shell], { env })
  t.is(status, 0, stderr)
  t.is(read(`${p.dir}/out`), 'flushed true\nrestart\nflushed true\n')
  const entries = read(`${p.dir}/journal`)
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  const [hostile, fields, long, field] = entries
  t.like(hostile, {
    MESSAGE: 'a#012PRIORITY=0#000#033[2J ü',
    PRIORITY: '3',
    SYSLOG_FACILITY: '16',
    SYSLOG_IDENTIFIER: 'jrnl',
    _TRANSPORT: 'journal',
  })
  t.is(hostile.SYSLOG_PID, hostile._PID)
  t.like(fields, { MESSAGE: 'fields', USER_NAME: 'x\nPRIORITY=0', N: '1', PRIORITY: '6' })
  t.is(long.MESSAGE, `long ${'y'.repeat(1 << 20)}`)
  t.is(field.F, 'z'.repeat(1 << 20))
  const found = numbers(entries.slice(4).map((entry) => entry.MESSAGE))
  t.deepEqual(found, [...Array(4000).keys()])
  const owns = read(`${p.dir}/own`)
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  t.deepEqual(
    owns.map((entry) => [entry._TRANSPORT, entry.SYSLOG_IDENTIFIER]),
    [['journal', 'own']],
  )
})
