// Every way in which a start can fail: the launcher tells why, in the daemon's own words, at once,
// and nothing is left: no process, no lock, no pidfile.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import {
  command,
  end,
  environment,
  isAlive,
  isRoot,
  pidIn,
  place,
  proc,
  processesOf,
  run,
  sample,
  sleep,
  until,
} from './kit.mjs'

/** Where a start fails that is not to time out: far below the default of 30 s, on any machine. */
const PROMPT = 15_000

/** Nothing is left, and a plain start works. */
async function nothingLeft(t, p) {
  // The rest of a process group is killed, and not waited for.
  await until(() => processesOf(p).length === 0, 'the end of all processes', PROMPT)
  t.deepEqual(fs.readdirSync(p.run), [])
  const { status, stderr } = await run(p, p.write('works.mjs', sample()))
  t.is(status, 0, stderr)
  t.deepEqual(processesOf(p), [pidIn(p)])
  await end(pidIn(p))
}

async function fails(t, p, start, says) {
  const before = performance.now()
  const { status, stdout, stderr } = await start()
  t.is(status, 1, stderr)
  for (const words of [says].flat()) t.regex(stderr, words)
  t.is(stdout, '')
  t.true(performance.now() - before < PROMPT)
  await nothingLeft(t, p)
}

const failures = {
  // Before start(), in the daemon's process alone.
  'a module has a syntax error': {
    before: "if (isDaemon) await import('./broken.mjs')",
    says: [/SyntaxError: Unexpected identifier/, /broken\.mjs:1/],
  },
  'a module is missing': {
    before: "if (isDaemon) await import('./missing.mjs')",
    says: /Cannot find module '.*missing\.mjs'/,
  },
  'the script throws': {
    before: "if (isDaemon) throw new RangeError('at import')",
    says: /RangeError: at import\n +at .*a\.mjs/,
  },
  'the script throws what is no error': {
    before: "if (isDaemon) throw 'a mere string'",
    says: /a mere string/,
  },
  'the script awaits what is rejected': {
    before: "if (isDaemon) await Promise.reject(new Error('rejected at import'))",
    says: /Error: rejected at import/,
  },
  'the script leaves a rejection unhandled': {
    before: "if (isDaemon) { Promise.reject(new Error('left alone')); await sleep(60_000) }",
    says: /Error: left alone/,
  },
  'the script handles one exception, and another follows in setup': {
    before: `if (isDaemon) {
      process.on('uncaughtException', () => {})
      setTimeout(() => { throw new Error('the first') }, 0)
      await sleep(20)
    }`,
    body: "setup() { throw new Error('the second') }",
    says: /did not start: Error: the second/,
  },
  'the script handles the exception that keeps it from start()': {
    before: `if (isDaemon) {
      process.on('uncaughtException', () => {})
      throw new Error('the first')
    }`,
    says: /did not start: Error: the first/,
  },
  'the script exits': {
    before: "if (isDaemon) { console.error('not today'); process.exit(3) }",
    says: /exited with status 3 before it was ready:\nnot today/,
  },
  'the script exits with 0, saying nothing': {
    before: 'if (isDaemon) process.exit(0)',
    says: /exited with status 0 before it was ready: .*must reach `start\(\)` of a Daemon named 'sample'/,
  },
  'the script is killed': {
    before: "if (isDaemon) process.kill(process.pid, 'SIGKILL')",
    says: /was killed by SIGKILL before it was ready/,
  },
  'the script waits for what never comes, on an empty loop': {
    before: 'if (isDaemon) await new Promise(() => {})',
    says: /waits for something that never comes, without `start\(\)` of a Daemon named 'sample'/,
  },
  'the script ends without start()': {
    last: 'if (!isDaemon) await new Sample(options).start()',
    says: /The script ended, .*without `start\(\)` of a Daemon named 'sample'/,
  },
  'the script starts one of another name': {
    last: "await new Sample({ ...options, name: isDaemon ? 'other' : 'sample' }).start()",
    says: /The daemon 'other' is not running, and is not started from the process of 'sample'/,
  },
  'the daemon has an option of the wrong type': {
    options: 'umask: isDaemon ? "022" : 0o022',
    says: /TypeError: `umask` must be an integer .*got '022'/,
  },
  'there is no action': {
    last: 'await new Daemon(options).start()',
    says: /TypeError: The Daemon 'sample' has no action: override `action`/,
  },

  // In the take-over.
  'the working directory is missing': {
    options: "cwd: '/missing/directory'",
    says: /ENOENT: .*chdir .*\/missing\/directory/,
  },
  'the working directory is a file': { options: "cwd: '/etc/passwd'", says: /ENOTDIR: .*\/etc\/passwd/ },
  "the log's directory is missing": {
    options: "stdout: '/missing/directory/log'",
    says: /Cannot open the log file \/missing\/directory\/log: open: No such file.*Create its directory/,
  },
  'the log is a symbolic link': {
    options: "stderr: process.env.DIR + '/link'",
    says: /Cannot open the log file .*\/link: open: .*It is a symbolic link/,
  },
  'the log has a second name': {
    options: "stdout: process.env.DIR + '/second'",
    says: /Refusing the log file .*\/second: it must be a regular file with one link/,
  },
  'the log is a directory': {
    options: "stdout: process.env.DIR + '/run'",
    says: /Cannot open the log file .*\/run: open: Is a directory/,
  },

  // In setup.
  'setup throws': {
    body: "setup() { throw new TypeError('no port given') }",
    says: /TypeError: no port given\n +at Sample\.setup .*a\.mjs/,
  },
  'setup rejects': {
    body: "async setup() { await sleep(1); throw new Error('no such key', { cause: new Error('why') }) }",
    says: [/Error: no such key/, /\[cause\]: Error: why/],
  },
  'setup throws undefined': { body: 'setup() { throw undefined }', says: /did not start: undefined/ },
  'a rejection is unhandled in setup': {
    body: "async setup() { Promise.reject(new Error('left alone')); await sleep(60_000) }",
    says: /Error: left alone/,
  },
  'a timer throws in setup': {
    body: "async setup() { setTimeout(() => { throw new Error('late') }, 1); await sleep(60_000) }",
    says: /Error: late/,
  },
  'setup recurses for ever': {
    body: 'setup() { this.setup() }',
    says: /RangeError: Maximum call stack size exceeded/,
  },
  'setup calls process.exit': {
    body: "setup() { console.error('not today'); process.exit(3) }",
    says: /exited with status 3 before it was ready:\nnot today/,
  },
  'setup calls exit': { body: 'async setup() { await this.exit(3) }', says: /called exit\(3\) while it was/ },
  'setup calls exitNow': { body: 'setup() { this.exitNow(3) }', says: /exited with status 3 before/ },
  'setup crashes': {
    body: "async setup() { process.kill(process.pid, 'SIGSEGV'); await sleep(60_000) }",
    says: /was killed by SIGSEGV before it was ready/,
  },
  'setup aborts': { body: 'setup() { process.abort() }', says: /was killed by SIGABRT before it was ready/ },
  'setup waits for what never comes, on an empty loop': {
    body: 'async setup() { await new Promise(() => {}) }',
    says: /`setup` never settled: the event loop is empty/,
  },
  'setup takes longer than startTimeout': {
    body: "async setup() { console.error('still waiting'); await sleep(60_000) }",
    options: 'startTimeout: 3000',
    says: /was not ready within 3000 ms and was ended\. .*raise `startTimeout`:\nstill waiting/,
  },
  'setup blocks the event loop': {
    body: 'setup() { for (;;) {} }',
    options: 'startTimeout: 1000',
    says: /was not ready within 1000 ms and was ended/,
  },
  'setup cannot listen': {
    body: `async setup() {
      const { createServer } = await import('node:net')
      const server = createServer().listen(process.env.DIR + '/missing/socket')
      await once(server, 'listening')
    }`,
    says: /Error: listen EACCES|Error: listen ENOENT/,
  },
  'setup fails and leaves a child': {
    body: `async setup() {
      const { spawn } = await import('node:child_process')
      await once(spawn('sleep', ['1000'], { stdio: 'ignore' }), 'spawn')
      throw new Error('with a child')
    }`,
    says: /Error: with a child/,
  },
  'setup exits and leaves a child': {
    body: `async setup() {
      const { spawn } = await import('node:child_process')
      await once(spawn('sleep', ['1000'], { stdio: 'inherit' }), 'spawn')
      this.exitNow(4)
    }`,
    says: /exited with status 4 before it was ready/,
  },

  // Before Node runs.
  'Node refuses NODE_OPTIONS': {
    options: "env: { ...process.env, NODE_OPTIONS: '--no-such-flag' }",
    says: /exited with status 9 before it was ready:\n.*--no-such-flag is not allowed in NODE_OPTIONS/,
  },
  'Node does not know a flag': {
    before: "process.execArgv.push('--no-such-flag')",
    says: /exited with status 9 before it was ready:\n.*bad option: --no-such-flag/,
  },
  'a module to be loaded first is missing': {
    before: "if (!isDaemon) process.execArgv.push('--import', './first.mjs')",
    says: /exited with status 1 before it was ready:(?:.|\n)*Cannot find module '.*first\.mjs'/,
  },
  'the arguments are too long': {
    options: "args: ['x'.repeat(1 << 20)]",
    says: /did not start: execve .*: Argument list too long/,
  },
  'a descriptor to be kept is closed': {
    options: 'keepFds: [777]',
    says: /`keepFds` names descriptor 777, which is not open/,
  },
  'the pidfile directory is missing': {
    options: "pidFilePath: process.env.DIR + '/missing'",
    says: /Cannot keep a pidfile in the directory .*\/missing: stat: No such file.*Create it, or name another/,
  },
  'the pidfile directory is a file': {
    options: "pidFilePath: '/etc/passwd'",
    says: /Refusing the pidfile \/etc\/passwd: it is not a directory/,
  },
}

