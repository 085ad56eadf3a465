// The pidfile itself: what it contains, what is refused, and what happens to it.

import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import fs from 'node:fs'
import { createServer } from 'node:net'
import {
  asRoot,
  cli,
  command,
  isAlive,
  isRoot,
  isUnlocked,
  NOBODY,
  pidIn,
  place,
  processesOf,
  run,
  test,
  testIf,
  until,
  works,
} from './kit.mjs'
import { lock, WHOLE } from './locks.mjs'
import { faults, runWithFaults, withStrace } from './strace.mjs'

test('holds the pid and a newline, with mode 0644 whatever the umask', async (t) => {
  for (const umask of [0, 0o077]) {
    const p = place(t)
    const script = p.write('a.mjs', cli({ before: `process.umask(${umask})` }))
    t.is((await run(p, script, ['start'])).status, 0)
    t.regex(fs.readFileSync(p.pidFile(), 'utf8'), /^\d+\n$/)
    t.is(fs.statSync(p.pidFile()).mode & 0o777, 0o644)
    t.is((await run(p, script, ['stop'])).status, 0)
    t.false(fs.existsSync(p.pidFile()))
  }
})

const unsafe = {
  'a symbolic link': (file, p) => fs.symlinkSync(p.write('target', 'content'), file),
  'a hard link': (file, p) => fs.linkSync(p.write('target', 'content'), file),
  'a FIFO': (file) => spawnSync('mkfifo', [file]),
  'a directory': (file) => fs.mkdirSync(file),
  'a file that the group can write': (file) => {
    fs.writeFileSync(file, 'content')
    fs.chmodSync(file, 0o664)
  },
  'a file that all can write': (file) => {
    fs.writeFileSync(file, 'content')
    fs.chmodSync(file, 0o646)
  },
}

for (const [what, make] of Object.entries(unsafe)) {
  test(`${what} in its place is refused, and neither read nor changed`, async (t) => {
    const p = place(t)
    make(p.pidFile(), p)
    const before = fs.lstatSync(p.pidFile())
    const script = p.write('a.mjs', cli())
    const started = await run(p, script, ['start'])
    t.is(started.status, 1)
    t.regex(started.stderr, /Refusing the pidfile/)
    t.is((await run(p, script, ['status'])).status, 4)
    t.is((await run(p, script, ['stop'])).status, 1)
    const after = fs.lstatSync(p.pidFile())
    t.deepEqual(
      [after.ino, after.size, after.mtimeMs, after.mode],
      [before.ino, before.size, before.mtimeMs, before.mode],
    )
    t.deepEqual(processesOf(p), [])
  })
}

for (const signal of ['SIGTERM', 'SIGKILL']) {
  test(`one that got a further link since, as by a backup, is the daemon's all the same: ${signal}`, async (t) => {
    const p = place(t)
    const body = signal === 'SIGKILL' ? 'async onSignal() {}' : ''
    const script = p.write('a.mjs', cli({ body, options: 'stopTimeout: 100' }))
    t.is((await run(p, script, ['start'])).status, 0)
    const pid = pidIn(p)
    fs.linkSync(p.pidFile(), `${p.dir}/backup`)
    const status = await run(p, script, ['status', '--json'])
    t.like(JSON.parse(status.stdout), { state: 'running', pid }, status.stderr)
    t.is((await run(p, script, ['reload'])).status, 0)
    const again = await run(p, script, ['start'])
    t.is(again.status, 1)
    t.regex(again.stderr, new RegExp(`already running, with pid ${pid}`))
    const stopped = await run(p, script, ['stop'])
    t.is(stopped.status, 0, stopped.stderr)
    t.false(isAlive(pid))
    t.deepEqual(fs.readdirSync(p.run), [])
    t.true(fs.existsSync(`${p.dir}/backup`))
  })
}

