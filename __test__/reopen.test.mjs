// Log files: how they are opened, and reopened after a rotation.

import fs from 'node:fs'
import { asRoot, command, isAlive, pidIn, place, processesOf, run, sample, test, until } from './kit.mjs'
import { assertAll, local, numbers, receive, sampleToReceiver } from './receivers.mjs'

const FILES = "stdout: process.env.DIR + '/logs/out', stderr: process.env.DIR + '/logs/err',"
const read = (p, name) => fs.readFileSync(`${p.dir}/logs/${name}`, 'utf8')
const logs = (p) => fs.mkdirSync(`${p.dir}/logs`, { mode: 0o755 })
const program = ({ options = '', ...more }) => sampleToReceiver({ options: `${FILES} ${options}`, ...more })

test('a rotation under load, by renaming and SIGHUP, loses no line and doubles none', async (t) => {
  const p = place(t)
  logs(p)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const body = `async action(signal) {
    for (let i = 0; !signal.aborted; i++) {
      console.log('number ' + i)
      console.error('number ' + i)
      if (i % 50 === 0) await sleep(0)
    }
  }`
  const script = p.write('a.mjs', program({ body }))
  const { status, stderr } = await run(p, script, [], { env: local(p) })
  t.is(status, 0, stderr)
  const pid = pidIn(p)
  const rounds = 10
  for (let round = 0; round < rounds; round++) {
    for (const name of ['out', 'err']) {
      fs.renameSync(`${p.dir}/logs/${name}`, `${p.dir}/logs/${name}.${round}`)
      // Every other time the new file exists already, as with logrotate's `create`.
      if (round % 2 === 0) fs.writeFileSync(`${p.dir}/logs/${name}`, '', { mode: 0o600 })
    }
    process.kill(pid, 'SIGHUP')
    await until(() =>
      ['out', 'err'].every((name) => fs.existsSync(`${p.dir}/logs/${name}`) && read(p, name).length > 500),
    )
    t.is(fs.statSync(`${p.dir}/logs/out`).mode & 0o777, round % 2 === 0 ? 0o600 : 0o640)
  }
  process.kill(pid, 'SIGTERM')
  await until(() => !isAlive(pid))
  for (const name of ['out', 'err']) {
    const all = [...Array(rounds).keys()].map((round) => `${name}.${round}`).concat(name)
    const found = numbers(all.flatMap((one) => read(p, one).split('\n')))
    t.true(found.length > 1000)
    assertAll(t, found, found.length)
  }
  await receiver.stop()
  t.deepEqual(
    receiver.messages().filter((message) => /Cannot|Refusing/.test(message)),
    [],
  )
})

for (const [what, handles] of [
  ['keeps it for itself', ''],
  ['throws', "throw new Error('no configuration')"],
  ['never settles', 'await new Promise(() => {})'],
]) {
  test(`SIGHUP rotates the logs before an \`onSignal\` that ${what}`, async (t) => {
    const p = place(t)
    logs(p)
    // It prints once for each SIGHUP, also for one that `onSignal` never gets.
    const body = `async action(signal) {
      let printed = 0
      process.on('SIGHUP', () => setImmediate(() => console.log('after ' + ++printed)))
      console.log('acts')
      await once(signal, 'abort')
    }
    async onSignal(signal) {
      if (signal === 'SIGTERM') return super.onSignal(signal)
      console.log('got ' + signal)
      ${handles}
    }`
    const script = p.write('a.mjs', sample({ body, options: FILES }))
    t.is((await run(p, script)).status, 0)
    const pid = pidIn(p)
    await until(() => read(p, 'out') === 'acts\n')
    for (const round of [1, 2]) {
      fs.renameSync(`${p.dir}/logs/out`, `${p.dir}/logs/out.${round}`)
      process.kill(pid, 'SIGHUP')
      await until(() => fs.existsSync(`${p.dir}/logs/out`) && read(p, 'out').includes(`after ${round}`))
    }
    t.is(read(p, 'out.1'), 'acts\n')
    t.is(read(p, 'out.2'), 'got SIGHUP\nafter 1\n', 'anew before it is called')
  })
}

test('a rotation while the daemon starts is not missed', async (t) => {
  const p = place(t)
  logs(p)
  const body = `async setup() {
    fs.renameSync(process.env.DIR + '/logs/out', process.env.DIR + '/logs/old')
    let told = false
    process.once('SIGHUP', () => { told = true })
    process.kill(process.pid, 'SIGHUP')
    while (!told) await sleep(1)
  }
  async action(signal) { console.log('acts'); await once(signal, 'abort') }
  async onSignal(signal) { if (signal !== 'SIGHUP') await super.onSignal(signal) }`
  const script = p.write('a.mjs', sample({ body, options: FILES }))
  t.is((await run(p, script)).status, 0)
  await until(() => fs.existsSync(`${p.dir}/logs/out`) && read(p, 'out') === 'acts\n')
  t.is(read(p, 'old'), '')
})

