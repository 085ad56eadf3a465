// `tsdaemonize logs`: what daemons have logged, and what they log from now on.

import fs from 'node:fs'
import { join } from 'node:path'
import {
  asRoot,
  command,
  descriptors,
  isAlive,
  isRoot,
  NOBODY,
  pidIn,
  place,
  printed,
  proc,
  read,
  root,
  run,
  sample,
  test,
  until,
} from './kit.mjs'
import { logging, withReal } from './receivers.mjs'

const program = join(root, 'tsdaemonize')

/** Starts daemons of these names, each of which prints into a file of its own. Returns the paths. */
async function start(t, p, ...names) {
  const files = []
  for (const name of names) {
    const file = join(p.dir, `${name}.log`)
    const options = `name: '${name}', stdout: ${JSON.stringify(file)}, stderr: ${JSON.stringify(file)},`
    const { status, stderr } = await run(p, p.write(`${name}.mjs`, sample({ options })))
    t.is(status, 0, stderr)
    files.push(file)
  }
  return files
}

const args = (p, ...rest) => ['logs', '--pid-file-path', p.run, ...rest]
/** Runs `logs` to its end. */
const logs = (p, ...rest) => command(p, program, args(p, ...rest))

/** Runs `logs -f`, and returns what it has shown so far. It ends with the test. */
function follow(t, p, ...rest) {
  const running = command(p, program, args(p, '-f', ...rest))
  const shown = printed(running.child)
  t.teardown(() => running.child.kill('SIGKILL'))
  return Object.assign(running, {
    shown,
    /** Waits until exactly this was shown. */
    async shows(text) {
      await until(() => shown().length >= text.length, `${text.length} bytes, got ${shown().length}`)
      t.is(shown(), text)
    },
  })
}

const lines = (...numbers) => numbers.map((n) => `line ${n}\n`).join('')
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, n) => from + n)

test('what a daemon prints is shown as it is', async (t) => {
  const p = place(t)
  const file = join(p.dir, 'out.log')
  const options = `stdout: ${JSON.stringify(file)}, stderr: ${JSON.stringify(`${file}.err`)},`
  const body = "async action() { console.log('to stdout'); console.error('to stderr'); await sleep(1e6) }"
  const started = await run(p, p.write('a.mjs', sample({ options, body })))
  t.is(started.status, 0, started.stderr)
  await until(() => read(`${file}.err`) !== '', 'what it prints')
  fs.appendFileSync(file, Buffer.from([0, 27, 91, 50, 74, 13, 255, 254, 10, 120]))
  // Into a file, since a test's pipe takes it for text.
  const shown = join(p.dir, 'shown')
  const { status, stderr } = await command(p, 'sh', [
    '-c',
    '"$@" > "$0"',
    shown,
    program,
    ...args(p, 'sample'),
  ])
  t.is(status, 0, stderr)
  t.is(fs.readFileSync(shown, 'latin1'), 'to stdout\n\0\u001b[2J\r\u00ff\u00fe\nx\nto stderr\n')
})

test('-n shows the last lines, and a line of a megabyte whole', async (t) => {
  const p = place(t)
  const [file] = await start(t, p, 'sample')
  const long = `${'ü'.repeat(1 << 20)}\n`
  fs.writeFileSync(file, `${lines(1, 2)}${long}last`)
  t.is((await logs(p, '-n', '1', 'sample')).stdout, 'last')
  t.is((await logs(p, '-n2', 'sample')).stdout, `${long}last`)
  t.is((await logs(p, 'sample', '--lines=3')).stdout, `line 2\n${long}last`)
  t.is((await logs(p, 'sample', '-n', '99')).stdout, `${lines(1, 2)}${long}last`)
  t.is((await logs(p, 'sample', '-n', '0')).stdout, '')
  for (const wrong of ['-1', '+1', '1k', '', '٣', '99999999999999999999']) {
    const { status, stderr } = await logs(p, 'sample', `--lines=${wrong}`)
    t.is(status, 2, wrong)
    t.regex(stderr, /`--lines` takes a whole number, such as 20; got /)
  }
})