asRoot("a link to root's pidfile in another user's directory is not that user's daemon", async (t) => {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  const script = p.write('a.mjs', cli())
  t.is((await run(p, script, ['start'])).status, 0)
  const theirs = `${p.dir}/theirs`
  fs.mkdirSync(theirs)
  fs.chownSync(theirs, 65534, 65534)
  fs.linkSync(p.pidFile(), `${theirs}/sample.pid`)
  const pid = pidIn(p)
  for (const verb of ['stop', 'status', 'reload']) {
    const refused = await run(p, script, [verb], { env: { RUN: theirs } })
    t.regex(refused.stderr, /it has more than one link/)
  }
  t.true(isAlive(pid))
  t.is((await run(p, script, ['stop'])).status, 0)
})

asRoot("a user's start beside a daemon of root's says that it runs", async (t) => {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  const script = p.write('a.mjs', cli())
  t.is((await run(p, script, ['start'])).status, 0)
  const pid = pidIn(p)
  for (const verb of ['start', 'run']) {
    const { status, stderr } = await run(p, script, [verb], NOBODY)
    t.is(status, 1)
    t.is(stderr, `sample: The daemon 'sample' is already running, with pid ${pid}\n`)
  }
  t.is((await run(p, script, ['stop'])).status, 0)
  const refused = await run(p, script, ['start'], NOBODY)
  t.is(refused.status, 4)
  t.regex(refused.stderr, /EACCES/)
})

test('a socket in its place is refused', async (t) => {
  const p = place(t)
  const server = createServer()
  await new Promise((resolve) => server.listen(p.pidFile(), resolve))
  t.teardown(() => server.close())
  const { status, stderr } = await run(p, p.write('a.mjs', cli()), ['start'])
  t.is(status, 1)
  t.regex(stderr, /Refusing the pidfile/)
})

asRoot("another user's file is refused", async (t) => {
  const p = place(t)
  fs.writeFileSync(p.pidFile(), '1\n')
  fs.chownSync(p.pidFile(), 65534, 65534)
  const { status, stderr } = await run(p, p.write('a.mjs', cli()), ['start'])
  t.is(status, 1)
  t.regex(stderr, /belongs to another user/)
  t.is(fs.readFileSync(p.pidFile(), 'utf8'), '1\n')
})

asRoot("another user's directory is refused to start in", async (t) => {
  const p = place(t)
  fs.chownSync(p.run, 65534, 65534)
  const { status, stderr } = await run(p, p.write('a.mjs', cli()), ['start'])
  t.is(status, 1)
  t.regex(stderr, /Refusing the pidfile's directory .*: the directory belongs to another user/)
  t.notRegex(stderr, /Remove/)
})

for (const mode of [0o777, 0o1777, 0o775]) {
  test(`a directory with mode 0${mode.toString(8)} is refused`, async (t) => {
    const p = place(t)
    fs.chmodSync(p.run, mode)
    const { status, stderr } = await run(p, p.write('a.mjs', cli()), ['start'])
    t.is(status, 1)
    t.regex(stderr, /others than its owner can write to the directory.*chmod go-w.*mode=755/)
    t.deepEqual(fs.readdirSync(p.run), [])
  })
}

test('what a killed daemon left, and garbage, is stale: a start overwrites it, a stop removes it', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', cli())
  for (const content of ['999999\n', 'garbage', '99999999999999999999\n', `${'x'.repeat(10_000)}\n`]) {
    fs.writeFileSync(p.pidFile(), content)
    const status = await run(p, script, ['status', '--json'])
    t.is(status.status, 1)
    t.deepEqual(JSON.parse(status.stdout), { state: 'stopped', stalePidFile: true })
    t.is((await run(p, script, ['start'])).status, 0)
    t.true(isAlive(pidIn(p)))
    t.is((await run(p, script, ['stop'])).status, 0)
    fs.writeFileSync(p.pidFile(), content)
    t.is((await run(p, script, ['stop'])).status, 0)
    t.deepEqual(fs.readdirSync(p.run), [])
  }
})