test('a file that cannot be opened anew is told, and the old one stays', async (t) => {
  const p = place(t)
  logs(p)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const body = `async action(signal) { await once(signal, 'abort') }
  async onSignal(signal) {
    await super.onSignal(signal)
    if (signal === 'SIGUSR1') this.reopen()
    console.log('after ' + signal)
    console.error('after ' + signal)
  }`
  const before = `try { new (class extends Daemon {})().reopen() } catch (error) { fs.writeFileSync(process.env.DIR + '/refused', error.code) }`
  const script = p.write('a.mjs', program({ body, before }))
  t.is((await run(p, script, [], { env: local(p) })).status, 0)
  const pid = pidIn(p)
  fs.renameSync(`${p.dir}/logs/out`, `${p.dir}/logs/old`)
  fs.symlinkSync('/dev/null', `${p.dir}/logs/out`)
  process.kill(pid, 'SIGHUP')
  await until(() => read(p, 'err').includes('after SIGHUP'))
  t.is(read(p, 'old'), 'after SIGHUP\n')
  t.is(read(p, 'out'), '')
  fs.unlinkSync(`${p.dir}/logs/out`)
  process.kill(pid, 'SIGUSR1')
  await until(() => read(p, 'err').includes('after SIGUSR1'))
  t.is(read(p, 'out'), 'after SIGUSR1\n')
  t.is(read(p, 'old'), 'after SIGHUP\n')
  t.is(fs.readFileSync(`${p.dir}/refused`, 'utf8'), 'ERR_DAEMON_NOT_RUNNING')
  process.kill(pid, 'SIGTERM')
  await until(() => !isAlive(pid))
  await receiver.stop()
  const told = receiver.messages().filter((message) => message.startsWith('<27>'))
  t.is(told.length, 1)
  t.regex(
    told[0],
    /Cannot open the log file .*\/logs\/out: ELOOP: .*symbolic link.*, open.*still goes to the old file/,
  )
})

/** Starts a daemon that becomes another user, and prints to its log file after each signal. Its messages arrive at a
 * receiver. */
async function asNobody(t, p) {
  fs.chmodSync(p.dir, 0o755)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  fs.chmodSync(`${p.dir}/log`, 0o666)
  const body = `async action(signal) { await once(signal, 'abort') }
  async onSignal(signal) {
    await super.onSignal(signal)
    console.log('after ' + signal)
  }`
  const script = p.write('a.mjs', program({ body, options: "user: 'nobody', group: 'games'," }))
  t.is((await run(p, script, [], { env: local(p) })).status, 0)
  return { pid: pidIn(p), receiver }
}

asRoot(
  'where privileges were dropped, the new user must be able to open the file: else it is told how',
  async (t) => {
    const p = place(t)
    logs(p)
    const { pid, receiver } = await asNobody(t, p)
    const rotate = (owner) => {
      fs.renameSync(`${p.dir}/logs/out`, `${p.dir}/logs/old`)
      fs.writeFileSync(`${p.dir}/logs/out`, '', { mode: 0o640 })
      fs.chownSync(`${p.dir}/logs/out`, owner, owner)
      process.kill(pid, 'SIGHUP')
    }
    rotate(0)
    await until(() => read(p, 'old') === 'after SIGHUP\n')
    t.is(read(p, 'out'), '')
    await until(() => fs.readFileSync(`${p.dir}/received`, 'utf8').includes('logs/out'))
    rotate(65534)
    await until(() => read(p, 'out') === 'after SIGHUP\n')
    process.kill(pid, 'SIGTERM')
    await until(() => !isAlive(pid))
    await receiver.stop()
    const told = receiver.messages().filter((message) => message.includes('/logs/out'))
    t.is(told.length, 1)
    t.regex(
      told[0],
      /EACCES: permission denied, open.*privileges were dropped, and user 65534 must be able to write the file/,
    )
  },
)

asRoot(
  'a log file that the start makes is the new user’s, who can open it anew; others are left alone',
  async (t) => {
    const p = place(t)
    logs(p)
    fs.writeFileSync(`${p.dir}/logs/err`, '', { mode: 0o600 })
    const { pid, receiver } = await asNobody(t, p)
    const owner = (name) => {
      const { uid, gid, mode } = fs.statSync(`${p.dir}/logs/${name}`)
      return [uid, gid, mode & 0o777]
    }
    t.deepEqual(owner('out'), [65534, 60, 0o640])
    t.deepEqual(owner('err'), [0, 0, 0o600])
    process.kill(pid, 'SIGHUP')
    await until(() => read(p, 'out') === 'after SIGHUP\n')
    process.kill(pid, 'SIGTERM')
    await until(() => !isAlive(pid))
    await receiver.stop()
    t.deepEqual(
      receiver.messages().filter((message) => message.includes('/logs/out')),
      [],
    )
    t.is(receiver.messages().filter((message) => message.includes('/logs/err')).length, 1)
  },
)

test('attached to a terminal, what is printed goes to the file, though printed there before', async (t) => {
  const p = place(t)
  logs(p)
  const body = "async action() { console.log('to the file'); console.error('and this') }"
  const script = p.write(
    'a.mjs',
    sample({
      body,
      options: FILES,
      before: "console.log('to the terminal')",
      last: "await new Sample(options).serviced(['run'])",
    }),
  )
  const { status, stdout } = await command(p, 'script', [
    '-qec',
    `${process.execPath} ${script}`,
    '/dev/null',
  ])
  t.is(status, 0, stdout)
  t.is(stdout.trim(), 'to the terminal')
  t.is(read(p, 'out'), 'to the file\n')
  t.regex(read(p, 'err'), /^and this\n(?:sample: Ended after .*\n)?$/)
  t.deepEqual(processesOf(p), [])
})