test('a hundred megabytes take little memory', async (t) => {
  const p = place(t)
  const [file] = await start(t, p, 'sample')
  const block = Buffer.from(lines(...range(1, 100_000)))
  const out = fs.openSync(file, 'w')
  for (let size = 0; size < 100_000_000; size += block.length) fs.writeSync(out, block)
  fs.writeSync(out, 'end\n')
  const following = follow(t, p, '-n', '1000000', 'sample')
  let bytes = 0
  following.child.stdout.on('data', (data) => {
    bytes += data.length
  })
  await until(() => bytes === 10 * block.length - lines(1).length + 'end\n'.length, 'a million lines')
  fs.writeSync(out, 'more\n')
  fs.closeSync(out)
  await until(() => following.shown().endsWith('end\nmore\n'), 'the line that follows')
  const [, kib] = /VmHWM:\s*(\d+) kB/.exec(fs.readFileSync(`/proc/${following.pid}/status`, 'utf8'))
  t.true(Number(kib) < 20_000, `${kib} KiB`)
})

test('-f shows the last ten lines and what follows, also a line in the making', async (t) => {
  const p = place(t)
  const [file] = await start(t, p, 'sample')
  fs.writeFileSync(file, lines(...range(1, 20)))
  const following = follow(t, p, 'sample')
  let expected = lines(...range(11, 20))
  await following.shows(expected)
  for (const text of ['begun', ' and ended\n', lines(21)]) {
    fs.appendFileSync(file, text)
    expected += text
    await following.shows(expected)
  }
})

test('-f goes on through a rotation by rename: what comes late into the old file is shown, too', async (t) => {
  const p = place(t)
  const [file] = await start(t, p, 'sample')
  fs.writeFileSync(file, lines(1))
  const following = follow(t, p, 'sample')
  let expected = lines(1)
  await following.shows(expected)
  for (const n of [10, 20, 30]) {
    const write = async (path, number) => {
      fs.appendFileSync(path, lines(number))
      expected += lines(number)
      await following.shows(expected)
    }
    fs.renameSync(file, `${file}.1`)
    await write(`${file}.1`, n)
    fs.writeFileSync(file, '')
    await write(`${file}.1`, n + 1)
    await write(file, n + 2)
    await write(`${file}.1`, n + 3)
    await write(file, n + 4)
  }
})

test('-f goes on through copytruncate, however much was written since', async (t) => {
  const p = place(t)
  const [file] = await start(t, p, 'sample')
  fs.writeFileSync(file, lines(1, 2, 3))
  const following = follow(t, p, 'sample')
  let expected = lines(1, 2, 3)
  await following.shows(expected)
  for (const numbers of [[4], [5, 6], [7, 8, 9, 10], [11]]) {
    // Cut and written in one step, as far as the reader can see.
    following.child.kill('SIGSTOP')
    fs.copyFileSync(file, `${file}.1`)
    fs.truncateSync(file)
    fs.appendFileSync(file, lines(...numbers))
    following.child.kill('SIGCONT')
    expected += lines(...numbers)
    await following.shows(expected)
  }
})

test('-f waits for a file that is not there, and does so quietly', async (t) => {
  const p = place(t)
  const [file] = await start(t, p, 'sample')
  const pid = pidIn(p)
  fs.renameSync(file, `${file}.old`)
  fs.appendFileSync(`${file}.old`, lines(0))
  const { status, stdout } = await logs(p, 'sample')
  t.is(status, 0)
  t.is(stdout, lines(0), 'the daemon has it open')
  fs.renameSync(`${file}.old`, file)
  const other = `${file}.other`
  fs.writeFileSync(other, lines(1))
  fs.rmSync(file)
  const following = follow(t, p, '-n0', 'sample')
  await until(() => proc(following.pid)?.state === 'S' && isFollowing(following.pid), 'its wait')
  const switches = () =>
    Number(
      /^voluntary_ctxt_switches:\s*(\d+)/m.exec(fs.readFileSync(`/proc/${following.pid}/status`, 'utf8'))[1],
    )
  const before = switches()
  await new Promise((resolve) => setTimeout(resolve, 1000))
  t.true(switches() - before <= 10, 'no busy loop')
  fs.renameSync(other, file)
  await following.shows(lines(1))
  t.true(isAlive(pid))
})

/** Whether a process has asked the kernel to tell of changes. */
function isFollowing(pid) {
  return Object.values(descriptors(pid)).includes('anon_inode:inotify')
}

test('-f ends at once at SIGINT, and where nobody reads any more', async (t) => {
  const p = place(t)
  const [file] = await start(t, p, 'sample')
  fs.writeFileSync(file, lines(1))
  const ends = { SIGINT: (child) => child.kill('SIGINT'), SIGPIPE: (child) => child.stdout.destroy() }
  for (const [signal, end] of Object.entries(ends)) {
    const following = follow(t, p, 'sample')
    await following.shows(lines(1))
    await until(() => isFollowing(following.pid), 'its wait')
    const { child } = following
    end(child)
    await until(() => child.exitCode !== null || child.signalCode !== null, 'its end')
    t.is(child.signalCode, signal)
  }
})

