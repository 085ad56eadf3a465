// Every way in which a start can fail by itself. The launcher says why at once, in the daemon's own words, and
// nothing is left: no process, no lock, no pidfile.

import fs from 'node:fs'
import { join } from 'node:path'
import { fails, nothingLeft } from './failed.mjs'
import { asUser, command, isRoot, place, run, sample, test, testIf, works } from './kit.mjs'

const failures = {
  // These fail before start(), only in the daemon's process.
  'a module has a syntax error': {
    before: "if (isDaemon) await import('./broken.mjs')",
    says: [/SyntaxError: Unexpected identifier/, /broken\.mjs:1/],
  },
  'a module is missing': {
    before: "if (isDaemon) await import('./missing.mjs')",
    says: /Cannot find module '.*missing\.mjs'/,
  },
  'the script throws': {
    before: "if (isDaemon) throw new RangeError('at import')",
    says: /RangeError: at import\n +at .*a\.mjs/,
  },
  'the script throws what is no error': {
    before: "if (isDaemon) throw 'a mere string'",
    says: /a mere string/,
  },
  'the script awaits what is rejected': {
    before: "if (isDaemon) await Promise.reject(new Error('rejected at import'))",
    says: /Error: rejected at import/,
  },
  'the script leaves a rejection unhandled': {
    before: "if (isDaemon) { Promise.reject(new Error('left alone')); await sleep(60_000) }",
    says: /Error: left alone/,
  },
  'the script handles one exception, and another follows in setup': {
    before: `if (isDaemon) {
      process.on('uncaughtException', () => {})
      setTimeout(() => { throw new Error('the first') }, 0)
      await sleep(20)
    }`,
    body: "setup() { throw new Error('the second') }",
    says: /did not start: Error: the second/,
  },
  'the script handles the exception that keeps it from start()': {
    before: `if (isDaemon) {
      process.on('uncaughtException', () => {})
      throw new Error('the first')
    }`,
    says: /did not start: Error: the first/,
  },
  'the script exits': {
    before: "if (isDaemon) { console.error('not today'); process.exit(3) }",
    says: /exited with status 3 before it was ready:\nnot today/,
  },
  'the script exits with 0, saying nothing': {
    before: 'if (isDaemon) process.exit(0)',
    says: /exited with status 0 before it was ready: .*must reach `start\(\)` of a Daemon named 'sample'/,
  },
  'setup exits with 0, saying nothing': {
    body: 'setup() { process.exit(0) }',
    says: /exited with status 0 before it was ready: .*and `setup` must return/,
  },
  'the script is killed': {
    before: "if (isDaemon) process.kill(process.pid, 'SIGKILL')",
    says: /was killed by SIGKILL before it was ready/,
  },
  'the script waits for what never comes, on an empty loop': {
    before: 'if (isDaemon) await new Promise(() => {})',
    says: /waits for something that never comes, without `start\(\)` of a Daemon named 'sample'/,
  },
  'the script ends without start()': {
    last: 'if (!isDaemon) await new Sample(options).start()',
    says: /The script ended, .*without `start\(\)` of a Daemon named 'sample'/,
  },
  'the script starts one of another name': {
    last: "await new Sample({ ...options, name: isDaemon ? 'other' : 'sample' }).start()",
    says: /The daemon 'other' is not running, and is not started from the process of 'sample'. If they are meant/,
  },
  'the script has the command line, and got no command': {
    last: 'await new Sample(options)[isDaemon ? "serviced" : "start"]()',
    says: /The script ends with `serviced\(\)`, which got no command: give `args: \['start'\]` beside `script`/,
  },
  'the daemon has an option of the wrong type': {
    options: 'umask: isDaemon ? "022" : 0o022',
    says: /TypeError: `umask` must be an integer .*got '022'/,
  },
  'there is no action': {
    last: 'await new Daemon(options).start()',
    says: /TypeError: The Daemon 'sample' has no action: override `action`/,
  },

  // These fail when the daemon takes the hand-over.
  'the working directory is missing': {
    options: "cwd: '/missing/directory'",
    says: /Cannot change to the working directory \/missing\/directory: ENOENT: no such file or directory, chdir/,
  },
  'the working directory is a file': {
    options: "cwd: '/etc/passwd'",
    says: /Cannot change to the working directory \/etc\/passwd: ENOTDIR: not a directory, chdir/,
  },
  "the log's directory is missing": {
    options: "stdout: '/missing/directory/log'",
    says: /Cannot open the log file \/missing\/directory\/log: ENOENT: no such file or directory, open.*Create its directory/,
  },
  'the log is a symbolic link': {
    options: "stderr: process.env.DIR + '/link'",
    says: /Cannot open the log file .*\/link: ELOOP: .*, open. It is a symbolic link/,
  },
  'the log has a second name': {
    options: "stdout: process.env.DIR + '/second'",
    says: /Refusing the log file .*\/second: it must be a regular file with one link/,
  },
  'the log is a directory': {
    options: "stdout: process.env.DIR + '/run'",
    says: /Cannot open the log file .*\/run: EISDIR: is a directory, open/,
  },

  // These fail in setup.
  'setup throws': {
    body: "setup() { throw new TypeError('no port given') }",
    says: /TypeError: no port given\n +at Sample\.setup .*a\.mjs/,
  },
  'setup rejects': {
    body: "async setup() { await sleep(1); throw new Error('no such key', { cause: new Error('why') }) }",
    says: [/Error: no such key/, /\[cause\]: Error: why/],
  },
  'setup throws undefined': { body: 'setup() { throw undefined }', says: /did not start: undefined/ },
  'a rejection is unhandled in setup': {
    body: "async setup() { Promise.reject(new Error('left alone')); await sleep(60_000) }",
    says: /Error: left alone/,
  },
  'a timer throws in setup': {
    body: "async setup() { setTimeout(() => { throw new Error('late') }, 1); await sleep(60_000) }",
    says: /Error: late/,
  },
  'setup recurses for ever': {
    body: 'setup() { this.setup() }',
    says: /RangeError: Maximum call stack size exceeded/,
  },
  'setup calls process.exit': {
    body: "setup() { console.error('not today'); process.exit(3) }",
    says: /exited with status 3 before it was ready:\nnot today/,
  },
  'setup calls exit': { body: 'async setup() { await this.exit(3) }', says: /called exit\(3\) while it was/ },
  'setup calls exitNow': { body: 'setup() { this.exitNow(3) }', says: /exited with status 3 before/ },
  'setup crashes': {
    body: "async setup() { process.kill(process.pid, 'SIGSEGV'); await sleep(60_000) }",
    says: /was killed by SIGSEGV before it was ready/,
  },
  'setup aborts': { body: 'setup() { process.abort() }', says: /was killed by SIGABRT before it was ready/ },
  'setup waits for what never comes, on an empty loop': {
    body: 'async setup() { await new Promise(() => {}) }',
    says: /`setup` never settled: the event loop is empty/,
  },
  'setup takes longer than startTimeout': {
    body: "async setup() { console.error('still waiting'); await sleep(60_000) }",
    options: 'startTimeout: 15_000',
    says: /was not ready within 15000 ms and was ended\. .*raise `startTimeout`:\nstill waiting/,
  },
  'setup blocks the event loop': {
    body: 'setup() { for (;;) {} }',
    options: 'startTimeout: 1000',
    says: /was not ready within 1000 ms and was ended/,
  },
  'setup cannot listen': {
    body: `async setup() {
      const { createServer } = await import('node:net')
      const server = createServer().listen(process.env.DIR + '/missing/socket')
      await once(server, 'listening')
    }`,
    says: /Error: listen EACCES|Error: listen ENOENT/,
  },
  'setup fails and leaves a child': {
    body: `async setup() {
      const { spawn } = await import('node:child_process')
      await once(spawn('sleep', ['1000'], { stdio: 'ignore' }), 'spawn')
      throw new Error('with a child')
    }`,
    says: /Error: with a child/,
  },
  'setup exits and leaves a child': {
    body: `async setup() {
      const { spawn } = await import('node:child_process')
      await once(spawn('sleep', ['1000'], { stdio: 'inherit' }), 'spawn')
      this.exitNow(4)
    }`,
    says: /exited with status 4 before it was ready/,
  },

  // These fail before Node runs.
  'Node refuses NODE_OPTIONS': {
    options: "env: { ...process.env, NODE_OPTIONS: '--no-such-flag' }",
    says: /exited with status 9 before it was ready:\n.*--no-such-flag is not allowed in NODE_OPTIONS/,
  },
  'Node does not know a flag': {
    before: "process.execArgv.push('--no-such-flag')",
    says: /exited with status 9 before it was ready:\n.*bad option: --no-such-flag/,
  },
  'a module to be loaded first is missing': {
    before: "if (!isDaemon) process.execArgv.push('--import', './first.mjs')",
    says: /exited with status 1 before it was ready:(?:.|\n)*Cannot find module '.*first\.mjs'/,
  },
  'the arguments are too long': {
    options: "args: ['x'.repeat(1 << 20)]",
    says: /did not start: E2BIG: argument list too long, execve '.*'/,
  },
  'a descriptor to be kept is closed': {
    options: 'keepFds: [777]',
    says: /`keepFds` names descriptor 777, which is not open/,
  },
  'the pidfile directory is missing': {
    options: "pidFilePath: process.env.DIR + '/missing'",
    says: /Cannot keep a pidfile in the directory .*\/missing: ENOENT: no such file or directory, stat.*Create it, or name another/,
  },
  'the pidfile directory is a file': {
    options: "pidFilePath: '/etc/passwd'",
    says: /Refusing the pidfile's directory \/etc\/passwd: it is not a directory, (?!.*Remove).*Name another/,
  },
}

