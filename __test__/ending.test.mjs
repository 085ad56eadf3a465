// The last steps of a process, and what code before `start()` may do in both processes.

import fs from 'node:fs'
import { cli, command, isAlive, pidIn, place, processesOf, run, sample, test, until } from './kit.mjs'

test("the pidfile says 'running' for as long as the program's code runs, its exit listeners included", async (t) => {
  const p = place(t)
  const body = `async action(signal) {
    process.on('exit', () => {
      const { status } = spawnSync('flock', ['-n', this.pidFile, 'true'])
      fs.writeFileSync(process.env.DIR + '/seen', String(fs.readFileSync(this.pidFile, 'utf8') + status))
    })
    if (process.argv[3] === 'return') return
    if (process.argv[3] === 'exit') process.exit(0)
    await once(signal, 'abort')
  }`
  const before = "import { spawnSync } from 'node:child_process'"
  const script = p.write('a.mjs', sample({ before, body }))
  for (const how of ['return', 'exit', 'signal']) {
    const { status, stderr } = await run(p, script, ['start', how])
    t.is(status, 0, stderr)
    if (how === 'signal') process.kill(pidIn(p), 'SIGTERM')
    await until(() => processesOf(p).length === 0, 'the end')
    t.regex(fs.readFileSync(`${p.dir}/seen`, 'utf8'), /^\d+\n1$/, how)
    fs.rmSync(`${p.dir}/seen`)
    t.deepEqual(fs.readdirSync(p.run), [])
  }
})

test('a forked child of the daemon that exits leaves the pidfile alone', async (t) => {
  const p = place(t)
  // A native module may call fork(2) without exec; here a handler does. If exit(3) hangs in the child, because the
  // other threads are missing there, the alarm ends the child: our handler comes first.
  const source = p.write(
    'forker.c',
    `#include <fcntl.h>
    #include <signal.h>
    #include <stdlib.h>
    #include <sys/wait.h>
    #include <unistd.h>
    static void forks(int number) {
      pid_t child = fork();
      if (child == 0) { signal(SIGALRM, SIG_DFL); alarm(2); exit(0); }
      waitpid(child, 0, 0);
      close(open("${p.dir}/forked", O_CREAT | O_WRONLY, 0600));
    }
    __attribute__((constructor)) static void begin(void) { signal(39, forks); }`,
  )
  const library = `${p.dir}/forker.node`
  t.is((await command(p, 'cc', ['-shared', '-fPIC', '-Wl,-z,nodelete', '-o', library, source])).status, 0)
  // It has no entry point for Node, but is loaded nevertheless.
  const body = `async setup() {
    try { process.dlopen({ exports: {} }, '${library}') } catch {}
  }`
  const script = p.write('a.mjs', cli({ body }))
  const { status, stderr } = await run(p, script, ['start'])
  t.is(status, 0, stderr)
  const pid = pidIn(p)
  process.kill(pid, 39)
  await until(() => fs.existsSync(`${p.dir}/forked`), 'the end of the child')
  t.is(pidIn(p), pid)
  t.is(JSON.parse((await run(p, script, ['status', '--json'])).stdout).pid, pid)
})

test('arguments and variables that are not UTF-8 are handed on as they are', async (t) => {
  const p = place(t)
  // They are read from /proc, before the process title replaces the arguments.
  const before = `if (isDaemon) {
    fs.writeFileSync(process.env.DIR + '/argument', fs.readFileSync('/proc/self/cmdline', 'latin1').split('\\0').at(-2), 'latin1')
  }`
  const script = p.write('a.mjs', sample({ before }))
  const bytes = String.raw`b'\xff\xfe=\xe9'`
  const python = `import os,sys
env = dict(os.environb); env[b'ODD'] = ${bytes}
os.execve(sys.argv[1], [sys.argv[1], sys.argv[2], ${bytes}], env)`
  const { status, stderr } = await command(p, 'python3', ['-c', python, process.execPath, script])
  t.is(status, 0, stderr)
  const pid = pidIn(p)
  t.true(fs.readFileSync(`/proc/${pid}/environ`, 'latin1').includes('ODD=\xff\xfe=\xe9\0'))
  t.is(fs.readFileSync(`${p.dir}/argument`, 'latin1'), '\xff\xfe=\xe9')
})

test('a program that stops, signals and restarts several daemons does so once', async (t) => {
  const p = place(t)
  const last = `
const other = new Sample({ ...options, name: 'other' })
const first = new Sample(options)
fs.appendFileSync(process.env.DIR + '/stopped', JSON.stringify(await first.stop()) + '\\n')
const { pid } = await first.restart()
await first.kill('SIGUSR2')
const again = await first.ensure()
if (again.pid !== pid || again.started) throw new Error('another first')
await other.start()`
  const body = `async onSignal(signal) { fs.appendFileSync(process.env.DIR + '/signals', this.name + ' ' + signal + '\\n'); await super.onSignal(signal) }`
  const script = p.write('a.mjs', sample({ last, body }))
  const { status, stderr } = await run(p, script)
  t.is(status, 0, stderr)
  t.is(new Set([pidIn(p), pidIn(p, 'other')]).size, 2)
  t.deepEqual(processesOf(p).sort(), [pidIn(p), pidIn(p, 'other')].sort())
  t.is(fs.readFileSync(`${p.dir}/signals`, 'utf8'), 'sample SIGUSR2\n')
  const first = pidIn(p)
  t.is((await run(p, script)).status, 1)
  t.false(isAlive(first), 'the second run restarted it')
})
