// The process that takes a daemon with it when it ends: the first one of a container, or of a systemd service. A
// daemon that goes into the background there, while that process ends, looks like a success and is gone.

import { readFileSync } from '../runtime/index.js'
import { isInit } from './inits.js'

/** What newer Nodes call their main thread, and so themselves, unless the program has set a title. */
const NODE = 'MainThread'
/** No process has more ancestors. Where there seem to be more, they change while they are read. */
const LONGEST = 100

interface Process {
  name: string
  parent: number
  session: number
}

/**
 * A warning where this process descends from one that takes everything with it when it ends; `undefined` elsewhere.
 * `asked`: the program asked to go into the background, as a service of `Type=forking` must.
 */
export function warningOfLifeline(asked: boolean): string | undefined {
  const candidates = asked ? [1] : [1, Number(process.env.SYSTEMD_EXEC_PID)]
  for (const pid of candidates) {
    const first = pid > 0 ? look(pid) : undefined
    if (first === undefined || isInit(first.name) || !leadsHere(pid, first)) continue
    const how = 'with the command `run`, or with `detach: false`'
    return pid === process.pid
      ? `The daemon ends with process ${pid}, which started it and is no init. Keep it attached: ${how}`
      : `The daemon ends with process ${pid} (${first.name}), from which it was started, and which is no init. ` +
          `Keep the program attached, and let that process wait for it: ${how}`
  }
  return undefined
}

/** Whether this process descends from `pid`, and was not only given to it. What has left that one's session, as the
 * children of ssh, cron and tmux do, or its cgroup, as a desktop's terminals do, was started by others. */
function leadsHere(pid: number, first: Process): boolean {
  const self = look('self')
  if (self?.session !== first.session || cgroupOf('self') !== cgroupOf(pid)) return false
  // Where this differs, /proc is that of another pid namespace.
  if (look(process.pid)?.parent !== self.parent || self.parent !== process.ppid) return false
  let ancestor = process.pid
  for (let steps = 0; ancestor > 0 && steps < LONGEST; steps++) {
    if (ancestor === pid) return true
    ancestor = look(ancestor)?.parent ?? 0
  }
  return false
}

/** See proc_pid_stat(5). The name is in parentheses, and may contain some itself. */
function look(pid: number | 'self'): Process | undefined {
  const stat = read(`/proc/${pid}/stat`)
  const end = stat.lastIndexOf(')')
  if (end < 0) return undefined
  const [, parent, , session] = stat.slice(end + 2).split(' ')
  const name = stat.slice(stat.indexOf('(') + 1, end)
  return { name: name === NODE ? 'node' : name, parent: Number(parent), session: Number(session) }
}

function cgroupOf(pid: number | 'self'): string {
  return read(`/proc/${pid}/cgroup`)
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
