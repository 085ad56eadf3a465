// The executable's command line: what it takes, what it says of the rest, its help, and what it refuses to be.

import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { join } from 'node:path'
import { asRoot, command, NOBODY, place, root, test, testIf, works } from './kit.mjs'

const PROGRAM = join(root, 'tsdaemonize')
const manual = join(root, 'dist/tsdaemonize.1')
const { version } = JSON.parse(fs.readFileSync(join(root, 'package.json'), 'utf8'))
const VERBS = ['start', 'run', 'ensure', 'stop', 'restart', 'reload', 'kill', 'status', 'list', 'logs']
const STARTING = ['start', 'run', 'ensure']

/** Runs the executable to its end. */
const does = (p, ...args) => command(p, PROGRAM, args)

/** Runs a line of sh in which `$0` is the executable. */
const sh = (p, line, more) => command(p, 'sh', ['-c', line, PROGRAM], more)

test('a command or an option that does not exist names the nearest one, with status 2', async (t) => {
  const p = place(t)
  for (const [args, meant] of [
    ['stat', 'status'],
    ['statsu', 'status'],
    ['sotp', 'stop'],
    ['strat', 'start'],
    ['relaod', 'reload'],
    ['Restart', 'restart'],
    ['ls', 'list'],
    ['log', 'logs'],
    ['help', '--help'],
    ['version', '--version'],
    ['--hlep', '--help'],
    ['--verison', '--version'],
    ['start --nmae a b', '--name'],
    ['start --Name=a b', '--name'],
    ['start -name a b', '--name'],
    ['ensure --pidfilepath /x b', '--pid-file-path'],
    ['start --pid-file /x b', '--pid-file-path'],
    ['start --start_timeout 1 b', '--start-timeout'],
    ['start --timeout 1 b', '--start-timeout'],
    ['run --sdtout a b', '--stdout'],
    ['start --usr a b', '--user'],
    ['status --jsno a', '--json'],
    ['kill --singal HUP a', '--signal'],
    ['kill -9 a', '--signal 9'],
    ['logs --sicne today a', '--since'],
    ['logs -follow a', '--follow'],
    ['list --wacth', '--watch'],
  ]) {
    const { status, stdout, stderr } = await does(p, ...args.split(' '))
    t.deepEqual([status, stdout], [2, ''], args)
    t.regex(
      stderr,
      new RegExp(`^tsdaemonize: unknown (command|option) '[^']+': did you mean '${meant}'\\?\n$`),
      args,
    )
  }
  for (const [args, words] of [
    ['frobnicate', /^tsdaemonize: unknown command 'frobnicate'\. `tsdaemonize --help` tells more\n$/],
    ['start --frobnicate b', /unknown option '--frobnicate'\. `tsdaemonize start --help` tells more/],
    ['stop -x a', /unknown option '-x'\. `tsdaemonize stop --help`/],
    ['--json status a', /'--json': it comes after a command, `tsdaemonize status --json`/],
    ['status --signal HUP a', /'--signal': it is one of `kill`\. `tsdaemonize status --help`/],
    ['start', /`start` takes a program\. `tsdaemonize start --help`/],
    ['start --name a', /`start` takes a program/],
    ['start --', /`start` takes a program/],
    ['stop', /`stop` takes the name of a daemon/],
    ['list a', /`list` takes nothing but options, and no 'a'/],
    ['completions', /`completions` takes a shell: bash, zsh or fish/],
    ['completions bash zsh', /and no 'zsh'/],
    ['start --name', /missing argument for option '--name'/],
    ['status --json=1 a', /unexpected argument for option '--json'/],
    ['status --pid-file-path', /missing argument for option '--pid-file-path'/],
  ]) {
    const { status, stdout, stderr } = await does(p, ...args.split(' '))
    t.deepEqual([status, stdout], [2, ''], args)
    t.regex(stderr, words, args)
  }
  const bytes = await sh(p, `"$0" "$(printf 'st\\377op')"`)
  t.is(bytes.status, 2)
  t.regex(bytes.stderr, /did you mean 'stop'/)
})

test('without arguments it shows its help as an error; --help shows it, for all and for each command', async (t) => {
  const p = place(t)
  const all = await does(p, '--help')
  t.deepEqual([all.status, all.stderr], [0, ''])
  const none = await does(p)
  t.deepEqual([none.status, none.stdout], [2, ''])
  t.is(none.stderr, `tsdaemonize: no command\n\n${all.stdout}`)
  for (const verb of VERBS) {
    t.regex(all.stdout, new RegExp(`^  ${verb} +\\w`, 'm'))
    const { status, stdout } = await does(p, verb, '--help')
    t.is(status, 0)
    t.regex(stdout, new RegExp(`^Usage: tsdaemonize ${verb} `))
    t.is((await does(p, verb, '-h')).stdout, stdout)
    // A person who has begun to write wants to see it as well.
    t.is(
      (await does(p, verb, ...(verb === 'list' ? [] : ['x']), '--help')).stdout,
      STARTING.includes(verb) ? '' : stdout,
    )
    for (const line of stdout.split('\n')) t.true(line.length <= 80, line)
  }
  const { stdout } = await does(p, 'start', '--help')
  const options =
    'name pid-file-path user group cwd umask env env-file stdout stderr start-timeout stop-timeout ready'
  for (const option of options.split(' ')) t.regex(stdout, new RegExp(`^ +--${option} [A-Z]`, 'm'))
})

