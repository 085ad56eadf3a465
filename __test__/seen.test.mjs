// What can be seen of a process, and what cannot: names that are not text, a /proc that hides processes or belongs
// to another pid namespace, calls that are refused. A process that cannot be seen never counts as gone.

import fs from 'node:fs'
import { join } from 'node:path'
import {
  asRoot,
  cli,
  command,
  isAlive,
  isRoot,
  NOBODY,
  pidIn,
  place,
  proc,
  run,
  sample,
  test,
  testIf,
  until,
  works,
} from './kit.mjs'
import { faults, runWithFaults, withStrace } from './strace.mjs'

async function started(t, p, source, ...more) {
  const script = p.write('a.mjs', source)
  const { status, stderr } = await run(p, script, ['start'], ...more)
  t.is(status, 0, stderr)
  return script
}

// The kernel keeps 15 bytes of a name, and may cut it inside a character.
const NAMES = ['почтовый', 'ελληνικά', 'xあいうえおか', 'a) R 1 xпочтов']

for (const name of NAMES) {
  test(`a daemon named ${name}, which the kernel cuts inside a letter, is found`, async (t) => {
    const p = place(t)
    fs.chmodSync(p.dir, 0o755)
    const script = await started(t, p, cli({ options: `name: '${name}'` }))
    const pid = pidIn(p, name)
    const comm = fs.readFileSync(`/proc/${pid}/comm`)
    t.is(comm.length, 16)
    t.notDeepEqual(Buffer.from(comm.toString()), comm)
    const status = await run(p, script, ['status', '--json'])
    t.like(JSON.parse(status.stdout), { state: 'running', pid }, status.stderr)
    t.is((await run(p, script, ['reload'])).status, 0)
    if (isRoot) {
      const seen = await run(p, script, ['status', '--json'], NOBODY)
      t.like(JSON.parse(seen.stdout), { state: 'running', pid, user: 'root' })
      for (const verb of ['stop', 'reload', 'restart']) {
        const refused = await run(p, script, [verb], NOBODY)
        t.is(refused.status, 4, refused.stderr)
        t.regex(refused.stderr, /: EACCES: permission denied, open\. Nothing was sent\. Run it as root/)
      }
    }
    t.is((await run(p, script, ['stop'])).status, 0)
    t.false(isAlive(pid))
  })
}

test('a program that gives itself such a title is found, and prints to syslog as before', async (t) => {
  const p = place(t)
  const body = `async action(signal) {
    process.title = 'ёжики в тумане'
    fs.writeFileSync(process.env.DIR + '/titled', '')
    await once(signal, 'abort')
  }`
  const script = await started(t, p, cli({ body, options: "stdout: 'syslog'" }))
  await until(() => fs.existsSync(join(p.dir, 'titled')))
  const pid = pidIn(p)
  t.like(JSON.parse((await run(p, script, ['status', '--json'])).stdout), { state: 'running', pid })
  t.is((await run(p, script, ['stop'])).status, 0)
})

const b = (bytes) => `bytes(${JSON.stringify([...Buffer.from(bytes, 'latin1')])})`
/** Runs a program in a directory, with arguments and variables that are bytes, given here in latin1. */
function withBytes(p, script, { args = [], env = {}, cwd = p.dir, file = process.execPath }) {
  const variables = Object.entries(env).map(([name, value]) => `${b(name)}: ${b(value)}`)
  const python = `import os
os.chdir(${b(Buffer.from(cwd).toString('latin1'))})
os.execve(${b(file)}, [${[file, script, ...args].map(b).join(', ')}], {**os.environb, ${variables.join(', ')}})`
  return command(p, 'python3', ['-c', python])
}
// They are read from /proc, before the process title replaces the arguments.
const NOTES = `if (isDaemon) {
  const note = (name, bytes) => fs.writeFileSync(process.env.DIR + '/' + name, bytes)
  note('cmdline', fs.readFileSync('/proc/self/cmdline'))
  note('environ', fs.readFileSync('/proc/self/environ'))
  note('cwd', fs.readlinkSync('/proc/self/cwd', 'buffer'))
}`
const noted = (p, name) => fs.readFileSync(join(p.dir, name), 'latin1').split('\0')

