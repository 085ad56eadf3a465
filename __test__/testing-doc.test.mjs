// What docs/testing.md shows works with every test runner that it names, as users install it.

import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { join } from 'node:path'
import { Place } from 'tsdaemonize/testing'
import { nodeOf, vitestPath } from '../scripts/nodes.mjs'
import { isAlive, isRoot, root, test, testIf, until } from './kit.mjs'

const doc = fs.readFileSync(join(root, 'docs/testing.md'), 'utf8')
const blocks = (language) =>
  [...doc.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(([, code]) => code)
/** The files, by the name in their first line. */
const files = Object.fromEntries(
  [...blocks('ts'), ...blocks('js'), ...blocks('dockerfile')].map((code) => [
    code.match(/^(?:\/\/|#) (\S+)\n/)[1],
    code,
  ]),
)

/** A directory in which the package is installed, with the files of the document. */
function project(t, names = Object.keys(files)) {
  const place = new Place({ log: false })
  t.teardown(() => place.end())
  const modules = join(place.dir, 'node_modules')
  for (const name of [
    'package.json',
    'dist',
    ...fs.readdirSync(root).filter((name) => name.endsWith('.node')),
  ]) {
    fs.cpSync(join(root, name), join(modules, 'tsdaemonize', name), { recursive: true })
  }
  for (const name of ['ava', 'tsx', '@types']) {
    fs.symlinkSync(join(root, 'node_modules', name), join(modules, name))
  }
  if (fs.existsSync(vitestPath)) fs.symlinkSync(vitestPath, join(modules, 'vitest'))
  fs.writeFileSync(join(place.dir, 'package.json'), '{ "type": "module" }')
  fs.mkdirSync(join(place.dir, 'tmp'))
  for (const name of names) fs.writeFileSync(join(place.dir, name), files[name])
  return place
}

/** A Node that runs TypeScript and `await using` as they are; if there is none, tsx is used. */
const modern = nodeOf('24')
const [execPath, NODE_OPTIONS] = fs.existsSync(modern) ? [modern] : [process.execPath, '--import tsx']

/** Runs a test runner as from a user's terminal, not as a test within a test. */
function runTests(place, script, args) {
  const tmp = join(place.dir, 'tmp')
  const env = { NODE_OPTIONS, TMPDIR: tmp, NODE_ENV: undefined, AVA_PATH: undefined, CI: '1' }
  return place.run(script, args, { execPath, cwd: place.dir, env, timeout: 120_000 })
}

const runners = {
  'node:test': {
    run: (place, file) => runTests(place, '--test', [file]),
    head: "import { test } from 'node:test'\nconst onEnd = (t, end) => t.after(end)",
    files: ['ticker.test.ts', 'using.test.ts'],
    passed: /^. pass 1$/m,
    failed: /^. fail 1$/m,
  },
  ava: {
    run: (place, file) => runTests(place, 'node_modules/ava/entrypoints/cli.mjs', [file]),
    head: "import test from 'ava'\nconst onEnd = (t, end) => t.teardown(end)",
    files: ['ticker.ava.js'],
    passed: /1 test passed/,
    failed: /1 test failed|1 uncaught exception/,
  },
  vitest: {
    run: (place, file) => runTests(place, 'node_modules/vitest/vitest.mjs', ['run', file]),
    head: "import { onTestFinished, test } from 'vitest'\nconst onEnd = (_t, end) => onTestFinished(end)",
    files: ['ticker.spec.ts'],
    passed: /Tests {2}1 passed/,
    failed: /Tests {2}1 failed/,
  },
}

/** The places that a runner's tests have left. */
const left = (place) => fs.readdirSync(join(place.dir, 'tmp')).filter((name) => name.startsWith('tsd-'))

for (const [name, runner] of Object.entries(runners)) {
  const here = testIf(name !== 'vitest' || fs.existsSync(vitestPath))

  for (const file of runner.files) {
    here(`${file} does with ${name} what the document says`, async (t) => {
      const place = project(t)
      const { status, stdout, stderr } = await runner.run(place, file)
      t.is(status, 0, stdout + stderr)
      t.regex(plain(stdout + stderr), runner.passed)
    })
  }

  for (const [how, body] of Object.entries({
    'a test that fails': "throw new Error('it failed')",
    'a test whose process is killed': "process.kill(process.pid, 'SIGKILL')",
  })) {
    here(`of ${how}, with ${name}, nothing is left`, async (t) => {
      const place = project(t, ['ticker.ts'])
      fs.writeFileSync(
        join(place.dir, 'fails.test.mjs'),
        `${runner.head}
        import fs from 'node:fs'
        import { Place } from 'tsdaemonize/testing'
        test('fails', async (t) => {
          const place = new Place()
          onEnd(t, () => place.end())
          const { pid } = await place.start('ticker.ts', ['start'])
          fs.writeFileSync('pid', String(pid))
          ${body}
        })`,
      )
      const { status, stdout, stderr } = await runner.run(place, 'fails.test.mjs')
      t.not(status, 0, stdout + stderr)
      const pid = Number(fs.readFileSync(join(place.dir, 'pid'), 'utf8'))
      if (how === 'a test that fails') t.regex(plain(stdout + stderr), runner.failed)
      // If the process was killed, its reaper ends what is left.
      else await until(() => !isAlive(pid) && left(place).length === 0, 'the end of all')
      t.false(isAlive(pid))
      t.deepEqual(left(place), [])
    })
  }
}

test('every file and command of the document is tested', (t) => {
  const tested = Object.values(runners).flatMap(({ files }) => files)
  t.deepEqual(Object.keys(files).sort(), [...tested, 'ticker.ts', 'Containerfile'].sort())
  const commands = blocks('console').join('').trim().split('\n')
  t.deepEqual(commands, [
    '$ node --test ticker.test.ts',
    '$ npx ava ticker.ava.js',
    '$ npx vitest run ticker.spec.ts',
    '$ podman build --tag ticker-test .',
    '$ podman run --rm --init --network none ticker-test',
  ])
})

// This is like `podman run --init --network none`: an init as PID 1, and namespaces of its own.
const canContain =
  isRoot &&
  execPath === modern &&
  spawnSync('which', ['catatonit']).status === 0 &&
  spawnSync('unshare', ['-pfn', '--mount-proc', 'true']).status === 0

;(canContain ? test : test.skip)(
  'the command of the Containerfile runs the tests below an init',
  async (t) => {
    const place = project(t, ['ticker.ts', 'ticker.test.ts', 'using.test.ts'])
    const [, json] = files.Containerfile.match(/^CMD (.*)$/m)
    const [program, ...args] = JSON.parse(json)
    t.is(program, 'node')
    const { status, stdout, stderr } = await place.run(
      'unshare',
      ['-pfn', '--mount-proc', 'catatonit', '--', modern, ...args],
      { execPath: null, cwd: place.dir, timeout: 120_000 },
    )
    t.is(status, 0, stdout + stderr)
    t.regex(plain(stdout), /^. pass 2$/m)
  },
)

/** A text without colours. */
function plain(text) {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: it is what colours are made of
  return text.replace(/\x1b\[[\d;]*m/g, '')
}

test('the files of the document have the right types', async (t) => {
  const place = project(t)
  const names = Object.keys(files).filter((name) => name.endsWith('.ts') && name !== 'ticker.spec.ts')
  const flags = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--target', 'es2022']
  const more = ['--lib', 'es2023', '--module', 'nodenext', '--types', 'node']
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  const { status, stdout } = await place.run(tsc, [...flags, ...more, ...names], { cwd: place.dir })
  t.is(status, 0, stdout)
})

test('its tables list all that a place and a daemon have', (t) => {
  const rows = [...doc.matchAll(/^\| (`[^|]*`) \|/gm)]
  const listed = new Set(rows.flatMap(([, cell]) => [...cell.matchAll(/`(\w+)/g)].map(([, name]) => name)))
  for (const file of ['place', 'tested']) {
    const types = fs.readFileSync(join(root, `dist/testing/${file}.d.ts`), 'utf8')
    const members = [...types.matchAll(/^ {4}(?:readonly |get )?(\w+)\??[(:]/gm)].map(([, name]) => name)
    t.deepEqual(
      members.filter((name) => !listed.has(name) && name !== 'constructor'),
      [],
      file,
    )
  }
})