for (const [what, { says, ...source }] of Object.entries(failures)) {
  test(`a start fails, tells why and leaves nothing where ${what}`, async (t) => {
    const p = place(t)
    p.write('broken.mjs', 'const a = b c')
    p.write('first', '')
    fs.linkSync(join(p.dir, 'first'), join(p.dir, 'second'))
    fs.symlinkSync(join(p.dir, 'log'), join(p.dir, 'link'))
    const script = p.write('a.mjs', sample(source))
    await fails(t, p, () => run(p, script), says)
    t.false(fs.existsSync(join(p.dir, 'log')))
  })
}

test('a start fails, tells why and leaves nothing where the script itself has a syntax error', async (t) => {
  const p = place(t)
  const script = p.write('broken.mjs', 'const a = b c')
  const client = p.write('a.mjs', sample({ options: `script: ${JSON.stringify(script)}` }))
  await fails(t, p, () => run(p, client), [
    /exited with status 1 before it was ready:\n.*broken\.mjs:1\n/,
    /SyntaxError: Unexpected identifier/,
  ])
})

test('a start fails, tells why and leaves nothing where the interpreter is gone, or is none', async (t) => {
  const p = place(t)
  const script = p.write('a.mjs', sample())
  for (const [take, says] of [
    ['unlinkSync(node)', /did not start: ENOENT: no such file or directory, execve '.*\/node'/],
    ['chmodSync(node, 0o644)', /did not start: EACCES: permission denied, execve '.*\/node'/],
    [
      "unlinkSync(node); fs.writeFileSync(node, 'text', { mode: 0o755 })",
      /did not start: ENOEXEC: exec format error, execve '.*\/node'/,
    ],
  ]) {
    const node = copyOfNode(p)
    const source = `import fs from 'node:fs'; const node = ${JSON.stringify(node)}; fs.${take}`
    const first = p.write('take.mjs', source)
    await fails(t, p, () => command(p, node, ['--import', first, script]), says)
  }
})

