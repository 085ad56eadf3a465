// What pino and winston log arrives as syslog messages, with its fields.

import { mkdirSync, symlinkSync } from 'node:fs'
import { command, pidIn, place, processesOf, root, run, sample, test, until } from './kit.mjs'
import { assertAll, local, numbers, opening, receive } from './receivers.mjs'

/** A place where programs find the packages by their names. */
function packages(t) {
  const p = place(t)
  mkdirSync(`${p.dir}/node_modules`)
  symlinkSync(root, `${p.dir}/node_modules/tsdaemonize`)
  for (const name of ['pino', 'winston', '@types']) {
    symlinkSync(`${root}/node_modules/${name}`, `${p.dir}/node_modules/${name}`)
  }
  return p
}

/** The priority, and the text with the fields that follow it. */
const found = (receiver) =>
  receiver.messages().map((message) => {
    const [, priority, text] = /^<(\d+)>.{16}sample(?:\[\d+\])?: (.*)$/s.exec(
      Buffer.from(message, 'latin1').toString(),
    )
    return [Number(priority), text]
  })

const SAY = `
  log.trace('not this')
  log.debug('debug')
  log.info('plain')
  log.warn({ user: 'a "b"', n: 7, yes: true, no: null, left: undefined, big: { deep: { deeper: [1, 2] } } }, 'with %s', 'fields')
  log.error(Object.assign(new Error('failed\\nbadly'), { code: 'E_CODE', stack: 'its stack' }))
  log.child({ part: 'child', 'odd name!': 1, priority: 0 }).fatal({ message: 'another' }, 'line\\n<0>forged')
`
const PINO_FOUND = (daemon) => [
  [daemon + 7, 'debug'],
  [daemon + 6, 'plain'],
  [daemon + 4, 'with fields user="a \\"b\\"" n="7" yes="true" no="null" big.deep.deeper="[1,2]"'],
  [
    daemon + 3,
    'failed#012badly err.type="Error" err.message="failed#012badly" err.stack="its stack" err.code="E_CODE"',
  ],
  [daemon + 2, 'line#012<0>forged part="child" odd_name_="1" data.priority="0" data.message="another"'],
]

for (const [how, make] of [
  [
    'destination',
    "import toSyslog from 'tsdaemonize/pino'; const log = pino({ level: 'debug' }, toSyslog())",
  ],
  ['transport', "const log = pino({ level: 'debug', transport: { target: 'tsdaemonize/pino' } })"],
  [
    'one of several transports',
    "const log = pino({ level: 'trace', transport: { targets: [{ target: 'tsdaemonize/pino', level: 'debug' }, { target: 'pino/file', level: 'fatal', options: { destination: '/dev/null' } }] } })",
  ],
]) {
  test(`pino logs to syslog, as a ${how}, in a program and in a daemon`, async (t) => {
    const p = packages(t)
    const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
    // A program: its levels, fields, errors and children.
    const program = p.write(
      'sample.mjs',
      `import pino from 'pino'
      import { syslog } from 'tsdaemonize'
      syslog.openlog('sample', 0, syslog.LOG_USER, ${local(p).TRANSPORT})
      ${make}
      ${SAY}
      for (let i = 0; i < 1000; i++) log.info('number ' + i)`,
    )
    const { status, stderr, stdout } = await run(p, program)
    t.is(status, 0, stderr)
    t.is(stdout + stderr, '')
    // A daemon uses the log that it has opened, also in a worker thread.
    const before = `${opening}\nimport pino from 'pino'`
    const body = `async setup() { opened() }
    async action() {
      ${how === 'destination' ? "const { default: toSyslog } = await import('tsdaemonize/pino'); const log = pino({ level: 'debug' }, toSyslog())" : make}
      log.warn({ n: 1 }, 'in the daemon')
      await new Promise((resolve) => log.flush(resolve))
    }`
    const daemon = p.write('daemon.mjs', sample({ before, body }))
    t.is((await run(p, daemon, [], { env: local(p) })).status, 0)
    await until(
      () => found(receiver).some(([, text]) => text === 'in the daemon n="1"'),
      'the message of the daemon',
    )
    if (processesOf(p).length > 1) process.kill(pidIn(p), 'SIGTERM')
    await until(() => processesOf(p).length === 1, 'the end of the daemon')
    await receiver.stop()
    const all = found(receiver)
    t.deepEqual(all.slice(0, 5), PINO_FOUND(8))
    assertAll(t, numbers(all.map(([, text]) => text)), 1000)
    t.deepEqual(
      all.filter(([, text]) => text.startsWith('in the daemon')),
      [[28, 'in the daemon n="1"']],
    )
  })
}

