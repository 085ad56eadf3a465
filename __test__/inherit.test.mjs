// What neither a daemon nor its children inherit from the launcher: descriptors, the terminal, blocked and ignored
// signals, the umask, the working directory, and variables that are meant for the launcher only.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import {
  command,
  descriptors,
  end,
  environment,
  environmentOf,
  isAlive,
  isRoot,
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
import { faults } from './strace.mjs'

const SECRET = isRoot ? '/etc/shadow' : '/etc/passwd'
const NUMBERS = [7, 200, 9000]
const hardLimit = Number(spawnSync('sh', ['-c', 'ulimit -Hn']).stdout) || Number.POSITIVE_INFINITY
const withDescriptors = testIf(hardLimit > 9000)

// Gives a process everything that a daemon must not inherit, and then becomes the given program.
const BURDEN = `
use POSIX ':signal_h';
my ($secret, $directory, @program) = @ARGV;
$^F = 1 << 20; # no close-on-exec
open my $file, '<', $secret or die $!;
for (${NUMBERS.join(', ')}) { POSIX::dup2(fileno $file, $_) or die $! }
sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGTERM, SIGUSR1));
$SIG{HUP} = $SIG{USR2} = 'IGNORE';
umask 077;
chdir $directory or die $!;
exec @program;
`

/** A daemon that has started a child before it was ready, and one after. */
const PARENT = sample({
  before: `import { spawn } from 'node:child_process'
const child = async (name) => {
  const { pid } = spawn('sleep', ['1000'], { stdio: 'ignore' })
  fs.writeFileSync(process.env.DIR + '/new', String(pid))
  fs.renameSync(process.env.DIR + '/new', process.env.DIR + '/' + name)
}`,
  body: `async setup() { await child('early') }
    async action(signal) { await child('late'); await once(signal, 'abort') }`,
})

const bit = (name) => 1n << BigInt(constants.signals[name] - 1)
const has = (mask, signals) => signals.filter((name) => BigInt(`0x${mask}`) & bit(name))