test('arguments and variables that look alike, since they are not UTF-8, arrive each as it is', async (t) => {
  const p = place(t)
  const args = ['\xe9.txt', '\xe8.txt', 'plain', '\xe9.txt', '\xff', '\xfe', 'Ã\x9f']
  const env = { ONE: '\xe9', TWO: '\xe8', '\xe9': 'a', '\xe8': 'b', '\xe9\xe8': '\xe7', Ã: 'c' }
  const { status, stderr } = await withBytes(p, p.write('a.mjs', sample({ before: NOTES })), { args, env })
  t.is(status, 0, stderr)
  t.deepEqual(noted(p, 'cmdline').slice(-args.length - 1, -1), args)
  const environ = noted(p, 'environ')
  for (const [name, value] of Object.entries(env)) {
    t.deepEqual(
      environ.filter((variable) => variable.startsWith(`${name}=`)),
      [`${name}=${value}`],
    )
  }
})

test('arguments that are given as text: the one that it shows, and no other', async (t) => {
  const p = place(t)
  const before = `${NOTES}\nconst args = JSON.parse(process.env.ARGS ?? '[]')`
  const script = p.write('a.mjs', sample({ before, options: 'args: isDaemon ? [] : process.argv.slice(2)' }))
  const alone = await withBytes(p, script, { args: ['\xe9.txt', 'b'] })
  t.is(alone.status, 0, alone.stderr)
  t.deepEqual(noted(p, 'cmdline').slice(-3, -1), ['\xe9.txt', 'b'])
  process.kill(pidIn(p), 'SIGTERM')
  await until(() => !fs.existsSync(p.pidFile()))
  const several = await withBytes(p, script, { args: ['\xe9.txt', '\xe8.txt'] })
  t.is(several.status, 1)
  t.regex(
    several.stderr,
    /Several arguments of this process are not UTF-8 and look like '�\.txt': leave `args` out/,
  )
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('a working directory and a Node whose paths are not UTF-8 are those of the daemon', async (t) => {
  const p = place(t)
  const odd = Buffer.concat([Buffer.from(`${p.dir}/`), Buffer.from('\xe9', 'latin1')])
  fs.mkdirSync(odd)
  const node = Buffer.concat([odd, Buffer.from('/node')])
  fs.copyFileSync(process.execPath, node)
  const before = `${NOTES}\nif (!isDaemon) process.chdir('/')`
  const script = p.write('a.mjs', sample({ before }))
  const python = `import os
os.chdir(${b(odd.toString('latin1'))})
os.execv(${b(node.toString('latin1'))}, ['node', ${b(Buffer.from(script).toString('latin1'))}])`
  const { status, stderr } = await command(p, 'python3', ['-c', python])
  t.is(status, 0, stderr)
  t.deepEqual(noted(p, 'cwd'), [odd.toString('latin1')])
  t.is(fs.readlinkSync(`/proc/${pidIn(p)}/exe`, 'latin1'), node.toString('latin1'))
})

// Gives those who ask a /proc of their own.
const hiding = (option) => ['-m', 'sh', '-c', `mount -t proc -o ${option} proc /proc && exec "$@"`, 'sh']
const canHide = testIf(isRoot && works('unshare', ...hiding('hidepid=2'), 'true'))

for (const option of ['hidepid=1', 'hidepid=2', 'hidepid=4']) {
  canHide(`${option}: what is not seen of root's daemon is not told, and that it runs is`, async (t) => {
    const p = place(t)
    fs.chmodSync(p.dir, 0o755)
    const script = await started(t, p, cli())
    const pid = pidIn(p)
    const as = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
    const ask = (...args) =>
      command(p, 'unshare', [...hiding(option), ...as, process.execPath, script, ...args])
    const json = await ask('status', '--json')
    t.is(json.status, 0, json.stderr)
    t.deepEqual(JSON.parse(json.stdout), { state: 'running', pid, startedAt: null, user: '', rss: null })
    t.is((await ask('status')).stdout, `sample is running: pid ${pid}; /proc does not show the rest\n`)
    for (const verb of ['stop', 'reload', 'restart']) {
      const refused = await ask(verb)
      t.is(refused.status, 4, refused.stderr)
      t.regex(
        refused.stderr,
        /EPERM: .*, open\. \/proc hides that process .*`hidepid`.* Nothing was sent\. Run it as root/,
      )
      t.notRegex(refused.stderr, /by hand|kill/)
    }
    t.true(isAlive(pid))
  })
}

canHide("with hidepid a user's own daemon is seen, and stopped, by that user", async (t) => {
  const p = place(t)
  fs.chmodSync(p.dir, 0o755)
  fs.chownSync(p.run, NOBODY.uid, NOBODY.gid)
  const script = await started(t, p, cli(), NOBODY)
  const pid = pidIn(p)
  const as = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups']
  const ask = (...args) =>
    command(p, 'unshare', [...hiding('hidepid=2'), ...as, process.execPath, script, ...args])
  const json = JSON.parse((await ask('status', '--json')).stdout)
  t.like(json, { state: 'running', pid, user: 'nobody' })
  t.true(json.rss > 0 && Date.parse(json.startedAt) > 0)
  t.is((await ask('stop')).status, 0)
  t.false(isAlive(pid))
})

for (const [call, errno, says] of [
  ['pidfd_open', 'EPERM', /EPERM: .*, pidfd_open\. Nothing was sent: .*seccomp filter/],
  ['pidfd_open', 'ENOSYS', /ENOSYS: .*, pidfd_open\. Nothing was sent: .*Linux 5\.3.*seccomp filter/],
  ['pidfd_open', 'EMFILE', /EMFILE: .*, pidfd_open\. .*`ulimit -n`/],
  ['pidfd_send_signal', 'EPERM', /EPERM: .*, pidfd_send_signal\. A seccomp filter/],
  ['pidfd_send_signal', 'ENOSYS', /ENOSYS: .*, pidfd_send_signal\. A seccomp filter/],
]) {
  withStrace(
    `where ${call} is refused with ${errno}, stop names that call, and status tells all`,
    async (t) => {
      const p = place(t)
      const script = await started(t, p, cli())
      const pid = pidIn(p)
      const ask = (...args) => runWithFaults(p, faults(`${call}:error=${errno}`), script, args)
      const stop = await ask('stop')
      t.true([1, 4].includes(stop.status), stop.stderr)
      t.regex(stop.stderr, says)
      const json = JSON.parse((await ask('status', '--json')).stdout)
      t.like(json, { state: 'running', pid })
      t.true(json.rss > 0 && Date.parse(json.startedAt) > 0 && json.user !== '')
      t.true(isAlive(pid))
    },
  )
}

withStrace('an old container profile that refuses statx(2) hinders nothing', async (t) => {
  const p = place(t)
  const script = await started(t, p, cli())
  const { status, stderr } = await runWithFaults(p, faults('statx:error=EPERM'), script, ['stop'])
  t.is(status, 0, stderr)
  t.false(fs.existsSync(p.pidFile()))
})

// Here /proc still belongs to the tests' namespace. Its numbers mean other processes in the new namespace.
const inNamespace = testIf(isRoot && works('unshare', '-pf', '--kill-child', 'true'))
const LAST_PID = '/proc/sys/kernel/ns_last_pid'

/** Runs a program in a pid namespace of its own, where a shell is the init. */
function inside(p, main, ...flags) {
  const init = `${process.execPath} ${main}; exit $?`
  return command(p, 'unshare', ['-pf', '--kill-child', ...flags, 'sh', '-c', init])
}

for (const flags of [[], ['--mount-proc']]) {
  inNamespace(
    `a daemon in a pid namespace of its own lives its life: ${flags[0] ?? 'with another /proc'}`,
    async (t) => {
      const p = place(t)
      const script = p.write('a.mjs', cli())
      const main = p.write(
        'main.mjs',
        `import { spawnSync } from 'node:child_process'
      const cli = (...args) => {
        const { status, stdout, stderr } = spawnSync(process.execPath, ['${script}', ...args], { encoding: 'utf8' })
        return [args[0], status, stdout, stderr]
      }
      const verbs = [['start'], ['start'], ['status', '--json'], ['reload'], ['restart'], ['stop'], ['stop'], ['status']]
      console.log(JSON.stringify(verbs.map((verb) => cli(...verb))))`,
      )
      const { status, stdout, stderr } = await inside(p, main, ...flags)
      t.is(status, 0, stderr)
      const results = JSON.parse(stdout)
      t.deepEqual(
        results.map(([, status]) => status),
        [0, 1, 0, 0, 0, 0, 0, 3],
        stdout,
      )
      const { pid, user, rss, startedAt } = JSON.parse(results[2][2])
      t.true(
        pid < 1000 && user === 'root' && rss > 1e7 && Math.abs(Date.parse(startedAt) - Date.now()) < 600_000,
        stdout,
      )
      t.regex(results[1][3], new RegExp(`already running, with pid ${pid}`))
    },
  )
}

const choosesPids = fs.existsSync(LAST_PID) ? inNamespace : test.skip
/** Makes the next process get this number, in the caller's pid namespace. */
const CHOOSE = `const choose = (pid) => fs.writeFileSync('${LAST_PID}', String(pid - 1))`

choosesPids(
  'a failed start in a pid namespace with another /proc kills what it started, and no stranger',
  async (t) => {
    const p = place(t)
    // A session of two processes in the tests' namespace. In the new namespace the guardian gets the leader's
    // number, and a stranger the number of the other process.
    const session = command(p, 'setsid', [
      'sh',
      '-c',
      'echo $$ > session; sleep 1000 & echo $! > member; wait',
    ])
    const number = (name) =>
      Number(fs.existsSync(join(p.dir, name)) && fs.readFileSync(join(p.dir, name), 'utf8'))
    await until(() => number('member') && number('session'))
    const [leader, member] = [number('session'), number('member')]
    t.is(proc(member).session, leader)
    const script = p.write(
      'a.mjs',
      sample({
        before: `import { spawn } from 'node:child_process'
        ${CHOOSE}
        if (!isDaemon) choose(${leader} - Number(process.env.BEFORE))`,
        body: `async setup() {
        const child = spawn('sleep', ['1000'], { stdio: 'ignore' })
        await once(child, 'spawn')
        fs.writeFileSync(process.env.DIR + '/new', JSON.stringify([process.pid, process.ppid, child.pid]))
        fs.renameSync(process.env.DIR + '/new', process.env.DIR + '/setup')
        for (;;) {}
      }`,
      }),
    )
    const main = p.write(
      'main.mjs',
      `import { spawn } from 'node:child_process'
    import { once } from 'node:events'
    import fs from 'node:fs'
    import { setTimeout as sleep } from 'node:timers/promises'
    ${CHOOSE}
    const exists = (pid) => { try { return process.kill(pid, 0) } catch { return false } }
    let stranger
    while (stranger?.pid !== ${member}) {
      stranger?.kill('SIGKILL')
      choose(${member})
      stranger = spawn('sleep', ['1000'], { stdio: 'ignore' })
    }
    const file = process.env.DIR + '/setup'
    // This many threads are made before the guardian.
    for (let before = 0; before < 12; before++) {
      const launcher = spawn(process.execPath, ['${script}'], { env: { ...process.env, BEFORE: String(before) } })
      const ended = once(launcher, 'close')
      while (!fs.existsSync(file)) {
        if (launcher.exitCode !== null) throw new Error(String(launcher.exitCode))
        await sleep(10)
      }
      const [daemon, guardian, child] = JSON.parse(fs.readFileSync(file, 'utf8'))
      fs.rmSync(file)
      process.kill(guardian, 'SIGKILL')
      const [status] = await ended
      if (guardian !== ${leader}) continue
      // It was killed, but perhaps the shell has not waited for it yet.
      let gone = false
      for (let i = 0; i < 500 && !gone; i++) {
        gone = !exists(daemon) && !exists(child)
        await sleep(10)
      }
      const alive = stranger.exitCode === null && stranger.signalCode === null
      console.log(JSON.stringify({ status, gone, alive }))
      process.exit()
    }`,
    )
    const { status, stdout, stderr } = await inside(p, main)
    t.is(status, 0, stderr)
    t.deepEqual(JSON.parse(stdout || '{}'), { status: 1, gone: true, alive: true }, stderr)
    t.true(isAlive(member))
    process.kill(-leader, 'SIGKILL')
    await session
  },
)

for (const flags of [[], ['--mount-proc']]) {
  inNamespace(
    `PID 1 waits for orphans, and not for its own children: ${flags[0] ?? 'with another /proc'}`,
    async (t) => {
      const p = place(t)
      const script = p.write(
        'a.mjs',
        sample({
          before: "import { spawn } from 'node:child_process'",
          body: `async action(signal) {
          // Each of them leaves an orphan, and ends with a status of its own.
          const ends = [7, 8, 9].map((status) => {
            const child = spawn('sh', ['-c', '(sleep 0.3; exit 1) & echo $!; exit ' + status], { stdio: ['ignore', 'pipe', 'ignore'] })
            let orphan = ''
            child.stdout.on('data', (text) => { orphan += text })
            return once(child, 'close').then(([code]) => [code, Number(orphan)])
          })
          const exists = (pid) => { try { return process.kill(pid, 0) } catch { return false } }
          const found = await Promise.all(ends)
          while (found.some(([, orphan]) => exists(orphan))) await sleep(20)
          console.log(JSON.stringify([process.pid, found.map(([code]) => code)]))
          await this.exit(0)
        }`,
        }),
      )
      const { status, stdout, stderr } = await command(p, 'unshare', [
        '-pf',
        '--kill-child',
        ...flags,
        process.execPath,
        script,
      ])
      t.is(status, 0, stderr)
      t.deepEqual(JSON.parse(stdout), [1, [7, 8, 9]])
    },
  )
}

inNamespace(
  'a /proc that does not have the daemon, or none: stop says so, and status that it runs',
  async (t) => {
    const p = place(t)
    const script = await started(t, p, cli())
    const pid = pidIn(p)
    for (const [mount, says] of [
      // This belongs to a namespace whose processes have all ended.
      [
        'unshare -pf mount -t proc proc /proc',
        /\/proc is that of another pid namespace\. Nothing was sent\. Mount it anew/,
      ],
      ['mount -t tmpfs tmpfs /proc', /\/proc is not mounted\. Nothing was sent\. Mount it/],
    ]) {
      const ask = (...args) =>
        command(p, 'unshare', [
          '-m',
          'sh',
          '-c',
          `${mount} && exec "$@"`,
          'sh',
          process.execPath,
          script,
          ...args,
        ])
      const stop = await ask('stop')
      t.is(stop.status, 1, stop.stderr)
      t.regex(stop.stderr, says)
      const json = await ask('status', '--json')
      t.deepEqual(
        JSON.parse(json.stdout),
        { state: 'running', pid, startedAt: null, user: '', rss: null },
        json.stderr,
      )
    }
    t.true(isAlive(pid))
  },
)

asRoot('the kit for tests refuses a /proc whose numbers are strangers', async (t) => {
  const p = place(t)
  const kit = new URL('../dist/testing/index.js', import.meta.url).href
  const main = p.write(
    'main.mjs',
    `import { Place, proc } from '${kit}'
    const tried = (f) => { try { return f() } catch (error) { return [error.code, error.message] } }
    console.log(JSON.stringify([tried(() => new Place()), tried(() => proc(process.pid))]))`,
  )
  const { stdout, stderr } = await inside(p, main)
  const [made, read] = JSON.parse(stdout || '[[],[]]')
  t.is(made[0], 'ERR_DAEMON_UNSUPPORTED', stderr)
  for (const [, message] of [made, read])
    t.regex(message, /^The \/proc here is that of another pid namespace/)
})