for (const [what, { says, ...source }] of Object.entries(failures)) {
  test(`a start fails, tells why and leaves nothing where ${what}`, async (t) => {
    const p = place(t)
    p.write('broken.mjs', 'const a = b c')
    p.write('first', '')
    fs.linkSync(join(p.dir, 'first'), join(p.dir, 'second'))
    fs.symlinkSync(join(p.dir, 'log'), join(p.dir, 'link'))
    const script = p.write('a.mjs', sample(source))
    await fails(t, p, () => run(p, script), says)
    t.false(fs.existsSync(join(p.dir, 'log')))
  })
}

test('a start fails, tells why and leaves nothing where the script itself has a syntax error', async (t) => {
  const p = place(t)
  const script = p.write('broken.mjs', 'const a = b c')
  const client = p.write('a.mjs', sample({ options: `script: ${JSON.stringify(script)}` }))
  await fails(t, p, () => run(p, client), [
    /exited with status 1 before it was ready:\n.*broken\.mjs:1\n/,
    /SyntaxError: Unexpected identifier/,
  ])
})

test('a start fails, tells why and leaves nothing where the interpreter is gone, or is none', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', sample())
  for (const [take, says] of [
    ['unlinkSync(node)', /did not start: execve .*\/node: No such file or directory/],
    ['chmodSync(node, 0o644)', /did not start: execve .*\/node: Permission denied/],
    [
      "unlinkSync(node); fs.writeFileSync(node, 'text', { mode: 0o755 })",
      /did not start: execve .*\/node: Exec format error/,
    ],
  ]) {
    const node = copyOfNode(p)
    const source = `import fs from 'node:fs'; const node = ${JSON.stringify(node)}; fs.${take}`
    const first = p.write('take.mjs', source)
    await fails(t, p, () => command(p, node, ['--import', first, script]), says)
  }
})

