// A project that has the package as a user's has it, and its program in every form: by what it is run.

import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { bunPath, denoPath, LINES, nodeOf, postjectPath } from '../../scripts/nodes.mjs'

const execute = promisify(execFile)
const root = fileURLToPath(new URL('../..', import.meta.url))
const nativeModules = readdirSync(root).filter((name) => name.endsWith('.node'))

const BODY = `
class Sample extends Daemon {
  async setup() {
    if (process.env.FAIL) throw new Error('setup failed')
  }
  async action(signal) {
    syslog.syslog('argv ' + JSON.stringify(process.argv.slice(2)))
    if (globalThis.Deno) syslog.syslog('net: ' + Deno.permissions.querySync({ name: 'net' }).state)
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
  }
  async onSignal(signal) {
    syslog.syslog('got ' + signal)
    await super.onSignal(signal)
  }
  async shutdown() {
    syslog.syslog('the end')
  }
}
const [verb, ...rest] = process.argv.slice(2)
const done = new Sample({ name: 'sample' }).serviced(verb === 'start' ? [verb] : [verb, ...rest])
`
const ESM = `import { Daemon, syslog } from 'tsdaemonize'\n${BODY}\nawait done\n`
const CJS = `const { Daemon, syslog } = require('tsdaemonize')\n${BODY}`
const TS = ESM.replaceAll(
  'async action(signal)',
  'protected override async action(signal: AbortSignal)',
).replaceAll('async onSignal(signal)', 'protected override async onSignal(signal: NodeJS.Signals)')
/** By `-e`: there is no script that could be run again. */
const REFUSED = CJS.replace('= process.argv.slice(2)', "= ['start']")
const REFUSED_ESM = ESM.replace('= process.argv.slice(2)', "= ['start']")
/** Code that only a compiler can run: type stripping leaves it as it is. */
const COMPILED = `enum Kind { One }\nif (Kind.One !== 0) throw new Error('no enum')\n${TS}`

/** Installs the package and the platform's own beside it, and writes the program in every form. */
export async function makeProject(dir) {
  const modules = join(dir, 'node_modules')
  for (const name of ['package.json', 'dist']) {
    cpSync(join(root, name), join(modules, 'tsdaemonize', name), { recursive: true })
  }
  for (const file of nativeModules) {
    const [, platform] = file.split('.')
    const own = join(modules, `tsdaemonize-${platform}`)
    cpSync(join(root, file), join(own, file))
    writeFileSync(join(own, 'package.json'), JSON.stringify({ name: `tsdaemonize-${platform}`, main: file }))
  }
  symlinkSync(join(root, 'node_modules', 'tsx'), join(modules, 'tsx'))
  writeFileSync(join(dir, 'package.json'), '{}')
  const write = (name, source) => writeFileSync(join(dir, name), source)
  write('program.mjs', ESM)
  write('program.cjs', CJS)
  write('program.mts', TS)
  write('compiled.mts', COMPILED)
  const common = { bundle: true, platform: 'node', target: 'node20', logLevel: 'error', absWorkingDir: dir }
  // `await` at the top level is not for CommonJS.
  write('bundled.mjs', ESM.replace('await done\n', ''))
  await build({ ...common, entryPoints: ['bundled.mjs'], format: 'esm', outfile: 'bundle/program.mjs' })
  await build({
    ...common,
    entryPoints: ['bundled.mjs'],
    format: 'cjs',
    outfile: 'bundle/program.cjs',
    // It is asked for, and not relied on.
    logOverride: { 'empty-import-meta': 'silent' },
  })
  return dir
}

/** A directory with the native module in it, and no node_modules near. */
function application(place) {
  const dir = join(place, 'application')
  mkdirSync(dir)
  for (const file of nativeModules) cpSync(join(root, file), join(dir, file))
  return dir
}

/** The bundle in CommonJS, there. */
function besideIt(project, place) {
  const program = join(application(place), 'program.cjs')
  cpSync(join(project, 'bundle/program.cjs'), program)
  return program
}

