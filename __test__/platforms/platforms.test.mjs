// `npm run test:platforms`: builds what is out of date, and lets a real daemon live on each platform: its
// start, its status, a signal, its log, its end. What was found goes to docs/platforms.md.
// With `--ci`, the x64 platforms, and of the others those that have been built and run here before.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { appOf } from './app.mjs'
import { check } from './binary.mjs'
import { build, isBuilt } from './build.mjs'
import { makePackages } from './package.mjs'
import { canIsolate, emulator, isCached, RUNTIMES, rootOf } from './runtimes.mjs'
import { artifacts, binaryOf, chosen, programOf, root, TARGETS } from './targets.mjs'
import { toolchain } from './tools.mjs'

const args = process.argv.slice(2)
const isCi = args.includes('--ci')
const named = chosen(args.filter((arg) => !arg.startsWith('--')))
const isWhole = named.length === TARGETS.length && !isCi

const results = []

function result(what, outcome) {
  const { wrong, skipped, seconds = 0 } = outcome
  results.push({ ...what, ...outcome })
  const name = `${what.platform}: ${what.name}`
  if (skipped !== undefined) console.log(`skip  ${name}: ${skipped}`)
  else if (wrong !== undefined) console.log(`FAILED: ${name}: ${wrong}`)
  else console.log(`ok    ${name} (${seconds.toFixed(1)} s)`)
}

function attempt(what, action) {
  const begun = performance.now()
  try {
    const found = action()
    result(what, { seconds: (performance.now() - begun) / 1000, ...found })
    return true
  } catch (error) {
    result(what, { wrong: error.message })
    return false
  }
}

/** Whether the binaries are younger than all that they are made of. */
function isCurrent(target) {
  const files = [artifacts + binaryOf(target), artifacts + programOf(target)]
  if (!files.every(existsSync)) return false
  const made = Math.min(...files.map((file) => statSync(file).mtimeMs))
  const sources = readdirSync(`${root}crate`, { recursive: true }).map((name) => `crate/${name}`)
  return ['Cargo.toml', 'Cargo.lock', ...sources].every((name) => statSync(root + name).mtimeMs < made)
}

/** Whether the tools are here, or can be got; in CI a registry that is out of reach is no failure. */
function hasTools(target) {
  try {
    toolchain()
    return true
  } catch (error) {
    result({ platform: target.name, name: 'build' }, { skipped: `the tools cannot be got: ${error.message}` })
    return false
  }
}

function hasRoot(runtime) {
  try {
    rootOf(runtime)
    return true
  } catch (error) {
    if (!isCi) throw error
    result(runtime, { skipped: `it cannot be got: ${error.message}` })
    return false
  }
}

/** Builds a binary where it is out of date, and looks at it; whether there is one then. */
function ready(target) {
  const isCross = target.name !== 'linux-x64-gnu' && target.name !== 'linux-x64-musl'
  const own = RUNTIMES.filter(({ platform }) => platform === target.name)
  if (isCi && isCross && !(isBuilt(target) && own.length > 0 && own.every(isCached))) {
    result(
      { platform: target.name, name: 'build' },
      { skipped: 'not built or run here before (npm run test:platforms)' },
    )
    return false
  }
  if (isCi && !isCurrent(target) && !hasTools(target)) return false
  return attempt({ platform: target.name, name: 'build' }, () => {
    if (!isCurrent(target)) build(target)
    check(target)
    return { bytes: statSync(artifacts + binaryOf(target)).size }
  })
}

/** One daemon's life in a runtime. */
function live(runtime, packages) {
  const app = mkdtempSync(join(tmpdir(), 'tsd-platform-'))
  try {
    appOf(packages, runtime.platform, app)
    const qemu = runtime.platform.includes(process.arch) ? '' : emulator()
    const inside = ['sh', `${root}scripts/platforms/inside.sh`, rootOf(runtime), app, runtime.node, qemu]
    const { status, stdout, stderr } = spawnSync('unshare', ['-Urmpf', '--kill-child', ...inside], {
      encoding: 'utf8',
      timeout: 300_000,
    })
    if (status !== 0) throw new Error(`${stdout}${stderr}`.trim() || `status ${status}`)
    return { on: stdout.trim() }
  } finally {
    rmSync(app, { recursive: true, force: true })
  }
}