/** A hard link where the file systems allow it. */
function copyOfNode(p) {
  const node = join(p.dir, 'node')
  fs.rmSync(node, { force: true })
  fs.copyFileSync(process.execPath, node, fs.constants.COPYFILE_FICLONE)
  return node
}

// A file system of the test's own over the pidfile directory. What is left there is listed.
const canMount = isRoot && spawnSync('unshare', ['-m', 'true']).status === 0
const MOUNT = `mount -t tmpfs -o "mode=755,$1" none "$RUN" && eval "$2" || exit 99
shift 2
"$@"
status=$?
ls -A "$RUN"
exit $status`

for (const [what, options, then, says] of [
  ['has no space', 'size=4k', 'head -c 4096 /dev/zero >"$RUN/filler"', /write .*sample\.pid: No space left/],
  ['has no inodes', 'nr_inodes=2', 'echo >"$RUN/filler"', /sample\.pid: open: No space left on device/],
  ['is read-only', 'size=4k', 'mount -o remount,ro "$RUN"', /sample\.pid: open: Read-only file system/],
]) {
  const register = canMount ? test : test.skip
  register(`a start fails, tells why and leaves nothing where the pidfile directory ${what}`, async (t) => {
    const p = place(t)
    const args = [process.execPath, p.write('a.mjs', sample())]
    const { status, stdout, stderr } = await command(p, 'unshare', [
      '-m',
      'sh',
      '-c',
      MOUNT,
      'sh',
      options,
      then,
      ...args,
    ])
    t.is(status, 1, stderr)
    t.regex(stderr, says)
    t.regex(stderr, /code: 'ERR_DAEMON_PIDFILE'/)
    t.is(stdout, then.includes('filler') ? 'filler\n' : '')
    await nothingLeft(t, p)
  })
}

