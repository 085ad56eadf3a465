// System calls that are interrupted (EINTR), as they are on some file servers: each one is made again.

import fs from 'node:fs'
import { cli, command, isRoot, pidIn, place, processesOf, run, until } from './kit.mjs'
import { lock } from './locks.mjs'
import { withStrace as traced } from './strace.mjs'

/** Every call on a file that the package makes itself, except close(2), which is never made again. */
const ON_FILES = [
  'openat',
  'flock',
  'fcntl',
  'newfstatat',
  'fstat',
  'statx',
  'fchmod',
  'fchown',
  'ftruncate',
  'pread64',
  'pwrite64',
  'unlink',
  'unlinkat',
  'renameat',
  'mkdirat',
  'readlinkat',
  'chdir',
  'dup2',
  'dup3',
  'inotify_add_watch',
]
/** The calls of the hand-over, of the log, and of the wait for another process. */
const ON_OTHERS = [
  'connect',
  'sendto',
  'sendmmsg',
  'recvfrom',
  'poll',
  'ppoll',
  'wait4',
  'waitid',
  'dup2',
  'dup3',
]

/** Runs a verb while every second call of each kind is interrupted, beginning with the first or the second. */
function interrupted(p, script, verb, calls, from, paths) {
  const only = paths.flatMap((path) => ['-P', path])
  const inject = `inject=${calls.join(',')}:error=EINTR:when=${from}+2`
  const args = [
    '-f',
    '-qq',
    '-o',
    `${p.dir}/calls-${verb}-${from}`,
    ...only,
    '-e',
    `trace=${calls.join(',')}`,
    '-e',
    inject,
  ]
  return command(p, 'strace', [...args, process.execPath, script, verb])
}

/** Waits until there is a daemon, which must run. */
async function runs(t, p, script) {
  const { status, stderr } = await until(async () => {
    const told = await run(p, script, ['status'])
    return told.status !== 3 && told
  }, 'a daemon')
  t.is(status, 0, stderr)
}

/** The calls that were interrupted at least once. */
function seen(p, verb, from) {
  const lines = fs.readFileSync(`${p.dir}/calls-${verb}-${from}`, 'utf8').split('\n')
  return new Set(lines.filter((l) => l.includes('INJECTED')).map((l) => /(\w+)\(/.exec(l)?.[1]))
}

const user = isRoot ? "user: 'nobody'," : ''

for (const from of [1, 2]) {
  traced(`every call on a file is made again when it is interrupted (from the ${from}. on)`, async (t) => {
    const p = place(t)
    fs.chmodSync(p.dir, 0o755)
    for (const name of ['logs', 'work']) fs.mkdirSync(`${p.dir}/${name}`)
    fs.symlinkSync('logs', `${p.dir}/cur`)
    const log = `${p.dir}/logs/out`
    const options = `cwd: '${p.dir}/work', stdout: '${p.dir}/cur/out',`
    const script = p.write('a.mjs', cli({ options: `${user} ${options}`, body: 'action() { for (;;) {} }' }))
    // The directories above are left out, because Node itself looks at them.
    const paths = [p.run, p.pidFile(), `${p.dir}/logs`, `${p.dir}/cur`, log, `${p.dir}/work`]
    const hidden = ['new', 'lock'].map((end) => `${p.run}/.sample.pid.${end}`)
    const start = interrupted(p, script, 'start', ON_FILES, from, [...paths, ...hidden])
    await runs(t, p, script)
    // The daemon watches its pidfile, and writes it again.
    const pid = pidIn(p)
    fs.writeFileSync(p.pidFile(), '123\n')
    await until(() => fs.readFileSync(p.pidFile(), 'latin1') === `${pid}\n`, 'its pid')
    if (!isRoot) {
      fs.rmSync(p.pidFile())
      await until(() => fs.existsSync(p.pidFile()) && pidIn(p) === pid, 'its file')
    }
    const stop = await interrupted(p, script, 'stop', ON_FILES, from, paths)
    t.is(stop.status, 0, stop.stderr)
    const { status: started, stderr } = await start
    t.is(started, 0, stderr)
    t.deepEqual(processesOf(p), [])
    // A call that a process makes only once is interrupted only if the first one is.
    const expected = from === 1 ? ['openat', 'flock', 'fcntl', 'fchmod', 'ftruncate'] : ['fcntl']
    for (const call of expected) t.true(seen(p, 'start', from).has(call), call)
    t.true(seen(p, 'stop', from).size > 0)
  })

  traced(
    `every call for another process is made again when it is interrupted (from the ${from}. on)`,
    async (t) => {
      const p = place(t)
      const script = p.write('a.mjs', cli())
      const start = interrupted(p, script, 'start', ON_OTHERS, from, [])
      await runs(t, p, script)
      const stop = await interrupted(p, script, 'stop', ON_OTHERS, from, [])
      t.is(stop.status, 0, stop.stderr)
      const { status: started, stderr } = await start
      t.is(started, 0, stderr)
      t.deepEqual(fs.readdirSync(p.run), [])
      t.deepEqual(processesOf(p), [])
    },
  )
}

// A reader's lock makes a start replace the file. Otherwise a start does that only when somebody has removed the file.
traced('a file is replaced whatever is interrupted', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', cli())
  for (const from of [1, 2]) {
    fs.writeFileSync(p.pidFile(), '999999\n')
    await lock(t, p.pidFile(), { flock: true })
    const paths = ['', '.new', '.lock'].map((end) => (end ? `${p.run}/.sample.pid${end}` : p.pidFile()))
    const start = interrupted(p, script, 'start', ON_FILES, from, [p.run, ...paths])
    await until(async () => (await run(p, script, ['status'])).status === 0, 'a daemon')
    t.is((await run(p, script, ['stop'])).status, 0)
    t.is((await start).status, 0)
    if (from === 1) t.true(seen(p, 'start', from).has('renameat'))
    t.deepEqual(fs.readdirSync(p.run), [])
  }
})