const stamped = (second, text) => `2026-11-28T10:00:${`${second}`.padStart(2, '0')}Z ${text}\n`

test('several daemons are interleaved by time, each line with its name; a line without a time stays with its own', async (t) => {
  const p = place(t)
  const [one, second] = await start(t, p, 'one', 'second')
  fs.writeFileSync(one, `${stamped(1, 'a')}    at a.mjs\n${stamped(4, 'd')}${stamped(4, 'e')}`)
  fs.writeFileSync(
    second,
    `before\n${stamped(2, 'b')}    at b.mjs\n    at c.mjs\n${stamped(3, 'c')}${stamped(5, 'f')}`,
  )
  const expected = [
    'second | before',
    `one    | ${stamped(1, 'a').trimEnd()}`,
    'one    |     at a.mjs',
    `second | ${stamped(2, 'b').trimEnd()}`,
    'second |     at b.mjs',
    'second |     at c.mjs',
    `second | ${stamped(3, 'c').trimEnd()}`,
    `one    | ${stamped(4, 'd').trimEnd()}`,
    `one    | ${stamped(4, 'e').trimEnd()}`,
    `second | ${stamped(5, 'f').trimEnd()}`,
    '',
  ]
  t.is((await logs(p, 'one', 'second', 'one')).stdout, expected.join('\n'))
  t.is((await logs(p, 'one', 'second', '-n4')).stdout, expected.slice(-5).join('\n'))
  const following = follow(t, p, 'one', 'second', '-n0')
  await until(() => isFollowing(following.pid), 'its wait')
  fs.appendFileSync(one, 'half')
  await following.shows('one    | half')
  fs.appendFileSync(second, 'whole\n')
  await following.shows('one    | half\nsecond | whole\n')
  fs.appendFileSync(one, ' and half\n')
  await following.shows('one    | half\nsecond | whole\none    |  and half\n')
})

test('on a terminal names have colours, unless nobody wants them, and nothing in a log can steer it', async (t) => {
  const p = place(t)
  const [one, two] = await start(t, p, 'one', 'two')
  fs.writeFileSync(one, Buffer.from(`${stamped(1, 'ü \u001b[2J\r\u009b31m\t\u0007')}`))
  fs.writeFileSync(two, Buffer.concat([Buffer.from(stamped(2, '').trimEnd()), Buffer.from([255, 0, 10])]))
  const onTerminal = async (env, ...rest) => {
    const terminal = join(import.meta.dirname, 'terminal.py')
    const { stdout } = await command(p, 'python3', [terminal, program, ...args(p, ...rest)], { env })
    return stdout.replaceAll('\r\n', '\n')
  }
  const text = ['2026-11-28T10:00:01Z ü \\x1b[2J\\x0d\\x9b31m        \\x07', '2026-11-28T10:00:02Z\\xff\\x00']
  const plain = (shown) => shown.replaceAll('\t', '        ')
  const coloured = await onTerminal({ TERM: 'xterm', NO_COLOR: undefined }, 'one', 'two')
  t.is(plain(coloured), `\u001b[36mone\u001b[0m | ${text[0]}\n\u001b[33mtwo\u001b[0m | ${text[1]}\n`)
  const uncoloured = await onTerminal({ TERM: 'xterm', NO_COLOR: '1' }, 'one', 'two')
  t.is(plain(uncoloured), `one | ${text[0]}\ntwo | ${text[1]}\n`)
  t.is(plain(await onTerminal({ TERM: 'xterm', NO_COLOR: undefined }, 'one')), `${text[0]}\n`)
})