/** A single-executable application, there. */
async function executable(project, place, line) {
  const node = nodeOf(line)
  const dir = application(place)
  const app = join(dir, 'sample')
  const config = { main: join(project, 'bundle/program.cjs'), disableExperimentalSEAWarning: true }
  const file = join(dir, 'sea.json')
  if (Number(line) >= 26) {
    writeFileSync(file, JSON.stringify({ ...config, output: app }))
    await execute(node, ['--build-sea', file])
    return app
  }
  const blob = join(dir, 'sea.blob')
  writeFileSync(file, JSON.stringify({ ...config, output: blob }))
  await execute(node, ['--experimental-sea-config', file])
  cpSync(node, app)
  const fuse = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2'
  const args = [app, 'NODE_SEA_BLOB', blob, '--sentinel-fuse', fuse]
  await execute(process.execPath, [join(postjectPath, 'dist/cli.js'), ...args])
  return app
}

/** The same by Bun. */
async function bunExecutable(project, place) {
  const dir = application(place)
  const app = join(dir, 'sample')
  await execute(bunPath, ['build', '--compile', join(project, 'bundled.mjs'), '--outfile', app], { cwd: dir })
  return app
}

/** What a daemon needs: without them, the package or its program cannot be loaded or do its work. */
const SOME = ['--allow-ffi', '--allow-read', '--allow-env', '--allow-sys', '--allow-write', '--deny-net']

const script = (name, execArgv = []) => ({
  make: async (project) => ({ script: join(project, name), execArgv }),
})

const beside = (execArgv = []) => ({
  make: async (project, place) => ({ script: besideIt(project, place), execArgv }),
})

/** Of every runtime the forms: how each is made into something to run, or why it cannot be. */
export function cells() {
  const all = []
  for (const line of LINES) {
    const execPath = nodeOf(line)
    const old = 'it does not know type stripping'
    const own = { runtime: `Node ${line}`, execPath }
    all.push(
      { ...own, form: 'ESM', ...script('program.mjs') },
      { ...own, form: 'require', ...script('program.cjs') },
      { ...own, form: 'TypeScript by tsx', ...script('compiled.mts', ['--import', 'tsx']) },
      {
        ...own,
        form: 'TypeScript by type stripping',
        ...script('program.mts', Number(line) < 24 ? ['--no-warnings'] : []),
        ...(line === '20' && { skip: old }),
      },
      { ...own, form: 'a bundle, ESM', ...script('bundle/program.mjs') },
      { ...own, form: 'a bundle, CommonJS', ...beside() },
      {
        ...own,
        form: 'a single-executable application',
        make: async (project, place) => ({ script: await executable(project, place, line), execPath: null }),
        ...(Number(line) < 26 && !existsSync(postjectPath) && { skip: 'postject is not installed' }),
      },
      { ...own, form: 'no script', refused: ['-e', REFUSED] },
    )
  }
  const bun = { runtime: 'Bun', execPath: bunPath }
  const deno = { runtime: 'Deno', execPath: denoPath }
  const allowed = ['run', '--allow-all']
  all.push(
    { ...bun, form: 'ESM', ...script('program.mjs') },
    { ...bun, form: 'require', ...script('program.cjs') },
    { ...bun, form: 'TypeScript', ...script('compiled.mts') },
    { ...bun, form: 'a bundle, ESM', ...script('bundle/program.mjs') },
    { ...bun, form: 'a bundle, CommonJS', ...beside() },
    {
      ...bun,
      form: 'a single-executable application',
      make: async (project, place) => ({ script: await bunExecutable(project, place), execPath: null }),
    },
    { ...bun, form: 'no script', refused: ['-e', REFUSED] },
    { ...deno, form: 'ESM', ...script('program.mjs', allowed) },
    { ...deno, form: 'require', ...script('program.cjs', allowed) },
    { ...deno, form: 'TypeScript', ...script('program.mts', allowed) },
    { ...deno, form: 'a bundle, ESM', ...script('bundle/program.mjs', allowed) },
    { ...deno, form: 'a bundle, CommonJS', ...beside(allowed) },
    { ...deno, form: 'with some permissions', ...script('program.mjs', ['run', ...SOME]), net: 'denied' },
    { ...deno, form: 'no script', refused: ['eval', REFUSED_ESM] },
  )
  return all.map((cell) => ({
    ...cell,
    name: `${cell.runtime}, ${cell.form}`,
    ...(!existsSync(cell.execPath) && { skip: `${cell.runtime} is not installed` }),
  }))
}