const asUser = isRoot ? test.skip : test
asUser(
  'a start fails, tells why and leaves nothing where the pidfile directory is not writable',
  async (t) => {
    const p = place(t)
    fs.chmodSync(p.run, 0o555)
    const { status, stderr } = await run(p, p.write('a.mjs', sample()))
    t.is(status, 1)
    t.regex(stderr, /sample\.pid: open: Permission denied\. Run it as a user who may write there/)
    fs.chmodSync(p.run, 0o755)
    await nothingLeft(t, p)
  },
)

// Ended from outside, in the midst of it.

/** A daemon with a child, that says when it is in `setup`. */
const inTheMidst = ({ setup = 'await sleep(60_000)', options } = {}) =>
  sample({
    before: "import { spawn } from 'node:child_process'",
    body: `async setup() {
      await once(spawn('sleep', ['1000'], { stdio: 'ignore' }), 'spawn')
      fs.writeFileSync(process.env.DIR + '/pid', String(process.pid))
      ${setup}
    }`,
    options,
  })

/** A start that is under way: its three processes, and what becomes of it. */
async function underWay(p, source) {
  const ended = run(p, p.write('a.mjs', inTheMidst(source)))
  return { launcher: ended.pid, ended, ...(await inSetup(p)) }
}

async function inSetup(p) {
  const file = join(p.dir, 'pid')
  const daemon = await until(() => fs.existsSync(file) && Number(fs.readFileSync(file)), 'setup')
  return { daemon, guardian: proc(daemon).ppid }
}

for (const [who, signal, says] of [
  ['guardian', 'SIGKILL', /did not start: its start was killed from outside/],
  ['daemon', 'SIGKILL', /was killed by SIGKILL before it was ready/],
  ['daemon', 'SIGTERM', /Received SIGTERM while starting/],
  ['daemon', 'SIGINT', /Received SIGINT while starting/],
]) {
  test(`a ${signal} to the ${who} ends the start, and the launcher says so`, async (t) => {
    const p = place(t)
    const start = await underWay(p)
    process.kill(start[who], signal)
    await fails(t, p, () => start.ended, says)
  })
}

for (const signal of ['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP']) {
  test(`a ${signal} to the launcher ends the start`, async (t) => {
    const p = place(t)
    const start = await underWay(p, { setup: 'for (;;) {}' })
    process.kill(start.launcher, signal)
    t.is((await start.ended).signal, signal)
    await nothingLeft(t, p)
  })
}

test('Ctrl-C ends the start', async (t) => {
  const p = place(t)
  const line = `${process.execPath} ${p.write('a.mjs', inTheMidst())}`
  const terminal = spawn('script', ['-qec', line, '/dev/null'], { cwd: p.dir, env: environment(p) })
  const closed = once(terminal, 'close')
  await inSetup(p)
  terminal.stdin.write('\x03')
  t.deepEqual(await closed, [128 + constants.signals.SIGINT, null])
  await nothingLeft(t, p)
})

test('a start of one that is stopped (SIGSTOP) fails when startTimeout has passed', async (t) => {
  const attempt = async (who) => {
    const p = place(t)
    const start = await underWay(p, { options: 'startTimeout: 5000' })
    process.kill(start[who], 'SIGSTOP')
    await fails(t, p, () => start.ended, /was not ready within 5000 ms and was ended/)
  }
  await Promise.all([attempt('daemon'), attempt('guardian')])
})

test('a launcher that is stopped (SIGSTOP) cannot hold up the end of a start beyond startTimeout', async (t) => {
  const attempt = async (setup) => {
    const p = place(t)
    const start = await underWay(p, { setup, options: 'startTimeout: 5000' })
    process.kill(start.launcher, 'SIGSTOP')
    await until(() => !isAlive(start.daemon) && !isAlive(start.guardian), 'the end of the start')
    t.deepEqual(fs.readdirSync(p.run), [])
    t.is(proc(start.launcher).state, 'T')
    process.kill(start.launcher, 'SIGCONT')
    await fails(t, p, () => start.ended, /was not ready within 5000 ms and was ended/)
  }
  // The daemon that never gets ready, and the one that is ready, which nobody tells to go.
  await Promise.all([attempt('await sleep(60_000)'), attempt('await sleep(500)')])
})

test('a guardian that is killed takes the daemon with it, even where the launcher is stopped', async (t) => {
  const p = place(t)
  const start = await underWay(p, { setup: 'for (;;) {}' })
  process.kill(start.launcher, 'SIGSTOP')
  process.kill(start.guardian, 'SIGKILL')
  await until(() => !isAlive(start.daemon), 'the end of the daemon')
  process.kill(start.launcher, 'SIGCONT')
  await fails(t, p, () => start.ended, /did not start: its start was killed from outside/)
})