test('--version and --where', async (t) => {
  const p = place(t)
  for (const option of ['--version', '-V']) {
    t.is((await does(p, option)).stdout, `tsdaemonize ${version}\n`)
  }
  fs.symlinkSync(PROGRAM, join(p.dir, 'link'))
  const { stdout } = await command(p, join(p.dir, 'link'), ['--where'])
  t.is(stdout, `${fs.realpathSync(PROGRAM)}\n`)
})

test('closed descriptors do not become anything else’s, and a reader that is gone is no failure', async (t) => {
  const p = place(t)
  fs.writeFileSync(p.pidFile(), '0\n')
  const before = fs.readFileSync(p.pidFile(), 'utf8')
  const status = `"$0" status --pid-file-path "$RUN" none sample`
  for (const closed of ['0<&-', '1>&-', '2>&-', '0<&- 1>&- 2>&-']) {
    for (const line of [status, '"$0" --help', '"$0" frobnicate', '"$0"']) {
      const { status } = await sh(p, `exec ${closed}; ${line}`)
      t.true([0, 2, 3].includes(status), `${line} with ${closed}: ${status}`)
    }
    t.is(fs.readFileSync(p.pidFile(), 'utf8'), before)
  }
  // SIGPIPE would be 141, a panic 101.
  for (const line of ['"$0" --help', '"$0" --man', status]) {
    const { stdout, stderr } = await sh(p, `{ sleep 0; ${line}; echo "$?" >&2; } | true`)
    t.regex(stderr, /^[03]\n$/, `${line}: ${stdout}`)
  }
  const full = await sh(p, '"$0" --help > /dev/full')
  t.is(full.status, 1)
  t.regex(full.stderr, /^tsdaemonize: Cannot write to standard output: No space left on device/)
  t.is((await sh(p, '"$0" frobnicate 2> /dev/full')).status, 2)
})

asRoot('a copy that is set-user-ID, set-group-ID, or has capabilities runs nothing', async (t) => {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  const copy = join(p.dir, 'copy')
  const refuses = async (what) => {
    for (const args of [['--version'], ['status', 'x'], ['--exec-stage'], ['--supervisor', '1'], []]) {
      const { status, stdout, stderr } = await command(p, copy, args, NOBODY)
      t.deepEqual([status, stdout], [4, ''], `${what}: ${args}`)
      t.regex(stderr, /^tsdaemonize: This file gives whoever runs it more rights .*`chmod ug-s FILE`/)
    }
  }
  fs.copyFileSync(PROGRAM, copy)
  fs.chmodSync(copy, 0o755)
  t.is((await command(p, copy, ['--version'], NOBODY)).status, 0)
  for (const mode of [0o4755, 0o2755, 0o6755]) {
    fs.chmodSync(copy, mode)
    await refuses(mode.toString(8))
  }
  fs.chmodSync(copy, 0o755)
  if (spawnSync('setcap', ['cap_kill+ep', copy]).status === 0) await refuses('capabilities')
})

test('the manual page has all of the table, and is in the package', async (t) => {
  const p = place(t)
  const page = await does(p, '--man')
  t.is(page.status, 0)
  t.is(page.stdout, fs.readFileSync(manual, 'utf8'))
  const plain = page.stdout.replaceAll('\\-', '-')
  for (const verb of VERBS) {
    t.true(plain.includes(`.SS "\\fB${verb}\\fR `), verb)
    const { stdout } = await does(p, verb, '--help')
    for (const [, option] of stdout.matchAll(/^ .*(--[a-z-]+)/gm))
      t.true(plain.includes(`\\fB${option}\\fR`), option)
  }
})

testIf(works('mandoc', '-Tlint', '/dev/null') || works('mandoc', '-h'))(
  'mandoc finds nothing to mend in it',
  (t) => {
    const { stdout } = spawnSync('mandoc', ['-Tlint', manual], { encoding: 'utf8' })
    // The same source gives the same page, so it has no date.
    t.deepEqual(
      stdout.split('\n').filter((line) => line !== '' && !line.includes('missing date')),
      [],
    )
  },
)

testIf(works('groff', '--version'))('groff makes the page, without a warning', (t) => {
  const { status, stdout, stderr } = spawnSync('groff', ['-man', '-Tascii', '-ww', manual], {
    encoding: 'utf8',
  })
  t.deepEqual([status, stderr], [0, ''])
  t.regex(stdout, /make any program a daemon/)
})
