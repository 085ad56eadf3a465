// A start that succeeds: what the launcher sees, what state the daemon is in, and the options that decide that.

import fs from 'node:fs'
import { join } from 'node:path'
import {
  command,
  descriptors,
  isAlive,
  library,
  NO_LOGGER,
  pidIn,
  place,
  proc,
  processesOf,
  run,
  sample,
  test,
  until,
  userName,
} from './kit.mjs'

/** Starts a program, which must succeed. Returns the pid of its daemon. */
async function starts(t, p, source, more) {
  const { status, stdout, stderr } = await run(p, p.write('a.mjs', sample(source)), [], more)
  t.is(status, 0, stderr)
  t.is(stderr, '')
  const pid = pidIn(p)
  t.true(isAlive(pid))
  return { pid, stdout }
}

/** The process that becomes the parent of an orphan here: init, or the nearest subreaper. */
async function reaper(p) {
  const orphan =
    'my $p = $$; exit if fork; select undef, undef, undef, 0.01 while getppid == $p; print getppid'
  return Number((await command(p, 'perl', ['-e', orphan])).stdout)
}

/** The descriptors of a daemon that has been told to go, and has closed the files to which it printed. */
function whenItRuns(pid) {
  return until(() => {
    const found = descriptors(pid)
    return !Object.values(found).some((target) => target.startsWith('/memfd:')) && found
  })
}

test('start resolves with the pid once setup is done, with status 0 and the daemon in its pidfile', async (t) => {
  const p = place(t)
  const { pid, stdout } = await starts(t, p, {
    body: "async setup() { await sleep(500); fs.writeFileSync(process.env.DIR + '/done', '') }",
    last: 'console.log(JSON.stringify(await new Sample(options).start()))',
  })
  t.deepEqual(JSON.parse(stdout), { pid })
  t.true(fs.existsSync(join(p.dir, 'done')))
  t.deepEqual(processesOf(p), [pid])
})

test('neither a home directory nor the variables of a login are needed', async (t) => {
  const p = place(t)
  const script = p.write('sample.mjs', sample({ last: 'await new Sample(options).serviced()' }))
  for (const HOME of [undefined, '/nonexistent']) {
    const env = { HOME, USER: undefined, LOGNAME: undefined, SHELL: undefined, TMPDIR: undefined }
    const does = async (verb, status = 0) => {
      const result = await run(p, script, [verb], { env })
      t.is(result.status, status, result.stderr)
      t.is(result.stderr, '')
      return result.stdout
    }
    await does('start')
    const pid = pidIn(p)
    t.true((await does('status')).startsWith(`sample is running: pid ${pid}, user ${userName}, since `))
    t.is(proc(pid).cmdline[0], 'sample')
    await does('restart')
    await does('reload')
    await does('stop')
    t.is(await does('status', 3), `sample is not running (looked for ${p.pidFile()})\n`)
  }
})

test('what runs before start() runs in both processes, what follows it in the launcher alone', async (t) => {
  const p = place(t)
  const { stdout } = await starts(t, p, {
    before: "console.log(isDaemon ? 'daemon' : 'launcher', 'before')",
    last: "await new Sample(options).start(); console.log(isDaemon ? 'daemon' : 'launcher', 'after')",
  })
  t.is(stdout, 'launcher before\ndaemon before\nlauncher after\n')
})

test("what the daemon prints while it starts is the launcher's output, what it prints later is not", async (t) => {
  const p = place(t)
  const script = p.write(
    'a.mjs',
    sample({
      body: `setup() {
        process.stdout.write(Buffer.from([0xff, 0, 0x0a]))
        process.stdout.write('ä'.repeat(1 << 20))
        console.error('first'); console.error('second')
      }
      async action(signal) {
        console.log('later'); console.error('later too')
        fs.writeFileSync(process.env.DIR + '/acted', '')
        await once(signal, 'abort')
      }`,
    }),
  )
  const shell = 'node=$1; script=$2; "$node" "$script" >out 2>err'
  t.is((await command(p, 'sh', ['-c', shell, 'sh', process.execPath, script])).status, 0)
  await until(() => fs.existsSync(join(p.dir, 'acted')))
  const expected = Buffer.concat([Buffer.from([0xff, 0, 0x0a]), Buffer.from('ä'.repeat(1 << 20))])
  t.true(fs.readFileSync(join(p.dir, 'out')).equals(expected))
  t.is(fs.readFileSync(join(p.dir, 'err'), 'utf8').replace(NO_LOGGER, ''), 'first\nsecond\n')
})

