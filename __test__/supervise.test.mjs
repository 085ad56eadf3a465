// `supervise`: a supervisor stays beside the daemon.

import fs from 'node:fs'
import { join } from 'node:path'
import {
  command,
  isRoot,
  nativeFile,
  place,
  processesOf,
  root,
  run,
  sample,
  test,
  testIf,
  works,
} from './kit.mjs'

const platform = nativeFile.split('.')[1]
const { version } = JSON.parse(fs.readFileSync(join(root, 'package.json'), 'utf8'))

/** The package and the platform's own, as npm installs them, and a program whose daemon asks for a supervisor. */
function installed(t) {
  const p = place(t)
  const at = join(p.dir, 'node_modules')
  for (const name of ['package.json', 'dist']) {
    fs.cpSync(join(root, name), join(at, 'tsdaemonize', name), { recursive: true })
  }
  const own = join(at, `tsdaemonize-${platform}`)
  fs.mkdirSync(own)
  for (const name of [nativeFile, 'tsdaemonize']) fs.cpSync(join(root, name), join(own, name))
  const last = `try { await new Sample(options).start() }
    catch ({ code, message, path }) { console.log(JSON.stringify({ code, message, path })) }`
  const source = sample({ options: 'supervise: true,', last }).replace(/'file:[^']*'/, "'tsdaemonize'")
  return { ...p, script: p.write('a.mjs', source), program: join(own, 'tsdaemonize') }
}

/** What is wrong with the executable: how it comes to that, and the error's words. */
const UNFIT = [
  [
    'is missing',
    ({ program }) => fs.rmSync(program),
    /There is no executable PROGRAM, beside the native module/,
  ],
  [
    'may not be executed',
    ({ program }) => fs.chmodSync(program, 0o644),
    /PROGRAM cannot be executed: it lacks the permission\. Give it: chmod 755 PROGRAM$/,
  ],
  [
    'is for another machine',
    ({ program }) => fs.writeFileSync(program, '\x7fELF'),
    /The executable PROGRAM cannot be its supervisor: ENOEXEC: .*\. Install it anew: npm install --include=optional tsdaemonize-/,
  ],
  [
    'ends at once',
    ({ program }) => fs.writeFileSync(program, `#!/bin/sh\necho tsdaemonize ${version}\n`),
    /The executable PROGRAM cannot be its supervisor: it has ended at once$/,
  ],
  [
    'is of another version',
    ({ program }) => fs.writeFileSync(program, '#!/bin/sh\necho tsdaemonize 9.8.7\n'),
    new RegExp(
      `The executable PROGRAM is of version 9\\.8\\.7, and this package of version ${version}\\. Install`,
    ),
  ],
]
for (const [what, spoil, words] of UNFIT) {
  test(`a start that asks for a supervisor fails where the executable ${what}, and says so`, async (t) => {
    const p = installed(t)
    spoil(p)
    const { stdout, stderr } = await run(p, p.script)
    t.true(stdout.startsWith('{'), stdout + stderr)
    const { code, message, path } = JSON.parse(stdout)
    t.is(code, 'ERR_DAEMON_UNSUPPORTED')
    t.true(
      message.startsWith("The daemon 'sample' did not start, since it asks for a supervisor (`supervise`). "),
    )
    t.regex(message.replaceAll(p.program, 'PROGRAM'), words)
    t.is(path, p.program)
    t.deepEqual(processesOf(p), [])
    t.deepEqual(fs.readdirSync(p.run), [])
  })
}

testIf(isRoot && works('unshare', '--mount', 'true'))(
  'where the executable is on a file system without execution, the start names it',
  async (t) => {
    const p = installed(t)
    const line = 'mount --bind "$1" "$1" && mount -o remount,bind,noexec "$1" && shift && exec "$@"'
    const args = ['--mount', 'sh', '-ec', line, 'sh', p.program, process.execPath, p.script]
    const { stdout, stderr } = await command(p, 'unshare', args)
    t.true(stdout.startsWith('{'), stdout + stderr)
    t.true(JSON.parse(stdout).message.includes(`: ${p.program} is mounted with \`noexec\`. Install`), stdout)
  },
)

test('a daemon that asks for none starts where there is no executable', async (t) => {
  const p = installed(t)
  fs.rmSync(p.program)
  const source = fs.readFileSync(p.script, 'utf8').replace('supervise: true,', '')
  const { status, stdout } = await run(p, p.write('plain.mjs', source))
  t.is(status, 0)
  t.is(stdout, '')
  t.is(processesOf(p).length, 1)
})

test('an attached daemon has no supervisor, and says so in the log', async (t) => {
  const p = place(t)
  const options = 'supervise: true, detach: false, syslogOptions: syslog.LOG_PERROR,'
  const action = { body: "async action() { console.log('parent', process.ppid) }" }
  const source = sample({ options, ...action }).replace(
    "async action(signal) { await once(signal, 'abort') }",
    '',
  )
  const ended = run(p, p.write('a.mjs', source))
  const { status, stdout, stderr } = await ended
  t.is(status, 0)
  t.is(stdout, `parent ${process.pid}\n`)
  t.regex(stderr, /`supervise` changes nothing for an attached daemon/)
})
