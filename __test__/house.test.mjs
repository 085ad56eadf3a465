// The house: which files may import which. CONTRIBUTING.md says where things are.

import fs from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { root, test } from './kit.mjs'
import * as rust from './modules.mjs'

/** The rooms of ts/, the lowest first. Each uses those before it, by their doors. A file is a room, too. */
const ROOMS = [
  ...['runtime', 'errors', 'fields', 'native', 'program', 'logger', 'syslog', 'manager', 'pidfile'],
  ...['options', 'process', 'launch', 'command', 'daemon.ts', 'functions.ts', 'index.ts'],
  ...['bin.ts', 'pino.ts', 'winston.ts', 'testing'],
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

// crate/

const CORE = 'core/src/'
/** The crates of napi, and the native module. */
const NODE = /\bnapi|^tsdaemonize\s*[.=]|package\s*=\s*"tsdaemonize"|\.\.\/node\b|\btsdaemonize::/m
/** Where it may be asked for which system is compiled; the tracer is for one alone. */
const MAY_ASK = /^(core\/src\/sys\/|core\/tests\/|faults\/|\w+\/build\.rs$)/

/** What one file does for all others: start a thread that takes no signals, wait for a while with poll(2), say what an
 * error is. */
const WRITTEN_ONCE = [
  [/\bstd::thread(::(spawn|Builder|scope)\b|;)/, 'core/src/thread.rs'],
  [/\bas_millis\(\) \+ 1\b/, 'core/src/poll.rs'],
  [/\berror::Error for\b/, 'core/src/error.rs'],
]
/** Where this holds. */
const ONCE = /^(core|node|program)\/src\/.*\.rs$/

/** What is wrong with these files of crate/, as sentences. */
function wrongsOf(files) {
  const found = []
  for (const [file, text] of files) {
    const isRust = file.endsWith('.rs')
    const code = isRust ? rust.codeOf(text) : text
    if (/^(core|program)\//.test(file) && NODE.test(code)) found.push(`${file} knows Node`)
    if (/\/src\/.*\.rs$/.test(file) && /#!?\[[^\]]*\bpath\s*=/.test(code))
      found.push(`${file} puts a module where its name does not say`)
    if (ONCE.test(file))
      for (const [what, where] of WRITTEN_ONCE)
        if (file !== where && what.test(rust.codeBeforeTests(text)))
          found.push(`${file} does what ${where} is for`)
    // A buffer of one thread (thread_local!) is indented.
    if (/^node\/src\//.test(file) && /^(pub(\(\w+\))? )?static\b/m.test(code))
      found.push(`${file} has a state`)
    if (isRust && !MAY_ASK.test(file) && /\btarget_(os|env|family|vendor)\b|\bconsts::OS\b/.test(code))
      found.push(`${file} asks for the system`)
  }
  const core = [...files].filter(([file]) => file.startsWith(CORE) && file.endsWith('.rs'))
  const sources = new Map(core.map(([file, text]) => [file.slice(CORE.length), text]))
  return [...found, ...rust.circlesOf(rust.importsOf(sources)).map((circle) => `a circle: ${circle}`)]
}

/** The files of crate/ with what they say. */
function crates() {
  const folder = join(root, 'crate')
  const tomls = fs
    .readdirSync(folder)
    .map((name) => `${name}/Cargo.toml`)
    .filter((file) => fs.existsSync(join(folder, file)))
  return new Map([
    ...rust.sourcesOf(folder),
    ...tomls.map((file) => [file, fs.readFileSync(join(folder, file), 'utf8')]),
  ])
}

test('the core and the program know no Node, the system is asked for in one room, and no file goes in a circle', (t) => {
  t.deepEqual(wrongsOf(crates()), [])
})

for (const [file, line, expected] of [
  ['core/Cargo.toml', 'napi.workspace = true', /^core\/Cargo.toml knows Node$/],
  ['core/src/walk.rs', 'use napi::Env;', /^core\/src\/walk.rs knows Node$/],
  ['program/src/main.rs', 'type E = napi_derive::Error;', /^program\/src\/main.rs knows Node$/],
  ['program/Cargo.toml', 'tsdaemonize = { path = "../node" }', /^program\/Cargo.toml knows Node$/],
  ['program/Cargo.toml', 'module = { package = "tsdaemonize" }', /^program\/Cargo.toml knows Node$/],
  [
    'core/src/error.rs',
    '#[cfg_attr(unix, path = "other.rs")]\nmod x;',
    /^core\/src\/error.rs puts a module where/,
  ],
  [
    'core/src/sys/linux/files.rs',
    'use super::super::super::walk::kind;',
    /^a circle: .*sys\/linux\/files.rs .*walk.rs/,
  ],
  ['core/src/walk.rs', '#[cfg(target_os = "linux")]', /walk.rs asks for the system$/],
  ['core/src/error.rs', 'const A: bool = cfg!(not(target_env = "musl"));', /error.rs asks for the system$/],
  ['core/src/error.rs', '/* " */ fn a() -> bool { std::env::consts::OS == "linux" }', /asks for the system$/],
  ['node/src/lib.rs', '#[cfg(any(unix, target_os = "macos"))]', /lib.rs asks for the system$/],
  [
    'node/src/promise.rs',
    'fn a() { std::thread::spawn(a); }',
    /promise.rs does what core\/src\/thread.rs is for$/,
  ],
  ['core/src/walk.rs', 'use std::thread;', /walk.rs does what core\/src\/thread.rs is for$/],
  ['core/src/walk.rs', 'use std::thread::Builder;', /walk.rs does what core\/src\/thread.rs is for$/],
  ['core/src/walk.rs', 'let a = left.as_millis() + 1;', /walk.rs does what core\/src\/poll.rs is for$/],
  [
    'core/src/walk.rs',
    'impl std::error::Error for Failure {}',
    /walk.rs does what core\/src\/error.rs is for$/,
  ],
  ['node/src/start.rs', 'static LAST: Mutex<i32> = Mutex::new(0);', /^node\/src\/start.rs has a state$/],
  ['node/src/start.rs', 'pub(crate) static A: u8 = 0;', /^node\/src\/start.rs has a state$/],
  ['core/src/error.rs', 'use crate::walk::{self as w, Found};', /^a circle: .*error.rs .*walk.rs/],
  [
    'core/src/error.rs',
    'use super::accounts;\nfn a() { accounts::user_by_uid(0); }',
    /^a circle: accounts.rs error.rs/,
  ],
  ['core/src/error.rs', 'fn a() { crate::accounts::user_by_uid(0); }', /^a circle: accounts.rs error.rs/],
  ['core/src/error.rs', 'use crate::{accounts::*};', /^a circle: accounts.rs error.rs/],
  // By a door.
  ['core/src/error.rs', 'pub use crate::pidfile::look;', /^a circle: .*error.rs .*pidfile\//],
]) {
  test(`what is wrong with a file of Rust is found: ${file}: ${line}`, (t) => {
    const files = crates()
    files.set(file, `${line}\n${files.get(file)}`)
    const found = wrongsOf(files)
    t.true(
      found.some((sentence) => expected.test(sentence)),
      found.join('\n'),
    )
  })
}

test('a door makes no circle, unless a child uses what the door itself defines', (t) => {
  const files = crates()
  const add = (file, line) => files.set(file, `${line}\n${files.get(file)}`)
  // The door hands on what a child has, and another child takes it from there.
  add('core/src/pidfile/sweep.rs', 'use super::State;\nuse crate::pidfile::{parse_pid, Look as L};')
  t.deepEqual(wrongsOf(files), [])
  add('core/src/process/session.rs', 'use super::later;')
  add('core/src/process/mod.rs', 'fn later() {}')
  t.deepEqual(wrongsOf(files), [])
  add('core/src/process/mod.rs', 'fn now() { session::kill_session(1, later()) }')
  t.deepEqual(wrongsOf(files), ['a circle: process/mod.rs process/session.rs'])
})

test('no command of package.json runs before or after another by its name alone', (t) => {
  const { scripts } = JSON.parse(fs.readFileSync(join(root, 'package.json'), 'utf8'))
  t.deepEqual(
    Object.keys(scripts).filter((name) => /^(pre|post)/.test(name)),
    [],
  )
})