test('a launcher whose readers are gone has started the daemon all the same', async (t) => {
  const p = place(t)
  const body =
    "setup() { process.stdout.write('o'.repeat(1 << 20)); process.stderr.write('e'.repeat(1 << 20)) }"
  const last = 'await new Sample(options).start(); await sleep(20)'
  const script = p.write('a.mjs', sample({ body, last }))
  const shell = '{ "$1" "$2"; echo $? >status; } 2>&1 | true; while ! [ -s status ]; do sleep 0.01; done'
  await command(p, 'sh', ['-c', shell, 'sh', process.execPath, script])
  t.is(fs.readFileSync(join(p.dir, 'status'), 'utf8'), '0\n')
  t.true(isAlive(pidIn(p)))
})

test('with stdout and stderr given, what it prints later is appended there, with mode 0640', async (t) => {
  const p = place(t)
  fs.writeFileSync(join(p.dir, 'err'), 'of yesterday\n', { mode: 0o600 })
  const { stdout } = await starts(t, p, {
    options: "stdout: process.env.DIR + '/out', stderr: process.env.DIR + '/err', umask: 0o077",
    body: `setup() { console.log('starting') }
      async action(signal) { console.log('running'); console.error('trouble'); await once(signal, 'abort') }`,
  })
  t.is(stdout, 'starting\n')
  await until(() => fs.readFileSync(join(p.dir, 'err'), 'utf8').includes('trouble'))
  t.is(fs.readFileSync(join(p.dir, 'out'), 'utf8'), 'running\n')
  t.is(fs.readFileSync(join(p.dir, 'err'), 'utf8'), 'of yesterday\ntrouble\n')
  t.is(fs.statSync(join(p.dir, 'out')).mode & 0o777, 0o640)
  t.is(fs.statSync(join(p.dir, 'err')).mode & 0o777, 0o600)
})

test('the daemon is a process of its own: parent, session, group, terminal, directory, umask', async (t) => {
  const p = place(t)
  const { pid } = await starts(t, p, {})
  const found = proc(pid)
  t.is(found.ppid, await reaper(p))
  t.not(found.session, pid)
  t.not(found.session, proc('self').session)
  t.false(fs.existsSync(`/proc/${found.session}`), 'the leader of its session is gone')
  t.is(found.pgrp, pid)
  t.is(found.tty, 0)
  t.is(fs.readlinkSync(`/proc/${pid}/cwd`), '/')
  t.is(found.status.Umask, '0022')
  for (const mask of ['SigBlk', 'ShdPnd', 'SigPnd']) t.is(BigInt(`0x${found.status[mask]}`), 0n, mask)
})

test("its descriptors are /dev/null, the pidfile and Node's own, all but the first three close-on-exec", async (t) => {
  const p = place(t)
  const { pid } = await starts(t, p, {})
  const { 0: stdin, 1: stdout, 2: stderr, ...rest } = await whenItRuns(pid)
  t.deepEqual([stdin, stdout, stderr], ['/dev/null', '/dev/null', '/dev/null'])
  t.is(Object.values(rest).filter((target) => target === p.pidFile()).length, 1)
  const own = /^(?:anon_inode:(?:\[\w+\]|inotify)|pipe:\[\d+\]|\/dev\/null)$/
  const CLOEXEC = 0o2000000
  for (const [fd, target] of Object.entries(rest)) {
    if (target !== p.pidFile()) t.regex(target, own)
    const [, flags] = fs.readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8').match(/^flags:\s+(\d+)$/m)
    t.truthy(Number.parseInt(flags, 8) & CLOEXEC, `${fd} ${target}`)
  }
})

test('cwd and umask are as the options say', async (t) => {
  const p = place(t)
  const { pid } = await starts(t, p, { options: 'cwd: process.env.DIR, umask: 0o027' })
  t.is(fs.readlinkSync(`/proc/${pid}/cwd`), fs.realpathSync(p.dir))
  t.is(proc(pid).status.Umask, '0027')
})

test("the name is the script's by default, and the process's title", async (t) => {
  const p = place(t)
  const source = sample().replace("name: 'sample',", '')
  t.is((await run(p, p.write('my.service.mjs', source))).status, 0)
  const pid = pidIn(p, 'my.service')
  t.is(proc(pid).status.Name, 'my.service')
  t.regex(fs.readFileSync(`/proc/${pid}/cmdline`, 'latin1'), /^my\.service\0*$/)
})

test("a relative pidFilePath is one in the launcher's working directory", async (t) => {
  const p = place(t)
  const options = "pidFilePath: 'run'"
  const { pid, stdout } = await starts(t, p, {
    options,
    last: 'const sample = new Sample(options); await sample.start(); console.log(sample.pidFile)',
  })
  t.is(stdout, `${p.pidFile()}\n`)
  process.kill(pid, 'SIGTERM')
  await until(() => !isAlive(pid))
  t.deepEqual(fs.readdirSync(p.run), [], 'the daemon, in another directory, found it to remove it')
})