test('--since shows what was logged since then, in local time where no zone is given', async (t) => {
  const p = place(t)
  const [file] = await start(t, p, 'sample')
  const ago = (seconds) => new Date(Date.now() - seconds * 1000)
  fs.writeFileSync(
    file,
    `head\n${ago(90_000 * 3).toISOString()} old\n  its stack\n${ago(7200).toISOString()} hours\n  stack\n${ago(60).toISOString()} minute\n`,
  )
  const words = async (since, env = {}, ...rest) => {
    const { stdout, stderr } = await command(p, program, args(p, '--since', since, ...rest, 'sample'), {
      env,
    })
    t.is(stderr, '')
    return stdout
      .replace(/^\S+Z /gm, '')
      .trimEnd()
      .split('\n')
      .join(',')
  }
  t.is(await words('10min'), 'minute')
  t.is(await words('3h'), 'hours,  stack,minute')
  t.is(await words('3h', {}, '-n2'), '  stack,minute')
  t.is(await words('9d'), 'head,old,  its stack,hours,  stack,minute')
  t.is(await words(ago(3600).toISOString()), 'minute')
  t.is(await words('0s'), '')
  // The same text means a time three hours earlier there.
  const text = ago(3600).toISOString().slice(0, 19)
  t.is(await words(text, { TZ: 'UTC' }), 'minute')
  t.is(await words(text, { TZ: 'XXX-3' }), 'hours,  stack,minute')
  const midnight = new Date()
  midnight.setHours(0, 0, 0, 0)
  fs.writeFileSync(file, [-1, 1].map((n) => `${new Date(+midnight + n).toISOString()} ${n}\n`).join(''))
  t.is(await words('today'), '1')
  t.is(await words('yesterday'), '-1,1')
  for (const wrong of ['', 'soon', '10 parsecs', '25:00', '2026-02-30']) {
    const { status, stdout, stderr } = await logs(p, `--since=${wrong}`, 'sample')
    t.deepEqual([status, stdout], [2, ''], wrong)
    t.regex(stderr, /10min, 2h.*14:30.*`today`.*2026-11-28T14:30:00Z/)
  }
})

test('--since says so where lines have no time stamps, and goes by the time of the file', async (t) => {
  const p = place(t)
  const [file] = await start(t, p, 'sample')
  fs.writeFileSync(file, lines(1, 2))
  const newer = await logs(p, '--since', '1h', 'sample')
  t.deepEqual([newer.status, newer.stdout], [0, lines(1, 2)])
  t.regex(newer.stderr, /^tsdaemonize: The lines of .*sample\.log have no time stamps .* all are shown: /)
  t.is(newer.stderr.split('\n').length, 2, 'once')
  fs.utimesSync(file, 1e9, 1e9)
  const older = await logs(p, '--since', '1h', 'sample')
  t.deepEqual([older.status, older.stdout], [0, ''])
  t.regex(older.stderr, / none is shown: /)
})

asRoot('a log that may not be read is status 4, and the others are shown', async (t) => {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  fs.chmodSync(p.run, 0o755)
  const [one, two] = await start(t, p, 'one', 'two')
  fs.writeFileSync(one, lines(1))
  fs.writeFileSync(two, lines(2))
  fs.chmodSync(one, 0o600)
  fs.chmodSync(two, 0o644)
  const { status, stdout, stderr } = await command(p, program, args(p, 'one', 'two'), NOBODY)
  t.is(status, 4, stderr)
  t.is(stdout, `two | ${lines(2)}`)
  t.regex(
    stderr,
    /^one: Cannot read the log file .*one\.log of 'one': EACCES: permission denied\. Run it as root/,
  )
})

test('a daemon that logs nowhere, and one that there is not: that is said, with what to do', async (t) => {
  const p = place(t)
  const { status } = await run(p, p.write('a.mjs', sample({ options: "name: 'no-log-of-mine'," })))
  t.is(status, 0)
  for (const [name, words] of [
    ['no-log-of-mine', /^no-log-of-mine: .*goes to \/dev\/null.*`stdout: '\/var\/log\/no-log-of-mine\.log'`/],
    ['no-such-daemon', /^no-such-daemon: No daemon 'no-such-daemon' runs here.*`tsdaemonize list --all`/],
  ]) {
    const { status, stdout, stderr } = await logs(p, name)
    t.deepEqual([status, stdout], [1, ''], stderr)
    t.regex(stderr, words)
  }
  t.is((await logs(p, '/etc/passwd')).status, 2)
})

/** Runs a shell in a mount namespace with a /var/log and a /run of its own. */
async function inNamespace(t, p, script, env) {
  const begin = `set -e
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
mount -t tmpfs none /var/log
mount -t tmpfs -o mode=755 none /run
`
  const ended = await command(p, 'unshare', ['-m', 'bash', '-c', begin + script], {
    env: { PROGRAM: program, NODE: process.execPath, ...env },
  })
  t.is(ended.status, 0, ended.stderr)
  return (name) => read(join(p.dir, name)).split('\n').slice(0, -1)
}

/** A program that logs under two names that begin alike. */
const twoIdents = (p, transport) =>
  p.write(
    'log.mjs',
    logging(`
    for (const [ident, text] of [['sample', 'one'], ['sampler', 'other: sample: no'], ['sample', 'two']]) {
      syslog.openlog(ident, text === 'one' ? syslog.LOG_PID : 0, syslog.LOG_DAEMON, ${transport})
      syslog.syslog(process.argv[2] ?? text)
      await syslog.flush(20_000)
    }`),
  )

