// Where the native module is loaded from, and where it is not.

import fs from 'node:fs'
import { join } from 'node:path'
import { nativeFile, place, root, run, test } from './kit.mjs'

const file = nativeFile
const platform = file.split('.')[1]

/** The package as it is installed, without a local build, and a program beside it. */
function installed(t) {
  const p = place(t)
  const at = 'app/node_modules/tsdaemonize'
  p.write(`${at}/package.json`, fs.readFileSync(join(root, 'package.json')))
  p.write(`${at}/dist/index.js`, fs.readFileSync(join(root, 'dist/index.js')))
  const script = p.write(
    'app/a.mjs',
    `import { Daemon } from 'tsdaemonize'
     try { console.log(await new Daemon({ name: 'a', pidFilePath: process.env.RUN }).status()) }
     catch ({ code, message }) { console.log(code, message) }`,
  )
  return { ...p, script }
}

const STOPPED = "{ state: 'stopped', stalePidFile: false }\n"

for (const [where, dir] of [
  ['beside this package', 'app/node_modules'],
  ['further up, as with some package managers', 'node_modules'],
]) {
  test(`the platform's package is found ${where}`, async (t) => {
    const p = installed(t)
    const at = `${dir}/tsdaemonize-${platform}`
    p.write(`${at}/package.json`, JSON.stringify({ name: `tsdaemonize-${platform}`, main: file }))
    fs.copyFileSync(join(root, file), join(p.dir, at, file))
    t.is((await run(p, p.script)).stdout, STOPPED)
  })
}

test('without it, importing works, and the error names it and what to do', async (t) => {
  const p = installed(t)
  const env = { NAPI_RS_NATIVE_LIBRARY_PATH: join(root, file) }
  const { stdout } = await run(p, p.script, [], { env })
  t.regex(stdout, /^ERR_DAEMON_UNSUPPORTED There is no native module for /)
  t.true(stdout.includes(`tsdaemonize-${platform}`))
  t.regex(stdout, /Install it: npm install --include=optional tsdaemonize-/)
})

test('one that cannot be loaded is named, with the reason', async (t) => {
  const p = installed(t)
  const broken = p.write(`app/node_modules/tsdaemonize/${file}`, 'not a module')
  const { stdout } = await run(p, p.script)
  t.true(stdout.startsWith(`ERR_DAEMON_UNSUPPORTED The native module ${broken} cannot be loaded: `), stdout)
  t.notRegex(stdout, /Install it/)
})

test("one for the other C library is refused with the name of the right one's package", async (t) => {
  const p = installed(t)
  const [os, cpu, libc] = platform.split('-')
  const other = `${os}-${cpu}-${libc === 'gnu' ? 'musl' : 'gnu'}`
  p.write(`app/node_modules/tsdaemonize-${other}/tsdaemonize.${other}.node`, 'for another C library')
  const { stdout } = await run(p, p.script)
  t.regex(stdout, /^ERR_DAEMON_UNSUPPORTED The native module .* cannot be loaded: /)
  t.true(stdout.includes(`This Node needs tsdaemonize-${platform}. Install it: npm install `), stdout)
})

test('where there is none for the platform, the error says where there is', async (t) => {
  const p = installed(t)
  p.write('app/before.mjs', `Object.defineProperty(process, 'arch', { value: 's390x' })`)
  const { stdout } = await run(p, p.script, [], { execArgv: ['--import', './app/before.mjs'] })
  t.regex(stdout, /^ERR_DAEMON_UNSUPPORTED There is no native module for linux on s390x: .* linux-x64-gnu, /)
})