test('an empty file that nobody holds is "stopped", not stale', async (t) => {
  const p = place(t)
  fs.writeFileSync(p.pidFile(), '')
  const { status, stdout } = await run(p, p.write('a.mjs', cli()), ['status', '--json'])
  t.is(status, 3)
  t.deepEqual(JSON.parse(stdout), { state: 'stopped', stalePidFile: false })
})

test('is locked for the life of the daemon, and not by a child that outlives it', async (t) => {
  const p = place(t)
  const body = `async setup() {
    const { spawn } = await import('node:child_process')
    const child = spawn('sleep', ['1000'], { stdio: 'ignore', detached: true })
    fs.writeFileSync(process.env.DIR + '/child', String(child.pid))
  }`
  const script = p.write('a.mjs', cli({ body }))
  t.is((await run(p, script, ['start'])).status, 0)
  t.false(isUnlocked(p.pidFile()))
  const child = Number(fs.readFileSync(`${p.dir}/child`, 'utf8'))
  t.teardown(() => process.kill(child, 'SIGKILL'))
  const pid = pidIn(p)
  process.kill(pid, 'SIGKILL')
  // The last of its threads closes the descriptors, a moment after the first thread is a zombie.
  await until(() => isUnlocked(p.pidFile()), 'the lock to be let go')
  await until(() => !isAlive(pid), 'its end')
  t.true(isAlive(child))
})

for (const [how, take] of [
  ['unlinked', (file) => fs.unlinkSync(file)],
  ['renamed', (file) => fs.renameSync(file, `${file}.old`)],
  [
    'replaced by a file that nobody holds',
    (file) => {
      fs.writeFileSync(`${file}.new`, '1\n')
      fs.renameSync(`${file}.new`, file)
    },
  ],
]) {
  test(`one that is ${how} under a daemon is put back, locked, even while its event loop is blocked`, async (t) => {
    const p = place(t)
    const script = p.write('a.mjs', cli({ body: 'action() { for (;;) {} }', options: 'blockedTimeout: 200' }))
    t.is((await run(p, script, ['start'])).status, 0)
    const pid = pidIn(p)
    for (let round = 0; round < 3; round++) {
      const { ino } = fs.statSync(p.pidFile())
      take(p.pidFile())
      await until(
        () => fs.existsSync(p.pidFile()) && fs.statSync(p.pidFile()).ino !== ino && pidIn(p) === pid,
      )
      t.is(fs.statSync(p.pidFile()).mode & 0o777, 0o644)
      t.false(isUnlocked(p.pidFile()))
      const { stdout } = await run(p, script, ['status', '--json'])
      t.is(JSON.parse(stdout).pid, pid)
    }
    t.is((await run(p, script, ['start'])).status, 1)
    t.is((await run(p, script, ['stop'])).status, 0)
    t.deepEqual(
      fs.readdirSync(p.run).filter((name) => !name.endsWith('.old')),
      [],
    )
  })
}

/** A program whose pidfile is in the private directory of the user nobody in /tmp, and how to run it. */
function inPrivateDirectory(t, more) {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  const name = `tsd-${randomBytes(6).toString('hex')}`
  const dir = `/tmp/${name}-65534`
  t.teardown(() => fs.rmSync(dir, { recursive: true, force: true }))
  const script = p.write('a.mjs', cli({ options: `name: '${name}', pidFilePath: undefined`, ...more }))
  const as = { ...NOBODY, env: { XDG_RUNTIME_DIR: '', RUNTIME_DIRECTORY: '' } }
  return { p, dir, file: `${dir}/${name}.pid`, cli: (...args) => run(p, script, args, as) }
}

