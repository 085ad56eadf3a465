// What the launcher's program, and the person at the command line, learn about a start that failed.

import { constants } from 'node:os'
import { command, place, processesOf, run, sample, test } from './kit.mjs'

/** A program that prints the error's own fields. */
const CATCHES = `import { inspect } from 'node:util'
const plain = (e) => e instanceof Error
  ? { class: e.constructor.name, name: e.name, message: e.message, stack: e.stack, ...e,
      stdout: e.stdout, stderr: e.stderr,
      ...('cause' in e && { cause: plain(e.cause) }), ...(e.errors && { errors: e.errors.map(plain) }) }
  : e
const tell = (e) => console.log(JSON.stringify({ ...plain(e), shown: inspect(e).length }))`

async function caught(t, source) {
  const p = place(t)
  const last = 'await new Sample(options).start().catch(tell)'
  const { stdout, stderr } = await run(p, p.write('a.mjs', sample({ before: CATCHES, last, ...source })))
  t.is(stderr, '')
  t.deepEqual(processesOf(p), [])
  return JSON.parse(stdout)
}

test("the error carries the daemon's own: class, name, message, stack, code, causes, however long", async (t) => {
  const error = await caught(t, {
    body: `async setup() {
      console.log('to stdout'); console.error('to stderr')
      const cause = new AggregateError([new TypeError('one'), 'two'], 'several', { cause: { any: 'value' } })
      const error = new RangeError('x'.repeat(1 << 20), { cause })
      throw Object.assign(error, { code: 'E_MINE', errno: -5, list: [1, { deep: true }], call() {} })
    }`,
  })
  t.like(error, {
    class: 'DaemonError',
    name: 'DaemonError',
    code: 'ERR_DAEMON_START_FAILED',
    exitCode: 1,
    stdout: 'to stdout\n',
    stderr: 'to stderr\n',
  })
  t.false('signal' in error)
  const { cause } = error
  t.like(cause, { class: 'RangeError', name: 'RangeError', code: 'E_MINE', errno: -5 })
  t.deepEqual(cause.list, [1, { deep: true }])
  t.is(cause.message, 'x'.repeat(1 << 20))
  t.regex(cause.stack, /^RangeError: x+\n +at Sample\.setup .*a\.mjs:\d+:\d+/)
  t.like(cause.cause, { class: 'AggregateError', message: 'several', cause: { any: 'value' } })
  t.like(cause.cause.errors[0], { class: 'TypeError', message: 'one' })
  t.is(cause.cause.errors[1], 'two')
})

test('the error carries exitCode, or signal, and what was printed', async (t) => {
  const exits = await caught(t, {
    body: "setup() { process.stdout.write('o'.repeat(3 << 20)); process.exitCode = 7; process.exit() }",
  })
  t.like(exits, { code: 'ERR_DAEMON_START_FAILED', exitCode: 7, stderr: '' })
  t.is(exits.stdout, 'o'.repeat(3 << 20))
  t.false('cause' in exits)
  const killed = await caught(t, { body: "setup() { console.error('words'); process.abort() }" })
  t.like(killed, { code: 'ERR_DAEMON_START_FAILED', signal: 'SIGABRT' })
  t.regex(killed.stderr, /^words\n/)
  t.false('exitCode' in killed)
})

test('the error carries errno, its symbol, syscall and path where a system call failed', async (t) => {
  const { ENOENT } = constants.errno
  t.like(await caught(t, { options: "cwd: '/missing'" }), {
    code: 'ERR_DAEMON_START_FAILED',
    cause: { class: 'DaemonError', errno: -ENOENT, errnoCode: 'ENOENT', syscall: 'chdir', path: '/missing' },
  })
  t.like(await caught(t, { options: "pidFilePath: '/missing'" }), {
    code: 'ERR_DAEMON_PIDFILE',
    errno: -ENOENT,
    errnoCode: 'ENOENT',
    syscall: 'stat',
    path: '/missing',
  })
  t.like(await caught(t, { options: "stdout: '/missing/log'" }), {
    code: 'ERR_DAEMON_START_FAILED',
    cause: {
      class: 'DaemonError',
      errno: -ENOENT,
      errnoCode: 'ENOENT',
      syscall: 'open',
      path: '/missing/log',
    },
  })
  t.like(await caught(t, { options: "args: ['x'.repeat(1 << 20)]" }), {
    code: 'ERR_DAEMON_START_FAILED',
    errno: -constants.errno.E2BIG,
    errnoCode: 'E2BIG',
    syscall: 'execve',
    path: process.execPath,
  })
})

