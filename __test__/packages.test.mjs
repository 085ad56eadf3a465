// What is published: the main package, and one for each platform. They are made, checked and installed as npm does.

import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { bunPath, managerOf } from '../scripts/nodes.mjs'
import { linked, list } from '../scripts/platforms/licences.mjs'
import { makePackages, ownBuild } from '../scripts/platforms/package.mjs'
import { proseOf } from './documents.mjs'
import { command, exeOf, fullPipe, nativeFile, place, root, run, test, testIf, until } from './kit.mjs'

const file = nativeFile
const platform = file.split('.')[1]
const { version } = JSON.parse(fs.readFileSync(join(root, 'package.json'), 'utf8'))

/** The packages are made once, with this machine's own binary as the only one. */
const made = fs.mkdtempSync(join(tmpdir(), 'tsd-packages-'))
let tarballs
// npm's cache is usually in the home directory, which may not exist.
process.env.npm_config_cache = join(made, 'npm')

test.before(() => {
  tarballs = makePackages({ artifacts: ownBuild(`${made}/artifacts/`), packages: `${made}/packages/` })
})

test.after.always(() => fs.rmSync(made, { recursive: true }))

function packed(t) {
  const p = place(t)
  const [facade, platform] = tarballs
  return { ...p, facade, platform }
}

async function filesIn(p, tarball) {
  const { stdout } = await command(p, 'tar', ['tzf', tarball])
  return stdout
    .trim()
    .split('\n')
    .map((name) => name.replace('package/', ''))
    .sort()
}

/** A project in which these tarballs were installed, offline, and a program. */
async function installed(t, p, tarballs) {
  const app = join(p.dir, 'app')
  p.write('app/package.json', '{}')
  const args = ['install', '--offline', '--no-audit', '--no-fund', ...tarballs]
  const { status, stderr } = await command(p, 'npm', args, { cwd: app })
  t.is(status, 0, stderr)
  const script = p.write(
    'app/a.mjs',
    `import { Daemon } from 'tsdaemonize'
     try { console.log(await new Daemon({ name: 'a', pidFilePath: process.env.RUN }).status()) }
     catch ({ code, message }) { console.log(code, message) }`,
  )
  return { app, script }
}

test('the facade has the JavaScript, the public types and the documents, and nothing else', async (t) => {
  const p = packed(t)
  const files = await filesIn(p, p.facade)
  const expected =
    /^dist\/[\w/]+(\.d\.ts|\.js)$|^docs\/[\w-]+\.md$|^docs\/plots\/[\w-]+\.svg$|^examples\/[\w-]+\.ts$/
  const others = files.filter((name) => !expected.test(name))
  const named = ['CHANGELOG.md', 'CONTRIBUTING.md', 'LICENSE.txt', 'README.md']
  t.deepEqual(others, [...named, 'dist/tsdaemonize.1', 'package.json'])
  t.deepEqual(
    files.filter((name) => name.endsWith('.js')),
    [
      'dist/bin.js',
      'dist/index.js',
      'dist/pino.js',
      'dist/testing/index.js',
      'dist/testing/reaper.js',
      'dist/winston.js',
    ],
  )
  // Only declarations that the public types use are in it.
  for (const internal of ['launch/launch', 'process/index', 'runtime/builtin', 'native/native']) {
    t.false(files.includes(`dist/${internal}.d.ts`))
  }
})

test('`npm pack` gives the same files', async (t) => {
  const p = packed(t)
  const { stdout } = await command(p, 'npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
  })
  const listed = JSON.parse(stdout)
  const [{ files }] = Array.isArray(listed) ? listed : Object.values(listed)
  t.deepEqual(files.map(({ path }) => path).sort(), await filesIn(p, p.facade))
})

test('the links in the documents lead to what the facade has, or to the web', async (t) => {
  const p = packed(t)
  const files = await filesIn(p, p.facade)
  for (const name of files.filter((name) => name.endsWith('.md'))) {
    for (const [, link] of proseOf(name).matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)) {
      const target = join(dirname(name), link).replace(/\/$/, '')
      const found = files.some((file) => file === target || file.startsWith(`${target}/`))
      t.true(found, `${name}: ${link}`)
    }
  }
})