for (const template of ['RSYSLOG_TraditionalFileFormat', 'RSYSLOG_FileFormat']) {
  withReal('rsyslog', isRoot)(
    `the messages of a daemon are found in a file of rsyslog: ${template}`,
    async (t) => {
      const p = place(t)
      const config = p.write(
        'config',
        `module(load="imuxsock" SysSock.Name="${p.dir}/log" SysSock.RateLimit.Interval="0")
action(type="omfile" file="/var/log/messages" template="${template}")
global(workDirectory="${p.dir}")
`,
      )
      const script = twoIdents(p, `{ type: 'local', path: ${JSON.stringify(`${p.dir}/log`)} }`)
      const messages = await inNamespace(
        t,
        p,
        `echo 'Nov 28 10:00:00 host stranger: hello' > /var/log/syslog
rsyslogd -n -f ${config} -i ${p.dir}/logger.pid & logger=$!
until [ -S ${p.dir}/log ]; do sleep 0.05; done
"$NODE" ${script}
until grep -q 'two' /var/log/messages; do sleep 0.05; done
"$PROGRAM" logs sample > ${p.dir}/all
"$PROGRAM" logs -n1 sample > ${p.dir}/last
"$PROGRAM" logs --since 1h sample > ${p.dir}/since
"$PROGRAM" logs -f sample > ${p.dir}/followed & following=$!
until grep -q 'two' ${p.dir}/followed; do sleep 0.05; done
"$NODE" ${script} more
until [ $(grep -c more ${p.dir}/followed) = 2 ]; do sleep 0.05; done
kill $following $logger
`,
      )
      const ends = (name) =>
        messages(name).map((line) => line.replace(/^.*? (sample(\[\d+\])?: )/, '$1').replace(/\d+/, 'N'))
      t.deepEqual(ends('all'), ['sample[N]: one', 'sample: two'])
      t.deepEqual(ends('last'), ['sample: two'])
      t.deepEqual(ends('since'), ends('all'))
      t.deepEqual(ends('followed'), [...ends('all'), 'sample[N]: more', 'sample: more'])
    },
  )
}

withReal('journald', isRoot)('the messages of a daemon are found in the journal', async (t) => {
  const p = place(t)
  const config = p.write(
    'journald.conf',
    '[Journal]\nStorage=volatile\nRateLimitBurst=0\nReadKMsg=no\nAudit=no\nForwardToSyslog=no\nForwardToWall=no\n',
  )
  const script = twoIdents(p, "{ type: 'journal' }")
  const messages = await inNamespace(
    t,
    p,
    `mkdir -p /run/systemd/journal /run/log/journal
mount --bind ${config} /etc/systemd/journald.conf
/lib/systemd/systemd-journald 2>${p.dir}/journald.err & journald=$!
until [ -S /run/systemd/journal/socket ]; do sleep 0.05; done
"$PROGRAM" logs sample > ${p.dir}/none
"$PROGRAM" logs -f sample > ${p.dir}/early & early=$!
"$NODE" ${script}
until journalctl -q -t sample | grep -q two; do sleep 0.05; done
"$PROGRAM" logs sample > ${p.dir}/all
"$PROGRAM" logs -n1 sample > ${p.dir}/last
"$PROGRAM" logs --since 1h sample sampler > ${p.dir}/since
"$PROGRAM" logs -n2 sample sampler > ${p.dir}/both
"$PROGRAM" logs -f sample > ${p.dir}/followed & following=$!
until grep -q 'two' ${p.dir}/followed; do sleep 0.05; done
"$NODE" ${script} more
for file in followed early; do
  until [ $(grep -c more ${p.dir}/$file) = 2 ]; do sleep 0.05; done
done
children=$(cat /proc/$following/task/$following/children)
kill $following $early
for child in $children; do while [ -d /proc/$child ]; do sleep 0.05; done; done
kill $journald
`,
  )
  const ends = (name) =>
    messages(name).map((line) => line.replace(/^.*? (sampler?(\[\d+\])?: )/, '$1').replace(/\d+/, 'N'))
  t.deepEqual(ends('none'), [])
  t.deepEqual(ends('all'), ['sample[N]: one', 'sample[N]: two'])
  t.deepEqual(ends('last'), ['sample[N]: two'])
  t.is(ends('since').length, 3)
  t.deepEqual(ends('both'), ['sampler[N]: other: sample: no', 'sample[N]: two'])
  t.deepEqual(ends('followed'), [...ends('all'), 'sample[N]: more', 'sample[N]: more'])
  t.deepEqual(ends('early'), ends('followed'))
})