test('a launcher that is killed at any moment leaves a daemon that runs, or nothing', async (t) => {
  for (let delay = 0; delay < 300; delay += 25) {
    const p = place(t)
    const script = p.write('a.mjs', sample())
    const ended = run(p, script)
    await sleep(delay)
    ended.child.kill('SIGKILL')
    await ended
    const left = await until(() => {
      const pids = processesOf(p)
      const file = fs.existsSync(p.pidFile()) ? fs.readFileSync(p.pidFile(), 'utf8') : ''
      return pids.map((pid) => `${pid}\n`).join('') === file && { pids }
    }, 'the daemon alone, or nothing')
    t.is((await run(p, script)).status, left.pids.length, `killed after ${delay} ms`)
    await end(pidIn(p))
  }
})

// What the launcher's program is told.

/** A program that prints the error's own fields. */
const CATCHES = `import { inspect } from 'node:util'
const plain = (e) => e instanceof Error
  ? { class: e.constructor.name, name: e.name, message: e.message, stack: e.stack, ...e,
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

test('the error carries errno, syscall and path where a system call failed', async (t) => {
  const { ENOENT } = constants.errno
  t.like(await caught(t, { options: "cwd: '/missing'" }), {
    code: 'ERR_DAEMON_START_FAILED',
    cause: { code: 'ENOENT', errno: -ENOENT, syscall: 'chdir', dest: '/missing' },
  })
  t.like(await caught(t, { options: "pidFilePath: '/missing'" }), {
    code: 'ERR_DAEMON_PIDFILE',
    errno: -ENOENT,
    syscall: 'stat',
    path: '/missing',
  })
  t.like(await caught(t, { options: "stdout: '/missing/log'" }), {
    code: 'ERR_DAEMON_START_FAILED',
    cause: { class: 'DaemonError', errno: -ENOENT, syscall: 'open', path: '/missing/log' },
  })
  t.like(await caught(t, { options: "args: ['x'.repeat(1 << 20)]" }), {
    code: 'ERR_DAEMON_START_FAILED',
    errno: -constants.errno.E2BIG,
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
  const log = await attempt({ options: "stdout: '/missing/log'" })
  t.is(log.stderr.trim().split('\n').length, 1, log.stderr)
})

// Between "ready" and "go": the guardian is gone, and the launcher takes a second to see it.
const SLOW = ['-f', '-qqq', '-o', '/dev/null', '-e', 'trace=waitid']
SLOW.push('-e', 'inject=waitid:delay_enter=1000000:when=1')
const hasStrace = spawnSync('strace', [...SLOW, 'true']).status === 0
const withStrace = hasStrace ? test : test.skip

/** A start whose daemon is ready and was not told to go. */
async function readyToGo(p, options) {
  const setup = "while (!fs.existsSync(process.env.DIR + '/on')) await sleep(10)"
  const program = [process.execPath, p.write('a.mjs', inTheMidst({ setup, options }))]
  const ended = command(p, 'strace', [...SLOW, ...program])
  const { daemon, guardian } = await inSetup(p)
  const launcher = proc(guardian).ppid
  p.write('on', '')
  await until(() => !isAlive(guardian), 'the end of the guardian')
  return { launcher, daemon, ended }
}

withStrace('a launcher that is killed before it says "go" leaves nothing', async (t) => {
  const p = place(t)
  const { launcher, ended } = await readyToGo(p)
  process.kill(launcher, 'SIGKILL')
  await ended
  await nothingLeft(t, p)
})

withStrace(
  'a launcher that is stopped (SIGSTOP) until startTimeout has passed cannot say "go" any more',
  async (t) => {
    const p = place(t)
    const { launcher, daemon, ended } = await readyToGo(p, 'startTimeout: 6000')
    process.kill(launcher, 'SIGSTOP')
    await until(() => !isAlive(daemon), 'the end of the daemon')
    t.deepEqual(fs.readdirSync(p.run), [])
    process.kill(launcher, 'SIGCONT')
    await fails(t, p, () => ended, /was not ready within 6000 ms/)
  },
)

withStrace('a daemon that is killed when it is ready and was not told to go did not start', async (t) => {
  const p = place(t)
  const { daemon, ended } = await readyToGo(p)
  process.kill(daemon, 'SIGKILL')
  await fails(t, p, () => ended, /did not start: its start was killed from outside/)
})
