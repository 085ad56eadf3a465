// Receivers of syslog messages: our own (receiver.py), and the real ones if they are installed.

import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { environment, library, printed, read, root, sample, testIf, until, works } from './kit.mjs'

const program = fileURLToPath(new URL('receiver.py', import.meta.url))

/** Starts a program that ends with the test at the latest. `line` is the first one that it prints. */
export async function start(t, p, file, args, { env = {}, ...more } = {}) {
  const stdio = ['ignore', 'pipe', 'inherit']
  const child = spawn(file, args, { cwd: p.dir, env: environment(p, env), stdio, ...more })
  const said = printed(child)
  const ended = new Promise((resolve) => child.on('close', resolve))
  t.teardown(() => child.kill('SIGKILL'))
  return {
    pid: child.pid,
    async line() {
      await until(() => said().includes('\n') || child.exitCode !== null, `a line of ${file}`)
      return said().split('\n', 1)[0]
    },
    /** Asks it to end, and waits for that. */
    async stop(signal = 'SIGTERM') {
      child.kill('SIGCONT')
      child.kill(signal)
      await ended
    },
    signal: (signal) => child.kill(signal),
  }
}

/** Starts our own receiver at an address: a path, or a port (0: any). */
export async function receive(t, p, kind, address, file = `${p.dir}/received`) {
  const receiver = await start(t, p, 'python3', [program, kind, String(address), file])
  const bound = await receiver.line()
  return { ...receiver, port: Number(bound), messages: () => messagesIn(file) }
}

/** What our receiver has written. */
export function messagesIn(file) {
  return read(file)
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line))
}

/** The numbers N of messages `number N`, in the order in which they arrived. */
export function numbers(lines) {
  return lines.flatMap((line) => /\bnumber (\d+)/.exec(line)?.[1] ?? []).map(Number)
}

/** Fails unless the numbers are 0 to `count` - 1: all, in order, none twice. */
export function assertAll(t, found, count) {
  const wrong = found.findIndex((number, index) => number !== index)
  t.is(wrong, -1, `at ${wrong}: ${found.slice(Math.max(0, wrong - 2), wrong + 3)} of ${found.length}`)
  t.is(found.length, count)
}

/** The source of a program that uses the logger and is not a daemon. TRANSPORT is in its environment. */
export function logging(body) {
  return `import { syslog } from '${library}'
import fs from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
const transport = process.env.TRANSPORT ? JSON.parse(process.env.TRANSPORT) : undefined
const say = (text) => fs.writeSync(1, text + '\\n')
${body}
`
}

/** The beginning of a daemon's program: when `setup` calls `opened`, it logs to the transport of the test. */
export const opening = `const transport = JSON.parse(process.env.TRANSPORT)
const opened = () => syslog.openlog('sample', syslog.LOG_PID, syslog.LOG_DAEMON, transport)`

/** The same, as a whole program: its daemon, `sample`, logs to the receiver of the test. */
export const sampleToReceiver = ({ before = '', body = '', ...more }) =>
  sample({ before: `${opening}\n${before}`, body: `async setup() { opened() }\n${body}`, ...more })

/** The environment of a program that logs to the receiver at `log` in its place. */
export const local = (p) => ({ TRANSPORT: JSON.stringify({ type: 'local', path: `${p.dir}/log` }) })

const has = (program) => works('which', program)

/** Where each real receiver is; `undefined` if it is not installed. */
export const installed = {
  rsyslog: has('rsyslogd') ? { file: 'rsyslogd', env: {} } : undefined,
  'syslog-ng': findSyslogNg(),
  journald: existsSync('/lib/systemd/systemd-journald') && has('journalctl') ? {} : undefined,
}

/** Debian has either rsyslog or syslog-ng installed: the other may be unpacked in .cache. */
function findSyslogNg() {
  if (has('syslog-ng')) return { file: 'syslog-ng', args: [], env: {} }
  const unpacked = `${root}.cache/syslog-ng`
  if (!existsSync(`${unpacked}/usr/sbin/syslog-ng`)) return undefined
  const modules = spawnSync('find', [`${unpacked}/usr/lib`, '-name', 'libaffile.so'], { encoding: 'utf8' })
  const [modulePath] = modules.stdout.split('/libaffile.so')
  const libraries = spawnSync('find', [`${unpacked}/usr/lib`, '-name', 'libsyslog-ng-*.so.0'], {
    encoding: 'utf8',
  }).stdout.split(/\/libsyslog-ng-[^/]*\n/)
  const args = [`--module-path=${modulePath}`]
  return { file: `${unpacked}/usr/sbin/syslog-ng`, args, env: { LD_LIBRARY_PATH: libraries[0] } }
}

/** A test with a real receiver; it is named as skipped if that is not installed. */
export function withReal(name, more = true) {
  return testIf(installed[name] !== undefined && more)
}
