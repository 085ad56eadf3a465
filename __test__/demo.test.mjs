// The demonstration, as a newcomer runs it.

import { spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { asRoot, command, NOBODY, place, printed, processesOf, root, test, until, works } from './kit.mjs'

const ofNobody = spawnSync('test', ['-r', `${root}dist/index.js`], NOBODY).status === 0
const inNamespace = works('unshare', '-m', 'true') ? asRoot : test.skip

/** The demonstration starts a dozen Nodes, and waits for the guard. */
const LIMIT = 180_000

function roomy(t) {
  const p = place(t)
  t.timeout(LIMIT)
  return p
}

/** Runs the demonstration in a directory of its own, with the words `before` before its command. */
function demo(p, before = []) {
  const [file, ...args] = [...before, process.execPath, `${root}scripts/demo.mjs`]
  return command(p, file, args, { env: { TMPDIR: p.dir, HOME: p.dir }, timeout: LIMIT })
}

/** The words of a command that runs another one with a small /dev, in a mount namespace of its own. */
function withDev(prepare) {
  const script = `
    set -e
    mkdir -p "$DIR/dev"
    mount -t tmpfs dev "$DIR/dev"
    for node in null zero random urandom; do
      touch "$DIR/dev/$node"
      mount --bind "/dev/$node" "$DIR/dev/$node"
    done
    ${prepare}
    mount --rbind "$DIR/dev" /dev
    exec "$@"`
  return ['unshare', '-m', 'sh', '-c', script, 'sh']
}

function isComplete(t, p, { status, stdout, stderr }) {
  t.is(status, 0, stdout + stderr)
  const asRoot = stdout.includes(', as root\n')
  const told = [
    /did not start: Error: ENOENT: no such file or directory, watch '.*inbox'\n/,
    /exit status 1,.*\n.*No process and no pidfile is left/,
    /ready, and its pid is (\d+)/,
    /already running, with pid \d+\n +exit status 1/,
    ...(asRoot
      ? [
          /Hello from web: pid \d+, user (?!root)/,
          /all \d+ threads have\n +uids [1-9]/,
          /groups [1-9]/,
          /capabilities 0+\n/,
        ]
      : [/Left out: this takes root/]),
    /nop\.ts stop\n +exit status 0/,
    /a native thread ended it/,
    /letter\.txt was created in/,
    /photo\.jpg was created in/,
    /a name with spaces was created in/,
    /parent +\d+ \(/,
    /its own; the daemon is not its leader/,
    /terminal +none/,
    /working directory +\/\n/,
    /0 \/dev\/null: standard input\n/,
    /the pidfile, locked\n/,
    /secret open as descriptor 3\. The daemon has not/,
    /is running: pid \d+/,
    /pidfile is gone/,
    /is not running \(looked for \S+monitor-creation\.pid, from RUNTIME_DIRECTORY\)\n +exit status 3/,
    /Nothing is left\.\n$/,
  ]
  let rest = stdout
  for (const line of told) {
    t.regex(rest, line)
    rest = rest.slice(rest.search(line))
  }
  isGone(t, p)
}

function isGone(t, p) {
  t.deepEqual(processesOf(p), [])
  t.deepEqual(
    fs.readdirSync(p.dir).filter((name) => name.startsWith('tsdaemonize-demo')),
    [],
  )
}

test('shows what the package promises, and leaves nothing', async (t) => {
  const p = roomy(t)
  isComplete(t, p, await demo(p))
})

test('interrupted, it leaves nothing', async (t) => {
  const p = roomy(t)
  const running = demo(p)
  await new Promise((resolve) => {
    running.child.stdout.on('data', (data) => {
      if (/its pid is/.test(data)) resolve()
    })
  })
  running.child.kill('SIGINT')
  const { status, stderr } = await running
  t.is(status, 1)
  t.regex(stderr, /got SIGINT/)
  isGone(t, p)
})

inNamespace('where there is a logger, it gets the messages too', async (t) => {
  const p = roomy(t)
  const logger = spawn(
    'perl',
    [
      '-MSocket',
      '-e',
      `socket my $s, AF_UNIX, SOCK_DGRAM, 0 or die $!; bind $s, pack_sockaddr_un(shift) or die $!; $| = 1;
       print "ready\\n"; while (defined recv $s, my $message, 9999, 0) { print "$message\\n" }`,
      `${p.dir}/log`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  t.teardown(() => logger.kill('SIGKILL'))
  const got = printed(logger)
  await until(() => got().includes('ready'), 'the logger')
  const result = await demo(p, withDev('touch "$DIR/dev/log"; mount --bind "$DIR/log" "$DIR/dev/log"'))
  isComplete(t, p, result)
  t.regex(result.stdout, /Syslog has them too/)
  await until(() => got().includes('Exiting'), 'the last message')
  const [, pid] = result.stdout.match(/its pid is (\d+)/)
  t.regex(got(), new RegExp(`^<29>.* monitor-creation\\[${pid}\\]: letter.txt was created in `, 'm'))
})

const asNobody = ofNobody ? inNamespace : test.skip

asNobody('works for an ordinary user, and where there is no logger', async (t) => {
  const p = roomy(t)
  fs.chownSync(p.dir, NOBODY.uid, NOBODY.gid)
  const { uid, gid } = NOBODY
  const asOrdinary = ['setpriv', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups']
  const result = await demo(p, [...withDev(''), ...asOrdinary])
  isComplete(t, p, result)
  t.regex(result.stdout, /as an ordinary user/)
  t.regex(result.stdout, /has no logger/)
})

test('where Rust is missing, the set-up says so and how to get it', async (t) => {
  const p = place(t)
  for (const file of [
    'Cargo.toml',
    'Cargo.lock',
    'package-lock.json',
    'crate/node/Cargo.toml',
    'scripts/setup.mjs',
  ]) {
    p.write(file, fs.readFileSync(`${root}${file}`))
  }
  p.write('crate/core/src/lib.rs', '')
  p.write('node_modules/.package-lock.json', '')
  const { status, stderr } = await command(p, process.execPath, [`${p.dir}/scripts/setup.mjs`], {
    env: { PATH: p.dir },
  })
  t.is(status, 1)
  t.regex(stderr, /Install Rust 1\.\d+ or newer from https:\/\/rustup\.rs/)
})