const isolated = canIsolate()
const built = named.filter(ready)
const scratch = mkdtempSync(join(tmpdir(), 'tsd-platforms-'))
const packages = `${scratch}/`
if (built.length > 0) makePackages({ packages })
for (const runtime of RUNTIMES.filter(({ platform }) => built.some(({ name }) => name === platform))) {
  if (!isolated) result(runtime, { skipped: 'this user cannot make namespaces (unshare -Urmpf)' })
  else if (hasRoot(runtime)) attempt(runtime, () => live(runtime, packages))
}
for (const { name } of built.filter(({ os }) => os === 'darwin')) {
  result({ platform: name, name: 'run' }, { skipped: 'there is no macOS here: built and linked, not run' })
}
rmSync(scratch, { recursive: true })

if (isWhole) writeFileSync(`${root}docs/platforms.md`, document())
const count = (is) => results.filter(is).length
const failed = count(({ wrong }) => wrong !== undefined)
const skipped = count((one) => one.skipped !== undefined)
console.log(`\n${results.length - failed - skipped} passed, ${failed} failed, ${skipped} skipped`)
process.exitCode = failed > 0 ? 1 : 0

function document() {
  const outcome = ({ wrong, skipped, on }) =>
    skipped ?? (wrong === undefined ? (on ?? 'as it must be') : `FAILED: ${wrong.split('\n')[0]}`)
  const rows = results.map(({ platform, name, bytes, ...rest }) =>
    [platform, name, bytes === undefined ? outcome(rest) : `${outcome(rest)}, ${bytes} bytes`].join(' | '),
  )
  const date = new Date().toISOString().slice(0, 10)
  return `# Platforms

What \`npm run test:platforms\` found when it last ran, on ${date}. It builds the binary of each platform, looks
at it (stripped, below 850 KB, no paths of the machine that built it, no glibc symbol newer than 2.17), and lets a real
daemon live on it: one whose \`setup\` fails says why; it starts, a second one is refused, its status is told, it gets a
signal and logs it, it ends. arm64 runs under qemu, musl with a Node that was built for musl, x64 also on a real glibc
2.17. There is no macOS here: the binaries for it are built and linked, and **not run**. CI runs them, on a Mac.

| platform | with | found |
|---|---|---|
${rows.map((row) => `| ${row} |`).join('\n')}

## How they are built

\`npm run build:all\` builds them on one x64 Linux; \`npm run build:all -- linux-arm64-musl\` one of them. zig is the
linker and brings the C libraries (PyPI: \`ziglang\`, \`cargo-zigbuild\`); Rust's standard library is built from its
source, for size without the part that turns addresses into lines of source code. Where this Rust has no source
(\`rustup component add rust-src\`), Debian's \`rustc-web\` is unpacked, not installed. All of it stays in \`.cache/\`.
What \`npm run build\` makes for this machine alone has the standard library as it comes, and is larger by 200 KB.
\`npm run package\` makes what is published, in \`packages/\`: the facade, and a package per platform with the licences
of what is linked in.

## macOS

The same source, and the same promises by the system's own means:

| on Linux | on macOS |
|---|---|
| pidfd: wait for a process, signal it and no other | kqueue, \`EVFILT_PROC\`; kill(2) right after a look that the process has not ended: there is no signal by handle |
| memfd | a file that is unlinked as soon as it is made |
| close_range | the list of libproc (\`PROC_PIDLISTFDS\`) |
| the lock's holder, in /proc/PID/fdinfo | who has the pidfile open for writing, by libproc |
| inotify: the pidfile was removed | kqueue, \`EVFILT_VNODE\` |
| eventfd | a pair of sockets |
| \`PR_SET_PDEATHSIG\`: the guardian of a start was killed | a thread, from the import of the package on |
| /proc/PID/stat: start, memory, user | libproc |

Refused there with an error that says so: \`stdout: 'syslog'\` and \`stderr: 'syslog'\`, \`chroot\`, \`capabilities\`,
\`noNewPrivileges\`, \`limits\`, \`nice\`, \`oomScoreAdjust\` and \`landlock\`.
`
}