test('without a pidfile (null) nothing is kept, and any number start', async (t) => {
  const p = place(t)
  const source = sample({
    options: 'pidFilePath: null',
    last: 'console.log((await new Sample(options).start()).pid)',
  })
  const script = p.write('a.mjs', source)
  const pids = []
  for (let i = 0; i < 2; i++) pids.push(Number((await run(p, script)).stdout))
  t.deepEqual(processesOf(p).sort(), pids.sort())
  t.deepEqual(fs.readdirSync(p.run), [])
  const asks = source.replace('.start()).pid', '.status().catch((e) => e)).message')
  t.regex((await run(p, p.write('b.mjs', asks))).stdout, /keeps no pidfile \(`pidFilePath: null`\)/)
})

test('keepFds stay open under their numbers, whatever the numbers, and all others are closed', async (t) => {
  const p = place(t)
  const numbers = [3, 4, 5, 6, 7, 9, 200]
  for (const n of numbers) p.write(`fd${n}`, `${n}`)
  const script = p.write(
    'a.mjs',
    sample({
      options: 'keepFds: [3, 4, 5, 200, 7, 3]',
      // A child of the daemon gets them as they were. Whether they are close-on-exec is Node's decision.
      body: `setup() { console.log([3, 4, 5, 7, 200].map((fd) => fs.readFileSync(fd, 'utf8')).join()) }`,
    }),
  )
  const redirect = numbers.map((n) => `${n}<fd${n}`)
  // dash knows descriptors of one digit only.
  const shell = `exec "$1" "$2" ${redirect.slice(0, -1).join(' ')}`
  const perl = 'use POSIX; open F, "<", "fd200"; POSIX::dup2(fileno F, 200); exec "sh", "-c", @ARGV'
  const args = ['-e', perl, shell, 'sh', process.execPath, script]
  const { status, stdout, stderr } = await command(p, 'perl', args)
  t.is(status, 0, stderr)
  t.is(stdout, '3,4,5,7,200\n')
  const found = descriptors(pidIn(p))
  for (const n of numbers) {
    const kept = ![6, 9].includes(n)
    t[kept ? 'is' : 'not'](found[n], join(p.dir, `fd${n}`))
  }
  t.is(Object.values(found).filter((target) => target === p.pidFile()).length, 1)
})

test('a launcher without standard descriptors starts a daemon all the same', async (t) => {
  const p = place(t)
  const args = ['-c', 'exec "$1" "$2" <&- >&- 2>&-', 'sh', process.execPath, p.write('a.mjs', sample())]
  t.is((await command(p, 'sh', args)).status, 0)
  const found = await whenItRuns(pidIn(p))
  t.deepEqual([found[0], found[1], found[2]], ['/dev/null', '/dev/null', '/dev/null'])
})

const QUESTIONS = `const sample = new Sample(options)
  const code = (e) => e.code
  const ask = async () => console.log(JSON.stringify([
    await sample.status(), await sample.stop(), await sample.kill('SIGHUP').catch(code)]))`

test("in the daemon's process it is as a stopped one, until it is taken over", async (t) => {
  const p = place(t)
  const { pid, stdout } = await starts(t, p, {
    last: `${QUESTIONS}; await ask(); await sample.start(); console.log((await sample.status()).state)`,
  })
  const [launchers, daemons, after] = stdout.trim().split('\n')
  t.is(launchers, '[{"state":"stopped","stalePidFile":false},null,"ERR_DAEMON_NOT_RUNNING"]')
  t.is(daemons, launchers)
  t.is(after, 'running')
  t.true(isAlive(pid))
})

test('it may ask about itself when it was taken over', async (t) => {
  const p = place(t)
  const { pid } = await starts(t, p, {
    body: `async setup() { await this.tell() }
      async action(signal) { await this.tell(); await once(signal, 'abort') }
      async tell() { fs.appendFileSync(process.env.DIR + '/states', JSON.stringify(await this.status()) + '\\n') }`,
  })
  const read = () => fs.readFileSync(join(p.dir, 'states'), 'utf8').trim().split('\n')
  const states = (await until(() => read().length === 2 && read())).map((line) => JSON.parse(line))
  t.deepEqual(states[0], { state: 'starting' })
  t.like(states[1], { state: 'running', pid })
})

for (const how of ['restart', 'ensure']) {
  test(`${how}() as the last statement starts a daemon, and never settles in it`, async (t) => {
    const p = place(t)
    const last = `await new Sample(options).${how}(); console.log('settled')`
    const { pid, stdout } = await starts(t, p, { last })
    t.is(stdout, 'settled\n')
    const again = await starts(t, p, { last })
    t.is(again.stdout, 'settled\n')
    t[how === 'ensure' ? 'is' : 'not'](again.pid, pid)
    t.deepEqual(processesOf(p), [again.pid])
  })
}