test('the facade is below 200 KB', (t) => {
  const { size } = fs.statSync(tarballs[0])
  t.true(size < 200_000, `${size}`)
})

test('the JavaScript of the facade is below 132 KB', (t) => {
  // This is what a program loads; the bridges and the kit for tests are separate files.
  const { size } = fs.statSync(join(root, 'dist/index.js'))
  t.true(size < 132_000, `${size}`)
})

test('nothing runs when it is installed, and it depends on nothing but its binaries', async (t) => {
  const p = packed(t)
  for (const dir of [p.facade, p.platform].map((tarball) => tarball.replace(/\.tgz$/, ''))) {
    const name = basename(dir).replace(`-${version}`, '').replace('tsdaemonize-', 'tsdaemonize/npm/')
    const manifest = JSON.parse(fs.readFileSync(join(made, 'packages', name, 'package.json'), 'utf8'))
    t.is(manifest.scripts, undefined)
    t.is(manifest.dependencies, undefined)
    if (name === 'tsdaemonize') {
      t.deepEqual(manifest.optionalDependencies, { [`tsdaemonize-${platform}`]: version })
    } else {
      t.deepEqual([manifest.os, manifest.cpu], [[process.platform], [process.arch]])
      t.is(manifest.libc?.[0], { gnu: 'glibc', musl: 'musl' }[platform.split('-')[2]])
    }
  }
})

test("a platform's package has the binaries and the licences of all that is linked in", async (t) => {
  const p = packed(t)
  t.deepEqual(await filesIn(p, p.platform), [
    'LICENSE.txt',
    'README.md',
    'THIRD-PARTY-LICENSES.txt',
    'package.json',
    'tsdaemonize',
    file,
  ])
  const text = fs.readFileSync(
    join(made, 'packages/tsdaemonize/npm', platform, 'THIRD-PARTY-LICENSES.txt'),
    'utf8',
  )
  for (const name of ['libc', 'napi', 'nix', 'syslog'])
    t.regex(text, new RegExp(`^- ${name} [\\d.]+: MIT`, 'm'))
  t.notRegex(text, /tempfile|proptest|napi-derive|napi-build/)
})

test('the list of licences names the crates that are linked in, with their versions, and no others', (t) => {
  // After a change of Cargo.lock: `npm run licences`.
  const names = [...fs.readFileSync(list, 'utf8').matchAll(/^- (.+?): /gm)].map(([, name]) => name)
  const added = ["Rust's standard library", "LLVM's libunwind, where the binary was linked by zig"]
  t.deepEqual(names.toSorted(), [...linked(), ...added].toSorted())
})

test('publint and attw find nothing wrong', async (t) => {
  const p = packed(t)
  const lint = await command(p, 'npx', ['--no-install', 'publint', '--strict', p.facade], { cwd: root })
  t.is(lint.status, 0, lint.stdout + lint.stderr)
  // It reads .attw.json: `require` of an ES module works on every Node that is supported.
  const args = ['--no-install', 'attw', p.facade, '--no-color']
  const types = await command(p, 'npx', args, { cwd: root })
  t.is(types.status, 0, types.stdout + types.stderr)
})

test('a program uses the packages that npm installed', async (t) => {
  const p = packed(t)
  const { app, script } = await installed(t, p, [p.facade, p.platform])
  t.deepEqual(
    fs
      .readdirSync(join(app, 'node_modules'))
      .filter((name) => !name.startsWith('.'))
      .sort(),
    ['tsdaemonize', `tsdaemonize-${platform}`],
  )
  t.is((await run(p, script)).stdout, "{ state: 'stopped', stalePidFile: false }\n")
})

