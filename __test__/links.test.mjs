// Symbolic links on the way to a file: root does not follow a link that another user could point elsewhere.

import { spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { Daemon } from '../dist/index.js'
import {
  asRoot,
  cli,
  command,
  environment,
  isAlive,
  isRoot,
  NOBODY,
  pidIn,
  place,
  processesOf,
  run,
  sample,
  test,
  until,
} from './kit.mjs'

/** A place with a directory of nobody's, `theirs`, and one of root's, `ours`, to which links would lead root. */
function crossing(t) {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  for (const name of ['theirs', 'ours']) fs.mkdirSync(`${p.dir}/${name}`)
  fs.chownSync(`${p.dir}/theirs`, NOBODY.uid, NOBODY.gid)
  return Object.assign(p, { theirs: `${p.dir}/theirs`, ours: `${p.dir}/ours` })
}

function link(target, path, { uid, gid } = { uid: 0, gid: 0 }) {
  fs.symlinkSync(target, path)
  if (isRoot) fs.lchownSync(path, uid, gid)
}

// How each link is made, the path through it, and what the error says.
const WAYS = {
  "another user's link": [
    (p) => link(p.ours, `${p.theirs}/cur`, NOBODY),
    'theirs/cur',
    /who could point it elsewhere/,
  ],
  "another user's relative link": [
    (p) => link('../ours', `${p.theirs}/cur`, NOBODY),
    'theirs/cur',
    /who could point/,
  ],
  "another user's link in root's directory": [
    (p) => link(p.ours, `${p.dir}/cur`, NOBODY),
    'cur',
    /who could point/,
  ],
  "a link to another user's link": [
    (p) => {
      link(p.ours, `${p.theirs}/cur`, NOBODY)
      link('theirs/cur', `${p.dir}/first`)
    },
    'first',
    /theirs\/cur is a symbolic link .* who could point/,
  ],
  "a directory behind another user's link": [
    (p) => {
      fs.mkdirSync(`${p.ours}/deep`)
      link(p.dir, `${p.theirs}/cur`, NOBODY)
    },
    'theirs/cur/ours/deep',
    /who could point/,
    'ours/deep',
  ],
  "root's link in another user's directory": [
    (p) => link(p.ours, `${p.theirs}/cur`),
    'theirs/cur',
    /user 'root' \(0\) that another could exchange: \S+\/theirs belongs to the user 'nobody' \(65534\)/,
  ],
  "root's link beneath another user's directory": [
    (p) => {
      fs.mkdirSync(`${p.theirs}/sub`)
      link(p.ours, `${p.theirs}/sub/cur`)
    },
    'theirs/sub/cur',
    /another could exchange/,
  ],
  "root's link in a directory where all can write": [
    (p) => {
      fs.mkdirSync(`${p.dir}/open`)
      fs.chmodSync(`${p.dir}/open`, 0o777)
      link(p.ours, `${p.dir}/open/cur`)
    },
    'open/cur',
    /another could exchange: others than its owner can write to \S+\/open/,
  ],
  "another user's link in a sticky directory": [
    (p) => {
      fs.mkdirSync(`${p.dir}/tmp`)
      fs.chmodSync(`${p.dir}/tmp`, 0o1777)
      link(p.ours, `${p.dir}/tmp/cur`, NOBODY)
    },
    'tmp/cur',
    /who could point/,
  ],
}

for (const [what, [make, path, says, real = 'ours']] of Object.entries(WAYS)) {
  asRoot(`${what} does not lead root's log file: it is named, and the real path`, async (t) => {
    const p = crossing(t)
    make(p)
    for (const option of ['stdout', 'stderr']) {
      const script = p.write(
        'a.mjs',
        cli({ options: `${option}: '${p.dir}/${path}/app.log', user: 'nobody'` }),
      )
      for (const verb of ['start', 'run']) {
        const { status, stderr } = await run(p, script, [verb])
        t.is(status, 1, `${option} ${verb}`)
        t.regex(
          stderr,
          /Refusing the log file \S+\/app\.log: \S+ is a symbolic link of the user '\w+' \(\d+\)/,
        )
        t.regex(stderr, says)
        t.true(stderr.includes(`Give the real path instead: ${p.dir}/${real}/app.log`), stderr)
      }
    }
    t.deepEqual(fs.readdirSync(`${p.dir}/${real}`), [])
    t.deepEqual(fs.readdirSync(p.run), [])
    t.deepEqual(processesOf(p), [])
  })

  asRoot(`${what} does not lead root to a pidfile: it is named, and the real path`, async (t) => {
    const p = crossing(t)
    const script = p.write('a.mjs', cli({ options: `pidFilePath: process.env.AT` }))
    const at = (verb, directory) => run(p, script, [verb], { env: { AT: `${p.dir}/${directory}` } })
    make(p)
    // A daemon that runs at its real path is neither asked nor stopped through the link.
    t.is((await at('start', real)).status, 0)
    const file = `${p.dir}/${real}/sample.pid`
    const pid = Number(fs.readFileSync(file, 'utf8'))
    for (const [verb, expected] of Object.entries({ start: 1, run: 1, status: 4, stop: 1, reload: 1 })) {
      const { status, stderr } = await at(verb, path)
      t.is(status, expected, `${verb}: ${stderr}`)
      t.regex(
        stderr,
        /Refusing the pidfile's directory \S+: \S+ is a symbolic link of the user '\w+' \(\d+\)/,
      )
      t.regex(stderr, says)
      t.true(stderr.includes(`Give the real path instead: ${p.dir}/${real}\n`), stderr)
    }
    t.deepEqual(processesOf(p), [pid])
    t.is(fs.readFileSync(file, 'utf8'), `${pid}\n`)
    t.is((await at('stop', real)).status, 0)
  })
}

const FINE = {
  "root's link": (p) => link(p.ours, `${p.dir}/cur`),
  "root's link in a sticky directory": (p) => {
    fs.mkdirSync(`${p.dir}/tmp`)
    fs.chmodSync(`${p.dir}/tmp`, 0o1777)
    link(p.ours, `${p.dir}/tmp/cur`)
    link('tmp/cur', `${p.dir}/cur`)
  },
  'a link with .. in it': (p) => link(`${p.theirs}/../theirs/../ours/.`, `${p.dir}/cur`),
}
for (const [what, make] of Object.entries(FINE)) {
  test(`${what} is followed, to log files and to the pidfile`, async (t) => {
    const p = isRoot ? crossing(t) : Object.assign(place(t), {})
    if (!isRoot) {
      Object.assign(p, { theirs: `${p.dir}/theirs`, ours: `${p.dir}/ours` })
      for (const directory of [p.theirs, p.ours]) fs.mkdirSync(directory)
    }
    make(p)
    const options = "pidFilePath: process.env.DIR + '/cur', stdout: process.env.DIR + '/cur/log'"
    const script = p.write('a.mjs', cli({ options }))
    const { status, stderr } = await run(p, script, ['start'])
    t.is(status, 0, stderr)
    t.deepEqual(fs.readdirSync(p.ours).sort(), ['.sample.state', 'log', 'sample.pid'])
    t.is((await run(p, script, ['status'])).status, 0)
    t.is((await run(p, script, ['stop'])).status, 0)
    t.deepEqual(fs.readdirSync(p.ours), ['log'])
  })
}

test('links that lead in a circle, and to nothing, are an error and not a wait', async (t) => {
  const p = place(t)
  fs.symlinkSync('two', `${p.dir}/one`)
  fs.symlinkSync('one', `${p.dir}/two`)
  fs.symlinkSync('nowhere', `${p.dir}/three`)
  for (const [name, says] of [
    ['one', /ELOOP: too many symbolic links/],
    ['three', /ENOENT: no such file or directory/],
  ]) {
    for (const option of ['pidFilePath', 'stdout']) {
      const path = `${p.dir}/${name}${option === 'stdout' ? '/log' : ''}`
      const { status, stderr } = await run(p, p.write('a.mjs', cli({ options: `${option}: '${path}'` })), [
        'start',
      ])
      t.is(status, 1)
      t.regex(stderr, says)
    }
  }
})

asRoot('a directory of pidfiles that another user could exchange is refused, and named', async (t) => {
  const p = crossing(t)
  for (const name of ['run', 'other']) fs.mkdirSync(`${p.theirs}/${name}`)
  const script = p.write('a.mjs', cli({ options: `pidFilePath: '${p.theirs}/run'` }))
  for (const verb of ['start', 'status', 'stop']) {
    const { status, stderr } = await run(p, script, [verb])
    t.not(status, 0)
    t.regex(
      stderr,
      /Refusing the pidfile's directory \S+\/theirs\/run: \S+\/theirs belongs to the user 'nobody' \(65534\), so/,
    )
  }
  t.deepEqual(fs.readdirSync(`${p.theirs}/run`), [])
  // A caller that only asks for a daemon of the user nobody may trust that user's link.
  fs.chownSync(`${p.theirs}/run`, NOBODY.uid, NOBODY.gid)
  t.is((await run(p, script, ['status'])).status, 3)
  const as = (verb) => run(p, script, [verb], NOBODY)
  t.is((await as('start')).status, 0)
  t.is((await run(p, script, ['status'])).status, 0)
  t.is((await run(p, script, ['stop'])).status, 0)
})

asRoot("a user's own link is that user's own affair", async (t) => {
  const p = crossing(t)
  fs.mkdirSync(`${p.theirs}/real`)
  fs.chownSync(`${p.theirs}/real`, NOBODY.uid, NOBODY.gid)
  link('real', `${p.theirs}/cur`, NOBODY)
  const options = `pidFilePath: '${p.theirs}/cur', stdout: '${p.theirs}/cur/log'`
  const script = p.write('a.mjs', cli({ options }))
  const { status, stderr } = await run(p, script, ['start'], NOBODY)
  t.is(status, 0, stderr)
  t.is((await run(p, script, ['stop'], NOBODY)).status, 0)
})

asRoot(
  'a link that appears under a daemon of root is not followed when its log is opened anew',
  async (t) => {
    const p = crossing(t)
    fs.mkdirSync(`${p.theirs}/cur`)
    const options = `stdout: '${p.theirs}/cur/app.log', stderr: '${p.dir}/errors', syslogOptions: syslog.LOG_PERROR`
    const script = p.write('a.mjs', cli({ options }))
    t.is((await run(p, script, ['start'])).status, 0)
    fs.renameSync(`${p.theirs}/cur`, `${p.theirs}/old`)
    link(p.ours, `${p.theirs}/cur`, NOBODY)
    process.kill(pidIn(p), 'SIGHUP')
    const told = () => fs.readFileSync(`${p.dir}/errors`, 'utf8')
    await until(() => told().includes('Refusing the log file'), 'the refusal')
    t.regex(told(), /user 'nobody' \(65534\), who could point .* still goes to the old file/)
    t.deepEqual(fs.readdirSync(p.ours), [])
  },
)

asRoot('however fast a directory and a link change places, nothing is opened behind the link', async (t) => {
  const p = crossing(t)
  fs.mkdirSync(`${p.theirs}/cur`)
  fs.chownSync(`${p.theirs}/cur`, NOBODY.uid, NOBODY.gid)
  const flip = `
    chdir $ARGV[0] or die $!;
    my ($link, $cur) = ('link', 'cur');
    symlink $ARGV[1], $link or die $!;
    # renameat2(2) with RENAME_EXCHANGE
    while (1) { syscall(316, -100, $link, -100, $cur, 2) == 0 or die $! }`
  const flipper = spawn('perl', ['-e', flip, p.theirs, p.ours], {
    stdio: ['ignore', 'ignore', 'inherit'],
    ...NOBODY,
  })
  t.teardown(() => flipper.kill('SIGKILL'))
  const body = `async action(signal) {
    for (let i = 0; i < 3000; i++) this.reopen()
    fs.writeFileSync(process.env.DIR + '/done', '')
    await once(signal, 'abort')
  }`
  const options = `stdout: '${p.theirs}/cur/app.log'`
  const script = p.write('a.mjs', sample({ body, options }))
  // It starts at the moments when the directory exists.
  await until(async () => (await run(p, script)).status === 0, 'a start')
  await until(() => fs.existsSync(`${p.dir}/done`), 'the last')
  t.deepEqual(fs.readdirSync(p.ours), [])
  t.true(isAlive(pidIn(p)))
  t.is(flipper.exitCode, null)
})

asRoot("another user's link leads to no new root directory", async (t) => {
  const p = crossing(t)
  link(p.ours, `${p.theirs}/cur`, NOBODY)
  link(p.ours, `${p.dir}/cur`)
  const start = (path) => run(p, p.write('a.mjs', sample({ options: `chroot: '${path}', user: 'nobody'` })))
  const { status, stderr } = await start(`${p.theirs}/cur`)
  t.is(status, 1)
  t.regex(
    stderr,
    /Refusing the new root directory \S+\/cur: \S+ is a symbolic link of the user 'nobody' \(65534\)/,
  )
  t.true(stderr.includes(`Give the real path instead: ${p.ours}.`), stderr)
  const followed = await start(`${p.dir}/cur`)
  t.notRegex(followed.stderr, /symbolic link/)
})

asRoot("another user's link brings nothing within Landlock's reach", async (t) => {
  const p = crossing(t)
  link(p.ours, `${p.theirs}/cur`, NOBODY)
  const landlock = `landlock: { write: ['${p.theirs}/cur'], bestEffort: true }`
  const { status, stderr } = await run(p, p.write('a.mjs', sample({ options: landlock })))
  if (/this kernel has none|not enabled at boot/.test(stderr)) return t.pass('no Landlock')
  t.is(status, 1)
  t.regex(
    stderr,
    /Refusing to keep \S+\/cur within reach: \S+ is a symbolic link of the user 'nobody' \(65534\)/,
  )
})

asRoot("where root has no id, its directories are no stranger's", async (t) => {
  const p = crossing(t)
  fs.mkdirSync(`${p.theirs}/run`)
  fs.chownSync(`${p.theirs}/run`, 1234, 1234)
  fs.chownSync(p.theirs, 1234, 1234)
  const script = p.write('a.mjs', cli({ options: `pidFilePath: '${p.theirs}/run'` }))
  const as = ['--reuid', '1234', '--regid', '1234', '--clear-groups', 'unshare', '-r', 'sh', '-c']
  if (spawnSync('setpriv', [...as, 'true']).status !== 0) return t.pass('no user namespaces')
  const line = `${process.execPath} ${script} start && ${process.execPath} ${script} stop`
  const { status, stderr } = await command(p, 'setpriv', [...as, line])
  t.is(status, 0, stderr)
})

asRoot(
  'a daemon is not found, and not started twice, by way of a link that is pointed elsewhere',
  async (t) => {
    const p = crossing(t)
    link(p.ours, `${p.theirs}/cur`, NOBODY)
    const script = p.write('a.mjs', sample())
    const by = (pidFilePath) =>
      new Daemon({ name: 'sample', pidFilePath, script, env: environment(p, { RUN: pidFilePath }) })
    const { pid } = await by(p.ours).start()
    fs.unlinkSync(`${p.theirs}/cur`)
    link(p.run, `${p.theirs}/cur`, NOBODY)
    const code = 'ERR_DAEMON_UNSAFE_PIDFILE'
    const asked = ['start', 'ensure', 'status', 'stop'].map((method) => by(`${p.theirs}/cur`)[method]())
    await Promise.all(asked.map((each) => t.throwsAsync(each, { code })))
    t.deepEqual(processesOf(p), [pid])
  },
)