test('stop() before start() replaces the daemon that runs', async (t) => {
  const p = place(t)
  const source = { last: 'const sample = new Sample(options); await sample.stop(); await sample.start()' }
  const first = await starts(t, p, source)
  const second = await starts(t, p, source)
  t.deepEqual(processesOf(p), [second.pid])
  t.not(first.pid, second.pid)
})

test('a program starts several, one after the other; in the process of one, none is launched again', async (t) => {
  const p = place(t)
  const source = `import { Daemon, isDaemon } from '${library}'
    import fs from 'node:fs'
    class Any extends Daemon {
      async action(signal) { await new Promise((resolve) => signal.addEventListener('abort', resolve)) }
    }
    const found = {}
    for (const [name, method] of [['a', 'start'], ['b', 'ensure'], ['c', 'start'], ['d', 'ensure']]) {
      found[name] = await new Any({ name, pidFilePath: process.env.RUN })[method]()
      fs.appendFileSync(process.env.DIR + '/' + (isDaemon ? process.pid : 'launcher'), JSON.stringify(found) + '\\n')
    }`
  const { status, stderr } = await run(p, p.write('a.mjs', source))
  t.is(status, 0, stderr)
  const last = (name) => {
    const file = join(p.dir, name)
    return fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, 'utf8').trim().split('\n').at(-1)) : {}
  }
  const [a, b, c, d] = ['a', 'b', 'c', 'd'].map((name) => pidIn(p, name))
  t.deepEqual(processesOf(p).sort(), [a, b, c, d].sort())
  const nothing = { stdout: '', stderr: '' }
  t.deepEqual(last('launcher'), {
    a: { pid: a },
    b: { pid: b, started: true, ...nothing },
    c: { pid: c },
    d: { pid: d, started: true, ...nothing },
  })
  t.deepEqual(last(`${a}`), {})
  t.deepEqual(last(`${b}`), { a: { pid: a } })
  t.deepEqual(last(`${c}`), { a: { pid: a }, b: { pid: b, started: false, ...nothing } })
  t.deepEqual(last(`${d}`), { a: { pid: a }, b: { pid: b, started: false, ...nothing }, c: { pid: c } })
})

test('what a program does to one daemon before it starts the next is not done again by the next', async (t) => {
  const p = place(t)
  const last = `const [a, b] = ['a', 'b'].map((name) => new Sample({ ...options, name }))
    const log = (what) => fs.appendFileSync(process.env.DIR + '/' + (isDaemon ? process.pid : 'launcher'), what + '\\n')
    for (const one of [a, b]) log(one.name + ' ' + (await one.status()).state + ' ' + (await one.stop()))
    log(await a.kill('SIGHUP').catch((e) => e.code))
    await a.start()
    log((await a.status()).state)
    await a.kill('SIGHUP')
    // Two signals that are sent at once can reach two threads, and arrive in any order.
    while (!fs.existsSync(process.env.DIR + '/signals')) await new Promise((done) => setTimeout(done, 10))
    await a.restart()
    log((await a.status()).state)
    await b.start()`
  const body = `async onSignal(signal) {
    fs.appendFileSync(process.env.DIR + '/signals', this.name + signal + '\\n')
    await super.onSignal(signal)
  }`
  const { status, stderr } = await run(p, p.write('a.mjs', sample({ body, last })))
  t.is(status, 0, stderr)
  const [a, b] = [pidIn(p, 'a'), pidIn(p, 'b')]
  t.deepEqual(processesOf(p).sort(), [a, b].sort())
  const read = (name) => fs.readFileSync(join(p.dir, name), 'utf8')
  const told = 'a stopped null\nb stopped null\nERR_DAEMON_NOT_RUNNING\nrunning\nrunning\n'
  t.is(read('launcher'), told)
  t.is(read(`${b}`), told)
  t.is(read('signals'), 'aSIGHUP\naSIGTERM\n')
})

test('a daemon that ends at once was started all the same, and leaves nothing', async (t) => {
  const p = place(t)
  const { status } = await run(p, p.write('a.mjs', sample({ body: 'async action() {}' })))
  t.is(status, 0)
  await until(() => processesOf(p).length === 0)
  t.deepEqual(fs.readdirSync(p.run), [])
})

test('a start waits for a slow setup, and for no longer', async (t) => {
  const p = place(t)
  const before = performance.now()
  await starts(t, p, { body: 'async setup() { await sleep(1500) }', options: 'startTimeout: 60_000' })
  const took = performance.now() - before
  t.true(took >= 1500 && took < 60_000, `${took} ms`)
})
