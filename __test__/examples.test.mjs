// Every example is started, does what it says, and is stopped, as a reader would do it.

import { once } from 'node:events'
import fs from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { execArgv } from './documents.mjs'
import { asRoot, freePort, isAlive, isRoot, place, proc, root, run, test, until } from './kit.mjs'

function example(p, name, ...args) {
  const env = { RUNTIME_DIRECTORY: p.run }
  return run(p, `${root}examples/${name}.ts`, args, { execArgv, cwd: root, env })
}

async function started(t, p, name, ...args) {
  const { status, stderr } = await example(p, name, 'start', ...args)
  t.is(status, 0, stderr)
  const { stdout } = await example(p, name, 'status')
  const [, pid, user] = stdout.match(/is running: pid (\d+), user ([^,]+), /)
  t.is(proc(pid).tty, 0)
  return { pid: Number(pid), user }
}

async function stopped(t, p, name, pid) {
  const { status, stderr } = await example(p, name, 'stop')
  t.is(status, 0, stderr)
  t.false(isAlive(pid))
  t.is((await example(p, name, 'status')).status, 3)
}

test('nop never lets its event loop turn, and ends at SIGTERM all the same', async (t) => {
  const p = place(t)
  const { pid } = await started(t, p, 'nop')
  await until(() => proc(pid).state === 'R', 'the loop to run')
  process.kill(pid, 'SIGTERM')
  await until(() => !isAlive(pid), 'its end')
  t.is((await example(p, 'nop', 'status')).status, 3)
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('clock tells the time, in the background or attached', async (t) => {
  const p = place(t)
  const { pid } = await started(t, p, 'clock')
  await stopped(t, p, 'clock', pid)

  const attached = example(p, 'clock', 'run')
  const line = await new Promise((resolve) => attached.child.stderr.once('data', resolve))
  t.regex(String(line), /^clock: It is \d\d:\d\d\n$/)
  attached.child.kill('SIGINT')
  t.is((await attached).status, 0)
})

test('monitor-creation logs what is created, and only that', async (t) => {
  const p = place(t)
  const log = `${p.dir}/log`
  const watched = `${p.dir}/watched`
  const missing = await example(p, 'monitor-creation', 'start', watched, log)
  t.is(missing.status, 1)
  t.regex(missing.stderr, /no such file or directory, watch '.*watched'/)

  fs.mkdirSync(watched)
  fs.writeFileSync(`${watched}/old`, '')
  const { pid } = await started(t, p, 'monitor-creation', watched, log)
  fs.writeFileSync(`${watched}/one`, '')
  fs.writeFileSync(`${watched}/old`, 'changed')
  fs.unlinkSync(`${watched}/old`)
  fs.mkdirSync(`${watched}/two`)
  const lines = () => fs.readFileSync(log, 'utf8').split('\n').filter(Boolean)
  await until(() => lines().length >= 2, 'two lines')
  await stopped(t, p, 'monitor-creation', pid)
  t.deepEqual(
    lines().map((line) => line.slice(25)),
    [`one was created in ${watched}`, `two was created in ${watched}`],
  )
})

function get(port) {
  return new Promise((resolve, reject) => {
    const request = http.get({ port, agent: false }, async (response) => {
      resolve(Buffer.concat(await response.toArray()).toString())
    })
    request.on('error', reject)
  })
}

test('web answers, and a port that is taken is a failed start', async (t) => {
  const p = place(t)
  const port = await freePort()
  const { pid } = await started(t, p, 'web', String(port))
  t.regex(await get(port), new RegExp(`^Hello from web: pid ${pid}, `))
  if (!isRoot) t.regex(await get(port), new RegExp(`uid ${process.getuid()}\n$`))
  await stopped(t, p, 'web', pid)

  const other = net.createServer().listen(port)
  t.teardown(() => other.close())
  const taken = await example(p, 'web', 'start', String(port))
  t.is(taken.status, 1)
  t.regex(taken.stderr, /EADDRINUSE/)
})

/** An open connection that has sent this request. */
async function connection(t, port, question) {
  const client = net.connect(port, '127.0.0.1')
  t.teardown(() => client.destroy())
  client.on('error', () => {})
  await once(client, 'connect')
  if (question) {
    client.write(question)
    await once(client, 'data')
  }
  client.resume()
}

test('web ends with status 0 although connections are open that ask nothing', async (t) => {
  const p = place(t)
  const port = await freePort()
  // The status of an attached daemon can be seen: it would be 1 if `shutdown` took longer than stopTimeout.
  const attached = example(p, 'web', 'run', String(port))
  await until(() => get(port).catch(() => false), 'an answer')
  await connection(t, port, 'GET / HTTP/1.1\r\nHost: here\r\n\r\n')
  await connection(t, port)
  attached.child.kill('SIGTERM')
  const { status, stderr } = await attached
  t.is(status, 0, stderr)
})

asRoot('web binds as root and answers as another user', async (t) => {
  const p = place(t)
  const port = await freePort()
  const { pid, user } = await started(t, p, 'web', String(port))
  t.not(user, 'root')
  t.is(await get(port), `Hello from web: pid ${pid}, user ${user}\n`)
  for (const task of fs.readdirSync(`/proc/${pid}/task`)) {
    const [, ids] = fs.readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8').match(/^Uid:\t(.*)$/m)
    t.false(ids.split('\t').includes('0'))
  }
  await stopped(t, p, 'web', pid)
})

test('on-demand starts one server for all who ask, and it remembers', async (t) => {
  const p = place(t)
  const file = p.write('file', 'content\n')
  const digest = '434728a410a78f56fc1b5899c3593436e61ab0c731e9072d95e96db290205e53'
  const asked = await Promise.all([1, 2, 3].map(() => example(p, 'on-demand', file)))
  const pids = asked.map(({ status, stdout, stderr }) => {
    t.is(status, 0, stderr)
    t.regex(stdout, new RegExp(`^${digest}.*  ${file}\n$`))
    return Number(stderr.match(/the server, pid (\d+)/)[1])
  })
  t.is(new Set(pids).size, 1)
  t.is(asked.filter(({ stderr }) => stderr.startsWith('Started')).length, 1)

  const again = await example(p, 'on-demand', file, `${p.dir}/none`)
  t.is(
    again.stdout,
    `${digest} (remembered)  ${file}\nENOENT: no such file or directory, stat '${p.dir}/none'  ${p.dir}/none\n`,
  )
  t.is((await example(p, 'on-demand', '--stop')).status, 0)
  t.false(isAlive(pids[0]))
  t.deepEqual(fs.readdirSync(p.run), [])

  // A socket that a killed server has left does no harm.
  const { stderr } = await example(p, 'on-demand', file)
  const pid = Number(stderr.match(/pid (\d+)/)[1])
  process.kill(pid, 'SIGKILL')
  await until(() => !isAlive(pid))
  const next = await example(p, 'on-demand', file)
  t.is(next.stdout, `${digest}  ${file}\n`)
  t.regex(next.stderr, /^Started/)
})