asRoot(
  'a directory of its own in /tmp that is removed under a daemon is made again, with the file',
  async (t) => {
    const { p, dir, file, cli } = inPrivateDirectory(t)
    const started = await cli('start')
    t.is(started.status, 0, started.stderr)
    const [pid] = processesOf(p)
    for (let round = 0; round < 10; round++) {
      const { ino } = fs.statSync(file)
      // The file may exist again when rm removes the directory.
      spawnSync('rm', ['-r', dir])
      const isBack = () => {
        const found = fs.statSync(file, { throwIfNoEntry: false })
        return found && found.ino !== ino && fs.readFileSync(file, 'utf8') === `${pid}\n`
      }
      await until(isBack, 'the file to be put back')
      const { mode, uid } = fs.statSync(dir)
      t.deepEqual([mode & 0o7777, uid], [0o700, 65534])
      t.false(isUnlocked(file))
    }
    t.is((await cli('start')).status, 1)
    t.deepEqual(processesOf(p), [pid])
    t.is((await cli('stop')).status, 0)
    t.deepEqual(fs.readdirSync(dir), [])
  },
)

test('starts beside a pidfile that is removed over and over still find the one daemon', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', cli())
  t.is((await run(p, script, ['start'])).status, 0)
  const pid = pidIn(p)
  for (let round = 0; round < 15; round++) {
    const start = run(p, script, ['start'])
    const remove = setInterval(() => fs.rmSync(p.pidFile(), { force: true }), 7)
    const { status } = await start
    clearInterval(remove)
    t.is(status, 1)
    await until(() => fs.existsSync(p.pidFile()) && pidIn(p) === pid, 'the file to be put back')
    t.deepEqual(processesOf(p), [pid])
  }
})

asRoot('where privileges were dropped it is emptied at the end', async (t) => {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  const script = p.write('a.mjs', cli({ options: "user: 'nobody'" }))
  const { status, stderr } = await run(p, script, ['start'])
  t.is(status, 0, stderr)
  t.is(fs.statSync(p.pidFile()).uid, 0)
  const pid = pidIn(p)
  process.kill(pid, 'SIGTERM')
  await until(() => !isAlive(pid))
  t.is(fs.readFileSync(p.pidFile(), 'utf8'), '')
  t.is((await run(p, script, ['status'])).status, 3)
})

const OVERWRITTEN = {
  'another pid': (file) => fs.writeFileSync(file, '123\n'),
  nothing: (file) => fs.truncateSync(file),
  'more than a pid': (file) => fs.appendFileSync(file, 'and more\n'),
  'a hole': (file) => fs.truncateSync(file, 1_000_000),
}
for (const [how, options] of [
  ['', ''],
  [', even where privileges were dropped', "user: 'nobody'"],
]) {
  const able = options === '' ? test : asRoot
  able(
    `one that somebody has written to gets its pid again, while the event loop is blocked${how}`,
    async (t) => {
      const p = place(t)
      fs.chmodSync(p.dir, 0o755)
      const body = 'action() { for (;;) {} }'
      const script = p.write('a.mjs', cli({ body, options: `${options}` }))
      const { status, stderr } = await run(p, script, ['start'])
      t.is(status, 0, stderr)
      const pid = pidIn(p)
      const { ino } = fs.statSync(p.pidFile())
      for (const [what, write] of Object.entries(OVERWRITTEN)) {
        write(p.pidFile())
        const isBack = () => fs.readFileSync(p.pidFile(), 'latin1') === `${pid}\n`
        await until(isBack, `its pid in the place of ${what}`)
        t.is(fs.statSync(p.pidFile()).ino, ino)
        t.is(JSON.parse((await run(p, script, ['status', '--json'])).stdout).pid, pid)
      }
      t.is((await run(p, script, ['start'])).status, 1)
      process.kill(pid, 'SIGKILL')
    },
  )
}

test('one that was made writable for others is taken back from them', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', cli())
  t.is((await run(p, script, ['start'])).status, 0)
  fs.chmodSync(p.pidFile(), 0o666)
  await until(() => (fs.statSync(p.pidFile()).mode & 0o777) === 0o644, 'its mode')
  t.is((await run(p, script, ['status'])).status, 0)
  t.is((await run(p, script, ['stop'])).status, 0)
})

