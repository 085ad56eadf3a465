// What takes a daemon with it when it ends: the first process of a container, or of a systemd service. To go into
// the background there, and to let that process end, looks like success, and leaves nothing.

import { readFileSync } from '../runtime/index.js'

/** These stay, or are made to start what goes into the background. */
const INITS = new Set([
  ...['systemd', 'init', 'launchd', 'runit', 's6-svscan', 'openrc-init', 'dinit', 'finit', 'system-manager'],
  ...['tini', 'tini-static', 'dumb-init', 'catatonit', 'docker-init', 'podman-init', 'my_init', 'pause'],
  ...['bwrap', 'conmon', 'supervisord'],
])
/** What newer Nodes call their main thread, and so themselves, unless the program has set a title. */
const NODE = 'MainThread'
/** An ancestry is never longer than that, or changes while it is read. */
const LONGEST = 100

interface Process {
  name: string
  parent: number
  session: number
}

/**
 * A warning where this process was started, by way of others, by one at whose end everything ends; `undefined`
 * elsewhere. `asked`: to go into the background was asked for, as a service of `Type=forking` must.
 */
export function warningOfLifeline(asked: boolean): string | undefined {
  const candidates = asked ? [1] : [1, Number(process.env.SYSTEMD_EXEC_PID)]
  for (const pid of candidates) {
    const first = pid > 0 ? look(pid) : undefined
    if (first === undefined || INITS.has(first.name) || !leadsHere(pid, first)) continue
    const how = 'with the command `run`, or with `detach: false`'
    return pid === process.pid
      ? `The daemon ends with process ${pid}, which is the one that started it, and no init. Let it stay attached: ${how}`
      : `The daemon ends with process ${pid} (${first.name}), by way of which it was started, and which is no init. ` +
          `Let the program stay attached, and that process wait for it: ${how}`
  }
  return undefined
}

/** Whether this process descends from `pid`, and was not only given to it: what left its session, as a server of
 * ssh, cron or tmux does for its children, or its cgroup, as a desktop's terminals do, was started by others. */
function leadsHere(pid: number, first: Process): boolean {
  const self = look('self')
  if (self?.session !== first.session || cgroupOf('self') !== cgroupOf(pid)) return false
  // That /proc is not of another pid namespace.
  if (look(process.pid)?.parent !== self.parent || self.parent !== process.ppid) return false
  let ancestor = process.pid
  for (let steps = 0; ancestor > 0 && steps < LONGEST; steps++) {
    if (ancestor === pid) return true
    ancestor = look(ancestor)?.parent ?? 0
  }
  return false
}

/** proc_pid_stat(5): the name stands in parentheses, and may have some itself. */
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
