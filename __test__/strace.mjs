// strace(1), under which system calls of a program fail, come late, or are followed by a signal.

import { command, testIf, works } from './kit.mjs'

/** strace's arguments for faults such as `flock:error=EIO`. It follows all processes, and writes nothing. */
export function faults(...injected) {
  const calls = injected.map((fault) => fault.split(':')[0])
  const inject = injected.flatMap((fault) => ['-e', `inject=${fault}`])
  return ['-f', '-qqq', '-o', '/dev/null', '-e', `trace=${calls}`, ...inject]
}

/** A test that needs strace; named as skipped where it is missing, or cannot do this. */
export const withStrace = testIf(
  works('strace', ...faults('pidfd_open:error=EPERM', 'waitid:delay_enter=1:when=1'), 'true'),
)

/** Runs a Node program under strace to the end of all its processes. */
export function runWithFaults(p, flags, script, args = []) {
  return command(p, 'strace', [...flags, process.execPath, script, ...args])
}