asRoot(
  'in a directory that the daemon cannot look into any more it is neither missed nor left',
  async (t) => {
    const p = place(t)
    fs.chmodSync(p.dir, 0o755)
    fs.chmodSync(p.run, 0o700)
    const script = p.write('a.mjs', logging("user: 'nobody'"))
    const log = () => fs.readFileSync(`${p.dir}/log`, 'utf8')
    t.is((await run(p, script, ['start'])).status, 0)
    const pid = pidIn(p)
    // The watch still works: the daemon sees a change, and writes its pid through its own descriptor.
    for (const round of [1, 2]) {
      fs.writeFileSync(p.pidFile(), '123\n')
      await until(() => fs.readFileSync(p.pidFile(), 'latin1') === `${pid}\n`, 'its pid')
      await until(() => log().split('was changed. Wrote the pid again').length > round, 'the warning')
    }
    t.notRegex(log(), /removed/)
    process.kill(pid, 'SIGTERM')
    await until(() => !isAlive(pid), 'its end')
    t.is(fs.readFileSync(p.pidFile(), 'utf8'), '')
    const { status, stdout } = await run(p, script, ['status'])
    t.deepEqual([status, stdout], [3, `sample is not running (looked for ${p.pidFile()})\n`])
    // A file that is removed has no name any more, even if the daemon cannot look into the directory.
    t.is((await run(p, script, ['start'])).status, 0)
    fs.rmSync(p.pidFile())
    await until(() => log().includes('was removed and cannot be put back'), 'the warning')
  },
)

// Locks of a process that can only read the file.
const LOCKS = {
  flock: { flock: true },
  record: { ranges: WHOLE },
  // A running daemon leaves all bytes to others except the one that says "held".
  rest: { ranges: [0, 0x4000_0000, 0x4000_0001, 0] },
}
const reader = (t, p, kind) => lock(t, p.pidFile(), LOCKS[kind], NOBODY)

for (const kind of ['flock', 'record']) {
  asRoot(`a reader's lock (${kind}) does not hinder a start`, async (t) => {
    const p = place(t)
    fs.chmodSync(p.dir, 0o755)
    const script = p.write('a.mjs', cli())
    for (const left of ['', '999999\n']) {
      fs.writeFileSync(p.pidFile(), left)
      await reader(t, p, kind)
      t.is((await run(p, script, ['status'])).status, left ? 1 : 3)
      const starts = await Promise.all([1, 2, 3].map(() => run(p, script, ['start'])))
      t.deepEqual(starts.map((s) => s.status).sort(), [0, 1, 1], starts.map((s) => s.stderr).join())
      t.deepEqual(processesOf(p), [pidIn(p)])
      await reader(t, p, 'rest')
      t.is((await run(p, script, ['status'])).status, 0)
      t.is((await run(p, script, ['stop'])).status, 0)
      t.deepEqual(fs.readdirSync(p.run), [])
    }
  })
}

// A start that was killed while it replaced the file can leave these files. Here they are readable, and a reader
// has locked them.
for (const kind of ['flock', 'record']) {
  asRoot(`what a crash has left of a replacement hinders none, and is removed (${kind})`, async (t) => {
    const p = place(t)
    fs.chmodSync(p.dir, 0o755)
    const script = p.write('a.mjs', cli())
    for (const left of ['.sample.pid.new', '.sample.pid.lock']) {
      fs.writeFileSync(`${p.run}/${left}`, '')
      if (left.endsWith('new')) await lock(t, `${p.run}/${left}`, LOCKS[kind], NOBODY)
      fs.writeFileSync(p.pidFile(), '999999\n')
      await reader(t, p, kind)
      const starts = await Promise.all([1, 2, 3].map(() => run(p, script, ['start'])))
      t.deepEqual(starts.map((s) => s.status).sort(), [0, 1, 1], starts.map((s) => s.stderr).join())
      t.deepEqual(processesOf(p), [pidIn(p)])
      // The same holds when the daemon puts its pidfile back.
      fs.writeFileSync(`${p.run}/.sample.pid.new`, '')
      await lock(t, `${p.run}/.sample.pid.new`, LOCKS[kind], NOBODY)
      const pid = pidIn(p)
      fs.rmSync(p.pidFile())
      await until(() => fs.existsSync(p.pidFile()) && pidIn(p) === pid, 'the file to be put back')
      t.is((await run(p, script, ['stop'])).status, 0)
      t.deepEqual(fs.readdirSync(p.run), [])
    }
  })
}

