// The programs of docs/privileges.md do what stands there, with places and ports of the test's own.

import fs from 'node:fs'
import { get } from 'node:http'
import { createServer } from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import { daemonOf, publicPlace, threads, withAccounts } from './credentials.mjs'
import { asRoot, command, isAlive, place, root, until } from './kit.mjs'

const text = fs.readFileSync(join(root, 'docs/privileges.md'), 'utf8')
const programs = Object.fromEntries(
  [...text.matchAll(/^```ts\n(\/\/ (\S+)\n.*?)^```$/gms)].map(([, code, name]) => [name, code]),
)
const execArgv = process.features.typescript ? ['--disable-warning=ExperimentalWarning'] : ['--import', 'tsx']
const WWW_DATA = 33

function install(p, changed = {}) {
  p.write('package.json', '{ "type": "module" }')
  fs.mkdirSync(join(p.dir, 'node_modules'))
  fs.symlinkSync(root, join(p.dir, 'node_modules/tsdaemonize'))
  for (const [name, code] of Object.entries(programs)) {
    const change = (all, [from, to]) => all.replaceAll(from, to)
    p.write(name, Object.entries(changed).reduce(change, code))
  }
}

async function start(t, p, program) {
  const args = [process.execPath, ...execArgv, join(p.dir, program)]
  const env = { RUNTIME_DIRECTORY: p.run }
  const { status, stderr } = await withAccounts(p, args, { env, cwd: root })
  t.is(status, 0, stderr)
  const pid = daemonOf(t, p, program.replace('.ts', ''))
  const found = threads(pid)
  for (const thread of found) {
    t.deepEqual([thread.uids[0], thread.gids[0], thread.groups], [WWW_DATA, WWW_DATA, [WWW_DATA]])
    t.true(thread.noNewPrivileges)
  }
  return { pid, found }
}

async function freePort() {
  const server = createServer().listen(0)
  await until(() => server.listening, 'a port')
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

const ask = (port, path = '/') =>
  new Promise((resolve, reject) => {
    get({ port, path, agent: false }, (response) => {
      let body = ''
      response.on('data', (data) => {
        body += data
      })
      response.on('end', () => resolve([response.statusCode, body]))
    }).on('error', reject)
  })

test('they have the right types', async (t) => {
  const p = place(t)
  install(p)
  const compilerOptions = { rootDir: '.', noEmit: true, typeRoots: [join(root, 'node_modules/@types')] }
  p.write(
    'tsconfig.json',
    JSON.stringify({ extends: join(root, 'tsconfig.json'), compilerOptions, include: ['*.ts'] }),
  )
  const compiler = join(root, 'node_modules/typescript/bin/tsc')
  const { status, stdout } = await command(p, process.execPath, [compiler, '-p', p.dir])
  t.is(status, 0, stdout)
  t.deepEqual(Object.keys(programs), ['web.ts', 'moment.ts', 'files.ts', 'jail.ts'])
})

asRoot('web.ts, moment.ts, files.ts and jail.ts', async (t) => {
  const p = publicPlace(t)
  const port = await freePort()
  fs.mkdirSync(`${p.dir}/srv`)
  fs.mkdirSync(`${p.dir}/jail`)
  fs.writeFileSync(`${p.dir}/srv/page`, 'A page\n')
  fs.writeFileSync(`${p.dir}/secret`, 'key', { mode: 0o600 })
  install(p, {
    'listen(80)': `listen(${port})`,
    'bind: [80]': `bind: [${port}]`,
    '/srv/files': `${p.dir}/srv`,
    '/srv/jail': `${p.dir}/jail`,
    '/etc/moment.key': `${p.dir}/secret`,
    '/var/log/jail.log': `${p.dir}/jail.log`,
  })
  const end = async (pid) => {
    process.kill(pid, 'SIGTERM')
    await until(() => !isAlive(pid), 'its end')
  }
  const web = await start(t, p, 'web.ts')
  t.deepEqual(await ask(port), [200, 'Hello\n'])
  await end(web.pid)

  const files = await start(t, p, 'files.ts')
  await until(() => ask(port, '/page').catch(() => false), 'the server')
  t.deepEqual(await ask(port, '/page'), [200, 'A page\n'])
  t.deepEqual(await ask(port, '/other'), [404, ''])
  for (const thread of files.found) t.deepEqual([thread.capabilities[2], thread.bounding], [1024n, 1024n])
  t.regex(fs.readFileSync(`/proc/${files.pid}/limits`, 'utf8'), /^Max open files +1024 +1024 /m)
  await end(files.pid)

  await start(t, p, 'moment.ts')
  const jail = await start(t, p, 'jail.ts')
  for (const thread of jail.found) t.is(thread.root, `${p.dir}/jail`)
})
