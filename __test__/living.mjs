// A daemon whose life is watched: what it notes down, what it logs, and how it ends.

import { command, pidIn, read, sample, until } from './kit.mjs'

/** The source of a program with one daemon, `sample`, that can `note` a line and logs to a file, too. */
export function noting({ before = '', options = '', ...more } = {}) {
  return sample({
    before: `const note = (text) => fs.appendFileSync(process.env.DIR + '/notes', text + '\\n')\n${before}`,
    options: `syslogOptions: syslog.LOG_PERROR, stderr: process.env.DIR + '/log', ${options}`,
    ...more,
  })
}

/** The lines that it noted. */
export function notes(p) {
  return read(`${p.dir}/notes`).split('\n').slice(0, -1)
}

/** What it logged, without the last line, which farewell.test.mjs tests. */
export function logged(p) {
  return read(`${p.dir}/log`).replaceAll(/^\S+ Ended after .*\n/gm, '')
}

/** The number of prctl(2), which differs between processors. */
const PRCTL = process.arch === 'arm64' ? 167 : 157
const PR_SET_CHILD_SUBREAPER = 36

// Runs a program as a subreaper (prctl(2)), and says how it, and each process that it leaves, has ended.
const REAPER = `
syscall(${PRCTL}, ${PR_SET_CHILD_SUBREAPER}, 1, 0, 0, 0) == 0 or die "prctl: $!";
open my $told, '>&=', 3 or die $!;
my $first = fork // die $!;
if (!$first) { close $told; exec { $ARGV[0] } @ARGV or die $! }
while ((my $pid = wait) > 0) { syswrite $told, "$pid $?\\n" }
`

/**
 * Starts the daemon of a script under a subreaper: `end()` waits for what wait(2) says of it.
 */
export async function start(t, p, script, args = [], { execArgv = [], node = process.execPath, env } = {}) {
  const reaper = reaped(p, node, [...execArgv, script, ...args], { env })
  const { status, signal } = await reaper.first()
  t.deepEqual({ status, signal }, { status: 0, signal: 0 }, reaper.said.stderr)
  const pid = pidIn(p)
  return { pid, end: () => reaper.end(pid), ...reaper.said }
}

/** Runs a program under a subreaper: `first()` is how the program ended, `end(pid)` how a process that it left did. */
export function reaped(p, file, args, options = {}) {
  const stdio = ['ignore', 'pipe', 'pipe', 'pipe']
  const running = command(p, 'perl', ['-e', REAPER, file, ...args], { stdio, ...options })
  const { child } = running
  const ends = []
  const said = { stdout: '', stderr: '' }
  let rest = ''
  child.stdio[3].on('data', (data) => {
    const lines = (rest + data).split('\n')
    rest = lines.pop()
    for (const line of lines) {
      const [pid, status] = line.split(' ').map(Number)
      ends.push({ pid, status: status >> 8, signal: status & 0x7f })
    }
  })
  for (const name of ['stdout', 'stderr']) {
    child[name].on('data', (data) => {
      said[name] += data
    })
  }
  const told = async (is) => {
    const { status, signal } = await until(() => ends.find(is), 'the end of a process')
    return { status, signal }
  }
  return {
    child,
    said,
    first: () => told(() => true),
    end: (pid) => told((ended) => ended.pid === pid),
  }
}