/** A copy of Node, which shares its blocks where the file system allows that. */
function copyOfNode(p) {
  const node = join(p.dir, 'node')
  fs.rmSync(node, { force: true })
  fs.copyFileSync(process.execPath, node, fs.constants.COPYFILE_FICLONE)
  return node
}

// Mounts a file system over the pidfile directory, runs a command, and lists what is left there.
const mounts = testIf(isRoot && works('unshare', '-m', 'true'))
const MOUNT = `mount -t tmpfs -o "mode=755,$1" none "$RUN" && eval "$2" || exit 99
shift 2
"$@"
status=$?
ls -A "$RUN"
exit $status`

for (const [what, options, then, says] of [
  [
    'has no space',
    'size=4k',
    'head -c 4096 /dev/zero >"$RUN/filler"',
    /ENOSPC: no space left on device, write '.*sample\.pid'/,
  ],
  [
    'has no inodes',
    'nr_inodes=2',
    'echo >"$RUN/filler"',
    /sample\.pid: ENOSPC: no space left on device, open/,
  ],
  [
    'is read-only',
    'size=4k',
    'mount -o remount,ro "$RUN"',
    /sample\.pid: EROFS: read-only file system, open/,
  ],
]) {
  mounts(`a start fails, tells why and leaves nothing where the pidfile directory ${what}`, async (t) => {
    const p = place(t)
    const args = [process.execPath, p.write('a.mjs', sample())]
    const { status, stdout, stderr } = await command(p, 'unshare', [
      '-m',
      'sh',
      '-c',
      MOUNT,
      'sh',
      options,
      then,
      ...args,
    ])
    t.is(status, 1, stderr)
    t.regex(stderr, says)
    t.regex(stderr, /code: 'ERR_DAEMON_PIDFILE'/)
    t.is(stdout, then.includes('filler') ? 'filler\n' : '')
    await nothingLeft(t, p)
  })
}

asUser(
  'a start fails, tells why and leaves nothing where the pidfile directory is not writable',
  async (t) => {
    const p = place(t)
    fs.chmodSync(p.run, 0o555)
    const { status, stderr } = await run(p, p.write('a.mjs', sample()))
    t.is(status, 1)
    t.regex(stderr, /sample\.pid: EACCES: permission denied, open\. Run it as a user who may write there/)
    fs.chmodSync(p.run, 0o755)
    await nothingLeft(t, p)
  },
)
