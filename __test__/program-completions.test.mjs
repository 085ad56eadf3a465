// What bash, zsh and fish complete, each asked itself.

import fs from 'node:fs'
import { join } from 'node:path'
import { cli, command, place, root, run, test, testIf, works } from './kit.mjs'

const PROGRAM = join(root, 'tsdaemonize')
const script = (name) => join(root, '__test__', name)

/** What is typed, what is offered then, and what must not be. */
const LINES = [
  ['tsdaemonize st', ['start', 'stop', 'status'], ['list']],
  ['tsdaemonize --w', ['--where'], ['--version']],
  ['tsdaemonize stop --p', ['--pid-file-path'], ['--json']],
  ['tsdaemonize kill -s U', ['USR1', 'USR2'], ['HUP']],
  ['tsdaemonize start --ready l', ['listen'], ['alive']],
  ['tsdaemonize start --cwd ./direct', ['directory'], []],
  ['tsdaemonize start --stdout sysl', ['syslog'], []],
  ['tsdaemonize start --user roo', ['root'], []],
  ['tsdaemonize start --name st --r', ['--ready', '--runtime'], ['--restart', 'restart']],
  ['tsdaemonize start bashbu', ['bashbug'], ['--name']],
  ['tsdaemonize start --name x ls ./direct', ['directory'], []],
  // What follows the program's name is its own.
  ['tsdaemonize start --name x ls --na', [], ['--name']],
  ['tsdaemonize completions ', ['bash', 'zsh', 'fish'], ['start']],
  ['tsdaemonize list --', ['--all', '--json', '--watch'], ['--signal']],
  ['tsdaemonize logs --f', ['--follow'], ['--name']],
]

/** What is offered for NAMEs. */
const NAMES = [
  ['tsdaemonize status --json completed', ['completed-one', 'completed two'], ['--json']],
  ['tsdaemonize restart completed-', ['completed-one'], ['completed two']],
]

const SHELLS = {
  bash: (file, line) => ['bash', [script('completions.bash'), file, ...line.split(' ')]],
  zsh: (file, line) => ['zsh', ['-f', script('completions.zsh'), file, line]],
  fish: (file, line) => [
    'fish',
    ['--no-config', '-c', `source ${file}; complete --do-complete=$argv[1] | cut -f1`, line],
  ],
}

/** A word as it is offered, without what a shell adds: a directory's slash, the path before it, a backslash. */
const bare = (word) => word.replace(/^\.\//, '').replace(/\/$/, '').replaceAll('\\', '')

/** Puts the executable into the PATH of the place, whose daemons are known to nobody else. */
function link(p) {
  p.write('bin/tsdaemonize', `#!/bin/sh\nexec '${PROGRAM}' "$@" --pid-file-path '${p.run}'\n`)
  fs.chmodSync(join(p.dir, 'bin/tsdaemonize'), 0o755)
}

/** Asks a shell for each of the lines. */
async function offers(t, p, shell, lines) {
  const completions = await command(p, PROGRAM, ['completions', shell])
  t.is(completions.status, 0)
  const file = p.write(`completions.${shell}`, completions.stdout)
  const env = { PATH: `${p.dir}/bin:${process.env.PATH}`, HOME: p.dir, XDG_CONFIG_HOME: p.dir, TERM: 'dumb' }
  const asked = lines.map(async ([line, wanted, unwanted]) => {
    const { status, stdout, stderr } = await command(p, ...SHELLS[shell](file, line), { env })
    t.is(status, 0, `${line}: ${stderr}`)
    const offered = stdout.split('\n').map(bare)
    for (const word of wanted) t.true(offered.includes(word), `${line}: no ${word} in ${stdout}`)
    for (const word of unwanted) t.false(offered.includes(word), `${line}: ${word}`)
  })
  await Promise.all(asked)
}

for (const shell of Object.keys(SHELLS)) {
  testIf(works(shell, '-c', 'exit'))(
    `${shell} completes commands, options, values and programs`,
    async (t) => {
      const p = place(t)
      link(p)
      fs.mkdirSync(join(p.dir, 'directory'))
      await offers(t, p, shell, LINES)
    },
  )
}

for (const shell of Object.keys(SHELLS)) {
  const can = works(shell, '-c', 'exit') && works(PROGRAM, 'list', '--names')
  testIf(can)(`${shell} completes the NAMEs of daemons that run`, async (t) => {
    const p = place(t)
    link(p)
    for (const [index, name] of ['completed-one', 'completed two'].entries()) {
      const daemon = p.write(`${index}.mjs`, cli({ options: `name: '${name}'` }))
      t.is((await run(p, daemon, ['start'])).status, 0)
    }
    await offers(t, p, shell, NAMES)
  })
}

test('bash takes --option=value apart, and so do its completions', async (t) => {
  const p = place(t)
  const { stdout: source } = await command(p, PROGRAM, ['completions', 'bash'])
  const file = p.write('completions.bash', source)
  for (const [words, wanted] of [
    [
      ['kill', '--signal', '=', 'U'],
      ['USR1', 'USR2'],
    ],
    [
      ['kill', '--signal', '='],
      ['USR1', 'HUP'],
    ],
    [['start', '--name', '=', 'stop', '--re'], ['--ready']],
    [['start', '--env', 'A', '=', 'B', '--re'], ['--ready']],
  ]) {
    const args = [script('completions.bash'), file, 'tsdaemonize', ...words]
    const { stdout } = await command(p, 'bash', args)
    for (const word of wanted) t.true(stdout.split('\n').includes(word), `${words}: ${stdout}`)
  }
})

test('completions of a shell that there is not are refused', async (t) => {
  const p = place(t)
  for (const [shell, words] of [
    ['bsh', /^tsdaemonize: unknown shell 'bsh': did you mean 'bash'\?\n$/],
    ['powershell', /unknown shell 'powershell'\. There are completions for bash, zsh and fish/],
  ]) {
    const { status, stdout, stderr } = await command(p, PROGRAM, ['completions', shell])
    t.deepEqual([status, stdout], [2, ''])
    t.regex(stderr, words)
  }
})
