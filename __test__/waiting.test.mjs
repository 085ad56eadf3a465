// What the command line shows while it waits, what Ctrl-C does then, and what it says when it had to kill a
// daemon.

import fs from 'node:fs'
import { cli, NO_LOGGER, onTerminal, pidIn, place, processesOf, run, sample, test, until } from './kit.mjs'
import { receive } from './receivers.mjs'

const times = (text, words) => text.split(words).length - 1

/** A setup that prints, and hangs until the test lets it go on. */
const HANGS = `async setup() {
  console.log('reading the configuration'); console.error('line 3 is odd')
  fs.writeFileSync(process.env.DIR + '/hangs', '')
  while (!fs.existsSync(process.env.DIR + '/go')) await sleep(10)
}`
/** A daemon that ignores SIGTERM. */
const DEAF = 'onSignal(signal) {}'

function nothingLeft(t, p) {
  t.deepEqual(fs.readdirSync(p.run), [])
  t.deepEqual(processesOf(p), [])
}

/** The text that stays on a terminal. A line that was overwritten by blanks has vanished. */
function stays(shown) {
  return shown
    .split('\n')
    .map((line) =>
      line
        .split('\r')
        .reduce((before, after) => after + before.slice(after.length), '')
        .trimEnd(),
    )
    .join('\n')
}

test('while a start hangs, a terminal shows what is waited for, anew each second, and then nothing of it', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', cli({ body: HANGS, options: 'startTimeout: 45_000' }))
  const start = onTerminal(p, script, ['start'])
  const line = (seconds) =>
    `\rsample: waiting until the daemon is ready: ${seconds} s of 45 s, then it is ended`
  await until(() => start.shown().includes(line(2)), 'the line, renewed')
  t.true(start.shown().includes(line(1)), start.shown())
  t.false(start.shown().includes('configuration'))
  fs.writeFileSync(`${p.dir}/go`, '')
  t.is((await start).status, 0)
  t.is(stays(start.shown()).replace(NO_LOGGER, ''), 'reading the configuration\nline 3 is odd\n')
  const widths = [...start.shown().matchAll(/\rsample: waiting[^\r]*/g)].map(([text]) => text.length)
  t.true(Math.max(...widths) < 80, 'it is never as wide as the terminal')

  const stop = onTerminal(p, script, ['stop'])
  t.is((await stop).status, 0)
  t.is(stays(stop.shown()), '')
})

test('Ctrl-C while a start hangs shows what the daemon had printed, ends it, and leaves nothing', async (t) => {
  const p = place(t)
  for (const body of [HANGS, HANGS.replace('await sleep(10)', ';')]) {
    for (const verb of ['start', 'restart']) {
      const script = p.write('a.mjs', cli({ body }))
      const start = onTerminal(p, script, [verb])
      await until(() => fs.existsSync(`${p.dir}/hangs`) && /\ds of|\d s of/.test(start.shown()), 'the line')
      fs.rmSync(`${p.dir}/hangs`)
      start.pressCtrlC()
      t.is((await start).status, 130)
      const left = stays(start.shown())
      for (const words of ['reading the configuration', 'line 3 is odd', 'SIGINT interrupted its start']) {
        t.is(times(left, words), 1, left)
      }
      t.notRegex(left, /waiting until/)
      nothingLeft(t, p)
    }
  }
})

test('without a terminal there is no such line, and SIGINT does the same', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', cli({ body: HANGS, options: 'startTimeout: 15_000' }))
  const late = await run(p, script, ['start'])
  t.is(late.status, 1)
  t.is(late.stdout, 'reading the configuration\n')
  t.regex(late.stderr, /^sample: The daemon 'sample' was not ready within 15000 ms .*:\nline 3 is odd\n$/)
  fs.rmSync(`${p.dir}/hangs`)

  const start = run(p, script, ['start'])
  await until(() => fs.existsSync(`${p.dir}/hangs`), 'the setup')
  process.kill(start.pid, 'SIGINT')
  const { signal, stdout, stderr } = await start
  t.is(signal, 'SIGINT', 'the shell sees what ended it')
  t.is(stdout, 'reading the configuration\n')
  t.regex(stderr, /^sample: The daemon 'sample' was not ready when SIGINT interrupted .*:\nline 3 is odd\n$/)
  nothingLeft(t, p)
})

test('Ctrl-C while stop waits ends it at once; the daemon is asked to end all the same', async (t) => {
  const p = place(t)
  const body = `async shutdown() { fs.writeFileSync(process.env.DIR + '/leaving', ''); await sleep(1e8) }`
  const script = p.write('a.mjs', cli({ body, options: 'stopTimeout: 60_000' }))
  t.is((await run(p, script, ['start'])).status, 0)
  const stop = onTerminal(p, script, ['stop'])
  const line = "\rsample: waiting for the daemon's end: 1 s of 61 s, then SIGKILL"
  await until(() => stop.shown().includes(line), 'the line')
  stop.pressCtrlC()
  t.is((await stop).status, 130)
  t.notRegex(stays(stop.shown()), /waiting/)
  t.true(fs.existsSync(`${p.dir}/leaving`))
  t.is(processesOf(p).length, 1)
})

test('stop and restart say in a line that they had to kill, and so does the log, under the daemon’s name', async (t) => {
  const p = place(t)
  const logger = await receive(t, p, 'datagram', `${p.dir}/log`)
  const stands = `globalThis[Symbol.for('tsdaemonize.logger')] = process.env.DIR + '/log'`
  const execArgv = ['--import', p.write('logger.mjs', stands)]
  const options = 'stopTimeout: 500, syslogFacility: syslog.LOG_LOCAL3, syslogOptions: syslog.LOG_PERROR'
  const script = p.write('a.mjs', cli({ body: DEAF, options }))
  const pids = []
  for (const verb of ['start', 'restart', 'stop']) {
    const { status, stdout, stderr } = await run(p, script, [verb], { execArgv })
    t.deepEqual([status, stdout], [0, ''], stderr)
    const said = (pid) =>
      `sample: The daemon with pid ${pid} did not end within 1.5 s of SIGTERM and was killed. ` +
      'Does its `onSignal` pass SIGTERM to `super.onSignal`?\n'
    t.is(stderr, verb === 'start' ? '' : said(pids.at(-1)), verb)
    if (verb !== 'stop') pids.push(pidIn(p))
  }
  t.is((await run(p, script, ['stop'], { execArgv })).stderr, '')
  t.deepEqual(fs.readdirSync(p.run), [])

  // The program's own logger is unchanged.
  const last = `syslog.openlog('tool', 0, syslog.LOG_USER)
    const daemon = new Sample({ ...options, syslogOptions: 0 })
    await daemon.start()
    const { pid } = await daemon.stop()
    syslog.syslog('killed ' + pid)`
  const tool = await run(p, p.write('b.mjs', sample({ body: DEAF, options, last })), [], { execArgv })
  t.is(tool.status, 0, tool.stderr)
  await logger.stop()
  const lines = logger.messages().map((line) => line.replace(/^<(\d+)>.{15} /, '<$1> '))
  const warnings = lines.filter((line) => line.startsWith(`<${(19 << 3) | 4}> sample: `))
  t.deepEqual(
    warnings
      .map((line) => Number(line.match(/The daemon with pid (\d+) did not end .* and was killed\./)?.[1]))
      .slice(0, 2),
    pids,
  )
  t.is(warnings.length, 3, lines.join('\n'))
  t.true(
    lines.some((line) => /^<14> tool: killed \d+$/.test(line)),
    lines.join('\n'),
  )
})