test('the command line shows what the daemon printed, and its own error, once', async (t) => {
  const p = place(t)
  p.write('broken.mjs', 'const a = b c')
  const attempt = async (source) => {
    const last = 'await new Sample(options).serviced()'
    const { status, stdout, stderr } = await run(p, p.write('a.mjs', sample({ last, ...source })), ['start'])
    t.is(status, 1, stderr)
    return { stdout, stderr }
  }
  const count = (text, words) => text.split(words).length - 1

  const body = `setup() {
    console.log('reading the configuration'); console.error('line 3 is odd')
    throw new TypeError('no port given', { cause: new Error('line 4 is missing') })
  }`
  const thrown = await attempt({ body })
  t.is(thrown.stdout, 'reading the configuration\n')
  t.regex(
    thrown.stderr,
    /^line 3 is odd\nsample: The daemon 'sample' did not start: TypeError: no port given\n/,
  )
  t.regex(thrown.stderr, / at Sample\.setup .*a\.mjs:/)
  t.regex(thrown.stderr, /\[cause\]: Error: line 4 is missing/)

  const broken = await attempt({ before: "if (isDaemon) await import('./broken.mjs')" })
  t.regex(broken.stderr, /broken\.mjs:1\nconst a = b c\n/)
  t.is(count(broken.stderr, ' at compile'), 1, broken.stderr)

  const exits = await attempt({ body: "setup() { console.error('not today'); process.exit(3) }" })
  t.is(count(exits.stderr, 'not today'), 1, exits.stderr)
  const uncaught = await attempt({
    before: "console.error('first')\nif (isDaemon) throw new Error('at once')",
  })
  t.is(count(uncaught.stderr, ' at file'), 1, uncaught.stderr)
  const log = await attempt({ options: "stdout: '/missing/log'" })
  t.is(log.stderr.trim().split('\n').length, 1, log.stderr)
})

test('without a descriptor left, the message says so as Node would, whichever call it is that fails', async (t) => {
  const p = place(t)
  const last = `const told = []
    await fs.promises.readFile(process.argv[1])
    const filler = []
    for (;;) try { filler.push(fs.openSync('/dev/null')) } catch { break }
    for (let free = 1; free < 12; free++) {
      fs.closeSync(filler.pop())
      await new Sample(options).start().catch(({ message, code, errno, errnoCode, syscall }) =>
        told.push({ message, code, errno, errnoCode, syscall, left: fs.existsSync('${p.pidFile()}') }))
    }
    for (const fd of filler) fs.closeSync(fd)
    console.log(JSON.stringify(told))`
  const script = p.write('a.mjs', sample({ last: `if (isDaemon) process.exit(0)\n${last}` }))
  const { stdout, stderr } = await command(p, 'prlimit', ['--nofile=64:64', process.execPath, script])
  const told = JSON.parse(stdout || `"${stderr}"`)
  const calls = new Set()
  for (const { message, code, errno, errnoCode, syscall, left } of told) {
    t.false(left, message)
    if (code === 'ERR_DAEMON_START_FAILED' && errno === undefined) continue
    t.like({ errno, errnoCode }, { errno: -constants.errno.EMFILE, errnoCode: 'EMFILE' }, message)
    t.true(message.includes(`: EMFILE: too many open files, ${syscall}`), message)
    calls.add(syscall)
  }
  for (const call of ['stat', 'open', 'memfd_create']) t.true(calls.has(call), [...calls].join())
})

test('of a start that nobody catches, Node shows a line that can be read, and what was printed once', async (t) => {
  const p = place(t)
  p.write('broken.mjs', 'const a = b c')
  const says = "console.log('reading the configuration'); console.error('line 3 is odd')"
  for (const [what, source] of [
    ['setup throws', { body: `setup() { ${says}; throw new TypeError('no port given') }` }],
    ['setup exits', { body: `setup() { ${says}; process.exit(3) }` }],
    ['setup is killed', { body: `setup() { ${says}; process.kill(process.pid, 'SIGKILL') }` }],
    ['setup hangs', { body: `setup() { ${says}; return sleep(1e6) }`, options: 'startTimeout: 15_000' }],
    ['a module does not parse', { before: `if (isDaemon) { ${says}; await import('./broken.mjs') }` }],
    ['the import throws', { before: `if (isDaemon) { ${says}; throw new Error('not like that') }` }],
    ['an option is wrong', { options: "stdOut: '/x'", before: says }],
  ]) {
    const { stdout, stderr } = await run(p, p.write('a.mjs', sample(source)), [])
    const times = (words) => (stdout + stderr).split(words).length - 1
    for (const words of ['reading the configuration', 'line 3 is odd']) {
      // V8 shows the source text, which has the words, too.
      t.is(times(words) - times(`('${words}')`), 1, `${what}: ${stdout}${stderr}`)
    }
    t.true(times('const a = b c') <= 1, stderr)
    const [, line] = stderr.match(/dist\/index\.js:\d+\n(.*)\n/)
    t.regex(line, /^ +[\w ,.:;(){}=>'`$?![\]\\]+$/, what)
    t.true(line.length < 150, line)
  }
})