asRoot('what cannot be removed in a replacement is named, and no start is', async (t) => {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  fs.mkdirSync(`${p.run}/.sample.pid.new`)
  fs.writeFileSync(p.pidFile(), '999999\n')
  await reader(t, p, 'flock')
  const { status, stderr } = await run(p, p.write('a.mjs', cli()), ['start'])
  t.is(status, 1)
  t.regex(stderr, /Cannot keep the pidfile .*\.sample\.pid\.new: EISDIR: .*, unlink/)
  t.deepEqual(processesOf(p), [])
  t.is(fs.readFileSync(p.pidFile(), 'utf8'), '999999\n')
})

const traced = isRoot ? withStrace : test.skip

for (const [call, moments] of Object.entries({ fchmod: [1, 2, 3], renameat: [1], unlinkat: [1, 2] })) {
  traced(`a start that is killed at a ${call} while it replaces the file hinders no other`, async (t) => {
    const p = place(t)
    fs.chmodSync(p.dir, 0o755)
    const script = p.write('a.mjs', cli())
    for (const moment of moments) {
      fs.writeFileSync(p.pidFile(), '999999\n')
      await reader(t, p, 'flock')
      const kill = faults(`${call}:signal=SIGKILL:when=${moment}`)
      t.is((await runWithFaults(p, kill, script, ['start'])).status, null, `${moment}`)
      t.deepEqual(processesOf(p), [])
      // All files that it has left there are locked, if they can be read.
      for (const name of fs.readdirSync(p.run).filter((name) => name !== 'sample.pid')) {
        if (fs.statSync(`${p.run}/${name}`).mode & 0o4) await lock(t, `${p.run}/${name}`, LOCKS.flock, NOBODY)
      }
      const { status, stderr } = await run(p, script, ['start'])
      t.is(status, 0, `${moment}: ${stderr}`)
      t.is((await run(p, script, ['stop'])).status, 0)
      t.deepEqual(fs.readdirSync(p.run), [], `${moment}`)
    }
  })
}

const mounts = testIf(isRoot && works('unshare', '-m', 'true'))

/** Runs shell commands where the directory of pidfiles is a file system of its own. */
function mounted(p, options, commands) {
  const script = [`mount -t tmpfs -o mode=755,${options} none $RUN`, ...commands].join('\n')
  return command(p, 'unshare', ['-m', 'sh', '-c', script], {
    env: { CLI: `${process.execPath} ${p.dir}/a.mjs` },
  })
}

mounts('a full disk: no daemon, no file, and the reason', async (t) => {
  const p = place(t)
  p.write('a.mjs', cli())
  for (const [options, fill] of [
    ['size=4k', 'head -c 4096 /dev/zero > $RUN/filling'],
    ['nr_inodes=2', '> $RUN/filling'],
  ]) {
    const { stdout, stderr } = await mounted(p, options, [
      fill,
      '$CLI start; echo $?',
      '$CLI run; echo $?',
      'ls -A $RUN',
      'rm $RUN/filling; $CLI start; echo $?',
      'cd $RUN; echo *; $CLI stop; echo $?; ls -A',
    ])
    t.is(stdout, '1\n1\nfilling\n0\nsample.pid\n0\n', stderr)
    const lines = stderr.split('\n').filter((line) => line.includes('sample.pid'))
    t.true(lines.length >= 2, stderr)
    for (const line of lines) t.regex(line, /ENOSPC: no space left on device/)
    t.deepEqual(processesOf(p), [])
  }
})

