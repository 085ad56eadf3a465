// A daemon and its children print much at a time, as syslog messages. Whatever happens to the processes
// meanwhile, every line arrives once and in order, and nothing else does.

import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import { isAlive, isRoot, pidIn, place, proc, processesOf, run, sleep, test, until } from './kit.mjs'
import { assertAll, local, numbers, receive, sampleToReceiver } from './receivers.mjs'

/** The lines of standard output and standard error that arrived, in their order; `of` are the priorities' numbers.
 * The daemon's own last line is left out. */
const texts = (receiver, of = [6, 3]) =>
  receiver.messages().flatMap((message) => {
    const [, priority, text] = /^<(\d+)>.{15} [^:]*: (.*)$/s.exec(Buffer.from(message, 'latin1').toString())
    return of.includes(Number(priority) - 24) && !text.startsWith('Ended after ') ? [text] : []
  })
const program = ({ options = '', ...more }) =>
  sampleToReceiver({ options: `stdout: 'syslog', stderr: 'syslog', ${options}`, ...more })
const relayOf = (pid) =>
  Number(
    fs
      .readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
      .split(' ')
      .concat(
        ...fs
          .readdirSync(`/proc/${pid}/task`)
          .map((task) => fs.readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ')),
      )
      .find((child) => child && proc(Number(child))?.status.Name === 'to-syslog') ?? 0,
  )
const ended = (p) => until(() => processesOf(p).length === 1, 'the end of daemon and relay')

/** The relay once it is there: a signal to the process 0 would reach the whole group, this test included. */
async function relayAt(pid) {
  await until(() => relayOf(pid) > 0, 'the relay')
  return relayOf(pid)
}

test('bursts of the shortest lines after pauses arrive as they are', async (t) => {
  const p = place(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const body = `async action() {
    let n = 0
    for (let burst = 0; burst < 12; burst++) {
      const lines = []
      for (let i = 0; i < 3000 + 50 * burst; i++) lines.push((n++ % 1000).toString(36))
      console.log(lines.join('\\n'))
      await sleep(400)
    }
  }`
  t.is((await run(p, p.write('a.mjs', program({ body })), [], { env: local(p) })).status, 0)
  await ended(p)
  await receiver.stop()
  const found = texts(receiver)
  const expected = Array.from({ length: 12 * 3000 + 50 * 66 }, (_, i) => (i % 1000).toString(36))
  const wrong = expected.findIndex((text, i) => text !== found[i])
  t.is(wrong, -1, `${wrong}: ${JSON.stringify(found.slice(wrong, wrong + 5))}`)
  t.is(found.length, expected.length)
})

test('lines of all sizes up to 100 KB arrive, the long ones in parts', async (t) => {
  const p = place(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const line = '(i) => i + "x".repeat([0, 1, 2, 70, 4000, 8190, 8191, 8192, 16384, 20000, 99990][i % 11])'
  const body = `async action() {
    const line = ${line}
    for (let i = 0; i < 330; i++) {
      ;(i % 2 ? console.error : console.log)(line(i))
      if (i % 50 === 0) await sleep(50)
    }
  }`
  t.is((await run(p, p.write('a.mjs', program({ body })), [], { env: local(p) })).status, 0)
  await ended(p)
  await receiver.stop()
  const of = new Function(`return ${line}`)()
  for (const [odd, priority] of [6, 3].entries()) {
    const lines = Array.from({ length: 330 }, (_, i) => i).filter((i) => i % 2 === odd)
    const expected = lines.flatMap((i) => of(i).match(/.{1,8192}/g))
    t.deepEqual(texts(receiver, [priority]), expected)
  }
})

/** Prints on both outputs, with and without newlines, and with tabs. A shell and a Node, which are its children,
 * do the same. Each piece is one write(2) of less than PIPE_BUF, so that none is split. */
const pieces = (count) => `async action() {
  const children = [
    spawn('sh', ['-c', 'i=0; while [ $i -lt ${count} ]; do printf "<s$i:\\t>"; printf "<s$i:\\t>\\n" >&2; i=$((i+1)); done'], { stdio: 'inherit' }),
    spawn(process.execPath, ['-e', 'for (let i = 0; i < ${count}; i++) { console.log("<n" + i + ":\t>"); console.error("<n" + i + ":\t>") }'], { stdio: 'inherit' }),
  ].map((child) => once(child, 'exit'))
  let random = 1
  for (let i = 0; i < ${count}; i++) {
    random = (random * 48271) % 2147483647
    const piece = '<m' + i + ':' + '\\t'.repeat(random % 300) + '>'
    process.stdout.write(piece + (random % 3 ? '\\n' : ''))
    process.stderr.write(piece + (random % 5 ? '' : '\\n'))
    if (random % 500 === 0) await sleep(random % 1500)
    if (i % 20 === 0) await sleep(0)
  }
  await Promise.all(children)
}`

function assertPieces(t, receiver, count) {
  const tabs = []
  for (let i = 0, random = 1; i < count; i++) {
    random = (random * 48271) % 2147483647
    tabs.push(random % 300)
  }
  for (const priority of [6, 3]) {
    const all = texts(receiver, [priority]).join('').replace('Received SIGTERM. Exiting.', '')
    const rest = all.replaceAll(/<[msn]\d+:(#011)*>/g, '')
    t.is(rest, '', 'nothing but what was printed')
    for (const who of 'msn') {
      const found = [...all.matchAll(new RegExp(`<${who}(\\d+):((?:#011)*)>`, 'g'))]
      assertAll(
        t,
        found.map(([, number]) => Number(number)),
        count,
      )
      const wrong = found.findIndex(([, i, text]) => text.length !== (who === 'm' ? tabs[i] : 1) * 4)
      t.is(wrong, -1)
    }
  }
}

for (const cpus of ['0', '']) {
  test(`pieces of lines of a daemon and its children arrive, on ${cpus ? 'one CPU' : 'all CPUs'}`, async (t) => {
    const p = place(t)
    const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
    const before = "import { spawn } from 'node:child_process'"
    const script = p.write('a.mjs', program({ body: pieces(3000), before }))
    if (cpus) spawnSync('taskset', ['-p', '-c', cpus, String(process.pid)])
    try {
      t.is((await run(p, script, [], { env: local(p) })).status, 0)
    } finally {
      if (cpus) spawnSync('taskset', ['-p', '-c', `0-${os.cpus().length - 1}`, String(process.pid)])
    }
    await ended(p)
    await receiver.stop()
    assertPieces(t, receiver, 3000)
  })
}

test('daemon and relay are stopped and go on, now and then: all arrives', async (t) => {
  const p = place(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const before = "import { spawn } from 'node:child_process'"
  const script = p.write('a.mjs', program({ body: pieces(3000), before }))
  const { status, stderr } = await run(p, script, [], { env: local(p) })
  t.is(status, 0, stderr)
  const pid = pidIn(p)
  const relay = await relayAt(pid)
  for (let i = 0; isAlive(pid); i++) {
    const which = i % 3 ? pid : relay
    try {
      process.kill(which, 'SIGSTOP')
      await sleep(i % 7)
      process.kill(which, 'SIGCONT')
    } catch {}
    await sleep(i % 11)
  }
  process.kill(relay, 'SIGCONT')
  await ended(p)
  await receiver.stop()
  assertPieces(t, receiver, 3000)
})

test('a write that is stopped in the middle goes on: no part of it is lost', async (t) => {
  const p = place(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const body = `async action() {
    fs.writeFileSync(process.env.DIR + '/go', '')
    for (let i = 0; i < 6; i++) {
      const lines = Array.from({ length: 1000 }, (_, n) => 'number ' + (1000 * i + n) + ' ' + 'x'.repeat(1200))
      console.log(lines.join('\\n'))
    }
    fs.writeFileSync(process.env.DIR + '/done', '')
  }`
  t.is((await run(p, p.write('a.mjs', program({ body })), [], { env: local(p) })).status, 0)
  const pid = pidIn(p)
  while (!fs.existsSync(`${p.dir}/done`)) {
    process.kill(pid, 'SIGSTOP')
    process.kill(pid, 'SIGCONT')
    await sleep(0)
  }
  await ended(p)
  await receiver.stop()
  assertAll(t, numbers(texts(receiver)), 6000)
})

/** Prints 6 MB, and so does a child; both begin when they are told to. */
const loud = `async action(signal) {
  const child = spawn('sh', ['child.sh'], { stdio: 'inherit', cwd: process.env.DIR })
  fs.writeFileSync(process.env.DIR + '/spawned', '')
  while (!fs.existsSync(process.env.DIR + '/go')) await sleep(20)
  for (let i = 0; i < 6000; i++) {
    console.log('own number ' + i + ' ' + 'x'.repeat(1000))
    if (i % 100 === 0) await sleep(0)
  }
  if (child.exitCode === null) await once(child, 'exit')
  fs.writeFileSync(process.env.DIR + '/done', '')
  await once(signal, 'abort')
  console.log('own number 6000')
  process.abort()
}`

const child = `while ! test -e go; do sleep 0.05; done
exec awk 'BEGIN { for (i = 0; i < 20000; i++) print "child number " i " and so on, to fill the pipe" }' >&2
`

function assertLoud(t, receiver) {
  const found = texts(receiver)
  assertAll(t, numbers(found.filter((text) => text.startsWith('own '))), 6001)
  assertAll(t, numbers(found.filter((text) => text.startsWith('child '))), 20_000)
}

test('a relay that is stopped holds up neither the daemon nor its children', async (t) => {
  const p = place(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  p.write('child.sh', child)
  const before = "import { spawn } from 'node:child_process'"
  t.is((await run(p, p.write('a.mjs', program({ body: loud, before })), [], { env: local(p) })).status, 0)
  const pid = pidIn(p)
  const relay = await relayAt(pid)
  process.kill(relay, 'SIGSTOP')
  await until(() => proc(relay).state === 'T')
  fs.writeFileSync(`${p.dir}/go`, '')
  await until(() => fs.existsSync(`${p.dir}/done`), 'all to be printed')
  t.is(proc(relay).state, 'T', 'it is the same, and still stopped')
  process.kill(pid, 'SIGTERM')
  await until(() => !isAlive(pid), 'the end of the daemon')
  process.kill(relay, 'SIGCONT')
  await ended(p)
  await receiver.stop()
  assertLoud(t, receiver)
})

test('a relay that is killed while no process can be made is missed by nobody, and comes back', async (t) => {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  const dir = `${p.dir}/open`
  fs.mkdirSync(dir)
  fs.chmodSync(dir, 0o777)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  fs.chmodSync(`${p.dir}/log`, 0o666)
  p.write('open/child.sh', child)
  const before = "import { spawn } from 'node:child_process'"
  // The limit does not count for root.
  const options = isRoot ? "user: 'nobody'," : ''
  const script = p.write('a.mjs', program({ body: loud, before, options }))
  t.is((await run(p, script, [], { env: { ...local(p), DIR: dir } })).status, 0)
  const pid = pidIn(p)
  // Root needs CAP_SYS_RESOURCE to change another user's limits, and in some containers root lacks it.
  const [uid, gid] = ['Uid', 'Gid'].map((name) => Number(proc(pid).status[name].split('\t')[0]))
  const limit = (soft) => {
    const { status, stderr } = spawnSync('prlimit', [`--pid=${pid}`, `--nproc=${soft}:`], { uid, gid })
    t.is(status, 0, String(stderr))
  }
  const [, before0] = /^Max processes +(\S+)/m.exec(fs.readFileSync(`/proc/${pid}/limits`, 'utf8'))
  const relay = await relayAt(pid)
  await until(() => fs.existsSync(`${dir}/spawned`), 'the child')
  limit(0)
  process.kill(relay, 'SIGKILL')
  await until(() => !isAlive(relay))
  const arrived = (text) => until(() => texts(receiver, [3, 4]).some((one) => text.test(one)), String(text))
  await arrived(/Cannot start the process that sends the daemon's last words: .*\. Trying again/)
  fs.writeFileSync(`${dir}/go`, '')
  await until(() => fs.existsSync(`${dir}/done`), 'all to be printed')
  t.is(relayOf(pid), 0)
  limit(before0)
  await until(() => relayOf(pid) !== 0, 'another relay')
  process.kill(pid, 'SIGTERM')
  await until(() => !isAlive(pid), 'the end of the daemon')
  await ended(p)
  await receiver.stop()
  assertLoud(t, receiver)
})

test('a daemon that is killed while a child prints loses none of its lines, and sends none twice', async (t) => {
  const p = place(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const before = "import { spawn } from 'node:child_process'"
  const body = `async action(signal) {
    const round = process.argv[2]
    const print = 'BEGIN { for (i = 0; i < 10000; i++) { print "r' + round + ' number " i; fflush() } }'
    spawn('awk', [print], { stdio: 'inherit', detached: true })
    fs.writeFileSync(process.env.DIR + '/spawned' + round, '')
    await once(signal, 'abort')
  }`
  const script = p.write('a.mjs', program({ body, before }))
  const rounds = 8
  for (let round = 0; round < rounds; round++) {
    t.is((await run(p, script, [String(round)], { env: local(p) })).status, 0)
    const pid = pidIn(p)
    await until(() => fs.existsSync(`${p.dir}/spawned${round}`), 'the child')
    // This happens at a random moment of all that.
    await sleep(5 * round)
    process.kill(pid, 'SIGKILL')
    await ended(p)
  }
  await receiver.stop()
  const found = texts(receiver)
  for (let round = 0; round < rounds; round++) {
    assertAll(t, numbers(found.filter((text) => text.startsWith(`r${round} `))), 10_000)
  }
})