function isFree(t, pid, who) {
  const found = proc(pid)
  t.is(found.tty, 0, who)
  t.is(found.status.Umask, '0022', who)
  t.is(fs.readlinkSync(`/proc/${pid}/cwd`), '/', who)
  t.is(BigInt(`0x${found.status.SigBlk}`), 0n, who)
  t.deepEqual(
    has(found.status.SigIgn, ['SIGTERM', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGINT', 'SIGQUIT']),
    [],
    who,
  )
  const open = descriptors(pid)
  t.deepEqual([open[0], open[1], open[2]], ['/dev/null', '/dev/null', '/dev/null'], who)
  for (const target of Object.values(open)) {
    t.false(
      target === SECRET || target.startsWith('/dev/pts/') || target.startsWith('socket:'),
      `${who}: ${target}`,
    )
  }
  t.notRegex(environmentOf(pid), /TSDAEMONIZE/, who)
}

async function isFreeWithItsChildren(t, p) {
  const pid = await until(() => fs.existsSync(join(p.dir, 'late')) && pidIn(p), 'the daemon')
  isFree(t, pid, 'the daemon')
  for (const name of ['early', 'late']) {
    const child = Number(fs.readFileSync(join(p.dir, name)))
    isFree(t, child, `the ${name} child`)
    // At its beginning, it opens its libraries.
    await until(() => Object.keys(descriptors(child)).join() === '0,1,2', `${name} to have three descriptors`)
  }
  return pid
}

/** The words of a shell's command line. */
const quoted = (words) => words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')

/** The command line of a burdened launcher, at a limit of descriptors. */
function burdened(p, before = []) {
  const deep = join(p.dir, ...'abcdefghij'.repeat(5))
  fs.mkdirSync(deep, { recursive: true })
  const program = [process.execPath, p.write('a.mjs', PARENT)]
  return `ulimit -n ${Math.min(hardLimit, 1 << 20)}; exec ${quoted([...before, 'perl', '-e', BURDEN, SECRET, deep, ...program])}`
}

withDescriptors(
  'descriptors, a terminal, signals, umask and directory of the launcher are not inherited',
  async (t) => {
    const p = place(t)
    const { status, stdout } = await command(p, 'script', ['-qec', burdened(p), '/dev/null'])
    t.is(status, 0, stdout)
    // The terminal is gone by now, and the daemon is not.
    const pid = await isFreeWithItsChildren(t, p)
    t.true(isAlive(pid))
  },
)

const OLD_KERNEL = ['strace', ...faults('close_range:error=ENOSYS')]
const asOnOldKernel = testIf(hardLimit > 9000 && works(...OLD_KERNEL, 'true'))
asOnOldKernel('nor are descriptors where the kernel has no close_range(2)', async (t) => {
  const p = place(t)
  const ended = command(p, 'sh', ['-c', burdened(p, OLD_KERNEL)])
  // strace ends with the last process that it traces.
  const pid = await isFreeWithItsChildren(t, p)
  for (const name of ['early', 'late']) await end(Number(fs.readFileSync(join(p.dir, name))))
  await end(pid)
  t.is((await ended).status, 0)
})

// Makes a terminal that is nobody's controlling terminal, and prints its name.
const FREE_TERMINAL = `
use Fcntl;
sysopen my $master, '/dev/ptmx', O_RDWR | O_NOCTTY or die $!;
ioctl $master, 0x40045431, my $zero = pack 'i', 0 or die $!; # TIOCSPTLCK
my $number = pack 'i', 0;
ioctl $master, 0x80045430, $number or die $!; # TIOCGPTN
$| = 1;
print '/dev/pts/', unpack 'i', $number;
sleep 1000;
`

test('a daemon that opens a free terminal does not acquire it', async (t) => {
  const p = place(t)
  const holder = spawn('perl', ['-e', FREE_TERMINAL], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: environment(p),
  })
  const terminal = String((await once(holder.stdout, 'data'))[0])
  const body = `setup() { fs.openSync('${terminal}', 'r+') }
    async action(signal) {
      fs.openSync('${terminal}', 'r+')
      fs.writeFileSync(process.env.DIR + '/opened', '')
      await once(signal, 'abort')
    }`
  const { status, stderr } = await run(p, p.write('a.mjs', sample({ body })))
  t.is(status, 0, stderr)
  await until(() => fs.existsSync(join(p.dir, 'opened')))
  const pid = pidIn(p)
  t.is(Object.values(descriptors(pid)).filter((target) => target === terminal).length, 2)
  t.is(proc(pid).tty, 0)
})

test("what a manager or a parent gave the launcher is the launcher's own: variables and IPC channel", async (t) => {
  const p = place(t)
  const own = {
    NOTIFY_SOCKET: '/run/none',
    LISTEN_FDS: '1',
    LISTEN_PID: '1',
    LISTEN_FDNAMES: 'web',
    WATCHDOG_USEC: '1000',
    WATCHDOG_PID: '1',
    SYSTEMD_EXEC_PID: '1',
    JOURNAL_STREAM: '1:2',
    TSDAEMONIZE_ANYTHING: 'x',
  }
  p.write('a.mjs', sample({ body: 'setup() { console.log(typeof process.send, process.connected) }' }))
  const parent = `import { fork } from 'node:child_process'
    fork(process.env.DIR + '/a.mjs').on('message', () => {})`
  const { status, stdout } = await run(p, p.write('parent.mjs', parent), [], {
    env: { ...own, LANG: 'C.UTF-8' },
  })
  t.is(status, 0)
  t.is(stdout, 'undefined undefined\n')
  const names = environmentOf(pidIn(p))
    .split('\0')
    .map((line) => line.split('=')[0])
  t.deepEqual(
    names.filter((name) => name in own || name.startsWith('NODE_CHANNEL')),
    [],
  )
  t.true(names.includes('LANG'))
})

test('the guardian of a start keeps nothing of the launcher open', async (t) => {
  const p = place(t)
  const body = `async setup() {
    fs.writeFileSync(process.env.DIR + '/pid', String(process.pid))
    while (!fs.existsSync(process.env.DIR + '/on')) await sleep(10)
  }`
  const started = run(p, p.write('a.mjs', sample({ body })))
  const daemon = await until(
    () => fs.existsSync(join(p.dir, 'pid')) && Number(fs.readFileSync(join(p.dir, 'pid'))),
  )
  const open = Object.values(descriptors(proc(daemon).ppid))
  // It keeps its socket to the launcher, the pidfile, and what a supervisor has instead of a terminal.
  t.deepEqual(open.map((target) => target.replace(/:.*/, '')).sort(), ['/dev/null', p.pidFile(), 'socket'])
  p.write('on', '')
  t.is((await started).status, 0)
})