mounts('a read-only directory: no daemon, and the reason; nothing to stop', async (t) => {
  const p = place(t)
  p.write('a.mjs', cli())
  const verbs = ['start', 'run', 'stop', 'status'].map((verb) => `$CLI ${verb} > /dev/null; echo $?`)
  const { stdout, stderr } = await mounted(p, 'ro', verbs)
  t.is(stdout, '1\n1\n0\n3\n')
  t.regex(
    stderr,
    /^(sample: Cannot keep the pidfile \S+: EROFS: read-only file system, open\. Name a directory .*\n){2}$/,
  )
  t.deepEqual(processesOf(p), [])
})

test('a directory that is reached by a symbolic link, as /var/run is, will do', async (t) => {
  const p = place(t)
  fs.symlinkSync('run', `${p.dir}/link`)
  const script = p.write('a.mjs', cli({ options: "pidFilePath: process.env.DIR + '/link'" }))
  t.is((await run(p, script, ['start'])).status, 0)
  t.true(isAlive(pidIn(p)))
  t.is((await run(p, script, ['stop'])).status, 0)
  t.deepEqual(fs.readdirSync(p.run), [])
})

/** A daemon whose log messages go to a file. */
const logging = (options) =>
  cli({ options: `syslogOptions: syslog.LOG_PERROR, stderr: process.env.DIR + '/log', ${options}` })

test('one that cannot be put back, since its directory is gone, is a warning, and the daemon goes on', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', logging(''))
  t.is((await run(p, script, ['start'])).status, 0)
  const pid = pidIn(p)
  fs.renameSync(p.run, `${p.dir}/moved`)
  fs.unlinkSync(`${p.dir}/moved/sample.pid`)
  await until(() => fs.readFileSync(`${p.dir}/log`, 'utf8').includes('cannot be put back'), 'the warning')
  t.is((await run(p, script, ['status'])).status, 3)
  t.true(isAlive(pid))
  // The file that exists when the daemon ends belongs to another one.
  fs.mkdirSync(p.run)
  t.is((await run(p, script, ['start'])).status, 0)
  const { ino } = fs.statSync(p.pidFile())
  process.kill(pid, 'SIGTERM')
  await until(() => !isAlive(pid))
  t.is(fs.statSync(p.pidFile()).ino, ino)
  t.is((await run(p, script, ['stop'])).status, 0)
})

asRoot(
  'one that cannot be put back, since privileges were dropped, is a warning; the next daemon keeps its own',
  async (t) => {
    const p = place(t)
    fs.chmodSync(p.dir, 0o755)
    const script = p.write('a.mjs', logging("user: 'nobody'"))
    const { status, stderr } = await run(p, script, ['start'])
    t.is(status, 0, stderr)
    const pid = pidIn(p)
    fs.rmSync(p.pidFile())
    const log = () => fs.readFileSync(`${p.dir}/log`, 'utf8')
    await until(() => log().includes('cannot be put back'), 'the warning')
    t.regex(
      log(),
      /^sample: The pidfile \S+ was removed and cannot be put back: .*EACCES: permission denied/m,
    )
    t.true(isAlive(pid))
    t.is((await run(p, script, ['start'])).status, 0)
    const second = pidIn(p)
    t.not(second, pid)
    process.kill(pid, 'SIGTERM')
    await until(() => !isAlive(pid))
    t.is(pidIn(p), second)
    t.is((await run(p, script, ['stop'])).status, 0)
    t.deepEqual(fs.readdirSync(p.run), [])
  },
)
