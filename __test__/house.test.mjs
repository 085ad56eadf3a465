// The house: which files may import which. Where things are says CONTRIBUTING.md.

import fs from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { root, test } from './kit.mjs'

/** The rooms of ts/, the lowest first. Each uses those before it, by their doors. A file is a room, too. */
const ROOMS = [
  ...['runtime', 'errors', 'fields', 'native', 'program', 'logger', 'syslog', 'manager', 'pidfile'],
  ...['options', 'process', 'launch', 'command', 'daemon.ts', 'functions.ts', 'index.ts'],
  ...['pino.ts', 'winston.ts', 'testing'],
]
/** Rooms that few may use. */
const USERS = { command: ['daemon.ts', 'functions.ts'], testing: [] }

const roomOf = (file) => file.split('/')[0]

/** The files of ts/ with what they say. */
function sources() {
  const files = fs.readdirSync(join(root, 'ts'), { recursive: true }).filter((name) => name.endsWith('.ts'))
  return new Map(files.map((file) => [file, fs.readFileSync(join(root, 'ts', file), 'utf8')]))
}

/** The files of this package that a file imports or exports from, types too. */
function importsOf(file, source) {
  const code = source.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
  return [...code.matchAll(/\b(?:from|import)\s*\(?\s*['"](\.[^'"]+)\.js['"]/g)].map(([, path]) =>
    normalize(join(dirname(file), `${path}.ts`)),
  )
}

/** What is wrong with the imports of these files, as sentences. */
function wrongs(files) {
  const found = []
  const imports = new Map(
    Array.from(files, ([file, source]) => [
      file,
      importsOf(file, source).map((path) => (files.has(path) ? path : path.replace(/\.ts$/, '.d.ts'))),
    ]),
  )
  for (const [file, targets] of imports) {
    const own = roomOf(file)
    if (!ROOMS.includes(own)) found.push(`${file} is in no known room`)
    for (const target of targets) {
      const room = roomOf(target)
      if (!files.has(target)) found.push(`${file} imports ${target}, which does not exist`)
      if (room === own) continue
      if (ROOMS.indexOf(room) > ROOMS.indexOf(own)) found.push(`${file} imports ${target}, which is above it`)
      if (target !== room && target !== `${room}/index.ts`)
        found.push(`${file} imports ${target} past the door`)
      if (!(USERS[room] ?? [own]).includes(own)) found.push(`${file} may not use ${room}`)
    }
  }
  return [...found, ...circles(imports)]
}

/** Files that import themselves by way of others. */
function circles(imports) {
  const found = []
  const done = new Set()
  const visit = (file, way) => {
    if (way.includes(file)) found.push([...way.slice(way.indexOf(file)), file].join(' -> '))
    if (done.has(file) || way.includes(file)) return
    for (const target of imports.get(file) ?? []) visit(target, [...way, file])
    done.add(file)
  }
  for (const file of imports.keys()) visit(file, [])
  return found
}

test('in ts/ imports go one way: down, through doors, in no circle', (t) => {
  t.deepEqual(wrongs(sources()), [])
})

for (const [file, line, expected] of [
  [
    'syslog/syslog.ts',
    "import { launch } from '../launch/index.js'",
    /^syslog\/syslog.ts imports .* above it$/,
  ],
  ['options/options.ts', "import type { Native } from '../native/native.js'", /past the door$/],
  ['runtime/print.ts', "export { quoted } from './index.js'", /runtime\/print.ts -> runtime\/index.ts/],
  ['errors/errors.ts', "const later = () => import('./checks.js')", /errors\/errors.ts -> errors\/checks.ts/],
  ['index.ts', "import { runCommand } from './command/index.js'", /^index.ts may not use command$/],
  ['daemon.ts', "import './testing/index.js'", /^daemon.ts may not use testing$/],
  ['cellar/wine.ts', '', /in no known room$/],
  ['index.ts', "import './gone.js'", /does not exist$/],
]) {
  test(`what is wrong with an import is found: ${line || file}`, (t) => {
    const files = sources()
    files.set(file, `${files.get(file) ?? ''}\n${line}\n`)
    t.true(
      wrongs(files).some((sentence) => expected.test(sentence)),
      wrongs(files).join('\n'),
    )
  })
}