const pnpm = join(managerOf('pnpm'), 'bin/pnpm.cjs')
const yarn = join(managerOf('@yarnpkg/cli-dist'), 'bin/yarn.js')
const NODE = process.execPath
const LINK = ['node_modules/.bin/tsdaemonize']
const yarnOf = (linker) => ({
  '.yarnrc.yml': `nodeLinker: ${linker}\nenableNetwork: false\nenableTelemetry: false\n`,
  'yarn.lock': '',
})
/** How a package manager installs the package, the files that it needs for that, and what then runs the command. */
const MANAGERS = [
  ['npm', ['npm', 'install', '--offline', '--no-audit', '--no-fund'], {}, LINK],
  [
    'npx',
    ['npm', 'install', '--offline', '--no-audit', '--no-fund'],
    {},
    ['npx', '--no-install', 'tsdaemonize'],
  ],
  ['pnpm', [NODE, pnpm, 'install', '--offline'], {}, LINK],
  ['pnpm, hoisted', [NODE, pnpm, 'install', '--offline', '--config.node-linker=hoisted'], {}, LINK],
  ['Yarn, with node_modules', [NODE, yarn, 'install', '--no-immutable'], yarnOf('node-modules'), LINK],
  [
    'Yarn, without',
    [NODE, yarn, 'install', '--no-immutable'],
    yarnOf('pnp'),
    [NODE, yarn, 'run', 'tsdaemonize'],
  ],
  ['Bun', [bunPath, 'install'], {}, LINK],
]
for (const [manager, install, files, [run, ...args]] of MANAGERS) {
  const isThere = install.every((path) => !path.startsWith('/') || fs.existsSync(path))
  testIf(isThere)(
    `the command that ${manager} has installed is the executable beside the native module`,
    async (t) => {
      const p = packed(t)
      const app = join(p.dir, 'app')
      const more = { cwd: app, env: { HOME: join(p.dir, 'home'), XDG_DATA_HOME: join(p.dir, 'home') } }
      // No registry has the platform's package, which the facade asks for. Each manager has another word for it.
      const others = { [`tsdaemonize-${platform}`]: `file:${p.platform}` }
      const dependencies = { tsdaemonize: `file:${p.facade}` }
      const overrides = { overrides: others, resolutions: others, pnpm: { overrides: others } }
      p.write('app/package.json', JSON.stringify({ private: true, dependencies, ...overrides }))
      for (const [name, text] of Object.entries(files)) p.write(`app/${name}`, text)
      const [file, ...how] = install
      const made = await command(p, file, how, more)
      t.is(made.status, 0, made.stdout + made.stderr)

      const found = fs.readdirSync(app, { recursive: true }).find((path) => basename(path) === nativeFile)
      const program = fs.realpathSync(join(app, dirname(found), 'tsdaemonize'))
      t.is(fs.statSync(program).mode & 0o777, 0o755)
      if (run !== LINK[0]) {
        const { stdout, stderr } = await command(p, run, [...args, '--version'], more)
        return t.is(stdout, `tsdaemonize ${version}\n`, stderr)
      }
      const pipe = fullPipe(t, p)
      const ended = command(p, join(app, run), ['--version'], {
        ...more,
        stdio: ['ignore', pipe.end, 'pipe'],
      })
      await until(() => exeOf(ended.pid) === program, 'the executable in the place of the command')
      const { status, stdout, stderr } = await pipe.finish(ended)
      t.deepEqual([status, stdout], [0, `tsdaemonize ${version}\n`], stderr)
    },
  )
}

test('where the package of the platform was left out, the error names it and the command that helps', async (t) => {
  const p = packed(t)
  const { script } = await installed(t, p, [p.facade, '--omit=optional'])
  const { stdout } = await run(p, script)
  t.regex(stdout, /^ERR_DAEMON_UNSUPPORTED There is no native module for /)
  t.true(stdout.includes(`the package tsdaemonize-${platform} is not installed`), stdout)
  t.true(stdout.includes(`npm install --include=optional tsdaemonize-${platform}@${version}\n`), stdout)
})

test('the development packages take the Node that runs here', async (t) => {
  const p = place(t)
  for (const name of ['package.json', 'package-lock.json']) p.write(name, fs.readFileSync(join(root, name)))
  const args = ['ci', '--dry-run', '--offline', '--ignore-scripts', '--no-audit', '--no-fund']
  const { status, stderr } = await command(p, 'npm', args)
  t.is(status, 0, stderr)
  t.notRegex(stderr, /EBADENGINE/)
})