test('what pino loses nothing of at the end is the destination in the main thread', async (t) => {
  const p = packages(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const program = p.write(
    'sample.mjs',
    `import pino from 'pino'
    import toSyslog from 'tsdaemonize/pino'
    import { syslog } from 'tsdaemonize'
    syslog.openlog('sample', 0, syslog.LOG_USER, ${local(p).TRANSPORT})
    const stream = toSyslog({ facility: syslog.LOG_LOCAL1, messageKey: 'text', ignore: ['time', 'pid', 'hostname', 'secret'] })
    const log = pino({ messageKey: 'text', formatters: { level: (level) => ({ level }) } }, stream)
    log.error({ secret: 1, kept: 2 }, 'as told')
    stream.write('no JSON')
    stream.write(' at all\\n')
    for (let i = 0; i < 5000; i++) log.info('number ' + i)
    process.exit(0)`,
  )
  t.is((await run(p, program)).status, 0)
  await receiver.stop()
  const all = found(receiver)
  t.deepEqual(all.slice(0, 2), [
    [17 * 8 + 3, 'as told kept="2"'],
    [17 * 8 + 6, 'no JSON at all'],
  ])
  assertAll(t, numbers(all.map(([, text]) => text)), 5000)
})

test('worker threads alone may log: the sender outlives them, and they share one logger', async (t) => {
  const p = packages(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  p.write(
    'worker.mjs',
    `import { syslog } from 'tsdaemonize'
    import { workerData } from 'node:worker_threads'
    if (workerData === 0) syslog.openlog('sample', 0, syslog.LOG_USER, ${local(p).TRANSPORT})
    syslog.syslog('number ' + workerData)`,
  )
  const program = p.write(
    'main.mjs',
    `import { Worker } from 'node:worker_threads'
    import { once } from 'node:events'
    import { setTimeout as sleep } from 'node:timers/promises'
    for (let i = 0; i < 20; i++) {
      await once(new Worker(new URL('worker.mjs', import.meta.url), { workerData: i }), 'exit')
      await sleep(5)
    }`,
  )
  const { status, signal, stderr } = await run(p, program)
  t.deepEqual([status, signal], [0, null], stderr)
  await receiver.stop()
  assertAll(t, numbers(found(receiver).map(([, text]) => text)), 20)
})

test('winston logs to syslog, with its levels, formats, children and exceptions', async (t) => {
  const p = packages(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const program = p.write(
    'sample.mjs',
    `import winston from 'winston'
    import SyslogTransport from 'tsdaemonize/winston'
    import { syslog } from 'tsdaemonize'
    syslog.openlog('sample', 0, syslog.LOG_USER, ${local(p).TRANSPORT})
    const { format } = winston
    const log = winston.createLogger({
      level: 'verbose',
      format: format.combine(format.colorize(), format.timestamp(), format.errors({ stack: true }), format.splat(), format.json()),
      transports: [new SyslogTransport()],
    })
    log.debug('not this')
    log.verbose('verbose')
    log.info('plain')
    log.http('http')
    log.warn('with %s', 'fields', { user: 'a "b"', n: 7, deep: { date: new Date(0) } })
    log.error('line\\n<0>forged', { priority: 0 })
    log.child({ part: 'child' }).info({ an: 'object' })
    const own = winston.createLogger({
      levels: { ...winston.config.syslog.levels, odd: 8 },
      level: 'odd',
      transports: [
        new SyslogTransport({ level: 'alert', format: format.printf((info) => '(' + info.message + ')') }),
        new SyslogTransport({ priorities: { odd: syslog.LOG_NOTICE }, facility: syslog.LOG_LOCAL2 }),
        new SyslogTransport({ silent: true }),
      ],
    })
    own.emerg('emerg')
    own.crit('crit')
    own.log('odd', 'odd', { n: 1 })
    winston.createLogger({ transports: [new SyslogTransport({ handleExceptions: true })], exitOnError: true })
    for (let i = 0; i < 1000; i++) log.info('number ' + i)
    setImmediate(() => { throw new Error('thrown') })`,
  )
  const { status, stderr } = await run(p, program)
  t.is(status, 1, stderr)
  await receiver.stop()
  const all = found(receiver)
  t.deepEqual(all.slice(0, 10), [
    [15, 'verbose'],
    [14, 'plain'],
    [14, 'http'],
    [12, 'with fields user="a \\"b\\"" n="7" deep.date="1970-01-01T00:00:00.000Z"'],
    [11, 'line#012<0>forged data.priority="0"'],
    [14, '{"an":"object"} part="child"'],
    [8, '(emerg)'],
    [144, 'emerg'],
    [146, 'crit'],
    [149, 'odd n="1"'],
  ])
  assertAll(t, numbers(all.map(([, text]) => text)), 1000)
  const [priority, text] = all.at(-1)
  t.is(priority, 11)
  t.regex(text, /^uncaughtException: thrown/)
})

test('the types fit those of pino and winston', async (t) => {
  const p = packages(t)
  p.write(
    'types.mts',
    `import pino from 'pino'
    import winston from 'winston'
    import { syslog } from 'tsdaemonize'
    import toSyslog, { type PinoSyslogOptions } from 'tsdaemonize/pino'
    import SyslogTransport, { type WinstonSyslogOptions } from 'tsdaemonize/winston'
    const one: PinoSyslogOptions = { messageKey: 'msg', facility: syslog.LOG_LOCAL0 }
    pino({ level: 'info' }, toSyslog(one)).info('text')
    const two: WinstonSyslogOptions = { level: 'info', format: winston.format.json() }
    winston.createLogger({ transports: [new SyslogTransport(two), new SyslogTransport()] }).info('text')`,
  )
  const flags = [
    '--noEmit',
    '--strict',
    '--target',
    'es2022',
    '--module',
    'nodenext',
    '--types',
    'node',
    '--exactOptionalPropertyTypes',
  ]
  const { status, stdout } = await command(p, `${root}/node_modules/.bin/tsc`, [...flags, 'types.mts'])
  t.is(status, 0, stdout)
})
