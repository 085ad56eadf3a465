// Properties that hold for values that nobody thinks of: options, names, arguments, environment, pidfiles, the
// hand-over. A value that once failed stays here as an example.

import fs from 'node:fs'
import { isAbsolute } from 'node:path'
import fc from 'fast-check'
import { daemonCommand } from '../build/launch/command-line.js'
import { splitNodeOptions, withoutLaunchersOwn } from '../build/runtime/flags.js'
import { Daemon } from '../dist/index.js'
import { isAlive, library, place, processesOf, run, sample, test } from './kit.mjs'

const OPTIONS = [
  ...['detach', 'name', 'pidFilePath', 'syslogOptions', 'syslogFacility', 'user', 'group', 'script', 'args'],
  ...['execPath', 'execArgv'],
  ...['env', 'cwd', 'umask', 'stdout', 'stderr', 'keepFds', 'startTimeout', 'stopTimeout', 'blockedTimeout'],
  ...['chroot', 'capabilities', 'noNewPrivileges', 'limits', 'nice', 'oomScoreAdjust', 'landlock'],
]
const CODES = ['ERR_INVALID_ARG_TYPE', 'ERR_INVALID_ARG_VALUE']
const anything = fc.anything({
  withBigInt: true,
  withBoxedValues: true,
  withDate: true,
  withMap: true,
  withNullPrototype: true,
  withSparseArray: true,
  withTypedArray: true,
})
const text = fc.string({ unit: 'binary', maxLength: 80 })
/** A text that execve(2) accepts. */
const plain = text.map((s) => s.replaceAll('\0', ''))
const assert = (t, property, more) => {
  fc.assert(property, more)
  t.pass()
}
const assertAsync = async (t, property, more) => {
  await fc.assert(property, more)
  t.pass()
}

test('any value of any option is taken or refused with a TypeError that names it, and nothing else', (t) => {
  const values = fc.oneof(
    anything,
    fc.string(),
    fc.double(),
    fc.integer(),
    fc.array(fc.integer()),
    fc.array(fc.constantFrom('CAP_KILL', 'cap_kill', '/', 'x', '\0', 0)),
    fc.dictionary(
      fc.constantFrom('nofile', 'core', 'read', 'bind', 'bestEffort', '__proto__', 'toString'),
      fc.oneof(
        anything,
        fc.constantFrom(0, -1, 1e300, Number.NaN, 'unlimited', true),
        fc.array(fc.oneof(fc.constant('/'), fc.string(), fc.integer())),
        fc.dictionary(fc.constantFrom('soft', 'hard', 'x'), fc.oneof(fc.integer(), fc.constant('unlimited'))),
      ),
    ),
  )
  const property = fc.property(fc.constantFrom(...OPTIONS), values, (option, value) => {
    try {
      new Daemon({ name: 'fuzz', [option]: value })
    } catch (error) {
      return error instanceof TypeError && CODES.includes(error.code) && error.message.includes(`\`${option}`)
    }
    return true
  })
  assert(t, property, { numRuns: 3000 })
})

test('any options object is taken or refused with a TypeError', (t) => {
  const property = fc.property(anything, (options) => {
    try {
      new Daemon(options)
    } catch (error) {
      return error instanceof TypeError && CODES.includes(error.code)
    }
    return Object.keys(options ?? {}).every((key) => OPTIONS.includes(key))
  })
  assert(t, property, { numRuns: 2000, examples: [[{ __proto__: null, toString: 1 }], [{ constructor: 1 }]] })
})

test('a name is taken exactly when it is one path component, and stays within its directory', (t) => {
  const names = fc.oneof(
    text,
    fc.string(),
    fc.stringMatching(/^[./x%\n]{0,5}$/),
    fc.string({ minLength: 50, maxLength: 80 }),
  )
  const property = fc.property(names, (name) => {
    const good =
      Buffer.byteLength(name) >= 1 &&
      Buffer.byteLength(name) <= 64 &&
      !['.', '..'].includes(name) &&
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
      !/[/\u0000-\u001f\u007f-\u009f]/.test(name)
    try {
      const daemon = new Daemon({ name, pidFilePath: '/nowhere' })
      return good && daemon.pidFile === `/nowhere/${name}.pid`
    } catch {
      return !good
    }
  })
  const examples = ['../x', 'a\0b', 'x'.repeat(300), '%s', 'a\nb', '.', '..', ' ', '\u2028'].map((n) => [n])
  assert(t, property, { numRuns: 3000, examples })
})

