// Logs with one of the packages: log.mjs PACKAGE BURSTS PER GAP (microseconds; 0: one turn of the event
// loop). Says, as JSON, what the main thread spent in the calls (time) and in all (CPU), in
// microseconds, without what the same loop costs when it logs nothing.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'

const [name, ...numbers] = process.argv.slice(2)
const [bursts, per, gap] = numbers.map(Number)
const { MODULES, PORT, LIBRARY } = process.env
const load = (module) => createRequire(`${MODULES}/${name}/`)(module)

/** Each makes `[log, end]`; `end` waits for what is on its way. */
const loggers = {
  async tsdaemonize() {
    const { syslog } = await import(pathToFileURL(LIBRARY).href)
    syslog.openlog('bench', syslog.LOG_PID | syslog.LOG_NDELAY, syslog.LOG_DAEMON)
    return [(text) => syslog.syslog(syslog.LOG_INFO, text), () => syslog.flush(60_000)]
  },
  'modern-syslog'() {
    const syslog = load('modern-syslog')
    syslog.open('bench', syslog.option.LOG_PID | syslog.option.LOG_NDELAY, syslog.facility.LOG_DAEMON)
    let pending = 0
    const done = () => pending--
    const log = (text) => {
      pending++
      syslog.log(syslog.level.LOG_INFO, text, done)
    }
    return [log, () => drained(() => pending === 0)]
  },
  posix() {
    const posix = load('posix')
    posix.openlog('bench', { pid: true, ndelay: true }, 'daemon')
    return [(text) => posix.syslog('info', text), () => {}]
  },
  'syslog-client'() {
    const { createClient, Facility, Severity } = load('syslog-client')
    const client = createClient('127.0.0.1', { port: Number(PORT), appName: 'bench' })
    const options = { facility: Facility.Daemon, severity: Severity.Informational }
    let pending = 0
    const done = () => pending--
    const log = (text) => {
      pending++
      client.log(text, options, done)
    }
    return [log, () => drained(() => pending === 0)]
  },
  'winston-syslog'() {
    const winston = load('winston')
    const { Syslog } = load('winston-syslog')
    const transport = new Syslog({
      protocol: 'unix',
      path: '/dev/log',
      app_name: 'bench',
      facility: 'daemon',
    })
    const logger = winston.createLogger({ levels: winston.config.syslog.levels, transports: [transport] })
    // A full socket is one; unheard, it would end the program.
    logger.on('error', () => {})
    let sent = 0
    let asked = 0
    transport.on('logged', () => sent++)
    const log = (text) => {
      asked++
      logger.info(text)
    }
    return [
      log,
      () => drained(() => sent >= asked && transport.queue.length === 0 && transport.inFlight <= 0),
    ]
  },
}

/** Waits, at most three seconds. */
async function drained(condition) {
  const begun = performance.now()
  while (!condition() && performance.now() - begun < 3000) await sleep(5)
}

/** Nanoseconds that this thread has run: schedstat is up to date after a switch. */
async function cpu() {
  await sleep(20)
  return Number(readFileSync('/proc/thread-self/schedstat', 'utf8').split(' ')[0])
}

async function run(log, end) {
  const pad = 'x'.repeat(100)
  let number = 0
  let time = 0
  const before = await cpu()
  for (let burst = 0; burst < bursts; burst++) {
    const from = performance.now()
    for (let i = 0; i < per; i++) log(`number ${number++} ${pad}`.slice(0, 100))
    time += performance.now() - from
    await (gap > 0 ? sleep(gap / 1000) : new Promise(setImmediate))
  }
  await end()
  return { time: time * 1000, cpu: ((await cpu()) - before) / 1000 }
}

const [log, end] = await loggers[name]()
// Compiled and connected.
for (let i = 0; i < 2000; i++) {
  log('warm')
  if (i % 100 === 0) await sleep(1)
}
await end()
const idle = await run(
  () => {},
  () => {},
)
const { time, cpu: all } = await run(log, end)
console.log(JSON.stringify({ time: time - idle.time, cpu: all - idle.cpu }))
process.exit()
