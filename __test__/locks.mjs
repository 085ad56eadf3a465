// Locks on a file that are not a daemon's: flock(2), and open file description locks (fcntl(2)).

import { spawn } from 'node:child_process'

const PROGRAM = `
use Fcntl ':flock';
my ($path, $mode, $flock, @ranges) = @ARGV;
open my $file, $mode, $path or die $!;
while (@ranges) {
  my ($start, $length) = splice @ranges, 0, 2;
  my $lock = pack('s s x4 q q l x4', $mode eq '<' ? 0 : 1, 0, $start, $length, 0);
  fcntl($file, 37, $lock) or die $!; # F_OFD_SETLK
}
!$flock or flock($file, LOCK_EX | LOCK_NB) or die $!;
syswrite STDOUT, 'locked';
sleep 1000;
`

/** The range of a whole file. */
export const WHOLE = [0, 0]

/** The byte, far behind the file's end, whose lock means that a daemon runs; with the next two, that it starts. */
export const RUNNING = [0x4000_0000, 1]
export const STARTING = [0x4000_0000, 3]

/**
 * The command of a process that locks a file until it is killed, and says so when it has the locks: flock, or
 * record locks on ranges of start and length, which are write locks if it can write to the file.
 */
export function lockCommand(path, { write = false, flock = false, ranges = [] } = {}) {
  return ['perl', ['-e', PROGRAM, path, write ? '+<' : '<', flock ? '1' : '', ...ranges.map(String)]]
}

/** Starts such a process, which ends with the test. */
export async function lock(t, path, locks, as = {}) {
  const child = spawn(...lockCommand(path, locks), { stdio: ['ignore', 'pipe', 'inherit'], ...as })
  t.teardown(() => child.kill('SIGKILL'))
  const said = await new Promise((resolve) => child.stdout.once('data', resolve).once('end', resolve))
  t.is(String(said), 'locked')
  return child
}