test("NODE_OPTIONS go to the daemon as they are, except the launcher's own", (t) => {
  const flags = fc.array(fc.stringMatching(/^--[a-z"\\ =_-]{0,12}$/), { maxLength: 5 })
  const property = fc.property(flags, (flags) => {
    const written = flags.map((flag) => `"${flag.replace(/["\\]/g, '\\$&')}"`).join(' ')
    const { env } = daemonCommand({ script: '/x', env: { NODE_OPTIONS: written } })
    const read = splitNodeOptions((env[0] ?? '').replace('NODE_OPTIONS=', ''))
    return JSON.stringify(read) === JSON.stringify(withoutLaunchersOwn(flags))
  })
  assert(t, property, { numRuns: 2000 })
})

test('no NODE_OPTIONS make the split fail, and none of its parts is made up', (t) => {
  const property = fc.property(fc.string(), (options) =>
    splitNodeOptions(options).every((part) => [...part].every((char) => options.includes(char))),
  )
  assert(t, property, { numRuns: 2000 })
})

test('whatever lies in an unlocked pidfile, nothing runs, no process is signalled, and stop removes it', async (t) => {
  const p = place(t)
  const daemon = new Daemon({ name: 'sample', pidFilePath: p.run })
  // The only real pid that is forged is this process's own; the others are above any pid_max.
  const isForged = (content) => {
    const pid = Number.parseInt(content.toString('latin1'), 10)
    return Math.abs(pid) < 2 ** 23 && pid !== process.pid
  }
  const contents = fc
    .oneof(
      fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
      text.map((s) => Buffer.from(s)),
      fc.integer().map((n) => Buffer.from(`${n}\n`)),
      fc.constant(Buffer.from(`${process.pid}\n`)),
    )
    .filter((content) => !isForged(content))
  let signalled = 0
  const count = () => {
    signalled++
  }
  process.on('SIGTERM', count)
  t.teardown(() => process.off('SIGTERM', count))
  const property = fc.asyncProperty(contents, async (content) => {
    fs.writeFileSync(p.pidFile(), content)
    const status = await daemon.status()
    const refused = await daemon.kill('SIGTERM').catch((error) => error.code)
    const stopped = await daemon.stop()
    return (
      status.state === 'stopped' &&
      status.stalePidFile === content.length > 0 &&
      refused === 'ERR_DAEMON_NOT_RUNNING' &&
      stopped === null &&
      !fs.existsSync(p.pidFile())
    )
  })
  await assertAsync(t, property, { numRuns: 300 })
  t.is(signalled, 0)
})

test('any arguments and environment reach the daemon as they are', async (t) => {
  const p = place(t)
  const script = p.write(
    'a.mjs',
    sample({
      before: `const seen = { args: process.argv.slice(2), env: Object.entries(process.env).filter(([n]) => n.startsWith('X')) }`,
      body: `async setup() { fs.writeFileSync(process.env.DIR + '/seen', JSON.stringify(seen)) }`,
    }),
  )
  const server = new Daemon({ name: 'sample', pidFilePath: p.run })
  const variables = fc.dictionary(
    plain.map((name) => `X${name.replaceAll('=', '')}`),
    plain,
    { maxKeys: 4 },
  )
  const property = fc.asyncProperty(fc.array(plain, { maxLength: 5 }), variables, async (args, env) => {
    const client = new Daemon({
      name: 'sample',
      pidFilePath: p.run,
      script,
      args,
      env: { ...process.env, NODE_OPTIONS: '', ...env, RUN: p.run, DIR: p.dir },
    })
    const { started } = await client.ensure()
    await server.stop()
    const seen = JSON.parse(fs.readFileSync(`${p.dir}/seen`, 'utf8'))
    const sorted = (entries) => JSON.stringify([...entries].sort())
    return (
      started &&
      JSON.stringify(seen.args) === JSON.stringify(args) &&
      sorted(seen.env.filter(([name]) => name in env)) === sorted(Object.entries(env))
    )
  })
  await assertAsync(t, property, {
    numRuns: 12,
    examples: [[['', '-', '--', '--eval', '%s', '"\'\\', 'a\nb', '\u{1d11e}'], { X: '', 'X Y': 'a\n"b"' }]],
  })
  t.deepEqual(processesOf(p), [])
})

test('no value of the hand-over variable makes a process a daemon', async (t) => {
  const p = place(t)
  t.timeout(220_000)
  // Each value gets a process of its own, because a second import in one process gives the first copy. PID stands
  // for that process's own pid.
  const taking = p.write(
    'taking.mjs',
    `process.env.TSDAEMONIZE_HANDOVER = JSON.parse(process.argv[2]).replace('PID', process.pid)
    const { isDaemon } = await import('${library}')
    process.exit(isDaemon || process.env.TSDAEMONIZE_HANDOVER !== undefined ? 1 : 0)`,
  )
  const script = p.write(
    'a.mjs',
    `import { spawnSync } from 'node:child_process'
    import fc from ${JSON.stringify(import.meta.resolve('fast-check'))}
    const number = fc.oneof(fc.integer(), fc.integer({ min: -1, max: 40 }), fc.constant('PID'))
    const nonce = fc.oneof(fc.string(), fc.constant('0'.repeat(32)))
    const values = fc.oneof(
      fc.string({ unit: 'binary' }).map((s) => s.replaceAll('\\0', '')),
      fc.tuple(number, number, number, nonce).map((words) => words.join(' ')),
      fc.tuple(number, number, nonce).map(([a, b, nonce]) => ['PID', a, b, nonce].join(' ')),
    )
    let n = 0
    fc.assert(
      fc.property(values, (value) => {
        n++
        return spawnSync(process.execPath, ['${taking}', JSON.stringify(value)]).status === 0
      }),
      { numRuns: 60 },
    )
    console.log('held for', n)`,
  )
  const { status, stdout, stderr } = await run(p, script, [], { timeout: 200_000 })
  t.is(status, 0, stderr)
  t.is(stdout, 'held for 60\n')
})

test('any command line ends with one of the exit statuses, and never with an exception', async (t) => {
  const p = place(t)
  const script = p.write(
    'a.mjs',
    `import fc from ${JSON.stringify(import.meta.resolve('fast-check'))}
    import { Daemon } from '${library}'
    const daemon = new Daemon({ name: 'sample', pidFilePath: process.env.RUN })
    const words = fc.oneof(fc.string(), fc.constantFrom('stop', 'reload', 'status', '--json', '--help', '-h', '$&'))
    await fc.assert(
      fc.asyncProperty(fc.array(words, { maxLength: 4 }), async (args) => {
        process.exitCode = undefined
        await daemon.serviced(args)
        return [0, 1, 2, 3, 4, 7].includes(process.exitCode)
      }),
      { numRuns: 500 },
    )
    process.exitCode = 0`,
  )
  const { status, stderr } = await run(p, script)
  t.is(status, 0, stderr.slice(-2000))
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('the default directory for the pidfile is always absolute', (t) => {
  const { RUNTIME_DIRECTORY: before } = process.env
  t.teardown(() => {
    if (before === undefined) delete process.env.RUNTIME_DIRECTORY
    else process.env.RUNTIME_DIRECTORY = before
  })
  const property = fc.property(plain, (directory) => {
    process.env.RUNTIME_DIRECTORY = directory
    return isAbsolute(new Daemon({ name: 'fuzz' }).pidFile)
  })
  assert(t, property, { examples: [['run'], [''], [':/run'], ['/run/a:/run/b']] })
  t.true(isAlive(process.pid))
})
